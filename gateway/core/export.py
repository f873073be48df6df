"""An exported audit trail: entries and what proves them, in lines that verify without a node.

The first line is the *header*: whose log, the checkpoint under which everything is proved, the own cards,
what was asked for. Then a line for each entry, in their order, and last how many there are, so that a
file that was cut short is noticed. Two forms:

- `entries`: each line has an index, the exact entry and its inclusion proof. Any selection can be so
  exported. That nothing between two lines was left out shows only where nothing was filtered.
- `leaves`: each line is the exact entry. The entries follow one another without gaps, and two lists of
  hashes in the header prove all of them together: it verifies as fast as hashes are computed.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from gateway.core.card import parse_card
from gateway.core.errors import Malformed, NotIncluded, Untrusted
from gateway.core.ids import AuthorityId, parse_authority
from gateway.core.merkle import (
    HASH_BYTES,
    leaf_hash,
    range_frontier,
    verify_consistency,
    verify_inclusion,
    verify_range,
)
from gateway.core.note import Checkpoint, LogIdentity, verify_checkpoint, verify_cosignature
from gateway.core.signed_note import Signature, VerifierKey, parse_note
from gateway.core.soundness import Leaves, Problem, Unsound
from gateway.core.strict import (
    INTEGER_LIMIT,
    as_integer,
    as_list,
    as_object,
    as_text,
    b64,
    check_constants,
    encode_json,
    from_b64,
    members,
    parse_json,
)
from gateway.core.trust import Book, Trust

ENTRIES, LEAVES = "entries", "leaves"
FILTERS = ("peer", "message", "event", "after", "before")
MAX_LINE_BYTES = 16 * 1024 * 1024
"""Of a header: room for every card that an authority ever had."""
_TYPE = "audit-export"
_END = b'{"count":'
_ALWAYS = (
    "v",
    "type",
    "form",
    "authority",
    "origin",
    "checkpoint",
    "cards",
    "witnesses",
    "filters",
    "from",
    "to",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cosigned:
    """The newest checkpoint that a witness has signed: an earlier one, which the proving one goes on from."""

    checkpoint: str
    consistency: tuple[bytes, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """The first line of an export; unverified when it was parsed.

    Attributes:
        checkpoint: the note, with the cosignatures at hand, under which every entry is proved.
        cards: the own cards, from the first to the newest, as they were signed.
        witnesses: the cards of the authorities whose cosignatures are there.
        cosigned: the newest checkpoint with cosignatures, where that is an earlier one.
        filters: what the entries were selected by; none: all of them are there.
        start, end: the entries from *start* up to, not with, *end*.
        left, right: of the form `leaves`, what proves them (core.merkle, `range_nodes`).
    """

    form: str
    authority: AuthorityId
    origin: str
    checkpoint: str
    cards: tuple[str, ...]
    start: int
    end: int
    witnesses: tuple[str, ...] = ()
    filters: Mapping[str, str] = field(default_factory=dict)
    cosigned: Cosigned | None = None
    left: tuple[bytes, ...] = ()
    right: tuple[bytes, ...] = ()

    def encode(self) -> bytes:
        """Return the line, with its end."""
        found: dict[str, object] = {
            "v": 1,
            "type": _TYPE,
            "form": self.form,
            "authority": self.authority,
            "origin": self.origin,
            "checkpoint": self.checkpoint,
            "cards": list(self.cards),
            "witnesses": list(self.witnesses),
            "filters": dict(self.filters),
            "from": self.start,
            "to": self.end,
        }
        if self.cosigned is not None:
            proof = [b64(digest) for digest in self.cosigned.consistency]
            found["cosigned"] = {"checkpoint": self.cosigned.checkpoint, "consistency": proof}
        if self.form == LEAVES:
            found |= {
                "left": [b64(digest) for digest in self.left],
                "right": [b64(one) for one in self.right],
            }
        return encode_json(found) + b"\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One entry of the form `entries`: its index, its exact text, its inclusion proof."""

    index: int
    leaf: bytes
    proof: tuple[bytes, ...]

    def encode(self) -> bytes:
        """Return the line, with its end."""
        proof = [b64(digest) for digest in self.proof]
        return (
            encode_json({"index": self.index, "entry": self.leaf.decode("latin-1"), "proof": proof}) + b"\n"
        )


