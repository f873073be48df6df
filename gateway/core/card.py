"""Authority cards: an authority's keys and endpoints, signed by its root (protocol §4).

A card is trusted only by way of `pin` (the ceremony) or `successor` (of a pinned card). Verifying
returns the card; there is no other way to get one that is signed.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields

from gateway.core.card_plan import Certificate, Plan, PublicKey, Window, encode_payload, parse_payload, roles
from gateway.core.errors import Malformed, Misuse, Untrusted
from gateway.core.ids import AuthorityId, Digest
from gateway.core.strict import as_list, members, parse_json, sha256
from keys import signing
from keys.certificates import subject
from keys.errors import BadSignature, KeyFault, UnknownKey
from keys.signing import ALGORITHM as SIGNING_ALGORITHM
from keys.signing import SigningKey
from keys.vault import Keyring

__all__ = [
    "LIFETIME_MS",
    "MAX_BYTES",
    "OVERLAP_MS",
    "TYPE",
    "Card",
    "Certificate",
    "Plan",
    "PublicKey",
    "Window",
    "build_card",
    "check_apart",
    "fingerprint",
    "parse_card",
    "parse_fingerprint",
    "pin",
    "successor",
]

TYPE = "art18-card+jws"
MAX_BYTES = 256 * 1024
LIFETIME_MS = 2 * 365 * 24 * 60 * 60 * 1000
"""How long cards and keys are issued for, unless configured otherwise."""
OVERLAP_MS = 90 * 24 * 60 * 60 * 1000
"""How long a key that is no longer used stays in the card."""

_MAX_SIGNATURES = 4  # two roots at most of this card, and two of the one before
_FINGERPRINT = re.compile(r"[0-9a-f]{64}", re.ASCII)
_SPACING = re.compile(r"[\s:-]+")
_GROUP = 4
_FIELDS = tuple(field.name for field in fields(Plan))


@dataclass(frozen=True, slots=True, kw_only=True)
class Card(Plan):
    """A card whose own root keys have all signed it: `raw` is the exact text, `sha256` its digest."""

    raw: bytes
    sha256: Digest

    def signing_keys(self) -> Mapping[str, bytes]:
        """Return every signing key by kid: a recipient accepts each of them."""
        return {key.kid: key.public for key in self.signing}

    def signing_kid(self, now_ms: int) -> str:
        """Return the kid of the key that the owner signs with now."""
        return _current(self.signing, now_ms).kid

    def sealing_key(self, now_ms: int) -> PublicKey:
        """Return the key to seal to now."""
        return _current(self.sealing, now_ms)

    def certificate(self, now_ms: int) -> Certificate:
        """Return the certificate that the owner presents now: the valid one with the earliest `from`."""
        valid = [one for one in self.tls if one.window.holds(now_ms)]
        return min(valid or self.tls, key=lambda one: one.window.from_ms)


def _current(keys: tuple[PublicKey, ...], now_ms: int) -> PublicKey:
    """Return the newest key in use at *now_ms*, or the nearest: dates stop nothing (protocol §4)."""
    valid = [key for key in keys if key.window.holds(now_ms)]
    begun = [key for key in keys if key.window.from_ms <= now_ms]
    if valid or begun:
        return max(valid or begun, key=lambda key: key.window.from_ms)
    return min(keys, key=lambda key: key.window.from_ms)


def fingerprint(card: Plan) -> str:
    """Return what a ceremony confirms: SHA-256 of the first root key, 16 groups of 4 hex digits."""
    digest = sha256(card.root[0])
    return " ".join(digest[start : start + _GROUP] for start in range(0, len(digest), _GROUP))


def parse_card(raw: bytes) -> Card:
    """Return the card *raw*, every root key of which has signed it.

    This shows that the card is whole, not whose it is: that is for `pin` and `successor`.

    Raises:
        Malformed: not a card in the one accepted form, or keys that serve two roles.
        Untrusted: a signature of one of its own root keys is missing or wrong.
    """
    outer = members(parse_json(raw, max_bytes=MAX_BYTES), required=("payload", "signatures"))
    if len(as_list(outer["signatures"])) > _MAX_SIGNATURES:
        raise Malformed("only roots of this card and of the one before sign it")
    try:
        payload = signing.peek_general(raw, TYPE)
    except KeyFault as fault:
        raise Malformed(str(fault)) from None
    plan = parse_payload(payload)
    own = _roots(plan)
    # A root of the card before, which this one may no longer hold, is for `successor` to verify.
    if _signers(raw, own, others=True) != set(own):
        raise Untrusted("a card is signed by every root key of its own")
    return Card(**{field: getattr(plan, field) for field in _FIELDS}, raw=raw, sha256=sha256(raw))


def pin(raw: bytes, *, authority: AuthorityId, fingerprint: str) -> Card:
    """Return the card *raw* of first contact: the ceremony (protocol §4).

    *fingerprint* came over another channel, as `fingerprint` writes it; spacing and case do not
    matter. That the card shares nothing with another authority's is for `check_apart`.

    Raises:
        Malformed, Untrusted: as `parse_card`.
        Misuse: it is another authority's, or its root has another fingerprint.
    """
    card = parse_card(raw)
    if card.authority != authority:
        raise Misuse(422, "wrong_authority", f"this is the card of {card.authority}, not of {authority}")
    if parse_fingerprint(fingerprint) != sha256(card.root[0]):
        raise Misuse(422, "wrong_fingerprint", "the card's root key has another fingerprint")
    return card


def parse_fingerprint(text: str) -> Digest:
    """Return the digest of a root key that people typed, in groups or not. Raises Misuse."""
    plain = _SPACING.sub("", text).lower()
    if not _FINGERPRINT.fullmatch(plain):
        raise Misuse(422, "wrong_fingerprint", "a fingerprint is 16 groups of 4 hex digits")
    return Digest(plain)


def successor(raw: bytes, pinned: Card) -> Card:
    """Return the card *raw*, which takes the place of *pinned* (protocol §4 "A successor").

    Raises:
        Malformed: as `parse_card`.
        Untrusted: it does not follow: another authority or sequence, `previous` is not the
            digest of *pinned*, no root key of *pinned* has signed it, a stranger has, a key has
            changed its role, or an origin or witness name its keys.
    """
    card = parse_card(raw)
    if card.authority != pinned.authority or card.sequence != pinned.sequence + 1:
        raise Untrusted("a successor is of the same authority, with the next sequence")
    if card.previous != pinned.sha256:
        raise Untrusted("a successor names the digest of the card before it")
    old = _roots(pinned)
    if not _signers(raw, {**old, **_roots(card)}, others=False) & set(old):
        raise Untrusted("no root key of the pinned card has signed its successor")
    before = roles(pinned)
    if any(before.get(key, role) != role for key, role in roles(card).items()):
        raise Untrusted("no key serves two roles, now or later")
    if card.log.origin == pinned.log.origin and card.log != pinned.log:
        raise Untrusted("one log origin has one pair of keys for ever")
    if card.witness.name == pinned.witness.name and card.witness != pinned.witness:
        raise Untrusted("one witness name has one pair of keys for ever")
    return card


def check_apart(card: Card, others: Iterable[Card]) -> None:
    """Refuse *card* if it shares what must be one authority's alone (protocol §4 "First contact").

    *others* are all cards ever pinned; older ones of the same authority are passed over.

    Raises:
        Misuse: `pinned_elsewhere`.
    """
    mine = _marks(card)
    for other in others:
        if other.authority != card.authority and mine & _marks(other):
            raise Misuse(
                409,
                "pinned_elsewhere",
                f"a key, certificate, origin or witness name of this card is pinned for {other.authority}",
            )


def build_card(plan: Plan, roots: Sequence[SigningKey]) -> bytes:
    """Return the card of *plan* signed by *roots*: all of its own, and one of the card before.

    Raises:
        Malformed, Untrusted: the plan breaks a rule that every reader checks.
    """
    raw = signing.sign_general(encode_payload(plan), TYPE, roots)
    parse_card(raw)
    return raw


def _roots(plan: Plan) -> dict[str, bytes]:
    return {signing.kid(SIGNING_ALGORITHM, public): public for public in plan.root}


def _signers(raw: bytes, roots: Mapping[str, bytes], *, others: bool) -> frozenset[str]:
    """Return which of *roots* have signed; a wrong signature of theirs is an error."""
    try:
        return signing.verify_general(raw, TYPE, roots, others=others).kids
    except (BadSignature, UnknownKey) as fault:
        raise Untrusted(str(fault)) from None
    except KeyFault as fault:
        raise Malformed(str(fault)) from None


def _marks(card: Card) -> set[object]:
    """Return what must not recur in another authority's card."""
    subjects = {("subject", subject(one.der)) for one in card.tls}
    return {*roles(card), *subjects, card.log.origin, card.witness.name}


def roles_lacking(card: Card, keyring: Keyring) -> list[str]:
    """Return the roles of which *card* names a key that *keyring* does not hold."""
    log, witness = keyring.log, keyring.witness
    held: dict[str, set[str] | set[bytes]] = {
        "signing": set(keyring.signing),
        "sealing": set(keyring.sealing),
        "tls": {one.certificate for one in keyring.tls},
        "log": {log.ed.public, log.lattice.public},
        "witness": {witness.ed.public, witness.lattice.public},
    }
    named: dict[str, set[str] | set[bytes]] = {
        "signing": {key.kid for key in card.signing},
        "sealing": {key.kid for key in card.sealing},
        "tls": {one.der for one in card.tls},
        "log": {card.log.ed_public, card.log.lattice_public},
        "witness": {card.witness.ed_public, card.witness.lattice_public},
    }
    return [role for role, keys in named.items() if keys - held[role]]
