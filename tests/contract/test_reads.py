"""Every question that the store answers."""

import asyncio
import dataclasses
import uuid

import pytest
import sqlalchemy as sa

from gateway.core.ids import AuthorityId
from gateway.ports import Change, EntryFilter, MessageFilter
from gateway.rows import AlarmRow, CaseRow, CosignedRow, Direction, MessageRow, Row
from gateway.store import SqlStore, questions, trail
from gateway.store.statements import Statement
from tests.contract.conftest import Place
from tests.support.authorities import NOW_MS, FixedClock
from tests.support.rows import (
    OTHER,
    PEER,
    alarm,
    answer,
    blob,
    case,
    change,
    draft,
    envelope,
    message,
    new_case,
    new_id,
    notice,
    receipt,
    upload,
)

NOBODY = AuthorityId("qp.nobody")


async def put(store: SqlStore, *rows: Row) -> None:
    """Record each row with an entry of its own, in this order."""
    await asyncio.gather(*(store.record(change(row)) for row in rows))


async def queue(store: SqlStore, *rows: MessageRow) -> None:
    """Record messages with their envelopes, in this order."""
    await asyncio.gather(*(store.record(change(row, envelope(row))) for row in rows))


async def test_many_rows_are_found_by_their_keys(store: SqlStore):
    await put(store, *(alarm(str(n)) for n in range(5)))
    wanted = [("test", str(n)) for n in (0, 2, 4, 9)]

    found = await store.get_many(AlarmRow, [*wanted, *wanted])

    assert set(found) == set(wanted[:3])
    assert found["test", "2"] == alarm("2", version=1)
    assert await store.get_many(AlarmRow, []) == {}


async def test_more_keys_than_one_statement_holds_are_found(store: SqlStore):
    await store.record(change(*(alarm(f"{n:04}") for n in range(2500))))

    found = await store.get_many(AlarmRow, [("test", f"{n:04}") for n in range(3000)])

    assert len(found) == 2500


async def test_all_rows_come_by_key(store: SqlStore):
    await put(store, alarm("b"), alarm("a"), alarm("c", code="else"))

    assert [(row.code, row.subject) for row in await store.all(AlarmRow)] == [
        ("else", "c"),
        ("test", "a"),
        ("test", "b"),
    ]


@pytest.fixture
async def listed(store: SqlStore) -> list[MessageRow]:
    """Messages of every sort, newest first as they are listed."""
    shared = new_case()
    rows = [
        message(case=shared),
        message(case=shared, state="accepted"),
        message(direction=Direction.IN, state="available"),
        message(direction=Direction.IN, peer=OTHER, state="available", kind="acknowledgment"),
        message(peer=OTHER, case=shared),
    ]
    await put(store, *rows)
    return rows[::-1]


@pytest.mark.parametrize(
    ("where", "which"),
    [
        ({}, [0, 1, 2, 3, 4]),
        ({"direction": Direction.IN}, [1, 2]),
        ({"peer": OTHER}, [0, 1]),
        ({"kind": "acknowledgment"}, [1]),
        ({"state": "queued"}, [0, 4]),
        ({"direction": Direction.OUT, "peer": PEER, "state": "accepted"}, [3]),
        ({"peer": NOBODY}, []),
    ],
)
async def test_messages_are_listed_newest_first(store: SqlStore, listed: list[MessageRow], where, which):
    found = await store.messages(MessageFilter(**where))

    assert [row.id for row in found] == [listed[position].id for position in which]


async def test_messages_of_a_case_are_listed(store: SqlStore, listed: list[MessageRow]):
    shared = listed[0].case

    assert len(await store.messages(MessageFilter(case=shared))) == 3
    assert len(await store.messages(MessageFilter(case=shared, peer=PEER))) == 2


async def test_messages_are_paged(store: SqlStore, listed: list[MessageRow]):
    first = await store.messages(MessageFilter(), limit=2)
    second = await store.messages(MessageFilter(), cursor=first[-1].entry, limit=2)
    third = await store.messages(MessageFilter(), cursor=second[-1].entry, limit=2)

    assert [row.id for row in first + second + third] == [row.id for row in listed]
    assert await store.messages(MessageFilter(), cursor=third[-1].entry, limit=2) == []


async def test_one_id_can_be_of_several_messages(store: SqlStore):
    shared = new_id()
    await put(
        store,
        message(id=shared, direction=Direction.IN),
        message(id=shared, direction=Direction.IN, peer=OTHER),
        message(),
    )

    found = await store.messages_with_id(shared)

    assert {(row.direction, row.peer) for row in found} == {(Direction.IN, PEER), (Direction.IN, OTHER)}
    assert await store.messages_with_id(new_id()) == []


