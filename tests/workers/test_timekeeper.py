"""Clocks that run out are told of once, whatever happens meanwhile."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from gateway.core.case import History
from gateway.core.ids import AuthorityId
from gateway.core.strict import parse_time
from gateway.peering.settlement import move_case, open_case
from gateway.ports import Change, EntryFilter
from gateway.rows import AlarmRow, CaseRow, MessageRow
from gateway.store import SqlStore
from gateway.workers.timekeeper import Timekeeper
from tests.support.authorities import DAY_MS, NOW_MS, PERIODS_MS, FixedClock, FixedEntropy, make_authority
from tests.support.cases import CASE, message_id, told
from tests.support.memory import Crashed, Disk, MemoryStore
from tests.support.rows import message
from tests.support.stores import make_store
from tests.workers.conftest import OTHER, PEER, SENDER, Bench

HOUR_MS = DAY_MS // 24
PARTY = make_authority(SENDER)


@dataclass
class Desk:
    """A store with cases, and the clocks on the wall."""

    store: Any
    clock: FixedClock

    def keeper(self, **periods: int) -> Timekeeper:
        """Return a timekeeper as after a start of the node."""
        return Timekeeper(
            store=self.store,
            storage=lambda: PARTY.keyring.storage,
            periods=PERIODS_MS | periods,
            clock=self.clock,
        )

    async def move(self, *message: Any, peer: AuthorityId = PEER, **members: Any) -> CaseRow:
        """Let a message join the case with *peer*; return its row."""
        row = await self.row(peer) or CaseRow.opened(peer, CASE, self.clock.now_ms())
        history = open_case(PARTY.keyring.storage, row) if row.version else History()
        by, kind = message
        to = peer if by == SENDER else SENDER
        history = told(history, by, kind, created_ms=self.clock.now_ms(), to=to, **members)
        moved = move_case(PARTY.keyring.storage, row, history, self.clock.now_ms(), PERIODS_MS)
        await self.store.record(Change(name="test", puts=(moved,)))
        return moved

    async def row(self, peer: AuthorityId = PEER) -> CaseRow | None:
        found: CaseRow | None = await self.store.get(CaseRow, peer, CASE)
        return found

    async def alarms(self) -> set[tuple[str, str, str]]:
        return {(row.code, row.subject, row.detail) for row in await self.store.all(AlarmRow)}

    async def entries(self) -> list[tuple[str, str, str]]:
        found = await self.store.entries(EntryFilter(event="clock.expired"), limit=500)
        leaves = [json.loads(one.leaf) for one in found]
        return [(one["clock"], one["peer"], one["message_id"]) for one in leaves]


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    clock = FixedClock()
    async with make_store(
        tmp_path, authority=SENDER, origin=PARTY.origin, signer=PARTY.keyring.log, clock=clock
    ) as store:
        yield Desk(store, clock)


ALARM = ("clock_acknowledgment", f"{PEER}/{CASE}", message_id(1))
ENTRY = ("acknowledgment", PEER, message_id(1))


async def test_a_clock_that_runs_out_is_told_once(desk: Desk):
    moved = await desk.move(SENDER, "request.mla")
    assert moved.clock_ms == NOW_MS + 7 * DAY_MS

    desk.clock.time_ms += 7 * DAY_MS - 1
    assert await desk.keeper().round() == moved.clock_ms
    assert await desk.alarms() == set()

    desk.clock.time_ms += 1
    keeper = desk.keeper()
    await keeper.round()
    await keeper.round()
    assert (await desk.alarms(), await desk.entries()) == ({ALARM}, [ENTRY])

    await desk.keeper().review()
    await desk.keeper().round()
    assert (await desk.alarms(), await desk.entries()) == ({ALARM}, [ENTRY]), "nor after another start"
    row = await desk.row()
    assert row is not None
    assert row.clock_ms is None
    assert row.changed_ms == NOW_MS, "the case itself has not moved"


async def test_an_acknowledgment_in_time_stops_the_clock(desk: Desk):
    await desk.move(SENDER, "request.mla")
    desk.clock.time_ms += DAY_MS
    await desk.move(PEER, "acknowledgment", next_update_by="2027-06-01")

    desk.clock.time_ms += 30 * DAY_MS
    await desk.keeper().round()

    assert (await desk.alarms(), await desk.entries()) == (set(), [])


async def test_an_alarm_is_taken_back_when_what_was_awaited_comes(desk: Desk):
    await desk.move(SENDER, "request.mla")
    desk.clock.time_ms += 8 * DAY_MS
    await desk.keeper().round()
    assert await desk.alarms() == {ALARM}

    moved = await desk.move(PEER, "acknowledgment", next_update_by="2027-06-01")
    assert moved.clock_ms == 0, "to be looked at at once"
    await desk.keeper().round()

    assert (await desk.alarms(), await desk.entries()) == (set(), [ENTRY])
    row = await desk.row()
    assert row is not None
    assert (row.overdue, row.clock_ms) == (None, parse_time("2027-06-01T23:59:59.999Z"))


async def test_an_alarm_of_a_forerunner_is_replaced(desk: Desk):
    await desk.move(SENDER, "request.mla")
    await desk.move(PEER, "acknowledgment", next_update_by="2026-12-01")
    desk.clock.time_ms += 60 * DAY_MS
    await desk.keeper().round()
    assert {detail for _, _, detail in await desk.alarms()} == {message_id(2)}

    await desk.move(PEER, "status.report", next_update_by="2026-12-02")
    await desk.keeper().round()

    assert await desk.alarms() == {("clock_update", f"{PEER}/{CASE}", message_id(3))}
    assert [entry[2] for entry in await desk.entries()] == [message_id(2), message_id(3)]


async def test_cases_of_two_peers_can_share_an_id(desk: Desk):
    for peer in (PEER, OTHER):
        await desk.move(SENDER, "request.mla", peer=peer)
    desk.clock.time_ms += 8 * DAY_MS

    await desk.keeper().round()

    assert {subject for _, subject, _ in await desk.alarms()} == {f"{PEER}/{CASE}", f"{OTHER}/{CASE}"}


async def test_two_timekeepers_at_once_tell_it_once(desk: Desk):
    await desk.move(SENDER, "request.mla")
    desk.clock.time_ms += 8 * DAY_MS

    await asyncio.gather(desk.keeper().round(), desk.keeper().round())

    assert (await desk.alarms(), await desk.entries()) == ({ALARM}, [ENTRY])


async def test_a_case_that_moves_meanwhile_is_judged_anew(desk: Desk, monkeypatch: pytest.MonkeyPatch):
    await desk.move(SENDER, "request.mla")
    desk.clock.time_ms += 8 * DAY_MS
    record, crossed = desk.store.record, []

    async def slow(change: Change) -> Any:
        if change.name == "clock" and not crossed:
            crossed.append(change)
            await desk.move(PEER, "acknowledgment", next_update_by="2027-06-01")
        return await record(change)

    monkeypatch.setattr(desk.store, "record", slow)
    await desk.keeper().round()
    assert (len(crossed), await desk.alarms(), await desk.entries()) == (1, set(), [])

    await desk.keeper().round()
    assert (await desk.alarms(), await desk.entries()) == (set(), [])


async def test_other_settings_count_from_the_next_start(desk: Desk):
    await desk.move(SENDER, "request.mla")
    desk.clock.time_ms += 3 * DAY_MS
    shorter = desk.keeper(acknowledgment_days=2 * DAY_MS)

    await shorter.round()
    assert await desk.alarms() == set(), "the row says when it was to be looked at"
    await shorter.review()
    assert (await desk.alarms(), await desk.entries()) == ({ALARM}, [ENTRY])


async def test_a_case_that_cannot_be_read_stops_no_other(desk: Desk):
    row = await desk.move(SENDER, "request.mla")
    await desk.store.record(Change(name="test", puts=(replace(row, version=1, history=b"broken"),)))
    await desk.move(SENDER, "request.mla", peer=OTHER)
    desk.clock.time_ms += 8 * DAY_MS

    await desk.keeper().round()
    await desk.keeper().review()

    assert {subject for _, subject, _ in await desk.alarms()} == {f"{OTHER}/{CASE}"}


async def test_more_cases_than_a_page_are_judged_in_one_round(desk: Desk):
    storage = PARTY.keyring.storage
    history = told(History(), SENDER, "request.mla", created_ms=NOW_MS, to=PEER)
    rows = [
        move_case(storage, CaseRow.opened(PEER, message_id(number), NOW_MS), history, NOW_MS, PERIODS_MS)
        for number in range(250)
    ]
    await desk.store.record(Change(name="test", puts=tuple(rows)))
    desk.clock.time_ms += 8 * DAY_MS

    await desk.keeper().round()

    assert len(await desk.alarms()) == len(await desk.entries()) == 250


@pytest.mark.parametrize("point", ["before", "after"])
async def test_a_crash_repeats_and_loses_nothing(point: str):
    clock, disk, living = FixedClock(), Disk(), True

    def probe(reached: str) -> None:
        if living and reached == f"clock.{point}_commit":
            raise Crashed

    desk = Desk(MemoryStore(PARTY, clock, FixedEntropy(), disk, probe), clock)
    await desk.move(SENDER, "request.mla")
    clock.time_ms += 8 * DAY_MS
    with pytest.raises(Crashed):
        await desk.keeper().round()
    assert len(disk.log) == (point == "after")

    living = False
    desk = Desk(MemoryStore(PARTY, clock, FixedEntropy(), disk), clock)
    await desk.keeper().review()
    await desk.keeper().round()

    assert (await desk.alarms(), await desk.entries()) == ({ALARM}, [ENTRY])


# -- receipts


async def queued(store: SqlStore, **members: Any) -> MessageRow:
    row = message(created_ms=NOW_MS, expires_ms=NOW_MS + 30 * DAY_MS, recorded_ms=NOW_MS, **members)
    await store.record(Change(name="test", puts=(replace(row, entry=1),)))
    return row


async def test_a_receipt_that_does_not_come_is_told_once(desk: Desk):
    row = await queued(desk.store)
    await queued(desk.store, state="held")
    await queued(desk.store, state="accepted")
    keeper = desk.keeper()
    assert await keeper.round() == NOW_MS + DAY_MS
    assert await desk.alarms() == set()

    desk.clock.time_ms += DAY_MS
    await asyncio.gather(keeper.round(), desk.keeper().round())
    await desk.keeper().round()

    assert await desk.alarms() == {("clock_receipt", row.id, row.peer)}
    assert await desk.entries() == [("receipt", row.peer, row.id)]


async def test_a_receipt_in_the_same_moment_wins(desk: Desk, monkeypatch: pytest.MonkeyPatch):
    row = await queued(desk.store)
    desk.clock.time_ms += 2 * DAY_MS
    record = desk.store.record

    async def slow(change: Change) -> Any:
        monkeypatch.setattr(desk.store, "record", record)
        await record(Change(name="test", puts=(replace(row, version=1, entry=1, state="accepted"),)))
        return await record(change)

    monkeypatch.setattr(desk.store, "record", slow)
    await desk.keeper().round()
    await desk.keeper().round()

    assert (await desk.alarms(), await desk.entries()) == (set(), [])


async def test_the_alarm_of_a_missing_receipt_is_taken_back_with_it(bench: Bench):
    row = await bench.sender.submit(PEER)
    desk = Desk(bench.store, bench.clock)
    bench.pass_by(2 * DAY_MS)
    await desk.keeper().round()
    assert {code for code, *_ in await desk.alarms()} == {"clock_receipt"}

    await bench.work_off()

    assert (await bench.sender.message(PEER, row.id)).state == "accepted"
    assert await desk.alarms() == set()


async def test_who_looks_at_clocks_waits_for_no_more_than_it_must(desk: Desk):
    keeper = desk.keeper()

    waits = [keeper._wait_s(next_ms) for next_ms in (None, NOW_MS - 1, NOW_MS + 5_000, NOW_MS + DAY_MS)]

    assert waits == [10, 1, 5, 10]
