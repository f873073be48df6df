"""Rows, versions, and what of a batch fails alone."""

import asyncio

import pytest

from gateway.core.errors import Malformed, Stale
from gateway.ports import Change, Recorded
from gateway.rows import THIS_ENTRY, AlarmRow, MessageRow, NoticeRow
from gateway.store import SqlStore
from gateway.store.database import BadRow
from tests.support.rows import PEER, alarm, change, draft, envelope, message, notice


async def outcomes(store: SqlStore, *changes: Change) -> list[object]:
    """Hand in all changes at once, so that they share a batch."""
    return await asyncio.gather(*(store.record(one) for one in changes), return_exceptions=True)


def kinds(found: list[object]) -> list[type]:
    return [type(one) for one in found]


async def test_a_row_comes_back_as_it_was_put(store: SqlStore):
    row = message(findings='["a"]', problem=None)

    recorded = await store.record(change(row, envelope(row)))

    stored = await store.get(MessageRow, "out", PEER, row.id)
    assert stored == MessageRow(
        **{name: getattr(row, name) for name in MessageRow.__dataclass_fields__}
        | {"version": 1, "entry": recorded.entries[0].index}
    )
    assert stored is not None
    assert stored.direction is row.direction


async def test_each_write_moves_the_version(store: SqlStore):
    await store.record(change(alarm("a", detail="1")))
    await store.record(change(alarm("a", version=1, detail="2")))

    assert await store.get(AlarmRow, "test", "a") == alarm("a", version=2, detail="2")


@pytest.mark.parametrize("version", [0, 2])
async def test_a_row_judged_on_another_version_is_stale(store: SqlStore, version: int):
    await store.record(change(alarm("a", detail="first")))
    before = await store.checkpoint()

    with pytest.raises(Stale):
        await store.record(change(alarm("b"), alarm("a", version=version, detail="second")))

    assert await store.get(AlarmRow, "test", "a") == alarm("a", version=1, detail="first")
    assert await store.get(AlarmRow, "test", "b") is None
    assert (await store.checkpoint()).size == before.size, "a stale change logs nothing"


async def test_of_a_batch_only_the_new_row_that_exists_is_stale(store: SqlStore):
    """New rows are not looked up at first: that one of them exists is found as it is written."""
    await store.record(change(alarm("a", detail="first")))

    found = await outcomes(store, change(alarm("b")), change(alarm("a"), alarm("c")), change(alarm("d")))

    assert kinds(found) == [Recorded, Stale, Recorded]
    assert [row.subject for row in await store.all(AlarmRow)] == ["a", "b", "d"]
    assert await store.get(AlarmRow, "test", "a") == alarm("a", version=1, detail="first")
    assert (await store.checkpoint()).size == 3, "the attempt that failed left no entry"


@pytest.mark.parametrize("count", [1, 8, 29])
async def test_every_row_of_a_change_is_written(store: SqlStore, count: int):
    subjects = [f"{number:02}" for number in range(count)]

    await store.record(change(*map(alarm, subjects)))

    assert [row.subject for row in await store.all(AlarmRow)] == subjects


async def test_a_row_that_is_not_there_is_stale(store: SqlStore):
    with pytest.raises(Stale):
        await store.record(change(alarm("a", version=1)))
    with pytest.raises(Stale):
        await store.record(change(deletes=(alarm("a", version=1),)))


async def test_a_deleted_row_is_gone_and_can_come_anew(store: SqlStore):
    await store.record(change(alarm("a")))

    with pytest.raises(Stale):
        await store.record(change(deletes=(alarm("a", version=7),)))
    await store.record(change(deletes=(alarm("a", version=1),)))

    assert await store.get(AlarmRow, "test", "a") is None
    await store.record(change(alarm("a")))
    assert await store.get(AlarmRow, "test", "a") == alarm("a", version=1)


async def test_the_second_of_two_inserts_in_one_batch_is_stale(store: SqlStore):
    found = await outcomes(
        store, change(alarm("a", detail="first")), change(alarm("a", detail="second")), change(alarm("b"))
    )

    assert [isinstance(one, Stale) for one in found] == [False, True, False]
    assert await store.get(AlarmRow, "test", "a") == alarm("a", version=1, detail="first")
    assert (await store.checkpoint()).size == 2


async def test_within_a_batch_a_change_is_judged_on_what_the_one_before_left(store: SqlStore):
    found = await outcomes(
        store,
        change(alarm("a", detail="1")),
        change(alarm("a", version=1, detail="2")),
        change(alarm("a", version=1, detail="3")),
        change(deletes=(alarm("a", version=2),)),
        change(alarm("a", version=2, detail="4")),
        change(alarm("a", detail="5")),
    )

    assert [isinstance(one, Stale) for one in found] == [False, False, True, False, True, False]
    assert await store.get(AlarmRow, "test", "a") == alarm("a", version=1, detail="5")


