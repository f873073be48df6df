"""The log as events: gapless, in its order, whoever writes it; and what is on its way to webhooks."""

import asyncio

import pytest

from gateway.core.event import FEED_TYPES
from gateway.ports import Change
from gateway.rows import AnnouncementRow, CursorRow, Direction
from gateway.store import SqlStore, feed
from gateway.store.tables import entries
from tests.contract.conftest import Place
from tests.support import rows
from tests.support.rows import OTHER, PEER, draft
from tests.support.stores import make_store


async def logged(store: SqlStore, *events: str) -> None:
    for event in events:
        await store.record(Change(name="test", entries=(draft(event),)))


async def told(store: SqlStore, *, limit: int = 3, types: frozenset[str] = FEED_TYPES) -> list[int]:
    """Return the index of every event, read page after page."""
    found: list[int] = []
    after, more = -1, True
    while more:
        page = await store.events(after=after, limit=limit, types=types)
        assert page.seen >= after
        found += [event.index for event in page.events]
        after, more = page.seen, page.more
    return found


class TestEvents:
    async def test_are_the_entries_that_are_told_in_the_order_of_the_log(self, store: SqlStore):
        await logged(store, "node.started", "submission.accepted", "content.read", "peer.added", "log.read")
        await logged(store, "webhook.tested", "delivery.held")
        page = await store.events(after=-1, limit=10)
        assert [(event.index, event.type) for event in page.events] == [
            (1, "message.queued"),
            (3, "peer.added"),
            (6, "message.held"),
        ]
        assert (page.seen, page.size, page.more) == (6, 7, False)
        for event in page.events:
            assert f'"entry_id":"{event.entry_id}"'.encode() in (await store.entry(event.index)).leaf

    async def test_begin_after_the_cursor_and_end_with_the_log(self, store: SqlStore):
        await logged(store, *["submission.accepted"] * 5)
        page = await store.events(after=1, limit=2)
        assert ([event.index for event in page.events], page.seen, page.more) == ([2, 3], 3, True)
        page = await store.events(after=3, limit=2)
        assert ([event.index for event in page.events], page.seen, page.more) == ([4], 4, False)
        page = await store.events(after=4, limit=2)
        assert (page.events, page.seen, page.more) == ((), 4, False)

    async def test_an_empty_log(self, store: SqlStore):
        page = await store.events(after=-1, limit=2)
        assert (page.events, page.seen, page.size, page.more) == ((), -1, 0, False)

    async def test_of_some_types_alone(self, store: SqlStore):
        await logged(store, "submission.accepted", "peer.added", "receipt.recorded", "peer.suspended")
        page = await store.events(after=-1, limit=10, types=frozenset({"peer.added", "message.accepted"}))
        assert [event.type for event in page.events] == ["peer.added"]
        assert page.seen == 3, "what was passed over is not looked at again"

    async def test_a_question_looks_at_a_bounded_part_of_the_log(self, store: SqlStore, monkeypatch):
        monkeypatch.setattr(feed, "WINDOW", 4)
        await logged(store, *["content.read"] * 9, "submission.accepted", *["log.read"] * 3)
        page = await store.events(after=-1, limit=10)
        assert (page.events, page.seen, page.more) == ((), 3, True)
        assert await told(store) == [9]

    async def test_are_told_of_messages_with_case_and_kind(self, store: SqlStore):
        """By the direction that the entry is about: a peer can use an id of ours for its own message."""
        ours = rows.message()
        theirs = rows.message(
            direction=Direction.IN, id=ours.id, kind="closure", state="available", envelope_sha256=None
        )
        stranger = rows.message(peer=OTHER, id=ours.id, kind="costs.notice")
        accepted = rows.answer(ours.id)
        for row, entry in (
            (ours, draft(message_id=ours.id)),
            (theirs, accepted),
            (stranger, draft(message_id=ours.id, peer=OTHER)),
        ):
            await store.record(Change(name="test", entries=(entry,), puts=(row,)))
        await store.record(Change(name="test", entries=(draft("delivery.held", message_id=rows.new_id()),)))
        page = await store.events(after=-1, limit=10)
        assert [(event.message, event.peer, event.case, event.kind) for event in page.events[:3]] == [
            (ours.id, PEER, ours.case, "request.mla"),
            (ours.id, PEER, theirs.case, "closure"),
            (ours.id, OTHER, stranger.case, "costs.notice"),
        ]
        unknown = page.events[3]
        assert (unknown.type, unknown.case, unknown.kind) == ("message.held", None, None)

    async def test_a_clock_tells_of_its_case(self, store: SqlStore):
        row, case = rows.message(), rows.new_case()
        entry = draft("clock.expired", message_id=row.id, extra=(("clock", "appeal"), ("case", case)))
        await store.record(Change(name="clock", entries=(entry,), puts=(row,)))
        (event,) = (await store.events(after=-1, limit=10)).events
        assert (event.type, event.case, event.kind) == ("case.overdue", case, None)

    async def test_one_event_is_told_as_in_the_feed_or_to_its_webhook(self, store: SqlStore):
        await logged(store, "submission.accepted", "webhook.tested", "log.read")
        assert [await store.event(0)] == [*(await store.events(after=-1, limit=9)).events]
        ping = await store.event(1)
        assert ping is not None
        assert ping.type == "webhook.ping"
        assert await store.event(2) is None
        assert await store.event(3) is None