def encode_end(count: int) -> bytes:
    """Return the last line."""
    return b"%s%d}\n" % (_END, count)


def parse_header(line: bytes) -> Header:
    """Return the header in the first *line* of an export. Raises Malformed."""
    found = as_object(parse_json(line, max_bytes=MAX_LINE_BYTES))
    check_constants(found, v=1, type=_TYPE)
    form = as_text(found.get("form"))
    if form not in {ENTRIES, LEAVES}:
        raise Malformed("an export of a form that is not known")
    sides = ("left", "right") if form == LEAVES else ()
    members(found, required=(*_ALWAYS, *sides), optional=("cosigned",))
    filters = {name: as_text(value) for name, value in as_object(found["filters"]).items()}
    start, end = as_integer(found["from"]), as_integer(found["to"])
    if not 0 <= start <= end or not filters.keys() <= set(FILTERS) or (filters and form == LEAVES):
        raise Malformed("an export of entries that no log has, or filtered in a way that is not known")
    cosigned = None
    if "cosigned" in found:
        given = members(found["cosigned"], required=("checkpoint", "consistency"))
        cosigned = Cosigned(
            checkpoint=as_text(given["checkpoint"]), consistency=_hashes(given["consistency"])
        )
    return Header(
        form=form,
        authority=parse_authority(found["authority"]),
        origin=as_text(found["origin"]),
        checkpoint=as_text(found["checkpoint"]),
        cards=tuple(as_text(card) for card in as_list(found["cards"])),
        witnesses=tuple(as_text(card) for card in as_list(found["witnesses"])),
        filters=filters,
        start=start,
        end=end,
        cosigned=cosigned,
        left=_hashes(found.get("left", [])),
        right=_hashes(found.get("right", [])),
    )


def parse_line(line: bytes) -> Line:
    """Return the entry in a *line* of the form `entries`. Raises Malformed."""
    found = members(parse_json(line), required=("index", "entry", "proof"))
    index, leaf = as_integer(found["index"]), as_text(found["entry"])
    if not leaf.isascii():
        raise Malformed("an entry that is not ASCII")
    return Line(index=index, leaf=leaf.encode("ascii"), proof=_hashes(found["proof"]))


def parse_end(line: bytes) -> int | None:
    """Return how many entries the last *line* says there are; None if it is not the last line."""
    if not line.startswith(_END):
        return None
    digits = line.removeprefix(_END).rstrip(b"\n").removesuffix(b"}")
    return int(digits) if digits.isdigit() and int(digits) < INTEGER_LIMIT else None


def book_of(header: Header, trust: Trust) -> Book:
    """Return the cards of an export, as *trust* makes them authentic. Raises Malformed, Untrusted."""
    return Book.of([parse_card(raw.encode()) for raw in (*header.cards, *header.witnesses)], trust)


def logs_of(header: Header, book: Book) -> Mapping[str, LogIdentity]:
    """Return the logs of the authority of an export by origin, one for each epoch. Raises Untrusted."""
    logs = {card.log.origin: card.log for card in book.cards(header.authority)}
    if header.origin not in logs:
        raise Untrusted("no card of the authority names this log")
    return logs


@dataclass(frozen=True, slots=True)
class Witnessed:
    """A witness that signed a checkpoint of the log of *size* entries, by its clock at *time_s*.

    `authority` is None for a witness that the verifier named; `authentic`: its word counts.
    """

    name: str
    authority: AuthorityId | None
    size: int
    time_s: int
    authentic: bool


