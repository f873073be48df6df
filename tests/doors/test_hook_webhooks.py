"""Webhooks at the hook: made, changed, tried, and never shown more than once."""

import json
import sqlite3
from contextlib import closing
from dataclasses import replace
from typing import Any

import pytest

from gateway.config import Hook as HookTable
from gateway.config import Settings
from gateway.core import custody
from gateway.core.announcement import OVERLAP_MS
from gateway.core.errors import Stale
from gateway.core.strict import time_text
from gateway.ports import Change
from gateway.rows import AlarmRow, AnnouncementRow, CursorRow, WebhookRow
from gateway.web.tokens import Scope
from gateway.web.webhooks import MAX_PENDING, MAX_WEBHOOKS
from keys.rest import Box
from keys.webhooks import secret_text
from tests.support import rows
from tests.support.hooks import Hook, open_hook

URL = "https://127.0.0.1:9443/art18"


@pytest.fixture
async def hook(tmp_path):
    async with open_hook(tmp_path) as opened:
        object.__setattr__(
            opened.context,
            "settings",
            Settings(
                limits=opened.context.settings.limits,
                hook=HookTable(webhook_networks=("127.0.0.0/8",)),  # type: ignore[arg-type]  # as in TOML
            ),
        )
        yield opened


async def made(hook: Hook, **members: Any) -> dict[str, Any]:
    answer = await hook("POST", "/webhooks", {"url": URL, **members})
    assert answer.status == 201, answer.body
    return answer.json


async def told(hook: Hook, webhook: str, state: str = "failed", **members: Any) -> str:
    """Record what became of an event; return the id of the delivery."""
    row = await hook.store.get(WebhookRow, webhook)
    assert row is not None
    found = rows.announcement(row, state=state, **members)
    change = Change(name="announce", entries=(rows.draft(),), puts=(found,))
    return str((await hook.store.record(change)).entries[0].index)


async def secrets(hook: Hook, webhook: str) -> list[str]:
    row = await hook.store.get(WebhookRow, webhook)
    assert row is not None
    box = Box(row.wrapped_key, row.ciphertext)
    return [secret_text(one) for one in custody.open_webhook(hook.party.keyring.storage, webhook, box)]


class TestMade:
    async def test_its_secret_is_shown_once_and_rests_sealed(self, hook):
        answer = await hook("POST", "/webhooks", {"url": URL, "types": ["peer.added", "message.held"]})
        found = answer.json
        assert answer.headers["Location"] == f"/v1/webhooks/{found['id']}"
        assert found.pop("secret") == (await secrets(hook, found["id"]))[0]
        assert found == {
            "id": found["id"],
            "url": URL,
            "types": ["message.held", "peer.added"],
            "enabled": True,
            "problem": None,
            "created": time_text(hook.clock.time_ms),
            "changed": time_text(hook.clock.time_ms),
            "old_secret_until": None,
        }
        assert (await hook("GET", "/webhooks")).json == {"items": [found]}
        last = await hook.last()
        assert (last["event"], last["webhook_ref"]) == ("webhook.created", found["id"])
        assert URL not in json.dumps(last)
        shown = (await hook("GET", f"/webhooks/{found['id']}")).json
        cursor = await hook.store.get(CursorRow, found["id"])
        assert cursor is not None
        assert shown == {**found, "after": str(cursor.entry)}
        assert cursor.entry == await hook.store.log_size() - 1, "it is told of what comes after it"

    async def test_no_secret_lies_in_the_file(self, hook):
        await made(hook)
        (row,) = await hook.store.all(WebhookRow)
        (secret,) = custody.open_webhook(
            hook.party.keyring.storage, row.id, Box(row.wrapped_key, row.ciphertext)
        )
        with closing(sqlite3.connect(hook.folder / "gateway.db")) as database:
            dump = "\n".join(database.iterdump()).lower()
        assert row.id in dump
        assert secret.hex() not in dump
        assert secret_text(secret).lower() not in dump

    @pytest.mark.parametrize(
        ("document", "status", "code"),
        [
            ({}, 400, "malformed"),
            ({"url": 1}, 400, "malformed"),
            ({"url": "http://127.0.0.1/"}, 400, "malformed"),
            ({"url": "https://user@127.0.0.1/"}, 400, "malformed"),
            ({"url": URL, "types": "peer.added"}, 400, "malformed"),
            ({"url": URL, "types": ["nothing"]}, 400, "malformed"),
            ({"url": URL, "types": ["webhook.ping"]}, 400, "malformed"),
            ({"url": URL, "secret": "mine"}, 400, "malformed"),
            ({"url": "https://10.0.0.1/"}, 422, "forbidden_address"),
            ({"url": "https://[::1]/"}, 422, "forbidden_address"),
            ({"url": "https://169.254.169.254/latest"}, 422, "forbidden_address"),
            ({"url": "https://nobody.invalid/"}, 422, "unresolvable"),
        ],
    )
    async def test_what_is_none_changes_nothing(self, hook, document, status: int, code: str):
        before = hook.counts()
        answer = await hook("POST", "/webhooks", document)
        assert (answer.status, answer.code) == (status, code)
        assert hook.counts() == before

    async def test_there_are_only_so_many(self, hook):
        for _ in range(MAX_WEBHOOKS):
            await hook.store.record(Change(name="webhook", puts=(rows.webhook(),)))
        answer = await hook("POST", "/webhooks", {"url": URL})
        assert (answer.status, answer.code) == (409, "too_many")