async def test_a_row_made_and_deleted_in_one_batch_was_never_there(store: SqlStore):
    found = await outcomes(store, change(alarm("a")), change(deletes=(alarm("a", version=1),)))

    assert not any(isinstance(one, Exception) for one in found)
    assert await store.all(AlarmRow) == []


async def test_updates_and_deletes_of_stored_rows_share_a_batch(store: SqlStore):
    await outcomes(store, *(change(alarm(str(n))) for n in range(4)))

    await outcomes(
        store,
        change(alarm("0", version=1, detail="x"), deletes=(alarm("1", version=1),)),
        change(alarm("2", version=1, detail="y"), deletes=(alarm("3", version=1),)),
    )

    assert await store.all(AlarmRow) == [
        alarm("0", version=2, detail="x"),
        alarm("2", version=2, detail="y"),
    ]


@pytest.mark.parametrize("bad", range(7))
async def test_a_row_that_the_database_refuses_fails_alone(store: SqlStore, bad: int):
    changes = [change(alarm(str(n), detail=None if n == bad else "")) for n in range(7)]

    found = await outcomes(store, *changes)

    assert [isinstance(one, BadRow) for one in found] == [n == bad for n in range(7)]
    assert {row.subject for row in await store.all(AlarmRow)} == {str(n) for n in range(7) if n != bad}
    checkpoint = await store.checkpoint()
    assert checkpoint.size == 6
    assert [entry.index for one in found if not isinstance(one, Exception) for entry in one.entries] == [
        *range(6)
    ]


@pytest.mark.parametrize("value", [2**63, -(2**63) - 1])
async def test_a_value_that_cannot_be_bound_fails_alone(store: SqlStore, value: int):
    row = AlarmRow(code="test", subject="large", version=0, raised_ms=value, detail="")

    found = await outcomes(store, change(alarm("a")), change(row), change(alarm("b")))

    assert kinds(found)[1] is BadRow
    assert [row.subject for row in await store.all(AlarmRow)] == ["a", "b"]


async def test_a_change_that_rested_on_a_bad_one_is_judged_again(store: SqlStore):
    found = await outcomes(
        store,
        change(alarm("a"), alarm("bad", detail=None)),
        change(alarm("a", version=1, detail="rests on the first")),
        change(alarm("a", detail="stands alone")),
    )

    assert kinds(found)[:2] == [BadRow, Stale]
    assert await store.get(AlarmRow, "test", "a") == alarm("a", version=1, detail="stands alone")


async def test_an_entry_that_may_not_be_logged_fails_alone(store: SqlStore):
    wrong = Change(name="test", entries=(draft(reason="Not a Code"),), puts=(alarm("wrong"),))

    found = await outcomes(store, change(alarm("a")), wrong, change(alarm("b")))

    assert kinds(found)[1] is Malformed
    assert [row.subject for row in await store.all(AlarmRow)] == ["a", "b"]
    assert (await store.checkpoint()).size == 2


async def test_this_entry_is_the_first_entry_of_the_change(store: SqlStore):
    first, second = message(), notice()

    one, other = await asyncio.gather(
        store.record(change(first, entries=2)), store.record(change(second, entries=3))
    )

    assert [entry.index for entry in one.entries + other.entries] == [0, 1, 2, 3, 4]
    stored = await store.get(MessageRow, "out", PEER, first.id)
    assert stored is not None
    assert stored.entry == 0
    assert await store.get(NoticeRow, 2) is not None


async def test_two_notices_of_one_batch_have_their_own_keys(store: SqlStore):
    await asyncio.gather(*(store.record(change(notice())) for _ in range(3)))

    found = await store.get_many(NoticeRow, [(index,) for index in range(4)])

    assert set(found) == {(0,), (1,), (2,)}


async def test_a_stored_notice_is_updated_by_its_key(store: SqlStore):
    row = notice()
    await store.record(change(row))

    await store.record(change(notice(entry=0, version=1, id=row.id, state="delivered"), entries=0))

    stored = await store.get(NoticeRow, 0)
    assert stored is not None
    assert (stored.version, stored.state) == (2, "delivered")


async def test_rows_alone_leave_the_log_as_it_was(store: SqlStore):
    recorded = await store.record(change(alarm("a"), entries=0))

    assert recorded.entries == ()
    assert recorded.receipt is None
    assert (await store.checkpoint()).size == 0


@pytest.mark.parametrize(
    "one",
    [
        change(message(entry=THIS_ENTRY), entries=0),
        change(entries=0, answers=True),
    ],
    ids=["this entry", "an answer"],
)
async def test_what_needs_an_entry_is_refused_without_one(store: SqlStore, one: Change):
    with pytest.raises(BadRow):
        await store.record(one)


async def test_more_changes_than_a_batch_holds_keep_their_order(store: SqlStore):
    found = await asyncio.gather(*(store.record(change(alarm(str(n)))) for n in range(600)))

    assert [one.entries[0].index for one in found] == list(range(600))
