"""What is asked of the rows: one query for each question."""

from collections.abc import Mapping, Sequence

from gateway.core.ids import AuthorityId, CaseId, MessageId
from gateway.ports import Backlog, MessageFilter, Outgoing
from gateway.rows import (
    AnyRow,
    BlobRow,
    CaseRow,
    EnvelopeRow,
    IdempotencyRow,
    MessageRow,
    NoticeRow,
    ReceiptRow,
    SubjectRow,
    UploadRow,
)
from gateway.store.database import Database
from gateway.store.questions import (
    ARRIVING_BLOBS,
    BACKLOG,
    DUE,
    ELSEWHERE,
    ENVELOPES,
    MESSAGE_COUNTS,
    MESSAGES_WITH_ID,
    NEXT_DUE,
    NOTICES_DUE,
    OVERDUE,
    QUEUE_DEPTH,
    QUEUED_BEHIND,
    RECEIPTS,
    REFUSALS_SINCE,
    STORED_ANSWERS,
    SUBJECTS_OF,
    TICKING,
    UNCLAIMED_BLOBS,
    UNCLAIMED_BYTES,
    UNCLAIMED_UPLOADS,
    UNFINISHED_UPLOADS,
    UNRECEIPTED,
    UNRESOLVED,
    UPLOAD_BYTES,
    UPLOADS_OF,
    every,
    list_of_cases,
    list_of_messages,
)
from gateway.store.statements import Statement, by_key
from gateway.store.tables import KINDS, Kind

_MOST = frozenset({None, "accepted", "handed_over"})
_MESSAGE, _ENVELOPE = KINDS[MessageRow], KINDS[EnvelopeRow]


