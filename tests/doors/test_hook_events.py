"""The feed of events at the hook: pages, long polls and streams."""

import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest
from aiohttp import ClientResponse

from gateway.config import Limits
from gateway.core.event import FEED_TYPES
from gateway.ports import Change
from gateway.rows import TokenRow
from gateway.web.events import FEED
from gateway.web.middleware import TOKENS
from gateway.web.tokens import Scope, token_sha256
from tests.support.hooks import MARK, PEER, Hook, open_hook
from tests.support.rows import draft as entry

STREAM = {"Accept": "text/event-stream"}


@pytest.fixture
async def hook(tmp_path):
    async with open_hook(tmp_path) as opened:
        yield opened


def feed_of(hook: Hook) -> Any:
    return hook.client.app[FEED]


async def log(hook: Hook, event: str = "peer.added") -> str:
    """Log an entry; return the id of what is told of it."""
    recorded = await hook.store.record(Change(name="test", entries=(entry(event),)))
    return str(recorded.entries[0].index)


async def soon(awaited: Any) -> Any:
    async with asyncio.timeout(5):
        return await awaited


async def waiting(hook: Hook, count: int) -> None:
    """Wait until that many readers wait."""
    async with asyncio.timeout(5):
        while len(feed_of(hook)._waiting) != count:  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0)


def polled(hook: Hook, query: str) -> asyncio.Task[Any]:
    return asyncio.create_task(hook("GET", f"/events?{query}"))


class TestPages:
    async def test_a_message_on_its_way_in_and_out(self, hook):
        sent = await hook.sent()
        received = await hook.received()
        found = (await hook("GET", "/events")).json["items"]
        told = [(one["type"], one["message"], one["peer"], one["kind"]) for one in found[-2:]]
        assert told == [
            ("message.queued", sent["id"], PEER, "request.mla"),
            ("message.received", received.id, PEER, "request.mla"),
        ]
        assert found[-2]["case"] == sent["case"]
        assert all(set(one) <= {"id", "type", "time", "message", "kind", "case", "peer"} for one in found)
        assert MARK not in json.dumps(found)

    async def test_page_after_page_without_a_gap(self, hook):
        begin = await log(hook)
        made = [await log(hook) for _ in range(7)]
        seen, after = [], begin
        for _ in range(4):
            answer = await hook("GET", f"/events?after={after}&limit=3")
            after = answer.json["after"]
            assert answer.headers["Link"] == f'</v1/events?after={after}&limit=3>; rel="next"'
            seen += [one["id"] for one in answer.json["items"]]
        assert seen == made
        assert answer.json["items"] == []

    async def test_latest_is_the_cursor_of_now(self, hook):
        last = await log(hook)
        answer = await hook("GET", "/events?after=latest")
        assert answer.json == {"items": [], "after": last}
        following = await log(hook)
        found = (await hook("GET", f"/events?after={last}")).json
        assert [one["id"] for one in found["items"]] == [following]

    async def test_a_reader_without_a_cursor_begins_with_the_oldest(self, hook):
        await log(hook)
        first = (await hook("GET", "/events?limit=1")).json["items"][0]
        assert first["type"] == "peer.added"
        assert int(first["id"]) == min(int(one["id"]) for one in (await hook("GET", "/events")).json["items"])

    async def test_one_request_passes_over_a_bounded_part_of_the_log(self, hook, monkeypatch):
        monkeypatch.setattr("gateway.store.feed.WINDOW", 1)
        for _ in range(30):
            await log(hook, "log.read")
        last = await log(hook)
        begin = int(last) - 31
        found = (await hook("GET", f"/events?after={begin}&wait=60")).json
        assert found == {"items": [], "after": str(begin + 25)}
        found = (await hook("GET", f"/events?after={found['after']}")).json
        assert [one["id"] for one in found["items"]] == [last]

    @pytest.mark.parametrize(
        "query",
        [
            "after=-1",
            "after=x",
            "after=",
            "after=1.5",
            "after=00000000000000001",
            "limit=0",
            "limit=501",
            "wait=61",
            "wait=-1",
            "wait=1.5",
            "types=",
            "types=nothing",
            "types=webhook.ping",
            "types=peer.added,",
            "after=1&after=2",
            "since=1",
        ],
    )
    async def test_what_is_not_a_question(self, hook, query: str):
        assert (await hook("GET", f"/events?{query}")).status == 400
        if not query.startswith(("limit", "wait")):
            assert (await hook("GET", f"/events?{query}", headers=STREAM)).status == 400

    async def test_a_cursor_of_the_future(self, hook):
        last = int(await log(hook))
        assert (await hook("GET", f"/events?after={last}")).status == 200
        for headers in ({}, STREAM, {**STREAM, "Last-Event-ID": str(last + 1)}):
            answer = await hook("GET", f"/events?after={last + 1}", headers=headers)
            assert (answer.status, answer.code) == (400, "no_such_event")


