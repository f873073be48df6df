"""A store in memory that keeps every promise of `ports.Store` about `record`, and can be crashed.

For models that need thousands of commits. Whatever is asked of rows is asked in plain Python, so that
it is a second opinion on the statements of the real store as well.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from gateway.core.entry import Draft, encode_entry
from gateway.core.errors import Stale, Unavailable
from gateway.core.event import FEED_TYPES, TELLINGS, Event, members_of, type_of
from gateway.core.ids import AuthorityId, CaseId, MessageId
from gateway.core.merkle import Frontier, consistency, inclusion, leaf_hash, root
from gateway.core.note import Checkpoint, sign_checkpoint
from gateway.core.proof import Receipt, encode_proof
from gateway.ports import (
    Change,
    Clock,
    Entropy,
    EntryFilter,
    EventPage,
    Logged,
    MessageFilter,
    Outgoing,
    Recorded,
    SignedHead,
)
from gateway.rows import (
    THIS_ENTRY,
    AlarmRow,
    AnnouncementRow,
    CaseRow,
    CosignedRow,
    CoverRow,
    Direction,
    EnvelopeRow,
    MessageRow,
    NoticeRow,
    ReceiptRow,
    Row,
    SubjectRow,
    UploadRow,
)
from gateway.store.outbox import GrowthSignal, OutboxSignal
from gateway.store.tables import KINDS
from tests.support.authorities import Party

Place = tuple[type[Row], tuple[Any, ...]]
REFUSALS = frozenset({"relay.refused", "relay.conflict"})


class Crashed(BaseException):
    """The process ended here; nothing catches it."""


@dataclass
class Disk:
    """What survives a crash: rows and log."""

    rows: dict[Place, Row] = field(default_factory=dict)
    log: list[Logged] = field(default_factory=list)
    drafts: list[Draft] = field(default_factory=list)
    frontier: Frontier = field(default_factory=Frontier)
    nodes: dict[tuple[int, int], bytes] = field(default_factory=dict)
    signed: Checkpoint | None = None
    checkpoints: dict[int, str] = field(default_factory=dict)


@dataclass
class MemoryStore:
    """The store of one process of *party*, over its *disk*.

    `probe` is told before and after each commit (`<change>.before_commit`, `.after_commit`); if it
    raises Crashed, the process is dead: what still runs of it reads and writes nothing more.
    """

    party: Party
    clock: Clock
    entropy: Entropy
    disk: Disk = field(default_factory=Disk)
    probe: Callable[[str], None] = lambda _: None
    dead: bool = False
    broken: str | None = None
    outbox: OutboxSignal = field(default_factory=OutboxSignal)
    growth: GrowthSignal = field(default_factory=GrowthSignal)

    async def record(self, change: Change) -> Recorded:
        if self.broken is not None:
            raise Unavailable(self.broken)
        moved = self._moved(change)  # Stale before anything is written
        self._reached(f"{change.name}.before_commit")
        for place, row in moved.items():
            if row is None:
                del self.rows[place]
            else:
                self.rows[place] = row
        entries = tuple(self._append(draft) for draft in change.entries)
        receipt = self._receipt(entries[0].index) if change.answers else None
        self.outbox.notify()
        if entries:
            self.growth.notify()
        self._reached(f"{change.name}.after_commit")
        return Recorded(entries=entries, receipt=receipt)

    def stop(self, reason: str) -> None:
        self.broken = reason

    def _reached(self, point: str) -> None:
        try:
            self.probe(point)
        except Crashed:
            self.dead = True
            raise

    @property
    def rows(self) -> dict[Place, Row]:
        if self.dead:
            raise Crashed
        return self.disk.rows

    def _moved(self, change: Change) -> dict[Place, Row | None]:
        moved: dict[Place, Row | None] = {}
        for row in change.puts:
            if getattr(row, "entry", None) == THIS_ENTRY:
                assert change.entries, "a row names the entry of a change that has none"
                row = replace(row, entry=len(self.disk.log))  # noqa: PLW2901 # type: ignore[call-arg]
            moved[self._free(row, moved)] = replace(row, version=row.version + 1)
        for row in change.deletes:
            moved[self._free(row, moved)] = None
        return moved

    def _free(self, row: Row, moved: dict[Place, Row | None]) -> Place:
        place = (type(row), KINDS[type(row)].key_of(row))
        assert place not in moved, "a change moves a row once"
        held = self.rows.get(place)
        if row.version != (0 if held is None else held.version):
            raise Stale("a row has moved")
        return place

    def _append(self, draft: Draft) -> Logged:
        disk = self.disk
        time_ms = max(self.clock.now_ms(), disk.log[-1].time_ms if disk.log else 0)
        leaf = encode_entry(draft, authority=self.party.id, entry_id=self.entropy.uuid4(), time_ms=time_ms)
        disk.log.append(Logged(index=len(disk.log), leaf=leaf, time_ms=time_ms))
        disk.drafts.append(draft)
        disk.frontier, made = disk.frontier.append([leaf_hash(leaf)])
        disk.nodes |= {(level, index): digest for level, index, digest in made}
        return disk.log[-1]

    def _receipt(self, index: int) -> Receipt:
        disk, size = self.disk, self.disk.frontier.size
        if disk.signed is None or disk.signed.size != size:
            top, time_ms = disk.frontier.root(), disk.log[-1].time_ms
            disk.signed = sign_checkpoint(self.party.origin, size, top, time_ms, self.party.keyring.log)
            disk.checkpoints[size] = disk.signed.text
        hashes = inclusion(index, size, lambda level, at: disk.nodes[level, at])
        return Receipt(disk.log[index].leaf, encode_proof(index, hashes, disk.signed.text))

    # -- rows

    def of(self, kind: type[Any], **members: object) -> list[Any]:
        """Return the rows of *kind* with these members, in the order of their entries."""
        found = [
            row
            for (kept, _), row in self.rows.items()
            if kept is kind and all(getattr(row, name) == value for name, value in members.items())
        ]
        return sorted(found, key=lambda row: getattr(row, "entry", 0))

    async def get(self, kind: type[Any], *key: str | int) -> Any:
        return self.rows.get((kind, key))

    async def get_many(self, kind: type[Any], keys: Sequence[tuple[Any, ...]]) -> dict[tuple[Any, ...], Any]:
        return {key: self.rows[kind, key] for key in keys if (kind, key) in self.rows}

    async def all(self, kind: type[Any]) -> list[Any]:
        return self.of(kind)

    async def messages(
        self, where: MessageFilter, *, cursor: int | None = None, limit: int = 50
    ) -> list[MessageRow]:
        wanted = {name: getattr(where, name) for name in ("direction", "peer", "kind", "case", "state")}
        found = self.of(MessageRow, **{name: value for name, value in wanted.items() if value is not None})
        return [row for row in reversed(found) if cursor is None or row.entry < cursor][:limit]

    async def cases(
        self,
        *,
        peer: AuthorityId | None = None,
        ticking: bool = False,
        cursor: CaseId | None = None,
        limit: int = 50,
    ) -> list[CaseRow]:
        found = self.of(CaseRow, **({} if peer is None else {"peer": peer}))
        wanted = [row for row in found if not ticking or row.clock_ms is not None]
        behind = [row for row in wanted if cursor is None or row.id > cursor]
        return sorted(behind, key=lambda row: (row.id, row.peer))[:limit]

    async def ticking(self, *, limit: int) -> list[CaseRow]:
        found = [row for row in self.of(CaseRow) if row.clock_ms is not None]
        return sorted(found, key=lambda row: (row.clock_ms, row.id))[:limit]

    async def unreceipted(self, code: str, *, limit: int) -> list[MessageRow]:
        told = {row.subject for row in self.of(AlarmRow, code=code)}
        found = [row for row in self.of(MessageRow, state="queued") if row.id not in told]
        return sorted(found, key=lambda row: row.created_ms)[:limit]

    async def messages_with_id(self, message: MessageId) -> list[MessageRow]:
        return self.of(MessageRow, id=message)

    async def elsewhere(self, keys: Sequence[tuple[Any, ...]]) -> dict[tuple[Any, ...], CaseId]:
        found = {}
        for pseudonym, peer, case in keys:
            rows = self.of(SubjectRow, pseudonym=pseudonym)
            others = [(row.peer, row.case) for row in rows if (row.peer, row.case) != (peer, case)]
            held: list[Any] = [self.rows[CaseRow, other] for other in others]
            pending = [row.id for row in held if row.state not in {"none", "closed"}]
            if pending:
                found[pseudonym, peer, case] = pending[0]
        return found

    async def subjects_of(self, peer: AuthorityId, case: CaseId) -> list[SubjectRow]:
        return self.of(SubjectRow, peer=peer, case=case)

    def _heads(self, peer: AuthorityId, now_ms: int) -> list[MessageRow]:
        heads: dict[CaseId, MessageRow] = {}
        for row in self.of(MessageRow, direction=Direction.OUT, peer=peer, state="queued"):
            heads.setdefault(row.case, row)
        return [row for row in heads.values() if row.next_ms <= now_ms]

    async def due(self, peer: AuthorityId, now_ms: int, *, limit: int) -> list[Outgoing]:
        return [
            Outgoing(message=row, envelope=self.rows[EnvelopeRow, (row.id, row.envelope_sha256)])  # type: ignore[arg-type]
            for row in self._heads(peer, now_ms)[:limit]
        ]

    async def overdue(self, peer: AuthorityId, now_ms: int, *, limit: int) -> list[MessageRow]:
        return [row for row in self._heads(peer, now_ms) if row.expires_ms <= now_ms][:limit]

    async def unresolved(self, peer: AuthorityId, now_ms: int, *, limit: int) -> list[MessageRow]:
        rows = self.of(MessageRow, direction=Direction.OUT, peer=peer, state="undetermined")
        return [row for row in rows if row.next_ms <= now_ms][:limit]

    async def queued_behind(self, peer: AuthorityId, case: CaseId, entry: int) -> list[MessageRow]:
        rows = self.of(MessageRow, direction=Direction.OUT, peer=peer, case=case)
        return [row for row in rows if row.entry > entry and row.state in {"queued", "held"}]

    async def notices_due(self, peer: AuthorityId, now_ms: int, *, limit: int) -> list[NoticeRow]:
        rows = self.of(NoticeRow, peer=peer, state="queued")
        return [row for row in rows if row.next_ms <= now_ms][:limit]

    async def next_due_ms(self, peer: AuthorityId) -> int | None:
        found: Iterable[MessageRow | NoticeRow] = (
            *self.of(MessageRow, direction=Direction.OUT, peer=peer, state="queued"),
            *self.of(MessageRow, direction=Direction.OUT, peer=peer, state="undetermined"),
            *self.of(NoticeRow, peer=peer, state="queued"),
        )
        return min((row.next_ms for row in found), default=None)

    async def envelopes(self, message: MessageId) -> list[EnvelopeRow]:
        return self.of(EnvelopeRow, message_id=message)

    async def receipts(self, peer: AuthorityId, message: MessageId) -> list[ReceiptRow]:
        return self.of(ReceiptRow, peer=peer, id=message)

    async def upload_bytes(self) -> int:
        return sum(row.blob_size_bytes for row in self.of(UploadRow) if row.claimed_by is None)

    async def unfinished_uploads(self, *, limit: int) -> list[UploadRow]:
        return [row for row in self.of(UploadRow) if row.blob_sha256 is None][:limit]

    async def uploads_of(self, messages: Sequence[MessageId]) -> list[UploadRow]:
        return [row for row in self.of(UploadRow) if row.claimed_by in messages]

    async def refusals_since(self, peer: AuthorityId, time_ms: int) -> int:
        pairs = zip(self.disk.drafts, self.disk.log, strict=True)
        return sum(d.event in REFUSALS and d.peer == peer and e.time_ms >= time_ms for d, e in pairs)

    # -- the log

    async def receipt(self, index: int) -> Receipt:
        return self._receipt(index)

    async def receipts_after(self, peer: AuthorityId, entry: int, *, limit: int) -> list[ReceiptRow]:
        return [row for row in self.of(ReceiptRow, peer=peer) if row.entry > entry][:limit]

    async def first_cover(self, origin: str, size: int) -> CoverRow | None:
        found = [row for row in self.of(CoverRow, origin=origin) if row.size >= size]
        return min(found, key=lambda row: row.size, default=None)

    async def first_cosigned(self, index: int) -> list[CosignedRow]:
        earliest: dict[str, CosignedRow] = {}
        for row in sorted(self.of(CosignedRow), key=lambda row: (row.size, row.witness)):
            if row.size > index:
                earliest.setdefault(row.witness, row)
        return list(earliest.values())

    async def newest_cosigned(self) -> list[CosignedRow]:
        rows = self.of(CosignedRow)
        largest = max((row.size for row in rows), default=None)
        return sorted((row for row in rows if row.size == largest), key=lambda row: row.witness)

    async def checkpoint(self) -> Checkpoint:
        self._receipt(0)
        assert self.disk.signed is not None
        return self.disk.signed

    async def checkpoint_at(self, size: int) -> str | None:
        return self.disk.checkpoints.get(size)

    async def checkpoints(self, *, cursor: int | None = None, limit: int) -> list[SignedHead]:
        sizes = sorted(
            (size for size in self.disk.checkpoints if cursor is None or size < cursor), reverse=True
        )
        return [SignedHead(size, self.disk.log[size - 1].time_ms) for size in sizes[:limit]]

    async def cosigned_between(self, least: int, most: int) -> list[CosignedRow]:
        rows = [row for row in self.of(CosignedRow) if least <= row.size <= most]
        return sorted(rows, key=lambda row: (row.size, row.witness))

    async def root(self, size: int) -> bytes:
        return root(leaf_hash(one.leaf) for one in self.disk.log[:size])

    async def consistency(self, old: int, new: int) -> list[bytes]:
        return consistency(old, new, lambda level, at: self.disk.nodes[level, at])

    async def inclusion(self, index: int, size: int) -> list[bytes]:
        return inclusion(index, size, lambda level, at: self.disk.nodes[level, at])

    async def entry(self, index: int) -> Logged | None:
        return self.disk.log[index] if index < len(self.disk.log) else None

    async def entries(
        self,
        where: EntryFilter,
        *,
        cursor: int | None = None,
        limit: int = 50,
        newest_first: bool = False,
    ) -> list[Logged]:
        wanted = {name: getattr(where, name) for name in ("peer", "message_id", "event")}
        found = list(zip(self.disk.drafts, self.disk.log, strict=True))[:: -1 if newest_first else 1]
        return [
            entry
            for draft, entry in found
            if (cursor is None or (entry.index < cursor if newest_first else entry.index > cursor))
            and all(value is None or getattr(draft, name) == value for name, value in wanted.items())
        ][:limit]

    # -- events and webhooks

    async def log_size(self) -> int:
        return len(self.disk.log)

    async def events(self, *, after: int, limit: int, types: frozenset[str] = FEED_TYPES) -> EventPage:
        found = [event for index in range(after + 1, len(self.disk.log)) if (event := self._told(index))]
        told = [event for event in found if event.type in types][:limit]
        seen = told[-1].index if len(told) == limit else len(self.disk.log) - 1
        return EventPage(events=tuple(told), seen=max(seen, after), size=len(self.disk.log))

    async def event(self, index: int) -> Event | None:
        return self._told(index)

    def _told(self, index: int) -> Event | None:
        draft, logged = self.disk.drafts[index], self.disk.log[index]
        members = members_of(logged.leaf)
        told = type_of(draft.event, members)
        if told is None:
            return None
        way = TELLINGS[draft.event].direction
        rows = self.of(MessageRow, peer=draft.peer, id=draft.message_id)
        row = next((row for row in rows if way in {None, row.direction}), None)
        return Event(
            index=index,
            entry_id=members["entry_id"],
            type=told,
            time_ms=logged.time_ms,
            peer=draft.peer,
            message=draft.message_id,
            case=CaseId(members["case"]) if "case" in members else row and row.case,
            kind=row and row.kind,
        )

    async def pending(self, webhook: str, *, limit: int) -> list[AnnouncementRow]:
        return self.of(AnnouncementRow, webhook=webhook, state="pending")[:limit]

    async def announcements(
        self, webhook: str, *, cursor: int | None = None, limit: int = 50
    ) -> list[AnnouncementRow]:
        found = reversed(self.of(AnnouncementRow, webhook=webhook))
        return [row for row in found if cursor is None or row.entry < cursor][:limit]

    async def announced_before(self, time_ms: int, *, limit: int) -> list[AnnouncementRow]:
        found = [row for row in self.of(AnnouncementRow) if row.state != "pending"]
        return [row for row in found if row.changed_ms < time_ms][:limit]

    # -- processes

    async def own_route(self, _peer: str) -> bool:
        return True

    def on_outbox_change(self, tell: Callable[[], None]) -> None:
        self.outbox.listen(tell)

    def on_growth(self, tell: Callable[[], None]) -> None:
        self.growth.listen(tell)