async def test_cases_with_a_clock_come_by_when_to_look(store: SqlStore):
    rows = [case(clock_ms=clock_ms) for clock_ms in (3, None, 0, 2)]
    await put(store, *rows)

    found = await store.ticking(limit=2)

    assert [row.id for row in found] == [rows[2].id, rows[3].id]
    assert [row.clock_ms for row in await store.ticking(limit=9)] == [0, 2, 3]
    ticking = await store.cases(ticking=True)
    assert {row.id for row in ticking} == {row.id for row in rows if row.clock_ms is not None}
    following = await store.cases(ticking=True, cursor=ticking[0].id, limit=1)
    assert [row.id for row in following] == [ticking[1].id]


async def test_messages_without_a_receipt_come_by_when_they_were_signed(store: SqlStore):
    rows = [message(created_ms=3), message(created_ms=1), message(created_ms=2), message(state="accepted")]
    await put(store, *rows, alarm(rows[2].id, code="late"), alarm(rows[1].id, code="other"))

    assert [row.id for row in await store.unreceipted("late", limit=9)] == [rows[1].id, rows[0].id]
    assert [row.id for row in await store.unreceipted("late", limit=1)] == [rows[1].id]


async def test_cases_are_paged_by_id(store: SqlStore):
    ids = sorted(new_case() for _ in range(5))
    await put(store, *(case(id=one) for one in reversed(ids)), case(peer=OTHER))

    first = await store.cases(peer=PEER, limit=2)
    second = await store.cases(peer=PEER, cursor=first[-1].id, limit=4)

    assert [row.id for row in first + second] == ids
    assert await store.cases(peer=PEER, cursor=ids[-1]) == []
    assert len(await store.cases()) == 6


async def test_a_page_of_cases_does_not_end_between_peers_that_share_an_id(store: SqlStore):
    ids = sorted(new_case() for _ in range(3))
    await put(store, case(id=ids[0]), case(id=ids[1]), case(id=ids[1], peer=OTHER), case(id=ids[2]))

    first = await store.cases(limit=2)
    second = await store.cases(cursor=first[-1].id, limit=2)

    assert [(row.id, row.peer) for row in first] == [(ids[0], PEER), (ids[1], PEER), (ids[1], OTHER)]
    assert [row.id for row in second] == [ids[2]]
    assert isinstance(second[0], CaseRow)


async def test_due_are_the_first_of_each_case_oldest_first(store: SqlStore):
    one, two = new_case(), new_case()
    rows = [message(case=one), message(case=two), message(case=one), message(case=new_case(), peer=OTHER)]
    await queue(store, *rows)

    found = await store.due(PEER, 0, limit=9)

    assert [outgoing.message.id for outgoing in found] == [rows[0].id, rows[1].id]
    assert [outgoing.message.entry for outgoing in found] == [0, 1]
    assert [outgoing.envelope.body for outgoing in found] == [b"an envelope"] * 2
    assert [outgoing.message.id for outgoing in await store.due(PEER, 0, limit=1)] == [rows[0].id]
    assert [outgoing.message.id for outgoing in await store.due(OTHER, 0, limit=9)] == [rows[3].id]
    assert await store.due(NOBODY, 0, limit=9) == []


async def test_a_case_waits_for_its_first_message(store: SqlStore):
    shared = new_case()
    await queue(store, message(case=shared, next_ms=500), message(case=shared))

    assert await store.due(PEER, 499, limit=9) == []
    assert [outgoing.message.entry for outgoing in await store.due(PEER, 500, limit=9)] == [0]


@pytest.mark.parametrize("final", ["accepted", "refused", "cancelled"])
async def test_behind_a_final_message_the_next_is_due(store: SqlStore, final: str):
    shared = new_case()
    await queue(store, message(case=shared, state=final), message(case=shared))

    assert [outgoing.message.entry for outgoing in await store.due(PEER, 0, limit=9)] == [1]


async def test_cases_of_two_peers_with_one_id_do_not_wait_for_each_other(store: SqlStore):
    shared = new_case()
    await queue(store, message(case=shared, peer=OTHER), message(case=shared))

    assert [outgoing.message.entry for outgoing in await store.due(PEER, 0, limit=9)] == [1]


async def test_the_newest_envelope_is_the_one_to_post(store: SqlStore):
    row = message()
    older = envelope(row, sha256="0" * 64, body=b"sealed to an older key")
    await store.record(change(row, envelope(row), older))

    found = await store.due(PEER, 0, limit=9)

    assert [outgoing.envelope.body for outgoing in found] == [b"an envelope"]
    assert {one.sha256 for one in await store.envelopes(row.id)} == {older.sha256, row.envelope_sha256}
    assert await store.envelopes(new_id()) == []


