"""On either database a clock that runs out is told once: by one process of several, and across a crash."""

import asyncio
import json
import sqlite3

import pytest

from gateway.core.case import History
from gateway.core.errors import Unavailable
from gateway.peering.settlement import move_case
from gateway.ports import Change, EntryFilter
from gateway.rows import THIS_ENTRY, AlarmRow, CaseRow
from gateway.store import SqlStore
from gateway.workers.timekeeper import Timekeeper
from keys.rest import StorageKey
from tests.contract.conftest import Place, unplug
from tests.support.authorities import DAY_MS, NOW_MS, PERIODS_MS
from tests.support.cases import told
from tests.support.rows import PEER, draft, message, new_case
from tests.support.stores import AUTHORITY

STORAGE = StorageKey(bytes(32))
CASES, MESSAGES = 20, 5


def keeper(store: SqlStore, place: Place) -> Timekeeper:
    return Timekeeper(store=store, storage=lambda: STORAGE, periods=PERIODS_MS, clock=place.clock)


async def fill(store: SqlStore) -> None:
    """Record requests that nobody answers."""
    history = told(History(), AUTHORITY, "request.mla", created_ms=NOW_MS, to=PEER)
    rows = [
        move_case(STORAGE, CaseRow.opened(PEER, new_case(), NOW_MS), history, NOW_MS, PERIODS_MS)
        for _ in range(CASES)
    ]
    messages = [message(created_ms=NOW_MS, entry=THIS_ENTRY) for _ in range(MESSAGES)]
    await store.record(Change(name="test", entries=(draft(),), puts=(*rows, *messages)))


async def told_of(store: SqlStore) -> tuple[int, int]:
    """Return how many alarms stand and how many entries there are, each about something else."""
    alarms = await store.all(AlarmRow)
    entries = await store.entries(EntryFilter(event="clock.expired"), limit=500)
    assert {json.loads(entry.leaf)["clock"] for entry in entries} <= {"acknowledgment", "receipt"}
    return len(alarms), len(entries)


async def rounds(*keepers: Timekeeper) -> None:
    """Let each look twice: what another took first is looked at again."""
    for _ in range(2):
        await asyncio.gather(*(one.round() for one in keepers))


async def test_a_clock_is_told_of_once_across_restarts(place: Place):
    store = await place.open()
    await fill(store)
    place.clock.time_ms += 8 * DAY_MS

    await rounds(keeper(store, place), keeper(store, place))
    store = await place.reopen()
    await keeper(store, place).review()
    await rounds(keeper(store, place))

    assert await told_of(store) == (CASES + MESSAGES, CASES + MESSAGES)


async def test_several_processes_tell_of_a_clock_once(postgres: Place):
    stores = [await postgres.open() for _ in range(3)]
    await fill(stores[0])
    postgres.clock.time_ms += 8 * DAY_MS

    await rounds(*(keeper(store, postgres) for store in stores))

    assert await told_of(stores[0]) == (CASES + MESSAGES, CASES + MESSAGES)


async def test_what_could_not_be_recorded_is_told_later(tmp_path):
    place = Place("sqlite:///gateway.db", tmp_path)
    store = await place.open()
    await fill(store)
    place.clock.time_ms += 8 * DAY_MS
    error = sqlite3.OperationalError("disk")
    error.sqlite_errorcode = sqlite3.SQLITE_IOERR
    unplug(store, error)

    with pytest.raises(Unavailable):
        await keeper(store, place).round()
    assert await told_of(store) == (0, 0)

    store = await place.reopen()
    await rounds(keeper(store, place))
    assert await told_of(store) == (CASES + MESSAGES, CASES + MESSAGES)
    await place.close()
