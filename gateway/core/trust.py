"""Whom an off-line verifier trusts, and which cards that makes authentic (protocol §4, §9).

A verifier knows authorities by fingerprints of root keys, as a ceremony confirms them, and witnesses that
are no peers by their verifier keys. A card is authentic if its first root key has the fingerprint; so are the
cards that follow it, which a root of the one before has signed; and so are those before it, since each card
names the exact digest of the one that it follows.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from gateway.core.card import Card, parse_fingerprint, successor
from gateway.core.errors import Malformed, Misuse, Untrusted
from gateway.core.ids import AuthorityId, Digest, parse_authority
from gateway.core.note import LogIdentity, WitnessIdentity
from gateway.core.signed_note import COSIGNATURE, LATTICE_COSIGNATURE, VerifierKey, parse_vkey
from gateway.core.strict import as_list, as_object, as_text, members, sha256

_COSIGNING = frozenset({COSIGNATURE, LATTICE_COSIGNATURE})


@dataclass(frozen=True, slots=True)
class TrustedWitness:
    """A witness that is no peer: the name and the keys (0x04, 0x06 or both) that it publishes."""

    name: str
    keys: tuple[VerifierKey, ...]


@dataclass(frozen=True, slots=True)
class Trust:
    """What a verifier brings along.

    Attributes:
        roots: the digests of root keys that count for each authority.
        witnesses: those whose word counts, besides witnesses of authentic cards.
    """

    roots: Mapping[AuthorityId, frozenset[Digest]] = field(default_factory=dict)
    witnesses: tuple[TrustedWitness, ...] = ()

    def joined(self, other: "Trust") -> "Trust":
        """Return what both trust together."""
        roots = {
            authority: self.roots.get(authority, frozenset()) | other.roots.get(authority, frozenset())
            for authority in {*self.roots, *other.roots}
        }
        return Trust(roots, (*self.witnesses, *other.witnesses))


@dataclass(frozen=True, slots=True)
class Chain:
    """Cards of one authority, each following the one before; `authentic` if a trusted root leads to them."""

    cards: tuple[Card, ...]
    authentic: bool


@dataclass(frozen=True, slots=True)
class Book:
    """The cards that a verifier was given, by authority, and what they make authentic."""

    chains: Mapping[AuthorityId, tuple[Chain, ...]]

    @classmethod
    def of(cls, cards: Iterable[Card], trust: Trust) -> "Book":
        """Return the book of *cards*. Each of them has verified under its own root keys (`parse_card`)."""
        by_authority: dict[AuthorityId, list[Card]] = {}
        for card in cards:
            by_authority.setdefault(card.authority, []).append(card)
        return cls(
            {
                authority: tuple(_chains(found, trust.roots.get(authority, frozenset())))
                for authority, found in by_authority.items()
            }
        )

    def cards(self, authority: AuthorityId) -> tuple[Card, ...]:
        """Return the cards of *authority*: authentic ones alone, if there are any."""
        chains = self.chains.get(authority, ())
        trusted = tuple(card for chain in chains if chain.authentic for card in chain.cards)
        return trusted or tuple(card for chain in chains for card in chain.cards)

    def authentic(self, authority: AuthorityId) -> bool:
        """Return whether a trusted root leads to cards of *authority*."""
        return any(chain.authentic for chain in self.chains.get(authority, ()))

    def logs(self) -> Mapping[str, tuple[AuthorityId, LogIdentity]]:
        """Return every log by origin, with whose it is."""
        return {
            card.log.origin: (authority, card.log)
            for authority in self.chains
            for card in self.cards(authority)
        }

    def witnesses(self) -> Mapping[str, tuple[AuthorityId, WitnessIdentity]]:
        """Return every authority's witness by name, with whose it is."""
        return {
            card.witness.name: (authority, card.witness)
            for authority in self.chains
            for card in self.cards(authority)
        }


def parse_policy(found: Mapping[str, object]) -> Trust:
    """Return what a policy says: `roots`, fingerprints by authority, and `witnesses`, each `name`, `vkeys`.

    Raises:
        Malformed: says which member is wrong.
    """
    policy = members(found, required=(), optional=("roots", "witnesses"))
    roots = {
        parse_authority(authority): frozenset(_fingerprints(value))
        for authority, value in as_object(policy.get("roots", {})).items()
    }
    return Trust(roots, tuple(_witness(as_object(one)) for one in as_list(policy.get("witnesses", []))))


def parse_root(text: str) -> Trust:
    """Return the trust in `ID=FINGERPRINT`. Raises Malformed."""
    authority, equals, shown = text.partition("=")
    if not equals:
        raise Malformed("a root is written ID=FINGERPRINT")
    return Trust({parse_authority(authority): frozenset(_fingerprints(shown))})


def _fingerprints(value: object) -> Iterable[Digest]:
    for text in value if isinstance(value, list) else [value]:
        try:
            yield parse_fingerprint(as_text(text))
        except Misuse as fault:
            raise Malformed(str(fault)) from None


def _witness(found: Mapping[str, object]) -> TrustedWitness:
    known = members(found, required=("name", "vkeys"))
    name = as_text(known["name"])
    keys = tuple(parse_vkey(as_text(vkey)) for vkey in as_list(known["vkeys"]))
    if not keys or any(
        key.name != name or key.kind not in {COSIGNATURE, LATTICE_COSIGNATURE} for key in keys
    ):
        raise Malformed("a witness has one or two keys, of type 0x04 or 0x06, that bear its name")
    return TrustedWitness(name, keys)


def _chains(cards: Iterable[Card], roots: frozenset[Digest]) -> Iterable[Chain]:
    """Yield the runs of cards that follow each other.

    There is more than one where the root was lost and a new ceremony began another, and where cards between
    were left out.
    """
    run: list[Card] = []
    for card in sorted(cards, key=lambda card: (card.sequence, card.sha256)):
        if run and not _follows(card, run[-1]):
            yield _chain(run, roots)
            run = []
        run.append(card)
    if run:
        yield _chain(run, roots)


def _chain(run: list[Card], roots: frozenset[Digest]) -> Chain:
    return Chain(tuple(run), any(sha256(card.root[0]) in roots for card in run))


def _follows(card: Card, before: Card) -> bool:
    try:
        successor(card.raw, before)
    except Untrusted:
        return False
    return True
