"""When a token was last used: recorded to some minutes, and never in the way of a request."""

import asyncio

import pytest

from gateway.core.errors import Unavailable
from gateway.core.strict import time_text
from gateway.rows import TokenRow
from gateway.web.middleware import TOKENS
from tests.support.authorities import NOW_MS
from tests.support.hooks import open_hook

MINUTES_5 = 300_000


@pytest.fixture
async def hook(tmp_path):
    async with open_hook(tmp_path) as opened:
        yield opened


async def noted(hook) -> None:
    await hook.client.app[TOKENS].noted()


async def used(hook) -> tuple[int | None, int]:
    """Return when the one token was last used, and how often its row was written."""
    await noted(hook)
    (row,) = await hook.store.all(TokenRow)
    return row.used_ms, row.version


async def test_the_first_use_is_recorded_and_the_next_after_five_minutes(hook):
    assert await used(hook) == (None, 1)
    await asyncio.gather(*(hook("GET", "/cases") for _ in range(5)))
    assert await used(hook) == (NOW_MS, 2)
    hook.clock.time_ms += MINUTES_5 - 1
    await hook("GET", "/cases")
    assert await used(hook) == (NOW_MS, 2)
    hook.clock.time_ms += 1
    await hook("GET", "/cases")
    assert await used(hook) == (NOW_MS + MINUTES_5, 3)


async def test_the_last_use_is_listed(hook):
    made = await hook("POST", "/tokens", {"name": "registry", "scopes": ["messages:read"]})
    assert made.json["last_used"] is None
    hook.clock.time_ms += 1000
    await hook("GET", "/cases", token=made.json["token"])
    await noted(hook)
    listed = {one["id"]: one for one in (await hook("GET", "/tokens")).json["items"]}
    assert listed[made.json["id"]]["last_used"] == time_text(NOW_MS + 1000)


async def test_a_token_in_use_is_revoked(hook):
    made = (await hook("POST", "/tokens", {"name": "registry", "scopes": ["messages:read"]})).json
    answers = await asyncio.gather(
        hook("GET", "/cases", token=made["token"]), hook("DELETE", f"/tokens/{made['id']}")
    )
    assert answers[1].status == 204
    await noted(hook)
    row = await hook.store.get(TokenRow, made["id"])
    assert row is not None
    assert row.revoked_ms is not None
    assert (await hook("GET", "/cases", token=made["token"])).status == 401


async def test_a_use_that_cannot_be_recorded_disturbs_nobody(hook, monkeypatch):
    async def full(_change):
        raise Unavailable("the disk is full")

    monkeypatch.setattr(hook.store, "record", full)
    assert (await hook("GET", "/cases")).status == 200
    await noted(hook)
    assert [row.used_ms for row in await hook.store.all(TokenRow)] == [None]