async def test_overdue_are_the_due_ones_that_have_expired(store: SqlStore):
    shared = new_case()
    rows = [
        message(expires_ms=100, next_ms=100),
        message(expires_ms=100, next_ms=101),
        message(expires_ms=101),
        message(case=shared, expires_ms=100),
        message(case=shared, expires_ms=100),
    ]
    await queue(store, *rows)

    assert [row.entry for row in await store.overdue(PEER, 100, limit=9)] == [0, 3]


async def test_unresolved_are_undetermined_and_their_time_has_come(store: SqlStore):
    await put(
        store,
        message(state="undetermined", next_ms=20),
        message(state="undetermined", next_ms=10),
        message(state="undetermined", next_ms=30),
        message(next_ms=10),
        message(state="undetermined", peer=OTHER),
    )

    assert [row.next_ms for row in await store.unresolved(PEER, 20, limit=9)] == [10, 20]
    assert [row.next_ms for row in await store.unresolved(PEER, 20, limit=1)] == [10]


async def test_what_waits_behind_a_message_of_its_case(store: SqlStore):
    shared = new_case()
    await put(
        store,
        message(case=shared),
        message(case=shared, state="held"),
        message(case=shared),
        message(case=shared, state="cancelled"),
        message(case=shared, peer=OTHER),
        message(case=shared, direction=Direction.IN, state="available"),
        message(),
    )

    assert [row.entry for row in await store.queued_behind(PEER, shared, 0)] == [1, 2]


async def test_notices_due(store: SqlStore):
    await put(store, notice(next_ms=10), notice(), notice(state="delivered"), notice(peer=OTHER))

    assert [row.entry for row in await store.notices_due(PEER, 10, limit=9)] == [0, 1]
    assert [row.entry for row in await store.notices_due(PEER, 9, limit=9)] == [1]
    assert [row.entry for row in await store.notices_due(PEER, 10, limit=1)] == [0]


async def test_the_next_time_that_something_is_due(store: SqlStore):
    shared = new_case()
    assert await store.next_due_ms(PEER) is None

    await queue(store, message(case=shared, next_ms=500), message(case=shared, next_ms=0))
    assert await store.next_due_ms(PEER) == 500, "the second waits for the first"
    await put(store, message(state="undetermined", next_ms=400))
    assert await store.next_due_ms(PEER) == 400
    await put(store, notice(next_ms=300), notice(next_ms=1, state="dropped"), notice(next_ms=2, peer=OTHER))
    assert await store.next_due_ms(PEER) == 300
    assert await store.next_due_ms(OTHER) == 2


async def test_the_depth_of_the_queue_counts_messages_and_notices(store: SqlStore):
    assert await store.queue_depth() == {}

    await put(store, message(), message(), message(state="held"), notice(), notice(peer=OTHER))

    assert await store.queue_depth() == {PEER: 3, OTHER: 1}


async def test_messages_that_somebody_may_have_to_look_at_are_counted(store: SqlStore):
    assert await store.message_counts() == {}

    incoming = message(direction=Direction.IN, state="available")
    await put(
        store, message(), message(peer=OTHER), message(state="held"), incoming, message(state="accepted")
    )

    assert await store.message_counts() == {"queued": 2, "held": 1, "available": 1}


async def test_receipts_come_oldest_first(store: SqlStore):
    wanted = new_id()
    rows = [receipt(wanted), receipt(wanted, event="content.handed_over"), receipt(wanted, peer=OTHER)]
    await put(store, *rows, receipt(new_id()))

    found = await store.receipts(PEER, wanted)

    assert [row.event for row in found] == ["relay.accepted", "content.handed_over"]


async def test_uploads_of_messages(store: SqlStore):
    one, two, three = new_id(), new_id(), new_id()
    rows = [upload(claimed_by=one), upload(claimed_by=one), upload(claimed_by=two), upload()]
    await put(store, *rows)

    found = await store.uploads_of([one, three, one])

    assert sorted(row.id for row in found) == sorted(row.id for row in rows[:2])
    assert len(await store.uploads_of([one, two, three])) == 3
    assert await store.uploads_of([]) == []


