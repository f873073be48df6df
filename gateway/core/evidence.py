"""What a bundle proves: checked off line, step by step, until something does not hold (protocol §9).

Each check names what it has shown, in a line for people and as data. Whose word it is that the lines rest on
is a question of its own: without a root that the verifier trusts, a bundle is consistent in itself and
authenticates nobody.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from gateway.core.bundle import Broken, Bundle, Part, parse_bundle
from gateway.core.card import Card, parse_card
from gateway.core.entry import Entry, parse_entry
from gateway.core.errors import Malformed, NotIncluded, NotProved, Untrusted
from gateway.core.examination import Examination, Finding
from gateway.core.ids import AuthorityId
from gateway.core.merkle import leaf_hash, verify_consistency, verify_inclusion
from gateway.core.message import Attachment, SignedMessage, verify_message
from gateway.core.note import Checkpoint, LogIdentity, verify_checkpoint, verify_cosignature
from gateway.core.proof import parse_hashes, parse_proof, parse_receipt
from gateway.core.signed_note import Signature, VerifierKey, parse_note
from gateway.core.strict import sha256, time_text
from gateway.core.trust import Book, Trust
from keys.errors import KeyFault, MalformedToken


def examine(raw: bytes, trust: Trust) -> Examination:
    """Verify the bundle *raw* as far as it holds."""
    found = Examination()
    try:
        for finding in _Examiner(parse_bundle(raw), trust, found).run():
            found.findings.append(finding)
    except Broken as failure:
        found.failure = failure
    return found


@dataclass(frozen=True, slots=True)
class _Stated:
    """A statement that is proved: an entry of a log of *owner*, under a checkpoint."""

    part: Part
    entry: Entry
    owner: AuthorityId
    index: int
    log: LogIdentity
    checkpoint: Checkpoint


class _Examiner:
    """Checks one bundle; what was shown is yielded as soon as it is."""

    def __init__(self, bundle: Bundle, trust: Trust, found: Examination) -> None:
        self._bundle = bundle
        self._trust = trust
        self._found = found
        self._heads: dict[tuple[str, int], bytes] = {}
        self._answers: dict[str, str] = {}

    def run(self) -> Iterator[Finding]:
        """Yield what is shown. Raises Broken."""
        bundle = self._bundle
        yield Finding(
            proved=True,
            what="whole",
            text=f"The bundle is whole: {len(bundle.parts)} files, each as its manifest says.",
        )
        book = Book.of(self._cards(), self._trust)
        yield from self._authenticated(book)
        yield from self._message(book)
        logs, statements = book.logs(), []
        for part in bundle.of("statement"):
            stated = self._statement(part, logs)
            statements.append(stated)
            yield self._told(stated, book)
            yield from self._witnessed(stated, book)
        self._found.strangers = tuple(
            sorted({authority for authority in self._speakers(statements) if not book.authentic(authority)})
        )

    def _speakers(self, statements: Sequence[_Stated]) -> Iterator[AuthorityId]:
        if self._bundle.of("message"):
            yield self._bundle.sender
        for stated in statements:
            yield stated.owner

    # -- cards

    def _cards(self) -> Iterator[Card]:
        for part in self._bundle.of("card"):
            try:
                yield parse_card(part.data)
            except (Malformed, NotProved) as fault:
                raise Broken("card", str(fault), part.name) from None

    def _authenticated(self, book: Book) -> Iterator[Finding]:
        for authority in (self._bundle.sender, self._bundle.recipient):
            if authority not in book.chains:
                raise Broken("card", f"there is no card of {authority}")
        for authority in sorted(book.chains):
            cards = book.cards(authority)
            sequences = ", ".join(str(card.sequence) for card in cards)
            if book.authentic(authority):
                text = f"Cards {sequences} of {authority} are authentic: a root that you named leads to them."
            else:
                text = f"Nobody has authenticated {authority}: no root key that you named leads to its cards."
            yield Finding(
                proved=book.authentic(authority), what="cards", text=text, about={"authority": authority}
            )

    # -- the message

    def _message(self, book: Book) -> Iterator[Finding]:
        bundle, parts = self._bundle, self._bundle.of("message")
        if not parts:
            yield Finding(
                proved=False,
                what="content",
                text="The content was erased: only what was logged of its digest can be shown.",
            )
            return
        if len(parts) > 1:
            raise Broken("message", "a bundle is about one message", parts[1].name)
        signed = self._signed(parts[0], book)
        message = signed.message
        if (message.id, message.sender, message.recipient, signed.sha256) != (
            bundle.message,
            bundle.sender,
            bundle.recipient,
            bundle.message_sha256,
        ):
            raise Broken(
                "message_subject", "the message is another one than the manifest names", parts[0].name
            )
        self._found.attachments = {one.sha256: one.name for one in message.attachments}
        yield Finding(
            proved=book.authentic(message.sender),
            what="signed",
            text=(
                f"{_who(book, message.sender)} signed message {message.id} ({message.kind}) to "
                f"{message.recipient}, made {time_text(message.created_ms)} by its own word, with "
                f"{_count(message.attachments)}."
            ),
            about={"authority": message.sender, "kid": signed.kid, "message_sha256": signed.sha256},
        )

    def _signed(self, part: Part, book: Book) -> SignedMessage:
        keys = {
            kid: public
            for card in book.cards(self._bundle.sender)
            for kid, public in card.signing_keys().items()
        }
        try:
            return verify_message(part.data.decode("ascii"), keys)
        except (UnicodeDecodeError, Malformed, MalformedToken):
            raise Broken("message", "not a signed message in form", part.name) from None
        except KeyFault as fault:
            raise Broken("message_signature", str(fault), part.name) from None

    # -- statements

    def _statement(self, part: Part, logs: Mapping[str, tuple[AuthorityId, LogIdentity]]) -> _Stated:
        try:
            receipt = parse_receipt(part.data)
            proof, entry = parse_proof(receipt.proof), parse_entry(receipt.entry)
        except Malformed as fault:
            raise Broken("statement", str(fault), part.name) from None
        if proof.origin not in logs:
            raise Broken("log", f"no card names the log {proof.origin}", part.name)
        owner, log = logs[proof.origin]
        checkpoint = self._checkpoint(proof.checkpoint, log, part.name)
        try:
            verify_inclusion(
                leaf_hash(receipt.entry), proof.index, checkpoint.size, proof.hashes, checkpoint.root
            )
        except NotIncluded as fault:
            raise Broken("inclusion", str(fault), part.name) from None
        stated = _Stated(part, entry, owner, proof.index, log, checkpoint)
        self._check_subject(stated)
        return stated

    def _checkpoint(self, note: str, log: LogIdentity, where: str) -> Checkpoint:
        """Return the checkpoint in *note*; a log has one root for one size."""
        try:
            checkpoint = verify_checkpoint(note, log)
        except Malformed as fault:
            raise Broken("statement", str(fault), where) from None
        except Untrusted as fault:
            raise Broken("log_signature", str(fault), where) from None
        known = self._heads.setdefault((checkpoint.origin, checkpoint.size), checkpoint.root)
        if known != checkpoint.root:
            raise Broken("contradiction", "the log has two roots for one size", where)
        return checkpoint

    def _check_subject(self, stated: _Stated) -> None:
        bundle, entry, where = self._bundle, stated.entry, stated.part.name
        parties = {bundle.sender: bundle.recipient, bundle.recipient: bundle.sender}
        if stated.owner not in parties:
            raise Broken("log", "the log of neither party to the message", where)
        if (entry.authority, entry.peer, entry.message_id) != (
            stated.owner,
            parties[stated.owner],
            bundle.message,
        ):
            raise Broken("statement_subject", "the entry is about another message, or of another log", where)
        if entry.message_sha256 not in {None, bundle.message_sha256}:
            raise Broken("statement_subject", "the entry is about another content under this id", where)
        if entry.event in _EXCLUSIVE:
            known = self._answers.setdefault(stated.checkpoint.origin, entry.event)
            if known != entry.event:
                raise Broken("contradiction", f"one log states {known} and {entry.event}", where)

    def _told(self, stated: _Stated, book: Book) -> Finding:
        entry = stated.entry
        reason = f" ({entry.reason})" if entry.reason else ""
        return Finding(
            proved=book.authentic(stated.owner),
            what="logged",
            text=(
                f"{_who(book, stated.owner)} logged {entry.event}{reason}: entry {stated.index} of "
                f"{stated.checkpoint.origin}, signed by it, at {time_text(entry.time_ms)} by its own clock."
            ),
            about={
                "authority": stated.owner,
                "event": entry.event,
                "index": stated.index,
                "origin": stated.checkpoint.origin,
                "time": time_text(entry.time_ms),
                "entry_sha256": sha256(entry.leaf),
            },
        )

    # -- witnesses

    def _witnessed(self, stated: _Stated, book: Book) -> Iterator[Finding]:
        """Yield who cosigned a checkpoint that has the entry: the earliest for each witness."""
        seen: dict[str, Finding] = {}
        others: set[str] = set()
        for checkpoint, where in self._covering(stated):
            signatures = parse_note(checkpoint.text).signatures
            known = list(self._known(stated, book))
            for name, keys, text in known:
                if name not in seen and any(_by(signatures, key) for key in keys):
                    time_s = self._time_s(checkpoint, signatures, keys, where)
                    seen[name] = self._cosigned(stated, checkpoint, name, text, time_s, book)
            names = {name for name, _, _ in known} | {stated.log.origin}
            others |= {one.name for one in signatures} - names
        yield from seen.values()
        for name in sorted(others - set(seen)):
            yield Finding(
                proved=False,
                what="unknown_witness",
                text=f"Somebody called {name} signed it too; no card here and no policy says who that is.",
                about={"witness": name},
            )
        if not seen:
            yield Finding(
                proved=False,
                what="unwitnessed",
                text=f"No known witness has cosigned that log as far as entry {stated.index}.",
                about={"origin": stated.checkpoint.origin, "index": stated.index},
            )

    def _covering(self, stated: _Stated) -> Iterator[tuple[Checkpoint, str]]:
        """Yield the checkpoints that have the entry: its own, and later ones that are led to it."""
        yield stated.checkpoint, stated.part.name
        for cover in stated.part.covers:
            note, proof = self._bundle.part(cover.checkpoint), self._bundle.part(cover.consistency)
            later = self._checkpoint(_text(note), stated.log, note.name)
            earlier = stated.checkpoint
            try:
                verify_consistency(
                    earlier.size, later.size, earlier.root, later.root, parse_hashes(_text(proof))
                )
            except (Malformed, NotIncluded) as fault:
                raise Broken("consistency", str(fault), proof.name) from None
            yield later, note.name

    def _known(self, stated: _Stated, book: Book) -> Iterator[tuple[str, tuple[VerifierKey, ...], str]]:
        """Yield the witnesses whose keys are known, but for the log's owner's own."""
        for name, (authority, witness) in book.witnesses().items():
            if authority != stated.owner:
                yield name, witness.verifiers, authority
        for trusted in self._trust.witnesses:
            yield trusted.name, trusted.keys, ""

    def _time_s(
        self,
        checkpoint: Checkpoint,
        signatures: Sequence[Signature],
        keys: Sequence[VerifierKey],
        where: str,
    ) -> int:
        try:
            return max(verify_cosignature(checkpoint, signatures, key) for key in keys)
        except Untrusted as fault:
            raise Broken("cosignature", str(fault), where) from None

    def _cosigned(  # noqa: PLR0917
        self, stated: _Stated, checkpoint: Checkpoint, name: str, authority: str, time_s: int, book: Book
    ) -> Finding:
        time = time_text(time_s * 1000)
        counts = not authority or book.authentic(AuthorityId(authority))
        whose = "a witness that you named" if not authority else f"the witness of {authority}"
        if authority in {self._bundle.sender, self._bundle.recipient}:
            whose += ", the other party to the message"
        attested = (
            f"so the entry was there at {time}, by that witness's clock"
            if counts
            else f"at {time} by its clock; nobody has authenticated it, so that attests no time"
        )
        return Finding(
            proved=counts,
            what="cosigned",
            text=f"{name} ({whose}) cosigned that log up to {checkpoint.size} entries: {attested}.",
            about={"witness": name, "size": checkpoint.size, "time": time, "index": stated.index},
        )


_EXCLUSIVE = frozenset({"relay.accepted", "relay.refused", "relay.unknown"})
"""Of one message id a log states one of these: the answer to it, which stays the same."""


def _who(book: Book, authority: AuthorityId) -> str:
    """Return how to call *authority*: without a trusted root it is whoever made the card."""
    return authority if book.authentic(authority) else f"Whoever calls itself {authority}"


def _by(signatures: Sequence[Signature], key: VerifierKey) -> bool:
    return any(one.name == key.name and one.key_id == key.key_id for one in signatures)


def _count(attachments: Sequence[Attachment]) -> str:
    return "one attachment" if len(attachments) == 1 else f"{len(attachments)} attachments"


def _text(part: Part) -> str:
    try:
        return part.data.decode()
    except UnicodeDecodeError:
        raise Broken("statement", "not UTF-8", part.name) from None
