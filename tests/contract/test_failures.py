"""What happens when something breaks: nothing is forged, and nothing is claimed."""

import asyncio
import sqlite3
from collections.abc import Callable
from typing import Any

import asyncpg
import pytest

from gateway.core.errors import Misconfigured, Unavailable
from gateway.rows import AlarmRow
from gateway.store import SqlStore
from gateway.store.trail import NEWEST
from tests.contract.conftest import Place, unplug
from tests.support.authorities import FixedClock
from tests.support.rows import alarm, change


class Gate:
    """A probe that holds the first commit until a test lets it through; for the writer thread alone."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.entered, self._open = asyncio.Event(), asyncio.Event()

    def reached(self, point: str) -> None:
        if point == "held.before_commit":
            self._loop.call_soon_threadsafe(self.entered.set)
            asyncio.run_coroutine_threadsafe(self._open.wait(), self._loop).result()

    def open(self) -> None:
        self._open.set()


def commit_error(place: Place) -> Exception:
    return OSError("gone") if place.on_postgres else disk_error(sqlite3.SQLITE_IOERR)


def disk_error(code: int) -> sqlite3.OperationalError:
    error = sqlite3.OperationalError("disk")
    error.sqlite_errorcode = code
    return error


async def test_a_cancelled_caller_does_not_take_its_rows_along(store: SqlStore):
    cancelled = [asyncio.create_task(store.record(change(alarm(str(n))))) for n in range(3)]
    await asyncio.sleep(0)
    for task in cancelled:
        task.cancel()

    await store.record(change(alarm("last")))

    assert [row.subject for row in await store.all(AlarmRow)] == ["0", "1", "2", "last"]
    assert all(task.cancelled() for task in await _ended(cancelled))


async def _ended(tasks: list[asyncio.Task[Any]]) -> list[asyncio.Task[Any]]:
    await asyncio.gather(*tasks, return_exceptions=True)
    return tasks


async def test_a_caller_cancelled_while_its_commit_runs_does_not_disturb_it(tmp_path):
    gate = Gate()
    place = Place("sqlite:///gateway.db", tmp_path)
    store = await place.open(probe=gate)
    held = asyncio.create_task(store.record(change(alarm("held"), name="held")))
    await gate.entered.wait()
    next_one = asyncio.create_task(store.record(change(alarm("next"))))

    held.cancel()
    gate.open()
    await next_one

    assert [row.subject for row in await store.all(AlarmRow)] == ["held", "next"]
    await place.close()


async def test_while_a_commit_runs_the_next_batch_gathers(tmp_path):
    gate = Gate()
    place = Place("sqlite:///gateway.db", tmp_path)
    store = await place.open(probe=gate)
    held = asyncio.create_task(store.record(change(name="held", entries=1)))
    await gate.entered.wait()
    answering = [asyncio.create_task(store.record(change(answers=True))) for _ in range(5)]
    await asyncio.sleep(0)

    gate.open()
    await held

    checkpoints = {one.receipt.split_proof()[1] for one in await asyncio.gather(*answering) if one.receipt}
    assert len(checkpoints) == 1, "one transaction, one signature"
    await place.close()


async def test_closing_writes_what_was_handed_in(place: Place):
    store = await place.open()
    waiting = [asyncio.create_task(store.record(change(alarm(str(n))))) for n in range(3)]
    await asyncio.sleep(0)

    store = await place.reopen()

    assert len(await asyncio.gather(*waiting)) == 3
    assert len(await store.all(AlarmRow)) == 3
    ((size, signed, _),) = await store._database.fetch(NEWEST)
    assert (size, signed) == (3, 3), "and signs it"


async def test_a_closed_store_takes_nothing_more(place: Place):
    store = await place.open()
    await place.close()

    with pytest.raises(Unavailable):
        await store.record(change())


async def test_a_failed_commit_stops_everything(place: Place):
    store = await place.open()
    await store.record(change(alarm("before")))
    unplug(store, commit_error(place))

    found = await asyncio.gather(
        *(store.record(change(alarm(str(n)))) for n in range(3)), return_exceptions=True
    )

    assert [type(one) for one in found] == [Unavailable] * 3
    assert store.broken is not None
    with pytest.raises(Unavailable):
        await store.record(change(alarm("after")))
    with pytest.raises(Unavailable):
        await store.checkpoint()
    assert [row.subject for row in await store.all(AlarmRow)] == ["before"], "reading goes on"


async def test_after_a_failed_commit_a_restart_goes_on(place: Place):
    store = await place.open()
    await store.record(change(alarm("before")))
    unplug(store, commit_error(place))
    with pytest.raises(Unavailable):
        await store.record(change(alarm("lost")))

    store = await place.reopen()

    assert store.broken is None
    assert (await store.record(change(alarm("after")))).entries[0].index == 1
    assert (await store.checkpoint()).size == 2


async def test_a_full_disk_is_no_unknown_commit(tmp_path):
    place = Place("sqlite:///gateway.db", tmp_path)
    store = await place.open()
    await store.record(change(alarm("before")))
    connection = store._database._writer
    unplug(store, disk_error(sqlite3.SQLITE_FULL))

    with pytest.raises(Unavailable):
        await store.record(change(alarm("lost")))

    store._database._writer = connection
    assert store.broken is None
    await store.record(change(alarm("after")))
    assert [row.subject for row in await store.all(AlarmRow)] == ["after", "before"]
    await place.close()


class Cutting(FixedClock):
    """A clock that, asked within a transaction, first cuts the connection: once."""

    cut: Callable[[], None] | None = None

    def now_ms(self) -> int:
        cut, self.cut = self.cut, None
        if cut is not None:
            cut()
        return super().now_ms()


async def test_a_connection_lost_before_the_commit_loses_that_batch_alone(postgres: Place):
    clock = Cutting()
    store = await postgres.open(clock=clock)
    await store.record(change(alarm("before")))
    clock.cut = store._database._writer.terminate

    with pytest.raises(Unavailable):
        await store.record(change(alarm("lost")))

    assert store.broken is None
    await store.record(change(alarm("after")))
    assert [row.subject for row in await store.all(AlarmRow)] == ["after", "before"]
    assert (await store.checkpoint()).size == 2


async def test_readers_and_writer_connect_anew(postgres: Place):
    store = await postgres.open()
    await store.record(change(alarm("before")))
    await terminate_all(postgres)

    for attempt in (change(alarm("after")), change(alarm("later"))):  # one may find its connection lost
        await asyncio.gather(store.record(attempt), store.all(AlarmRow), return_exceptions=True)

    assert {"before", "later"} <= {row.subject for row in await store.all(AlarmRow)}


async def terminate_all(place: Place) -> None:
    connection = await asyncpg.connect(place.url)
    await connection.execute(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    await connection.close()


@pytest.mark.parametrize(
    "tampering",
    [
        "UPDATE head SET size = 2",
        'UPDATE head SET root = (SELECT hash FROM nodes WHERE level = 0 AND "index" = 0)',
        "UPDATE head SET size = 0",
    ],
)
async def test_a_head_below_what_was_released_stops_everything(place: Place, tampering: str):
    store = await place.open()
    for _ in range(3):
        await store.record(change())
    await store.checkpoint()
    await place.tamper(tampering)

    with pytest.raises(Unavailable, match="put back"):
        await store.record(change(alarm("a")))

    assert store.broken is not None
    assert await store.all(AlarmRow) == []


async def test_a_log_that_another_wrote_anew_stops_everything(place: Place):
    """The head is larger than what was released, and yet another log's."""
    store = await place.open()
    await store.record(change(entries=3))
    await store.checkpoint()
    await place.tamper("UPDATE nodes SET hash = (SELECT root FROM head) WHERE level = 1")
    await place.tamper("UPDATE head SET size = 4")

    with pytest.raises(Unavailable, match="another"):
        await store.record(change(alarm("a")))

    assert store.broken is not None