class TestLongPoll:
    async def test_is_answered_by_what_is_committed_next(self, hook):
        last = await log(hook)
        task = polled(hook, f"after={last}&wait=60")
        await waiting(hook, 1)
        made = await log(hook)
        found = (await soon(task)).json
        assert ([one["id"] for one in found["items"]], found["after"]) == ([made], made)
        assert not feed_of(hook)._waiting

    async def test_is_not_answered_by_what_is_internal_or_of_another_type(self, hook):
        last = await log(hook)
        task = polled(hook, f"after={last}&wait=60&types=message.held")
        await waiting(hook, 1)
        await log(hook, "log.read")
        await log(hook, "peer.added")
        made = await log(hook, "delivery.held")
        assert [one["id"] for one in (await soon(task)).json["items"]] == [made]

    async def test_ends_without_an_event_when_its_time_is_over(self, hook):
        last = await log(hook)
        found = await soon(polled(hook, f"after={last}&wait=1"))
        assert (found.status, found.json) == (200, {"items": [], "after": last})

    async def test_ends_when_the_node_stops(self, hook):
        last = await log(hook)
        task = polled(hook, f"after={last}&wait=60")
        await waiting(hook, 1)
        await feed_of(hook).stop(hook.client.app)
        assert (await soon(task)).json == {"items": [], "after": last}

    async def test_no_more_wait_at_once_than_the_settings_allow(self, tmp_path):
        async with open_hook(tmp_path, limits=Limits(free_disk_bytes=0, event_streams=2)) as hook:
            last = await log(hook)
            tasks = [polled(hook, f"after={last}&wait=60") for _ in range(2)]
            await waiting(hook, 2)
            for query, headers in (("&wait=60", {}), ("", STREAM)):
                answer = await hook("GET", f"/events?after={last}{query}", headers=headers)
                assert (answer.status, answer.code) == (429, "rate_limited")
                assert answer.headers["Retry-After"] == "5"
            answer = await hook("GET", f"/events?after={last}")
            assert answer.status == 200, "who does not wait takes no place"
            await log(hook)
            for task in tasks:
                assert (await soon(task)).status == 200

    async def test_a_reader_that_has_gone_gives_its_place_back(self, hook):
        last = await log(hook)
        task = polled(hook, f"after={last}&wait=60")
        await waiting(hook, 1)
        task.cancel()
        await waiting(hook, 0)


async def opened(hook: Hook, query: str = "", **headers: str) -> ClientResponse:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    bearer = {"Authorization": f"Bearer {hook.token}"}
    return await hook.client.get(f"/v1/events?{query}", headers={**STREAM, **bearer, **named})


async def piece(answer: ClientResponse) -> list[str]:
    """Return the lines of the next part of a stream."""
    lines = []
    while (line := (await soon(answer.content.readline())).decode().rstrip("\n")) or not lines:
        if not line and answer.content.at_eof():
            break
        lines.append(line)
    return lines


class TestStream:
    async def test_begins_with_its_cursor_and_goes_on_with_what_is_committed(self, hook):
        last = await log(hook)
        answer = await opened(hook, "after=latest")
        assert (answer.status, answer.headers["Content-Type"]) == (200, "text/event-stream")
        assert answer.headers["Cache-Control"] == "no-store"
        assert await piece(answer) == ["retry: 2000", f"id: {last}"]
        for _ in range(3):
            made = await log(hook)
            id_, event, data = await piece(answer)
            assert (id_, event) == (f"id: {made}", "event: peer.added")
            shown = json.loads(data.removeprefix("data: "))
            assert (shown["id"], shown["type"], shown["peer"]) == (made, "peer.added", "qn.justice")
        answer.close()
        await waiting(hook, 0)

    async def test_goes_on_after_the_last_event_that_was_seen(self, hook):
        """Whatever the address says, which a reader that comes again does not change."""
        first, second = await log(hook), await log(hook)
        answer = await opened(hook, "after=latest", Last_Event_ID=first)
        assert await piece(answer) == ["retry: 2000", f"id: {first}"]
        assert (await piece(answer))[0] == f"id: {second}"
        answer.close()

    async def test_of_some_types_from_the_oldest(self, hook):
        await log(hook)
        held = await log(hook, "delivery.held")
        answer = await opened(hook, "types=message.held,message.expired")
        assert await piece(answer) == ["retry: 2000"]
        assert (await piece(answer))[0] == f"id: {held}"
        answer.close()

    async def test_shows_signs_of_life_with_how_far_the_log_was_looked_at(self, hook):
        await log(hook)
        feed_of(hook).heartbeat_s = 0.01
        answer = await opened(hook, "types=message.held&after=latest")
        await piece(answer)
        last = await log(hook, "log.read")
        seen = [await piece(answer)]
        while seen[-1] != [":", f"id: {last}"]:
            seen.append(await piece(answer))
        assert all(line == ":" for line, _ in seen)
        answer.close()

    async def test_ends_when_the_node_stops(self, hook):
        answer = await opened(hook, "after=latest")
        await piece(answer)
        await waiting(hook, 1)
        await feed_of(hook).stop(hook.client.app)
        assert await soon(answer.read()) == b""

    async def test_ends_when_its_token_does(self, hook):
        feed_of(hook).heartbeat_s = 0.01
        answer = await opened(hook, "after=latest")
        await piece(answer)
        await hook.client.app[TOKENS].noted()
        rows = await hook.store.all(TokenRow)
        (row,) = (row for row in rows if row.sha256 == token_sha256(hook.token))
        await hook.store.record(Change(name="token", puts=(replace(row, revoked_ms=1),)))
        await soon(answer.read())
        await waiting(hook, 0)

    async def test_gives_its_place_back_when_the_reader_has_gone(self, hook):
        answer = await opened(hook, "after=latest")
        await piece(answer)
        await waiting(hook, 1)
        answer.close()
        await waiting(hook, 0)


async def test_it_takes_the_scope_to_read_messages(hook):
    token = await hook.bearer(Scope.READ)
    assert (await hook("GET", "/events", token=token)).status == 200
    token = await hook.bearer(Scope.WRITE, Scope.AUDIT, Scope.ADMIN)
    hook.clock.time_ms += 1000
    assert (await hook("GET", "/events", token=token)).status == 403


async def test_every_type_can_be_asked_for(hook):
    answer = await hook("GET", f"/events?types={','.join(sorted(FEED_TYPES))}")
    assert answer.status == 200
