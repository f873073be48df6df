import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from gateway.core.errors import Unavailable
from gateway.ports import EntryFilter
from gateway.rows import EnvelopeRow, MessageRow
from gateway.workers.courier import Courier
from gateway.workers.route import Route
from tests.support.authorities import make_authority, make_blob
from tests.support.ears import Ear
from tests.support.memory import Crashed
from tests.support.stations import GONE
from tests.workers.conftest import OTHER, PEER, Bench

DEADLINE_S = 20.0


@contextlib.asynccontextmanager
async def delivering(bench: Bench) -> AsyncIterator[Courier]:
    """Run a courier for a block, and stop it."""
    courier = Courier(bench.parts)
    task = asyncio.create_task(courier.run())
    try:
        yield courier
    finally:
        courier.stop()
        async with asyncio.timeout(DEADLINE_S):
            await task


async def until(bench: Bench, what: Callable[[], Awaitable[bool]]) -> None:
    """Wait for what the store is to say: looked up whenever it has changed."""
    ear = Ear(bench.store)
    seen = 0
    while not await what():
        seen = await ear.past(seen, within_s=DEADLINE_S)


async def until_state(bench: Bench, row: MessageRow, state: str) -> None:
    async def stands() -> bool:
        return (await bench.sender.message(row.peer, row.id)).state == state

    await until(bench, stands)


async def test_the_outbox_wakes_the_courier(bench: Bench):
    async with delivering(bench):
        for _ in range(3):
            await until_state(bench, await bench.sender.submit(PEER), "accepted")
    assert bench.peer.calls == [("post", 1)] * 3


async def test_what_was_queued_before_the_start_goes(bench: Bench):
    row = await bench.sender.submit(PEER)
    async with delivering(bench):
        await until_state(bench, row, "accepted")


async def test_the_messages_of_a_case_follow_each_other(bench: Bench):
    first = await bench.sender.submit(PEER)
    rows = [first] + [await bench.sender.submit(PEER, case=first.case) for _ in range(3)]
    async with delivering(bench):
        await until_state(bench, rows[-1], "accepted")
    assert [row.id for row in bench.there.store.of(MessageRow)] == [row.id for row in rows]


async def test_a_peer_that_is_pinned_later_gets_its_route(bench: Bench):
    third = make_authority("qq.moj")
    bench.peers[third.id] = bench.peers[OTHER]
    async with delivering(bench):
        await bench.sender.pin(third)
        bench.peers[third.id].script["post"] = [GONE]
        row = await bench.sender.submit(third.id)

        async def backed_off() -> bool:
            return (await bench.sender.peer(third.id)).attempt == 1

        await until(bench, backed_off)
    assert bench.peers[third.id].calls == [("post", 1)]
    assert (await bench.sender.message(third.id, row.id)).state == "queued"


async def test_a_peer_that_hangs_or_fails_keeps_no_other_waiting(bench: Bench):
    stuck, going = await bench.sender.submit(PEER), await bench.sender.submit(OTHER)
    bench.peer.script["post"] = [LookupError("Zitronenfalter")]
    with capture_logs() as logs:
        async with delivering(bench):
            await until_state(bench, going, "accepted")

            async def backed_off() -> bool:
                return (await bench.sender.peer(PEER)).attempt == 1

            await until(bench, backed_off)
    assert (await bench.sender.peer(PEER)).problem == "internal"
    assert (await bench.sender.message(PEER, stuck.id)).state == "queued"
    (line,) = [line for line in logs if line["event"] == "courier.failed"]
    assert (line["peer"], line["error"]) == (PEER, "LookupError")
    assert "Zitronenfalter" not in str(logs)


async def test_a_store_that_cannot_write_is_asked_again(bench: Bench, monkeypatch: pytest.MonkeyPatch):
    row = await bench.sender.submit(PEER)
    record, failures = bench.store.record, [Unavailable("the disk is full")]

    async def failing(change):
        if change.name == "settle" and failures:
            raise failures.pop()
        return await record(change)

    monkeypatch.setattr(bench.store, "record", failing)
    route = bench.route()
    await route._guarded_round()
    await route._under_way.finish()
    assert route._under_way.troubled  # the next round waits a moment, then posts the same again
    assert (await bench.sender.message(PEER, row.id)).state == "queued"
    monkeypatch.setattr("gateway.workers.route._POLL_S", 0.0)
    await bench.work_off(route)
    assert (await bench.sender.message(PEER, row.id)).state == "accepted"
    assert bench.peer.posted[0] == bench.peer.posted[1]