async def test_a_log_whose_tree_does_not_lead_to_its_root_is_not_opened(place: Place):
    store = await place.open()
    await store.record(change(entries=3))
    await place.close()
    await place.tamper("UPDATE head SET size = 2")

    with pytest.raises(Misconfigured, match="does not lead to its root"):
        await place.open()


async def test_a_probe_that_fails_before_the_commit_undoes_it(place: Place):
    class Failing:
        def reached(self, point: str) -> None:
            if point == "doomed.before_commit":
                raise RuntimeError(point)

    store = await place.open(probe=Failing())
    doomed, other = await asyncio.gather(
        store.record(change(alarm("a"), name="doomed")),
        store.record(change(alarm("b"))),
        return_exceptions=True,
    )

    assert isinstance(doomed, RuntimeError)
    assert not isinstance(other, BaseException)
    assert [row.subject for row in await store.all(AlarmRow)] == ["b"]
    assert (await store.checkpoint()).size == 1


async def test_when_the_committer_ends_nobody_waits_for_it(place: Place):
    class Failing:
        def reached(self, point: str) -> None:
            if point == "last.after_commit":
                raise RuntimeError(point)

    store = await place.open(probe=Failing())

    found = await asyncio.gather(
        store.record(change(name="last")), store.record(change()), return_exceptions=True
    )

    assert [type(one) for one in found] == [Unavailable, Unavailable]
    assert store.broken is not None
    with pytest.raises(RuntimeError):
        await place.close()