async def test_unclaimed_blobs_and_uploads(store: SqlStore):
    arriving = blob(size_bytes=7, received_ms=50, whole_ms=None)
    rows = [blob(size_bytes=5), arriving, upload(), upload(stored_ms=50)]
    claimed = [blob(claimed_by=new_id()), upload(claimed_by=new_id()), blob(peer=OTHER, whole_ms=50)]
    await put(store, *rows, *claimed)

    assert await store.unclaimed_bytes() == {PEER: 12, OTHER: 100}
    assert [row.sha256 for row in await store.arriving_blobs(limit=9)] == [arriving.sha256]
    assert await store.arriving_blobs(limit=0) == []
    found = await store.unclaimed_before(50, limit=9)
    assert [type(row) for row in found] == [type(rows[0]), type(rows[2])]
    assert len(await store.unclaimed_before(51, limit=9)) == 5
    assert len(await store.unclaimed_before(51, limit=1)) == 1


async def test_uploads_that_no_message_carries(store: SqlStore):
    part = upload(blob_sha256=None, blob_size_bytes=7)
    await put(store, part, upload(blob_size_bytes=20), upload(blob_size_bytes=300, claimed_by=new_id()))

    assert await store.upload_bytes() == 27
    assert await store.unfinished_uploads(limit=9) == [dataclasses.replace(part, version=1)]
    assert await store.unfinished_uploads(limit=0) == []


async def test_refusals_of_a_peer_are_counted(store: SqlStore, clock: FixedClock):
    for reason, answers in (("schema", 2), (None, 1)):
        for _ in range(answers):
            await store.record(Change(name="receive", entries=(answer(reason=reason),), answers=True))
    clock.time_ms += 1000
    await store.record(Change(name="receive", entries=(answer(reason="expired"),), answers=True))

    assert await store.refusals_since(PEER, NOW_MS) == 3
    assert await store.refusals_since(PEER, NOW_MS + 1) == 1
    assert await store.refusals_since(OTHER, NOW_MS) == 0


@pytest.fixture
async def trailed(store: SqlStore, clock: FixedClock) -> SqlStore:
    """Six entries, one a second, about two peers and two messages."""
    about = uuid.UUID(int=4 << 76 | 8 << 60)
    for number in range(6):
        entry = draft(
            "log.read" if number == 3 else "submission.accepted",
            peer=OTHER if number % 2 else PEER,
            message_id=str(about) if number in (1, 4) else None,
        )
        await store.record(Change(name="test", entries=(entry,)))
        clock.time_ms += 1000
    return store


MESSAGE = str(uuid.UUID(int=4 << 76 | 8 << 60))


@pytest.mark.parametrize(
    ("where", "which"),
    [
        ({}, [0, 1, 2, 3, 4, 5]),
        ({"peer": OTHER}, [1, 3, 5]),
        ({"message_id": MESSAGE}, [1, 4]),
        ({"event": "log.read"}, [3]),
        ({"peer": PEER, "message_id": MESSAGE}, [4]),
        ({"after_ms": NOW_MS + 3000}, [3, 4, 5]),
        ({"before_ms": NOW_MS + 3000}, [0, 1, 2, 3]),
        ({"after_ms": NOW_MS + 1000, "before_ms": NOW_MS + 4999, "peer": PEER}, [2, 4]),
        ({"event": "no.such"}, []),
    ],
)
async def test_entries_are_listed_in_either_order(trailed: SqlStore, where, which):
    assert [entry.index for entry in await trailed.entries(EntryFilter(**where))] == which
    back = await trailed.entries(EntryFilter(**where), newest_first=True)
    assert [entry.index for entry in back] == which[::-1]


async def test_entries_are_paged(trailed: SqlStore):
    where = EntryFilter(after_ms=NOW_MS + 1000)
    first = await trailed.entries(where, limit=3)
    second = await trailed.entries(where, cursor=first[-1].index, limit=3)

    assert [entry.index for entry in first] == [1, 2, 3]
    assert [entry.index for entry in second] == [4, 5]
    assert [entry.index for entry in await trailed.entries(EntryFilter(), cursor=4)] == [5]
    assert [entry.index for entry in await trailed.entries(where, cursor=0)] == [1, 2, 3, 4, 5]
    nothing = EntryFilter(after_ms=NOW_MS + 99_000)
    assert await trailed.entries(nothing) == await trailed.entries(nothing, cursor=0) == []


async def test_entries_are_paged_from_the_newest(trailed: SqlStore):
    async def listed(where: EntryFilter, cursor: int | None = None) -> list[int]:
        found = await trailed.entries(where, cursor=cursor, limit=3, newest_first=True)
        return [entry.index for entry in found]

    where = EntryFilter(before_ms=NOW_MS + 4000)
    assert await listed(where) == [4, 3, 2]
    assert await listed(where, 2) == [1, 0]
    assert await listed(where, 99) == [4, 3, 2]
    assert await listed(EntryFilter(), 1) == [0]
    assert await listed(EntryFilter(after_ms=NOW_MS + 1000), 3) == [2, 1]
    nothing = EntryFilter(before_ms=NOW_MS - 99_000)
    assert await listed(nothing) == await listed(nothing, 3) == []


