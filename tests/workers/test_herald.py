"""Webhooks: told in order, again until they are taken, and nowhere else than they may go."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable
from dataclasses import replace
from datetime import UTC, datetime

import pytest
import time_machine
from aiohttp import web
from standardwebhooks import Webhook

from gateway.core.announcement import KEPT_MS, LASTS_MS, OVERLAP_MS
from gateway.core.errors import Stale
from gateway.ports import Change, Unprobed
from gateway.rows import AnnouncementRow, CursorRow
from gateway.workers.announcer import ALARM
from gateway.workers.herald import Herald
from keys.webhooks import secret_text
from tests.support import rows
from tests.support.webhooks import SECRET, Bench, open_bench, receiving, says

HOUR_MS = 3_600_000


@pytest.fixture
async def bench(tmp_path) -> AsyncIterator[Bench]:
    async with open_bench(tmp_path / "qm") as opened:
        yield opened


def verified(bench: Bench, headers: dict[str, str], body: bytes, secret: bytes = SECRET) -> object:
    """Return what the official library makes of what a receiver was told."""
    with time_machine.travel(datetime.fromtimestamp(bench.clock.time_ms / 1000, UTC), tick=False):
        return Webhook(secret_text(secret)).verify(body, headers)


async def within(awaited: Awaitable[None]) -> None:
    """Wait for something that happens soon, or not at all."""
    async with asyncio.timeout(5):
        await awaited


class TestTold:
    async def test_in_the_order_of_the_log_from_when_the_webhook_was_made(self, bench: Bench):
        await bench.happens()
        async with receiving() as receiver:
            webhook = await bench.webhook(receiver.url)
            made = await bench.happens(count=120)
            await bench.tell(webhook)
            assert receiver.ids == made
            await bench.tell(webhook)
            assert len(receiver.told) == 120, "each once"

    async def test_signed_as_the_official_library_has_it(self, bench: Bench):
        async with receiving() as receiver:
            webhook = await bench.webhook(receiver.url)
            await bench.happens()
            await bench.tell(webhook)
        ((headers, body),) = receiver.told
        found = verified(bench, headers, body)
        (event,) = (await bench.store.events(after=-1, limit=10)).events
        assert found == event.document()
        assert (headers["webhook-id"], headers["content-type"]) == (event.entry_id, "application/json")
        assert headers["webhook-timestamp"] == str(bench.clock.time_ms // 1000)
        with pytest.raises(Exception, match="No matching signature"):
            verified(bench, headers, body + b" ")

    async def test_both_secrets_sign_until_the_old_one_ends(self, bench: Bench):
        old, new = bytes(32), bytes([1] * 32)
        async with receiving() as receiver:
            webhook = await bench.webhook(receiver.url, secrets=(new, old))
            until = replace(await bench.row(webhook), old_until_ms=bench.clock.time_ms + OVERLAP_MS)
            await bench.store.record(Change(name="webhook", puts=(until,)))
            await bench.happens()
            await bench.tell(webhook)
            bench.pass_by(OVERLAP_MS)
            await bench.happens()
            await bench.tell(webhook)
        both, alone = receiver.told
        assert len(both[0]["webhook-signature"].split()) == 2
        assert len(alone[0]["webhook-signature"].split()) == 1
        verified(bench, *alone, secret=new)
        with pytest.raises(Exception, match="No matching signature"):
            verified(bench, *alone, secret=old)
        bench.pass_by(-OVERLAP_MS)
        verified(bench, *both, secret=new)
        verified(bench, *both, secret=old)

    async def test_only_of_the_types_that_it_wants(self, bench: Bench):
        async with receiving() as receiver:
            webhook = await bench.webhook(receiver.url, types="message.held peer.added")
            await bench.happens(count=3)
            held = await bench.happens("delivery.held")
            await bench.happens("log.read")
            added = await bench.happens("peer.added")
            await bench.tell(webhook)
        assert receiver.ids == [*held, *added]
        assert [row.type for row in await bench.deliveries(webhook)] == ["message.held", "peer.added"]

    async def test_a_long_log_without_anything_for_it_is_passed_over_once(self, bench: Bench, monkeypatch):
        monkeypatch.setattr("gateway.store.feed.WINDOW", 5)
        monkeypatch.setattr("gateway.workers.announcer._UNTOLD", 10)
        async with receiving() as receiver:
            webhook = await bench.webhook(receiver.url, types="message.held")
            begun = await bench.cursor(webhook)
            await bench.happens("content.read", count=23)
            await bench.tell(webhook)
            assert await bench.cursor(webhook) >= begun + 20, "a start does not look at all that again"
            held = await bench.happens("delivery.held")
            await bench.tell(webhook)
        assert receiver.ids == held

    async def test_a_ping_is_told_to_its_webhook_alone(self, bench: Bench):
        async with receiving() as receiver, receiving() as other:
            webhook = await bench.webhook(receiver.url, types="peer.added")
            another = await bench.webhook(other.url)
            told = rows.announcement(await bench.row(webhook), type="webhook.ping")
            entry = rows.draft("webhook.tested", peer=None)
            await bench.store.record(Change(name="webhook", entries=(entry,), puts=(told,)))
            await bench.tell(webhook)
            await bench.tell(another)
        assert [json.loads(body)["type"] for _, body in receiver.told] == ["webhook.ping"]
        assert other.told == []

    async def test_what_is_no_event_any_more_is_dropped(self, bench: Bench):
        """As after an update of the node that has taken a type away."""
        async with receiving() as receiver:
            webhook = await bench.webhook(receiver.url)
            told = rows.announcement(await bench.row(webhook))
            entry = rows.draft("content.read")
            await bench.store.record(Change(name="test", entries=(entry,), puts=(told,)))
            made = await bench.happens()
            await bench.tell(webhook)
            assert receiver.ids == made
        assert [row.state for row in await bench.deliveries(webhook)] == ["dropped", "delivered"]


class TestNotTaken:
    async def test_it_is_tried_again_under_the_same_id_and_the_next_waits(self, bench: Bench):
        async with receiving(says(500), says(200)) as receiver:
            webhook = await bench.webhook(receiver.url)
            first, second = await bench.happens(count=2)
            await bench.tell(webhook)
            await bench.tell(webhook)
            assert receiver.ids == [first], "the second waits for the first, and that for its time"
            (row,) = await bench.deliveries(webhook)
            assert (row.state, row.attempts, row.status) == ("pending", 1, 500)
            assert 2_500 <= row.next_ms - bench.clock.time_ms <= 5_000
            bench.pass_by(5_000)
            await bench.tell(webhook)
        assert receiver.ids == [first, first, second]
        rows_ = await bench.deliveries(webhook)
        assert [(row.state, row.attempts, row.status) for row in rows_] == [
            ("delivered", 2, 200),
            ("delivered", 1, 200),
        ]

    @pytest.mark.parametrize(
        ("status", "headers"), [(302, {"Location": "/elsewhere"}), (404, {}), (503, {}), (304, {}), (600, {})]
    )
    async def test_any_other_status_backs_off(self, bench: Bench, status: int, headers: dict[str, str]):
        async with receiving(says(status, **headers)) as receiver:
            webhook = await bench.webhook(receiver.url)
            await bench.happens()
            await bench.tell(webhook)
        (row,) = await bench.deliveries(webhook)
        assert (row.state, row.attempts, row.status, row.problem) == ("pending", 1, status, None)
        assert len(receiver.told) == 1, "no redirect is followed"

    async def test_for_three_days_from_the_first_attempt_then_an_operator_is_told(self, bench: Bench):
        async with receiving(says(500)) as receiver:
            webhook = await bench.webhook(receiver.url)
            begun = bench.clock.time_ms
            first, second = await bench.happens(count=2)
            waits = []
            while second not in receiver.ids:
                assert await bench.alarms() == []
                await bench.tell(webhook)
                if second in receiver.ids:
                    break
                waiting = (await bench.deliveries(webhook))[0].next_ms
                waits.append(waiting - bench.clock.time_ms)
                bench.clock.time_ms = waiting
            failed, following = await bench.deliveries(webhook)
            assert (failed.state, following.state) == ("failed", "pending")
            assert bench.clock.time_ms - begun == LASTS_MS, "the last attempt is at the end of its time"
            assert max(waits) <= 4 * HOUR_MS
            assert waits[0] < waits[1] < waits[2] < waits[3]
            assert await bench.alarms() == [(ALARM, webhook)]
            assert receiver.ids == [first] * failed.attempts + [second]
            newest = await bench.store.entry(await bench.store.log_size() - 1)
            assert newest is not None
            assert json.loads(newest.leaf)["alarm"] == ALARM

    async def test_the_alarm_ends_with_the_next_event_that_is_taken(self, bench: Bench):
        async with receiving(says(500), says(500), says(200)) as receiver:
            webhook = await bench.webhook(receiver.url)
            await bench.happens(count=2)
            await bench.tell(webhook)
            bench.pass_by(LASTS_MS)
            await bench.tell(webhook)
            assert (await bench.deliveries(webhook))[1].state == "delivered"
            assert await bench.alarms() == []
        types = [json.loads(body)["type"] for _, body in receiver.told]
        assert types == [*["message.queued"] * 3, "alarm.raised"]

    async def test_gone_disables_at_once(self, bench: Bench):
        async with receiving(says(410)) as receiver:
            webhook = await bench.webhook(receiver.url)
            await bench.happens(count=2)
            assert await bench.tell(webhook) is None
            assert await bench.tell(webhook) is None
        row = await bench.row(webhook)
        assert (row.state, row.problem, len(receiver.told)) == ("disabled", "gone", 1)
        assert [one.state for one in await bench.deliveries(webhook)] == ["failed"]
        newest = await bench.store.entry(await bench.store.log_size() - 1)
        assert newest is not None
        assert json.loads(newest.leaf)["event"] == "webhook.disabled"

    async def test_no_answer_in_time(self, tmp_path):
        async def never(_request: web.Request) -> web.Response:
            await asyncio.Event().wait()
            raise AssertionError

        async with (
            open_bench(tmp_path / "qm", timeout_s=0.2) as bench,
            receiving(never, says(200)) as receiver,
        ):
            webhook = await bench.webhook(receiver.url)
            await bench.happens()
            await bench.tell(webhook)
            (row,) = await bench.deliveries(webhook)
            assert (row.state, row.status, row.problem) == ("pending", None, "timeout")
            bench.pass_by(5_000)
            await bench.tell(webhook)
            assert (await bench.deliveries(webhook))[0].state == "delivered"

    async def test_a_body_without_end_is_not_waited_for(self, tmp_path):
        written = 0

        async def flood(request: web.Request) -> web.StreamResponse:
            nonlocal written
            response = web.StreamResponse()
            await response.prepare(request)
            while written < 1 << 28:
                await response.write(bytes(1 << 16))
                written += 1 << 16
            raise AssertionError("somebody reads it all")

        async with open_bench(tmp_path / "qm") as bench, receiving(flood) as receiver:
            webhook = await bench.webhook(receiver.url)
            await bench.happens()
            await bench.tell(webhook)
            (row,) = await bench.deliveries(webhook)
            assert (row.state, row.status) == ("delivered", 200)
        assert written < 1 << 24

    async def test_nobody_is_there(self, bench: Bench):
        async with receiving() as receiver:
            pass
        webhook = await bench.webhook(receiver.url)
        await bench.happens()
        await bench.tell(webhook)
        (row,) = await bench.deliveries(webhook)
        assert (row.state, row.problem) == ("pending", "no_connection")

    async def test_a_broken_answer(self, bench: Bench):
        async def broken(request: web.Request) -> web.Response:
            assert request.transport is not None
            request.transport.close()
            return web.Response()

        async with receiving(broken) as receiver:
            webhook = await bench.webhook(receiver.url)
            await bench.happens()
            await bench.tell(webhook)
        (row,) = await bench.deliveries(webhook)
        assert (row.state, row.problem) == ("pending", "broken_off")


class Killed(BaseException):
    """The process ends here."""


class TestCrash:
    async def test_between_the_post_and_its_record_the_event_is_told_again_under_its_id(self, bench: Bench):
        class Fatal(Unprobed):
            def reached(self, point: str) -> None:
                if point == "herald.after_post":
                    raise Killed

        async with receiving() as receiver:
            webhook = await bench.webhook(receiver.url)
            first, second = await bench.happens(count=2)
            with pytest.raises(Killed):
                await replace(bench, probe=Fatal()).tell(webhook)
            assert receiver.ids == [first]
            assert await bench.deliveries(webhook) == []
            await bench.tell(webhook)
        assert receiver.ids == [first, first, second]

    async def test_what_moves_while_an_attempt_is_under_way_counts(self, bench: Bench):
        """Removed, it is not recorded; told by another process, it is recorded once."""

        async def removed(_request: web.Request) -> web.Response:
            row, cursor = await bench.row(webhook), await bench.store.get(CursorRow, webhook)
            assert cursor is not None
            await bench.store.record(Change(name="webhook", deletes=(row, cursor)))
            return web.Response()

        async with receiving(removed) as receiver:
            webhook = await bench.webhook(receiver.url)
            await bench.happens(count=2)
            assert await bench.tell(webhook) is None
            assert len(receiver.told) == 1
            assert await bench.deliveries(webhook) == []

    async def test_what_was_made_due_again_in_between_keeps_the_attempt_that_ended(self, bench: Bench):
        async def touched(_request: web.Request) -> web.Response:
            (row,) = await bench.deliveries(webhook)
            again = replace(row, attempts=0, first_ms=None, next_ms=bench.clock.time_ms)
            await bench.store.record(Change(name="webhook", puts=(again,)))
            return web.Response(status=500)

        async with receiving(says(500), touched) as receiver:
            webhook = await bench.webhook(receiver.url)
            await bench.happens()
            await bench.tell(webhook)
            bench.pass_by(5_000)
            await bench.tell(webhook)
        (row,) = await bench.deliveries(webhook)
        assert (row.state, row.attempts, row.first_ms) == ("pending", 1, bench.clock.time_ms)
        assert len(receiver.told) == 2


class TestHerald:
    async def test_a_dead_receiver_holds_nobody_up(self, tmp_path):
        """One answers never: the other gets everything meanwhile, and the herald stops all the same."""
        held = asyncio.Event()

        async def never(_request: web.Request) -> web.Response:
            await held.wait()
            return web.Response(status=500)

        async with open_bench(tmp_path / "qm") as bench, receiving(never) as dead, receiving() as alive:
            for receiver in (dead, alive):
                await bench.webhook(receiver.url)
            herald = Herald(bench.parts)
            running = asyncio.create_task(herald.run())
            made = await bench.happens(count=20)
            await within(alive.reached(20))
            assert alive.ids == made
            assert dead.ids == made[:1]
            herald.stop()
            held.set()
            await within(running)

    async def test_tasks_come_and_go_with_the_webhooks(self, bench: Bench):
        herald = Herald(bench.parts)
        async with receiving() as receiver:
            webhook = await bench.webhook(receiver.url)
            await herald.follow()
            assert set(herald._tasks) == {webhook}
            row = await bench.row(webhook)
            await bench.store.record(Change(name="webhook", puts=(replace(row, state="disabled"),)))
            herald.wake()
            await herald._tasks[webhook]
            await herald.follow()
            assert not herald._tasks
            row = await bench.row(webhook)
            await bench.store.record(Change(name="webhook", puts=(replace(row, state="enabled"),)))
            await herald.follow()
            assert set(herald._tasks) == {webhook}
            herald.stop()
            await asyncio.gather(*herald._tasks.values())

    async def test_what_became_of_events_is_forgotten_after_thirty_days_unless_it_is_on_its_way(
        self, bench: Bench
    ):
        webhook = await bench.row(await bench.webhook("http://127.0.0.1:1/"))
        now_ms = bench.clock.time_ms
        for state, changed_ms in (
            ("delivered", now_ms - KEPT_MS - 1),
            ("failed", now_ms - KEPT_MS - 1),
            ("pending", now_ms - KEPT_MS - 1),
            ("delivered", now_ms - KEPT_MS + 1),
        ):
            row = rows.announcement(webhook, state=state, changed_ms=changed_ms)
            await bench.store.record(Change(name="test", entries=(rows.draft(),), puts=(row,)))
        await Herald(bench.parts).sweep()
        assert [row.state for row in await bench.deliveries(webhook.id)] == ["pending", "delivered"]


async def test_of_two_attempts_at_one_event_one_is_recorded(bench: Bench):
    """As of two processes whose hold on the webhook has passed over."""
    webhook = await bench.row(await bench.webhook("http://127.0.0.1:1/"))
    await bench.happens()
    row = rows.announcement(webhook, entry=await bench.cursor(webhook.id) + 1)
    await bench.store.record(Change(name="announce", puts=(row,)))
    with pytest.raises(Stale):
        await bench.store.record(Change(name="announce", puts=(row,)))
    assert await bench.store.get(AnnouncementRow, webhook.id, row.entry) is not None