class Check:
    """Verifies an export line by line under the keys of its log, by epoch, which the caller trusts or not.

    Raises:
        Unsound: the checkpoint is not signed by the log, or does not cover what was exported.
    """

    def __init__(self, header: Header, logs: Mapping[str, LogIdentity]) -> None:
        self._header = header
        self.checkpoint = _verified(header.checkpoint, header.origin, logs)
        self.cosigned = None
        if header.cosigned is not None:  # perhaps of an epoch before
            text = header.cosigned.checkpoint
            self.cosigned = _verified(text, text.partition("\n")[0], logs)
        self.count = 0
        self._next = header.start
        if header.end > self.checkpoint.size:
            raise Unsound(Problem.PROOF, self.checkpoint.size, header.end)
        if header.cosigned is not None and self.cosigned is not None:
            _consistent(self.cosigned, self.checkpoint, header.cosigned.consistency)
        try:
            before = range_frontier(header.start, header.left) if header.form == LEAVES else None
        except NotIncluded:
            raise Unsound(Problem.PROOF, 0, header.start) from None
        self._leaves = Leaves(header.authority, before)

    def take_leaves(self, leaves: Sequence[bytes]) -> None:
        """Take the entries that follow, of the form `leaves`. Raises Unsound."""
        self.count += len(leaves)
        self._leaves.take(leaves)

    def take(self, line: Line) -> None:
        """Take the entry that follows, of the form `entries`. Raises Unsound."""
        expected, index = self._next, line.index
        if not self._header.filters and index != expected:
            raise Unsound(Problem.MISSING, expected)
        if not expected <= index < self._header.end:
            raise Unsound(Problem.ORDER, index)
        self._leaves.read([line.leaf], index)
        root = self.checkpoint.root
        try:
            verify_inclusion(leaf_hash(line.leaf), index, self.checkpoint.size, line.proof, root)
        except NotIncluded:
            raise Unsound(Problem.PROOF, index) from None
        self._next, self.count = index + 1, self.count + 1

    def witnessed(self, book: Book, trust: Trust) -> list[Witnessed]:
        """Return who of those in *book* and *trust* signed the checkpoints here. Raises Unsound."""
        found: list[Witnessed] = []
        for checkpoint in filter(None, (self.checkpoint, self.cosigned)):
            signatures = parse_note(checkpoint.text).signatures
            for name, authority, keys in _known(self._header.authority, book, trust):
                used = [
                    key
                    for key in keys
                    if any((one.name, one.key_id) == (key.name, key.key_id) for one in signatures)
                ]
                if used:
                    time_s = _time_s(checkpoint, signatures, keys)
                    authentic = authority is None or book.authentic(authority)
                    found.append(Witnessed(name, authority, checkpoint.size, time_s, authentic))
        return found

    def end(self, count: int | None) -> None:
        """Take the last line, which says how many entries there are; None: it is missing. Raises Unsound."""
        header = self._header
        whole = None if header.filters else header.end - header.start
        if count is None or count != self.count or (whole is not None and count != whole):
            raise Unsound(Problem.COUNT)
        if header.form == LEAVES:
            try:
                verify_range(self._leaves.frontier, self.checkpoint.size, header.right, self.checkpoint.root)
            except NotIncluded:
                raise Unsound(Problem.ROOT, header.start, header.end) from None


def _known(
    owner: AuthorityId, book: Book, trust: Trust
) -> Iterator[tuple[str, AuthorityId | None, tuple[VerifierKey, ...]]]:
    """Yield the witnesses whose keys are known, but for the log's owner's own."""
    for name, (authority, witness) in book.witnesses().items():
        if authority != owner:
            yield name, authority, witness.verifiers
    for trusted in trust.witnesses:
        yield trusted.name, None, trusted.keys


def _time_s(checkpoint: Checkpoint, signatures: Sequence[Signature], keys: Sequence[VerifierKey]) -> int:
    try:
        return max(verify_cosignature(checkpoint, signatures, key) for key in keys)
    except Untrusted:
        raise Unsound(Problem.COSIGNATURE, 0, checkpoint.size) from None


def _consistent(old: Checkpoint, new: Checkpoint, proof: Sequence[bytes]) -> None:
    try:
        verify_consistency(old.size, new.size, old.root, new.root, proof)
    except NotIncluded:
        raise Unsound(Problem.ROOT, 0, old.size) from None


def _verified(text: str, origin: str, logs: Mapping[str, LogIdentity]) -> Checkpoint:
    try:
        return verify_checkpoint(text, logs[origin])
    except (KeyError, Malformed, Untrusted):
        raise Unsound(Problem.SIGNATURE) from None


def _hashes(value: object) -> tuple[bytes, ...]:
    found = tuple(from_b64(each) for each in as_list(value))
    if any(len(digest) != HASH_BYTES for digest in found):
        raise Malformed("a hash of a proof has 32 bytes")
    return found