class RowReads:
    """The reading half of `ports.Store`, but for the audit log."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, kind: type[AnyRow], *key: str | int) -> AnyRow | None:
        """Return the row under *key*, or None."""
        return (await self.get_many(kind, [key])).get(key)

    async def get_many(
        self, kind: type[AnyRow], keys: Sequence[tuple[str | int, ...]]
    ) -> dict[tuple[str | int, ...], AnyRow]:
        """Return the rows that exist among *keys*, by key, in one query."""
        how: Kind[AnyRow] = KINDS[kind]
        found = [how.build(columns) for columns in await self._database.find(by_key(how), keys)]
        return {how.key_of(row): row for row in found}

    async def all(self, kind: type[AnyRow]) -> list[AnyRow]:
        """Return every row of a small table, by key."""
        how: Kind[AnyRow] = KINDS[kind]
        return [how.build(columns) for columns in await self._database.fetch(every(how))]

    async def messages(
        self, where: MessageFilter, *, cursor: int | None = None, limit: int = 50
    ) -> list[MessageRow]:
        """Return messages newest first; *cursor* is the `entry` of the last one seen."""
        wanted = filters(where)
        statement = list_of_messages(tuple(wanted), paged=cursor is not None)
        return await self._rows(MessageRow, statement, **wanted, cursor=cursor, limit=limit)

    async def messages_with_id(self, message: MessageId) -> list[MessageRow]:
        """Return every message, of any peer and direction, with this id."""
        return await self._rows(MessageRow, MESSAGES_WITH_ID, id=message)

    async def cases(
        self,
        *,
        peer: AuthorityId | None = None,
        ticking: bool = False,
        cursor: CaseId | None = None,
        limit: int = 50,
    ) -> list[CaseRow]:
        """Return cases by id; some more than *limit* where peers share the last id."""
        statement = list_of_cases(of_peer=peer is not None, paged=cursor is not None, ticking=ticking)
        return await self._rows(CaseRow, statement, peer=peer, cursor=cursor, limit=limit)

    async def elsewhere(
        self, keys: Sequence[tuple[str, AuthorityId, CaseId]]
    ) -> dict[tuple[str, AuthorityId, CaseId], CaseId]:
        """Return another pending case of the same person, for those of *keys* that have one."""
        found = await self._database.find(ELSEWHERE, keys)
        return {(pseudonym, peer, case): other for pseudonym, peer, case, other in map(tuple, found) if other}

    async def subjects_of(self, peer: AuthorityId, case: CaseId) -> list[SubjectRow]:
        """Return the persons of a case."""
        return await self._rows(SubjectRow, SUBJECTS_OF, peer=peer, case=case)

    async def ticking(self, *, limit: int) -> list[CaseRow]:
        """Return the cases with a `clock_ms`, the earliest first."""
        return await self._rows(CaseRow, TICKING, limit=limit)

    async def unreceipted(self, code: str, *, limit: int) -> list[MessageRow]:
        """Return the queued messages without an alarm *code*, by when they were signed."""
        return await self._rows(MessageRow, UNRECEIPTED, code=code, limit=limit)

    async def due(self, peer: AuthorityId, now_ms: int, *, limit: int) -> list[Outgoing]:
        """Return the first queued message of each case that may be posted now, oldest first."""
        found = await self._database.fetch(DUE, peer=peer, now=now_ms, limit=limit)
        width = len(_MESSAGE.names)
        return [
            Outgoing(message=_MESSAGE.build(columns[:width]), envelope=_ENVELOPE.build(columns[width:]))
            for columns in map(tuple, found)
        ]

    async def overdue(self, peer: AuthorityId, now_ms: int, *, limit: int) -> list[MessageRow]:
        """Return those of `due` that have expired, without their envelopes."""
        return await self._rows(MessageRow, OVERDUE, peer=peer, now=now_ms, limit=limit)

    async def unresolved(self, peer: AuthorityId, now_ms: int, *, limit: int) -> list[MessageRow]:
        """Return the undetermined messages to *peer* whose `next_ms` has come."""
        return await self._rows(MessageRow, UNRESOLVED, peer=peer, now=now_ms, limit=limit)

    async def queued_behind(self, peer: AuthorityId, case: CaseId, entry: int) -> list[MessageRow]:
        """Return the queued or held outgoing messages of a case recorded after *entry*."""
        return await self._rows(MessageRow, QUEUED_BEHIND, peer=peer, case=case, entry=entry)

    async def notices_due(self, peer: AuthorityId, now_ms: int, *, limit: int) -> list[NoticeRow]:
        """Return later receipts to deliver to *peer* now, oldest first."""
        return await self._rows(NoticeRow, NOTICES_DUE, peer=peer, now=now_ms, limit=limit)

    async def next_due_ms(self, peer: AuthorityId) -> int | None:
        """Return when the next message or notice for *peer* is due, or None."""
        next_ms: int | None = (await self._database.fetch(NEXT_DUE, peer=peer))[0][0]
        return next_ms

    async def queue_depth(self) -> dict[AuthorityId, int]:
        """Return the number of queued messages and notices by peer."""
        depth: dict[AuthorityId, int] = {}
        for peer, count in await self._database.fetch(QUEUE_DEPTH):
            depth[peer] = depth.get(peer, 0) + count
        return depth

    async def backlog(self) -> Backlog:
        """Return what waits here, counted."""
        ((queued, oldest_ms, held, undetermined, notices, alarms, log_size),) = await self._database.fetch(
            BACKLOG
        )
        return Backlog(
            queued=queued,
            oldest_ms=oldest_ms,
            held=held,
            undetermined=undetermined,
            notices=notices,
            alarms=alarms,
            log_size=log_size,
        )

    async def message_counts(self) -> Mapping[str, int]:
        """Return how many messages are in each state about which somebody may have to do something."""
        found = await self._database.fetch(MESSAGE_COUNTS)
        return {str(state): int(count) for state, count in found}

    async def envelopes(self, message: MessageId) -> list[EnvelopeRow]:
        """Return every envelope made for an outgoing message."""
        return await self._rows(EnvelopeRow, ENVELOPES, message_id=message)

    async def receipts(self, peer: AuthorityId, message: MessageId) -> list[ReceiptRow]:
        """Return the peer's receipts about an outgoing message, oldest first."""
        return await self._rows(ReceiptRow, RECEIPTS, peer=peer, id=message)

    async def uploads_of(self, messages: Sequence[MessageId]) -> list[UploadRow]:
        """Return the uploads that these outgoing messages carry, in one query."""
        found = await self._database.find(UPLOADS_OF, [(message,) for message in messages])
        return [KINDS[UploadRow].build(columns) for columns in found]

    async def unclaimed_bytes(self) -> Mapping[AuthorityId, int]:
        """Return the bytes of blobs that no envelope claimed, there or announced, by peer."""
        found = await self._database.fetch(UNCLAIMED_BYTES)
        return {peer: int(size_bytes) for peer, size_bytes in found}

    async def arriving_blobs(self, *, limit: int) -> list[BlobRow]:
        """Return blobs that are not whole."""
        return await self._rows(BlobRow, ARRIVING_BLOBS, limit=limit)

    async def upload_bytes(self) -> int:
        """Return the bytes, sealed, of uploads that no message carries: there, or announced."""
        return int((await self._database.fetch(UPLOAD_BYTES))[0][0])

    async def unfinished_uploads(self, *, limit: int) -> list[UploadRow]:
        """Return uploads that are not whole."""
        return await self._rows(UploadRow, UNFINISHED_UPLOADS, limit=limit)

    async def unclaimed_before(self, time_ms: int, *, limit: int) -> list[BlobRow | UploadRow]:
        """Return blobs and uploads stored before *time_ms* that nothing claimed."""
        found: list[BlobRow | UploadRow] = []
        found += await self._rows(BlobRow, UNCLAIMED_BLOBS, now=time_ms, limit=limit)
        if len(found) < limit:
            found += await self._rows(UploadRow, UNCLAIMED_UPLOADS, now=time_ms, limit=limit - len(found))
        return found

    async def answers_before(self, time_ms: int, *, limit: int) -> list[IdempotencyRow]:
        """Return stored answers to keyed requests from before *time_ms*, the oldest first."""
        return await self._rows(IdempotencyRow, STORED_ANSWERS, now=time_ms, limit=limit)

    async def refusals_since(self, peer: AuthorityId, time_ms: int) -> int:
        """Return how many signed refusals went to *peer* since *time_ms*."""
        return int((await self._database.fetch(REFUSALS_SINCE, peer=peer, now=time_ms))[0][0])

    async def _rows(self, kind: type[AnyRow], statement: Statement, /, **values: object) -> list[AnyRow]:
        how: Kind[AnyRow] = KINDS[kind]
        return [how.build(columns) for columns in await self._database.fetch(statement, **values)]


def filters(where: MessageFilter) -> Mapping[str, object]:
    """Return the fields of *where* that are set, the one first that the fewest messages share.

    Nearly every message comes into one of the states in `_MOST` in the end; few are in another one.
    """
    names = ("case", "kind", "peer", "state", "direction")
    if where.state not in _MOST:
        names = ("case", "state", "kind", "peer", "direction")
    found = {name: getattr(where, name) for name in names}
    return {name: value for name, value in found.items() if value is not None}
