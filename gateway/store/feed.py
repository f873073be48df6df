"""What is asked of the log for those to whom it is told as events, and of webhooks."""

from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa

from gateway.core.event import FEED_TYPES, TELLINGS, TOLD, Event, members_of, type_of
from gateway.core.ids import AuthorityId, CaseId, MessageId
from gateway.ports import EventPage
from gateway.rows import AnnouncementRow
from gateway.store.database import Database
from gateway.store.statements import Lookup, Statement, limited, named
from gateway.store.tables import KINDS, announcements, entries, equals, head, messages

WINDOW = 2_000
"""Entries that one question looks at: so many of them may be internal."""

_COLUMNS = (
    entries.c.index,
    entries.c.entry_id,
    entries.c.event,
    entries.c.time_ms,
    entries.c.peer,
    entries.c.message_id,
    entries.c.leaf,
)
_AFTER = sa.bindparam("after", type_=sa.BigInteger)
_ANNOUNCEMENT = KINDS[AnnouncementRow]

LOG_SIZE = Statement(sa.select(head.c.size))
TOLD_ENTRIES = limited(
    sa.select(*_COLUMNS)
    .where(
        entries.c.index > _AFTER,
        entries.c.index <= sa.bindparam("until", type_=sa.BigInteger),
        entries.c.event.in_([sa.literal_column(f"'{event}'") for event in sorted(TOLD)]),
    )
    .order_by(entries.c.index)
)
ONE_ENTRY = Statement(sa.select(*_COLUMNS).where(named(entries.c.index)))
SUBJECTS = Lookup(
    (messages.c.id, messages.c.peer, messages.c.direction, messages.c.case, messages.c.kind),
    (messages.c.id, messages.c.peer),
)
PENDING = limited(
    sa.select(announcements)
    .where(equals(announcements.c.state, "pending"), named(announcements.c.webhook))
    .order_by(announcements.c.entry)
)
DONE_BEFORE = limited(
    sa.select(announcements)
    .where(
        announcements.c.changed_ms < sa.bindparam("now", type_=sa.BigInteger),
        announcements.c.state != sa.literal_column("'pending'"),
    )
    .order_by(announcements.c.changed_ms)
)


def list_of_announcements(*, paged: bool) -> Statement:
    """Return the SELECT of what went to a webhook, newest event first."""
    found = sa.select(announcements).where(named(announcements.c.webhook))
    if paged:
        found = found.where(announcements.c.entry < sa.bindparam("cursor", type_=sa.BigInteger))
    return limited(found.order_by(announcements.c.entry.desc()))


ANNOUNCEMENTS, ANNOUNCEMENTS_BEFORE = list_of_announcements(paged=False), list_of_announcements(paged=True)


class FeedReads:
    """The reading half of `ports.Store` for events and webhooks."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def log_size(self) -> int:
        """Return how many entries the log has."""
        return int((await self._database.fetch(LOG_SIZE))[0][0])

    async def events(self, *, after: int, limit: int, types: frozenset[str] = FEED_TYPES) -> EventPage:
        """Return events of *types* after the entry *after*, and how far the log was looked at."""
        # Read first: what is committed by now is there when the entries are read.
        size = await self.log_size()
        until = min(size - 1, after + WINDOW)
        found = await self._database.fetch(TOLD_ENTRIES, after=after, until=until, limit=limit)
        seen = found[-1][0] if len(found) == limit else max(until, after)
        wanted = [row for row in found if TELLINGS[row[2]].every & types]
        told = [event for event in await self._told(wanted) if event.type in types]
        return EventPage(events=tuple(told), seen=seen, size=size)

    async def event(self, index: int) -> Event | None:
        """Return what the entry *index* is told as; None if it is internal."""
        found = await self._told(await self._database.fetch(ONE_ENTRY, index=index))
        return found[0] if found else None

    async def pending(self, webhook: str, *, limit: int) -> list[AnnouncementRow]:
        """Return what is on its way to *webhook*, oldest event first."""
        found = await self._database.fetch(PENDING, webhook=webhook, limit=limit)
        return [_ANNOUNCEMENT.build(columns) for columns in found]

    async def announcements(
        self, webhook: str, *, cursor: int | None = None, limit: int = 50
    ) -> list[AnnouncementRow]:
        """Return what went to *webhook*, newest event first; *cursor* is the last entry seen."""
        statement = ANNOUNCEMENTS if cursor is None else ANNOUNCEMENTS_BEFORE
        found = await self._database.fetch(statement, webhook=webhook, cursor=cursor, limit=limit)
        return [_ANNOUNCEMENT.build(columns) for columns in found]

    async def announced_before(self, time_ms: int, *, limit: int) -> list[AnnouncementRow]:
        """Return what is not pending and was last changed before *time_ms*."""
        found = await self._database.fetch(DONE_BEFORE, now=time_ms, limit=limit)
        return [_ANNOUNCEMENT.build(columns) for columns in found]

    async def _told(self, found: list[Any]) -> list[Event]:
        subjects = await self._subjects((row[5], row[4]) for row in found if row[5] is not None)
        return [event for row in found if (event := _event(row, subjects)) is not None]

    async def _subjects(self, keys: Iterable[tuple[object, ...]]) -> dict[tuple[str, str, str | None], Any]:
        """Return case and kind of messages, by id, peer and direction; by no direction, of either."""
        asked = list(dict.fromkeys(keys))
        if not asked:
            return {}
        found: dict[tuple[str, str, str | None], Any] = {}
        for message, peer, direction, case, kind in await self._database.find(SUBJECTS, asked):
            found[message, peer, direction] = found[message, peer, None] = (case, kind)
        return found


def _event(row: Any, subjects: dict[tuple[str, str, str | None], Any]) -> Event | None:  # noqa: ANN401 - a row of either driver
    index, entry_id, event, time_ms, peer, message, leaf = row
    members = members_of(bytes(leaf))
    type_ = type_of(event, members)
    if type_ is None:
        return None
    case, kind = subjects.get((message, peer, TELLINGS[event].direction), (None, None))
    own_case = members.get("case", case)
    return Event(
        index=index,
        entry_id=entry_id,
        type=type_,
        time_ms=time_ms,
        peer=None if peer is None else AuthorityId(peer),
        message=None if message is None else MessageId(message),
        case=None if own_case is None else CaseId(own_case),
        kind=kind if own_case == case else None,
    )