class Gate:
    """Holds a call of the peer until it is opened."""

    def __init__(self) -> None:
        self.arrived, self.opened = asyncio.Event(), asyncio.Event()

    async def __call__(self) -> None:
        self.arrived.set()
        await self.opened.wait()


async def test_a_stop_lets_what_is_on_its_way_be_recorded_and_posts_no_more(bench: Bench):
    first = await bench.sender.submit(PEER)
    second = await bench.sender.submit(PEER, case=first.case)
    gate = Gate()
    bench.peer.script["post"] = [gate]
    courier = Courier(bench.parts)
    task = asyncio.create_task(courier.run())
    async with asyncio.timeout(DEADLINE_S):
        await gate.arrived.wait()
        courier.stop()
        gate.opened.set()
        await task
    assert (await bench.sender.message(PEER, first.id)).state == "accepted"
    assert (await bench.sender.message(PEER, second.id)).state == "queued"
    assert bench.peer.calls == [("post", 1)]
    assert bench.peer.closed == bench.peer.clients == 1


async def test_what_does_not_end_in_time_is_broken_off_and_posted_again(bench: Bench):
    row = await bench.sender.submit(PEER)
    gate = Gate()
    bench.peer.script["post"] = [gate]
    courier = Courier(bench.parts)
    task = asyncio.create_task(courier.run())
    async with asyncio.timeout(DEADLINE_S):
        await gate.arrived.wait()
        courier.stop()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert await bench.sender.message(PEER, row.id) == row
    assert bench.peer.closed == 1
    async with delivering(bench):
        await until_state(bench, row, "accepted")
    assert bench.peer.posted[0] == bench.peer.posted[1]


async def test_a_stop_breaks_a_transfer_of_blobs_off(bench: Bench):
    member = await bench.sender.upload(make_blob(b"gigabytes"))
    row = await bench.sender.submit(PEER, attachments=[member])
    gate = Gate()
    bench.peer.script["blob"] = [gate]
    async with delivering(bench):
        await gate.arrived.wait()
    assert await bench.sender.message(PEER, row.id) == row
    async with delivering(bench):
        await until_state(bench, row, "accepted")


@pytest.mark.parametrize("point", ["courier.before_post", "courier.after_post"])
async def test_a_crash_around_a_post_loses_nothing_and_sends_nothing_twice(bench: Bench, point: str):
    row = await bench.sender.submit(PEER)
    (envelope,) = await bench.store.envelopes(row.id)

    class Crashing:
        def reached(self, passed: str) -> None:
            if passed == point:
                raise Crashed

    crashing = Route(replace(bench.parts, probe=Crashing()), PEER, asyncio.Event())
    with pytest.raises(Crashed):
        await crashing._guarded_round()
    await bench.work_off()  # a route as after a start
    assert (await bench.sender.message(PEER, row.id)).state == "accepted"
    assert set(bench.peer.posted) == {envelope.body}
    assert len(bench.there.store.of(MessageRow)) == 1
    entries = await bench.there.store.entries(EntryFilter(message_id=row.id))
    assert len(entries) == 1
    assert [one.body for one in await bench.store.envelopes(row.id)] == [None]
    assert bench.there.store.of(EnvelopeRow) == []


async def test_a_route_goes_on_even_if_it_cannot_back_off(bench: Bench, monkeypatch: pytest.MonkeyPatch):
    row = await bench.sender.submit(PEER)
    bench.peer.script["post"] = [LookupError()]
    record, failures = bench.store.record, [RuntimeError()]

    async def failing(change):
        if change.name == "route" and failures:
            raise failures.pop()
        return await record(change)

    monkeypatch.setattr(bench.store, "record", failing)
    monkeypatch.setattr("gateway.workers.route._POLL_S", 0.0)
    route = bench.route()
    with capture_logs() as logs:
        await bench.work_off(route)
    errors = [line["error"] for line in logs if line["event"] == "courier.failed"]
    assert errors == ["LookupError", "RuntimeError"]
    await bench.work_off(route)
    assert (await bench.sender.message(PEER, row.id)).state == "accepted"