class TestChanged:
    async def test_each_member_by_itself(self, hook):
        found = await made(hook)
        del found["secret"]
        hook.clock.time_ms += 1000
        found["changed"] = time_text(hook.clock.time_ms)
        for document in (
            {"url": "https://127.0.0.2/x"},
            {"types": ["peer.added"]},
            {"enabled": False},
            {"enabled": True, "types": []},
        ):
            found |= document
            assert (await hook("PATCH", f"/webhooks/{found['id']}", document)).json == found
            assert (await hook.last())["event"] == "webhook.changed"

    @pytest.mark.parametrize(
        ("document", "status"),
        [
            ({}, 400),
            ({"enabled": 1}, 400),
            ({"enabled": None}, 400),
            ({"state": "enabled"}, 400),
            ({"url": "https://10.0.0.1/"}, 422),
            ({"types": ["nothing"]}, 400),
        ],
    )
    async def test_what_is_no_change_changes_nothing(self, hook, document, status: int):
        found = await made(hook)
        before = hook.counts(), await hook.store.all(WebhookRow)
        assert (await hook("PATCH", f"/webhooks/{found['id']}", document)).status == status
        assert (hook.counts(), await hook.store.all(WebhookRow)) == before

    async def test_enabled_again_after_the_receiver_was_gone_and_what_waits_is_due(self, hook):
        webhook = (await made(hook))["id"]
        row = await hook.store.get(WebhookRow, webhook)
        assert row is not None
        gone = replace(row, state="disabled", problem="gone")
        await hook.store.record(Change(name="announce", puts=(gone,)))
        delivery = await told(hook, webhook, "pending", attempts=9, first_ms=1, next_ms=1 << 50)
        assert (await hook("GET", f"/webhooks/{webhook}")).json["problem"] == "gone"
        shown = (await hook("PATCH", f"/webhooks/{webhook}", {"enabled": True})).json
        assert (shown["enabled"], shown["problem"]) == (True, None)
        waiting = await hook.store.get(AnnouncementRow, webhook, int(delivery))
        assert (waiting.attempts, waiting.first_ms, waiting.next_ms) == (0, None, hook.clock.time_ms)

    async def test_a_row_that_moves_meanwhile_is_decided_again(self, hook, monkeypatch):
        webhook = (await made(hook))["id"]
        record, tries = hook.store.record, []

        async def overtaken(change):
            tries.append(change)
            if len(tries) < 3:
                raise Stale("a row has moved")
            return await record(change)

        monkeypatch.setattr(hook.store, "record", overtaken)
        assert (await hook("PATCH", f"/webhooks/{webhook}", {"types": ["peer.added"]})).status == 200
        assert len(tries) == 3


class TestRotated:
    async def test_both_secrets_are_kept_for_a_day_and_a_third_takes_the_place_of_the_first(self, hook):
        found = await made(hook)
        first = found["secret"]
        answer = await hook("POST", f"/webhooks/{found['id']}/rotate")
        second = answer.json["secret"]
        assert answer.json["old_secret_until"] == time_text(hook.clock.time_ms + OVERLAP_MS)
        assert await secrets(hook, found["id"]) == [second, first]
        third = (await hook("POST", f"/webhooks/{found['id']}/rotate")).json["secret"]
        assert await secrets(hook, found["id"]) == [third, second]
        assert len({first, second, third}) == 3
        assert (await hook.last())["event"] == "webhook.rotated"


