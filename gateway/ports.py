"""What the doors and workers need of the outside: a store, a clock, dice.

State crosses this border as the rows of `gateway.rows`. A `Change` is what one decision writes, in
one transaction with its audit entries; the store compares every version first and raises `Stale` to
that caller alone when a row has moved.
"""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from gateway.core.entry import Draft
from gateway.core.event import FEED_TYPES, Event
from gateway.core.ids import AuthorityId, CaseId, MessageId
from gateway.core.note import Checkpoint
from gateway.core.proof import Receipt
from gateway.core.soundness import Unsound
from gateway.rows import (
    AnnouncementRow,
    AnyRow,
    BlobRow,
    CaseRow,
    CosignedRow,
    CoverRow,
    DetailRow,
    Direction,
    EnvelopeRow,
    IdempotencyRow,
    MessageRow,
    NoticeRow,
    ReceiptRow,
    Row,
    SubjectRow,
    UploadRow,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What one decision writes in one transaction.

    `name` is for fail-points and metrics (`submit`, `receive`, `settle`, …). `answers` asks
    for a checkpoint signed in the same transaction, and a receipt for the first entry. `shreds` asks
    the database to leave nothing of what is deleted where it was.
    """

    name: str
    entries: tuple[Draft, ...] = ()
    puts: tuple[Row, ...] = ()
    deletes: tuple[Row, ...] = ()
    answers: bool = False
    shreds: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Logged:
    """An audit entry that is durable: its index (from 0), exact bytes and time."""

    index: int
    leaf: bytes
    time_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """What a change became: its entries, and the receipt if it asked for one."""

    entries: tuple[Logged, ...]
    receipt: Receipt | None = None


@dataclass(frozen=True, slots=True)
class SignedHead:
    """A checkpoint of the own log: its size, and the time of the last entry that it covers."""

    size: int
    time_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageFilter:
    """Which messages a list shows; None means any."""

    direction: Direction | None = None
    peer: AuthorityId | None = None
    kind: str | None = None
    case: CaseId | None = None
    state: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryFilter:
    """Which audit entries a list shows; times are inclusive bounds in milliseconds."""

    peer: AuthorityId | None = None
    message_id: MessageId | None = None
    event: str | None = None
    after_ms: int | None = None
    before_ms: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EventPage:
    """Events in the order of the log, which has *size* entries and was looked at up to and with *seen*."""

    events: tuple[Event, ...]
    seen: int
    size: int

    @property
    def more(self) -> bool:
        """Whether there are entries that were not looked at."""
        return self.seen < self.size - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """A message to post now, with the envelope to post."""

    message: MessageRow
    envelope: EnvelopeRow


@dataclass(frozen=True, slots=True, kw_only=True)
class Backlog:
    """What waits here, counted.

    Attributes:
        queued, held, undetermined: outgoing messages in these states.
        oldest_ms: since when the oldest queued message waits; None if there is none.
        notices: later receipts that wait for a peer.
        alarms: what an operator must be told.
        log_size: entries of the audit log.
    """

    queued: int
    oldest_ms: int | None
    held: int
    undetermined: int
    notices: int
    alarms: int
    log_size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Examined:
    """What examining the own log found: the newest checkpoint (text and size), the first thing wrong."""

    checkpoint: str
    size: int
    fault: Unsound | None


class RowSource(Protocol):
    """Where rows are read."""

    async def get(self, kind: type[AnyRow], *key: str | int) -> AnyRow | None:
        """Return the row under *key* (parts in the order of its docstring), or None."""
        ...

    async def get_many(
        self, kind: type[AnyRow], keys: Sequence[tuple[str | int, ...]]
    ) -> dict[tuple[str | int, ...], AnyRow]:
        """Return the rows that exist among *keys*, by key, in one query."""
        ...

    async def all(self, kind: type[AnyRow]) -> list[AnyRow]:
        """Return every row of a small table (peers, cards, current profiles, tokens, alarms)."""
        ...


class Store(RowSource, Protocol):
    """The rows and the audit log of one authority; the only memory that survives."""

    # -- writing
    async def record(self, change: Change) -> Recorded:
        """Return once *change* is durable; others may share its transaction.

        Cancelling drops the waiter, not the rows.

        Raises:
            Stale: a row's version is not the one it was judged on; nothing was written.
            Unavailable: the log cannot be written now; nothing was, or nobody can know.
        """
        ...

    def stop(self, reason: str) -> None:
        """Write and sign nothing more in this process, for *reason*: it is not what it takes itself for."""
        ...

    # -- reading rows
    async def messages(
        self, where: MessageFilter, *, cursor: int | None = None, limit: int = 50
    ) -> list[MessageRow]:
        """Return messages newest first; *cursor* is the `entry` of the last one seen."""
        ...

    async def messages_with_id(self, message: MessageId) -> list[MessageRow]:
        """Return every message, of any peer and direction, with this id."""
        ...

    async def cases(
        self,
        *,
        peer: AuthorityId | None = None,
        ticking: bool = False,
        cursor: CaseId | None = None,
        limit: int = 50,
    ) -> list[CaseRow]:
        """Return cases by id: all, those of one peer, those with a `clock_ms`."""
        ...

    async def ticking(self, *, limit: int) -> list[CaseRow]:
        """Return the cases with a `clock_ms`, the earliest first."""
        ...

    async def unreceipted(self, code: str, *, limit: int) -> list[MessageRow]:
        """Return the queued messages about which no alarm *code* stands, by when they were signed."""
        ...

    async def elsewhere(
        self, keys: Sequence[tuple[str, AuthorityId, CaseId]]
    ) -> dict[tuple[str, AuthorityId, CaseId], CaseId]:
        """Return another pending case of the same person, for those of *keys* that have one.

        A key is that of a SubjectRow, stored or not. Pending is a case that is not closed, and in
        which something counts. One query.
        """
        ...

    async def subjects_of(self, peer: AuthorityId, case: CaseId) -> list[SubjectRow]:
        """Return the persons of a case."""
        ...

    async def due(self, peer: AuthorityId, now_ms: int, *, limit: int) -> list[Outgoing]:
        """Return the queued messages to *peer* that may be posted now, oldest first.

        At most one of each case: the first that has no final answer, and only when its
        `next_ms` has come. Those past `expires_ms` are among them, to be closed.
        """
        ...

    async def overdue(self, peer: AuthorityId, now_ms: int, *, limit: int) -> list[MessageRow]:
        """Return those of `due` that are past their `expires_ms`, without their envelopes."""
        ...

    async def unresolved(self, peer: AuthorityId, now_ms: int, *, limit: int) -> list[MessageRow]:
        """Return the undetermined messages to *peer* whose `next_ms` has come."""
        ...

    async def queued_behind(self, peer: AuthorityId, case: CaseId, entry: int) -> list[MessageRow]:
        """Return the queued or held outgoing messages of a case recorded after *entry*."""
        ...

    async def notices_due(self, peer: AuthorityId, now_ms: int, *, limit: int) -> list[NoticeRow]:
        """Return later receipts to deliver to *peer* now, oldest first."""
        ...

    async def next_due_ms(self, peer: AuthorityId) -> int | None:
        """Return when the next message or notice for *peer* is due, or None."""
        ...

    async def queue_depth(self) -> dict[AuthorityId, int]:
        """Return the number of queued messages and notices by peer."""
        ...

    async def backlog(self) -> Backlog:
        """Return what waits here, counted, in one query."""
        ...

    async def message_counts(self) -> Mapping[str, int]:
        """Return how many messages are in each state about which somebody may have to do something.

        Those that are accepted, taken over or cancelled are not among them. One query.
        """
        ...

    async def envelopes(self, message: MessageId) -> list[EnvelopeRow]:
        """Return every envelope made for an outgoing message."""
        ...

    async def receipts(self, peer: AuthorityId, message: MessageId) -> list[ReceiptRow]:
        """Return the peer's receipts about an outgoing message, oldest first."""
        ...

    async def uploads_of(self, messages: Sequence[MessageId]) -> list[UploadRow]:
        """Return the uploads that these outgoing messages carry, in one query."""
        ...

    async def unclaimed_bytes(self) -> Mapping[AuthorityId, int]:
        """Return the bytes of blobs that no envelope claimed, there or announced, by peer."""
        ...

    async def arriving_blobs(self, *, limit: int) -> list[BlobRow]:
        """Return blobs that are not whole."""
        ...

    async def upload_bytes(self) -> int:
        """Return the bytes, sealed, of uploads that no message carries: there, or announced."""
        ...

    async def unfinished_uploads(self, *, limit: int) -> list[UploadRow]:
        """Return uploads that are not whole."""
        ...

    async def unclaimed_before(self, time_ms: int, *, limit: int) -> list[BlobRow | UploadRow]:
        """Return blobs and uploads stored before *time_ms* that nothing claimed."""
        ...

    async def answers_before(self, time_ms: int, *, limit: int) -> list[IdempotencyRow]:
        """Return stored answers to keyed requests from before *time_ms*, the oldest first."""
        ...

    async def refusals_since(self, peer: AuthorityId, time_ms: int) -> int:
        """Return how many signed refusals went to *peer* since *time_ms*."""
        ...

    # -- the audit log
    async def entries(
        self,
        where: EntryFilter,
        *,
        cursor: int | None = None,
        limit: int = 50,
        newest_first: bool = False,
    ) -> list[Logged]:
        """Return entries oldest first, or newest first, from behind index *cursor* in that order."""
        ...

    async def entry(self, index: int) -> Logged | None:
        """Return one entry."""
        ...

    async def receipt(self, index: int) -> Receipt:
        """Return entry *index* with a proof to the newest signed checkpoint that covers it."""
        ...

    async def checkpoint(self) -> Checkpoint:
        """Return the newest signed checkpoint of the own log, signing one if there is none newer."""
        ...

    async def consistency(self, old: int, new: int) -> list[bytes]:
        """Return the RFC 6962 consistency proof between two sizes. Raises Misuse."""
        ...

    async def inclusion(self, index: int, size: int) -> list[bytes]:
        """Return the inclusion proof of entry *index* in the tree of *size*. Raises Misuse."""
        ...

    async def inclusions(self, indexes: Sequence[int], size: int) -> list[list[bytes]]:
        """Return the inclusion proof of each of *indexes*, which the tree of *size* has."""
        ...

    async def range_proof(self, start: int, end: int, size: int) -> tuple[list[bytes], list[bytes]]:
        """Return what proves the entries [start, end) in the tree of *size*, left and right of them.

        See `core.merkle.range_nodes`. Raises Misuse.
        """
        ...

    async def details(self, *, after: int, limit: int) -> list[tuple[DetailRow, Logged]]:
        """Return details with the entries that commit to them, after entry *after*, oldest first."""
        ...

    async def root(self, size: int) -> bytes:
        """Return the root of the first *size* entries, from the tree that is stored. Raises Misuse."""
        ...

    async def checkpoint_at(self, size: int) -> str | None:
        """Return the checkpoint that was signed at *size*, if one was."""
        ...

    async def checkpoints(self, *, cursor: int | None = None, limit: int) -> list[SignedHead]:
        """Return the signed checkpoints below size *cursor*, the largest first."""
        ...

    async def cosigned_between(self, least: int, most: int) -> list[CosignedRow]:
        """Return the cosignatures under checkpoints of the sizes *least* to *most*, by size."""
        ...

    async def first_cosigned(self, index: int) -> list[CosignedRow]:
        """Return of each witness the earliest cosignature that covers entry *index*, by size."""
        ...

    async def newest_cosigned(self) -> list[CosignedRow]:
        """Return the cosignatures at hand under the largest checkpoint that has any."""
        ...

    async def first_cover(self, origin: str, size: int) -> CoverRow | None:
        """Return the smallest cosigned checkpoint of a peer's log, of *size* or more, that is held."""
        ...

    async def receipts_after(self, peer: AuthorityId, entry: int, *, limit: int) -> list[ReceiptRow]:
        """Return receipts of *peer* that our entries after *entry* recorded, oldest first."""
        ...

    def leaves(self, start: int, end: int) -> AsyncIterator[Logged]:
        """Yield the entries from *start* up to, not with, *end*: for verifying the log."""
        ...

    async def examine(self, *, every_signature: bool = False) -> Examined:
        """Examine the whole log, row by row (core.soundness).

        The signature of the newest checkpoint is verified, and those of all if something is wrong or
        *every_signature* is wanted: each takes as long as a hundred entries.
        """
        ...

    # -- events and webhooks
    async def log_size(self) -> int:
        """Return how many entries the log has."""
        ...

    async def events(self, *, after: int, limit: int, types: frozenset[str] = FEED_TYPES) -> EventPage:
        """Return at most *limit* events of *types* after the entry *after*, -1 for all.

        One question looks at a bounded part of the log: `seen` is how far, with events or without.
        """
        ...

    async def event(self, index: int) -> Event | None:
        """Return what the entry *index* is told as, to a feed or a webhook; None if it is internal."""
        ...

    def on_growth(self, tell: Callable[[], None]) -> None:
        """Have *tell* called when this process has added to the log: a hint, as others add to it too."""
        ...

    async def pending(self, webhook: str, *, limit: int) -> list[AnnouncementRow]:
        """Return what is on its way to *webhook*, oldest event first."""
        ...

    async def announcements(
        self, webhook: str, *, cursor: int | None = None, limit: int = 50
    ) -> list[AnnouncementRow]:
        """Return what went to *webhook*, newest event first; *cursor* is the `entry` of the last one seen."""
        ...

    async def announced_before(self, time_ms: int, *, limit: int) -> list[AnnouncementRow]:
        """Return what is not pending, and was last changed before *time_ms*, to any webhook."""
        ...

    # -- processes
    async def own_route(self, peer: str) -> bool:
        """Return whether this process is the one that delivers to *peer*, or another receiver, now.

        One process of an authority serves one receiver at a time; on SQLite that is always this
        one. To be asked again before each round: the hold ends with the connection.
        """
        ...

    def on_outbox_change(self, tell: Callable[[], None]) -> None:
        """Have *tell* called when something may have become due: a hint, before callers are answered."""
        ...


class Clock(Protocol):
    """The time of day."""

    def now_ms(self) -> int:
        """Return UTC in milliseconds since 1970."""
        ...


class Steady(Protocol):
    """A clock that nobody sets: it counts on from when the machine was started, asleep or not."""

    def boot_ms(self) -> int:
        """Return the milliseconds since then."""
        ...


class Entropy(Protocol):
    """Ids and jitter; never nonces or keys, which come from `keys`."""

    def uuid4(self) -> str:
        """Return a UUID version 4 from the operating system's randomness."""
        ...

    def jitter(self) -> float:
        """Return a number in [0, 1)."""
        ...


class Probe(Protocol):
    """Told when a named fail-point is reached, so that a test can kill the process there.

    Points: `<change name>.before_commit`, `<change name>.after_commit` (in the committer),
    `courier.before_post`, `courier.after_post`, `herald.before_post`, `herald.after_post`,
    `door.before_answer`.
    """

    def reached(self, point: str) -> None:
        """Note that *point* was reached."""
        ...


class Guard(Protocol):
    """Asked before each commit and each signature whether there may be one."""

    def objection(self) -> str | None:
        """Return why nothing may be recorded or signed now; None if all is well. Never waits."""
        ...


class Meter(Protocol):
    """Told what the store does, for the operator's figures."""

    def committed(self, outcome: str, took_s: float) -> None:
        """Note a transaction that took so long: `ok`, `refused` (a row), `failed` or `unknown`."""
        ...

    def recorded(self, change: Change) -> None:
        """Note that *change* is durable."""
        ...


@dataclass(frozen=True, slots=True)
class Unmetered:
    """The meter of a store whose figures nobody wants."""

    def committed(self, outcome: str, took_s: float) -> None:
        """Do nothing."""

    def recorded(self, change: Change) -> None:
        """Do nothing."""


@dataclass(frozen=True, slots=True)
class Unguarded:
    """The guard of a store that may always write."""

    def objection(self) -> str | None:
        """Object to nothing."""
        return None


@dataclass(frozen=True, slots=True)
class Unprobed:
    """The probe of production: nothing happens at a fail-point."""

    def reached(self, point: str) -> None:
        """Do nothing."""