async def test_checkpoints_are_listed_with_who_cosigned_them(store: SqlStore):
    sizes = []
    for _ in range(3):
        await store.record(change(entries=2))
        sizes.append((await store.checkpoint()).size)
    rows = [CosignedRow(size=size, witness="w.example", version=0, lines="", time_s=1) for size in sizes[:2]]
    await store.record(Change(name="cosigned", puts=tuple(rows)))

    heads = await store.checkpoints(limit=2)
    assert [head.size for head in heads] == sizes[:0:-1]
    newest = await store.entry(sizes[-1] - 1)
    assert newest is not None
    assert heads[0].time_ms == newest.time_ms
    assert [head.size for head in await store.checkpoints(cursor=sizes[1], limit=2)] == [sizes[0]]
    assert [row.size for row in await store.cosigned_between(sizes[1], sizes[2])] == [sizes[1]]


async def test_leaves_are_given_in_pages_and_in_order(store: SqlStore, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(trail, "_PAGE", 4)
    recorded = await store.record(change(entries=11))

    assert [entry async for entry in store.leaves(0, 11)] == list(recorded.entries)
    assert [entry.index async for entry in store.leaves(3, 9)] == [3, 4, 5, 6, 7, 8]
    assert [entry async for entry in store.leaves(11, 11)] == []


@pytest.mark.parametrize(
    ("statement", "values", "index"),
    [
        (questions.DUE, {"peer": PEER, "now": 1, "limit": 32}, "ix_messages_queued"),
        (questions.NEXT_DUE, {"peer": PEER}, "ix_messages_queued_case"),
        (questions.UNRESOLVED, {"peer": PEER, "now": 1, "limit": 1}, "ix_messages_undetermined"),
        (questions.QUEUED_BEHIND, {"peer": PEER, "case": "x", "entry": 1}, "ix_messages_case_entry"),
        (questions.NOTICES_DUE, {"peer": PEER, "now": 1, "limit": 1}, "ix_notices_queued"),
        (questions.REFUSALS_SINCE, {"peer": PEER, "now": 1}, "ix_entries_refused"),
        (questions.UNCLAIMED_BYTES, {}, "ix_blobs_unclaimed"),
        (questions.UNCLAIMED_UPLOADS, {"now": 1, "limit": 1}, "ix_uploads_claimed_by"),
        (questions.UPLOAD_BYTES, {}, "ix_uploads_claimed_by"),
        (questions.UNFINISHED_UPLOADS, {"limit": 1}, "ix_uploads_claimed_by"),
        (questions.TICKING, {"limit": 1}, "ix_cases_clock"),
        (questions.UNRECEIPTED, {"code": "x", "limit": 1}, "ix_messages_queued"),
        (questions.RECEIPTS, {"peer": PEER, "id": "x"}, "ix_receipts_id"),
        (trail.RECEIPTS_AFTER, {"peer": PEER, "entry": 1, "limit": 1}, "ix_receipts_list_peer"),
        (questions.list_of_messages(frozenset(), paged=True), {"cursor": 1, "limit": 1}, "ix_messages_entry"),
    ],
)
async def test_a_question_uses_its_index(tmp_path, statement, values, index: str):
    """And scans no table: nothing here slows down with the messages that are done."""
    place = Place("sqlite:///gateway.db", tmp_path)
    database = (await place.open())._database
    text = database._texts.of(statement)

    plan = await database._read(f"EXPLAIN QUERY PLAN {text.sql}", text.arguments(values))

    steps = [step for *_, step in plan]
    assert any(
        f"USING INDEX {index} " in f"{step} " or f"COVERING INDEX {index} " in f"{step} " for step in steps
    )
    assert not any(step.startswith("SCAN messages") and "INDEX" not in step for step in steps)
    await place.close()


async def test_what_would_hold_up_the_loop_is_read_beside_it(tmp_path):
    place = Place("sqlite:///gateway.db", tmp_path)
    database = (await place.open())._database
    count = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<{}) SELECT count(*) FROM n"

    assert database._near.read(count.format(10), ()) == [(10,)]
    assert database._near.read(count.format(10**6), ()) is None, "broken off"
    assert await database.fetch(Statement(sa.text(count.format(10**6)), brief=True)) == [(10**6,)]
    assert database._near.read(count.format(10), ()) == [(10,)], "and the next one is read again"
    await place.close()