async def test_several_processes_leave_no_gap(place: Place):
    """A reader that follows while they write gets each event once, in order."""
    stores = [await place.open() for _ in range(3 if place.on_postgres else 1)]
    reader = stores[0]
    writing = [
        asyncio.create_task(logged(store, *["submission.accepted", "log.read"] * 15)) for store in stores
    ]
    seen: list[int] = []
    after = -1
    while not all(task.done() for task in writing) or after < await reader.log_size() - 1:
        page = await reader.events(after=after, limit=7)
        seen += [event.index for event in page.events]
        after = page.seen
    for task in writing:
        await task
    assert len(seen) == 15 * len(stores)
    assert seen == await told(reader, limit=100)


async def test_who_waits_is_told_of_what_this_process_commits(store: SqlStore):
    sizes: list[int] = []
    woken = asyncio.Event()

    def tell() -> None:
        woken.set()
        sizes.append(1)

    store.on_growth(tell)
    await store.record(Change(name="test", puts=(rows.alarm("x"),)))
    assert not sizes, "a change without an entry"
    await logged(store, "peer.added")
    assert woken.is_set()
    assert (await store.events(after=-1, limit=1)).events, "it is committed when they are told"


class TestAnnouncements:
    async def test_are_found_by_webhook_and_state(self, store: SqlStore):
        webhook, other = rows.webhook(), rows.webhook()
        await store.record(Change(name="webhook", puts=(webhook, other)))
        made = []
        for of, state in (
            (webhook, "pending"),
            (webhook, "delivered"),
            (other, "pending"),
            (webhook, "pending"),
        ):
            row = rows.announcement(of, state=state)
            recorded = await store.record(Change(name="announce", entries=(draft(),), puts=(row,)))
            made.append(recorded.entries[0].index)
        assert [row.entry for row in await store.pending(webhook.id, limit=5)] == [made[0], made[3]]
        assert [row.entry for row in await store.pending(webhook.id, limit=1)] == [made[0]]
        newest = await store.announcements(webhook.id, limit=2)
        assert [row.entry for row in newest] == [made[3], made[1]]
        older = await store.announcements(webhook.id, cursor=made[1], limit=2)
        assert [row.entry for row in older] == [made[0]]

    async def test_old_ones_are_found_unless_they_are_on_their_way(self, store: SqlStore):
        webhook = rows.webhook()
        for entry, (state, changed_ms) in enumerate(
            [("delivered", 5), ("pending", 5), ("failed", 4), ("dropped", 9), ("delivered", 10)]
        ):
            row = rows.announcement(webhook, entry=entry, state=state, changed_ms=changed_ms)
            await store.record(Change(name="announce", puts=(row,)))
        found = await store.announced_before(10, limit=9)
        assert [row.entry for row in found] == [2, 0, 3]
        assert [row.entry for row in await store.announced_before(10, limit=1)] == [2]

    async def test_rows_of_webhooks_come_back_as_they_went(self, store: SqlStore):
        webhook = rows.webhook(types="peer.added", old_until_ms=7, problem="gone")
        told_ = rows.announcement(webhook, first_ms=3, status=500, problem="timeout", took_ms=9, attempts=2)
        change = Change(name="webhook", entries=(draft(),), puts=(webhook, rows.cursor(webhook), told_))
        index = (await store.record(change)).entries[0].index
        row = await store.get(type(webhook), webhook.id)
        assert row is not None
        assert (row.url, row.types, row.old_until_ms, row.problem) == (webhook.url, "peer.added", 7, "gone")
        cursor = await store.get(CursorRow, webhook.id)
        assert cursor is not None
        assert cursor.entry == index
        kept = await store.get(AnnouncementRow, webhook.id, index)
        assert kept is not None
        assert (kept.first_ms, kept.status, kept.problem, kept.took_ms, kept.attempts) == (
            3, 500, "timeout", 9, 2,
        )  # fmt: skip


@pytest.mark.parametrize(
    ("statement", "values", "step"),
    [
        (
            feed.TOLD_ENTRIES,
            {"after": 1, "until": 2, "limit": 1},
            "SEARCH entries USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)",
        ),
        (feed.ONE_ENTRY, {"index": 1}, "SEARCH entries USING INTEGER PRIMARY KEY (rowid=?)"),
        (
            feed.PENDING,
            {"webhook": "x", "limit": 1},
            "SEARCH announcements USING INDEX ix_announcements_webhook_state_entry (webhook=? AND state=?)",
        ),
        (
            feed.ANNOUNCEMENTS_BEFORE,
            {"webhook": "x", "cursor": 1, "limit": 1},
            "SEARCH announcements USING INDEX sqlite_autoindex_announcements_1 (webhook=? AND entry<?)",
        ),
        (
            feed.DONE_BEFORE,
            {"now": 1, "limit": 1},
            "SEARCH announcements USING INDEX ix_announcements_changed_ms (changed_ms<?)",
        ),
    ],
)
async def test_a_question_uses_its_index_and_sorts_nothing(tmp_path, statement, values, step: str):
    """However long the log and the list of deliveries grow."""
    async with make_store(tmp_path) as store:
        database = store._database
        text = database._texts.of(statement)
        plan = await database._read(f"EXPLAIN QUERY PLAN {text.sql}", text.arguments(values))
    assert [found for *_, found in plan] == [step]


async def test_what_messages_are_about_is_found_by_their_key(tmp_path):
    async with make_store(tmp_path) as store:
        database = store._database
        sql, arguments = database._texts.lookup(feed.SUBJECTS, [("x", "y")])
        plan = [found for *_, found in await database._read(f"EXPLAIN QUERY PLAN {sql}", arguments)]
    assert any(found.startswith("SEARCH messages USING INDEX sqlite_autoindex_messages_1 (id=? AND peer=?)")
               for found in plan), plan  # fmt: skip
    assert not any(found.startswith("SCAN messages") for found in plan)


def test_events_are_read_in_the_order_of_the_primary_key():
    assert [column.name for column in entries.primary_key] == ["index"]