class TestRemoved:
    async def test_with_all_that_was_on_its_way(self, hook):
        webhook = (await made(hook))["id"]
        waiting = await told(hook, webhook, "pending")
        done = await told(hook, webhook, "delivered")
        alarm = AlarmRow(code="webhook_failing", subject=webhook, version=0, raised_ms=1, detail="status 500")
        await hook.store.record(Change(name="announce", puts=(alarm,)))
        answer = await hook("DELETE", f"/webhooks/{webhook}")
        assert (answer.status, answer.body) == (204, b"")
        assert await hook.store.get(CursorRow, webhook) is None
        assert await hook.store.all(AlarmRow) == []
        states = [
            (await hook.store.get(AnnouncementRow, webhook, int(entry))).state for entry in (waiting, done)
        ]
        assert states == ["dropped", "delivered"]
        assert (await hook.last())["event"] == "webhook.removed"
        for method, path in (
            ("GET", ""),
            ("DELETE", ""),
            ("PATCH", ""),
            ("POST", "/rotate"),
            ("POST", "/test"),
            ("GET", "/deliveries"),
            ("POST", f"/deliveries/{done}/redeliver"),
        ):
            body = {"enabled": True} if method == "PATCH" else None
            answer = await hook(method, f"/webhooks/{webhook}{path}", body)
            assert (answer.status, answer.code) == (404, "not_found"), path


class TestDeliveries:
    async def test_are_listed_newest_first_without_what_was_answered(self, hook):
        webhook = (await made(hook))["id"]
        first = await told(hook, webhook, "delivered", attempts=2, first_ms=5, status=200, took_ms=7)
        second = await told(hook, webhook, "pending", attempts=1, first_ms=5, next_ms=9, problem="timeout")
        path = f"/webhooks/{webhook}/deliveries"
        items = (await hook("GET", path)).json["items"]
        assert [one["id"] for one in items] == [second, first]
        assert items[0] == {
            "id": second,
            "type": "message.queued",
            "state": "pending",
            "attempts": 1,
            "status": None,
            "problem": "timeout",
            "took_ms": None,
            "changed": time_text(1),
            "first_attempt": time_text(5),
            "next_attempt": time_text(9),
        }
        assert (items[1]["status"], items[1]["took_ms"], items[1]["next_attempt"]) == (200, 7, None)
        page = await hook("GET", f"{path}?limit=1")
        assert page.headers["Link"] == f'</v1{path}?limit=1&cursor={second}>; rel="next"'
        page = await hook("GET", f"{path}?limit=1&cursor={second}")
        assert [one["id"] for one in page.json["items"]] == [first]

    @pytest.mark.parametrize("state", ["failed", "delivered", "pending"])
    async def test_one_is_made_due_again(self, hook, state: str):
        webhook = (await made(hook))["id"]
        delivery = await told(hook, webhook, state, attempts=3, first_ms=1, status=500, next_ms=1 << 50)
        answer = await hook("POST", f"/webhooks/{webhook}/deliveries/{delivery}/redeliver")
        assert answer.status == 202
        assert (answer.json["state"], answer.json["attempts"]) == ("pending", 0)
        assert answer.json["next_attempt"] == time_text(hook.clock.time_ms)
        last = await hook.last()
        assert (last["event"], last["entry_index"]) == ("webhook.redelivered", int(delivery))

    @pytest.mark.parametrize(("delivery", "status"), [("999999", 404), ("x", 400), ("-1", 400)])
    async def test_one_that_is_none(self, hook, delivery: str, status: int):
        webhook = (await made(hook))["id"]
        answer = await hook("POST", f"/webhooks/{webhook}/deliveries/{delivery}/redeliver")
        assert answer.status == status

    async def test_a_ping_is_on_its_way_at_once(self, hook):
        webhook = (await made(hook, types=["peer.added"]))["id"]
        answer = await hook("POST", f"/webhooks/{webhook}/test")
        assert (answer.status, answer.json["type"]) == (202, "webhook.ping")
        (row,) = await hook.store.pending(webhook, limit=9)
        assert answer.json["id"] == str(row.entry)
        event = await hook.store.event(row.entry)
        assert event is not None
        assert event.type == "webhook.ping"
        found = (await hook("GET", "/events")).json["items"]
        assert "webhook.ping" not in {one["type"] for one in found}

    async def test_nothing_is_added_to_a_webhook_that_is_disabled_or_full(self, hook):
        webhook = (await made(hook))["id"]
        done = await told(hook, webhook, "failed")
        for _ in range(MAX_PENDING):
            await told(hook, webhook, "pending")
        paths = (f"/webhooks/{webhook}/test", f"/webhooks/{webhook}/deliveries/{done}/redeliver")
        for path in paths:
            answer = await hook("POST", path)
            assert (answer.status, answer.code) == (409, "too_many")
        await hook("PATCH", f"/webhooks/{webhook}", {"enabled": False})
        for path in paths:
            answer = await hook("POST", path)
            assert (answer.status, answer.code) == (409, "webhook_disabled")


async def test_webhooks_are_the_administrators_alone(hook):
    """Their addresses too: an address can be a secret between the two ends."""
    await made(hook)
    token = await hook.bearer(Scope.READ, Scope.WRITE, Scope.AUDIT)
    hook.clock.time_ms += 1000
    assert (await hook("GET", "/webhooks", token=token)).status == 403
