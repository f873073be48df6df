"""What one token may take of the hook."""

import asyncio

import pytest

from gateway.config import Limits
from gateway.web.tokens import Scope
from tests.support.hooks import open_hook


async def test_too_many_in_a_second_are_told_when_to_come_again(tmp_path):
    async with open_hook(tmp_path, limits=Limits(free_disk_bytes=0, hook_requests_per_s=1)) as hook:
        other = await hook.bearer(Scope.READ)
        statuses = [(await hook("GET", "/cases")).status for _ in range(2)]
        assert statuses == [200, 200], "twice as many may come in a burst"
        answer = await hook("GET", "/cases")
        assert (answer.status, answer.code, answer.headers["Retry-After"]) == (429, "rate_limited", "1")
        assert (await hook("GET", "/cases", token=other)).status == 200
        assert (await hook.ask("GET", "/readyz", token="")).status == 200


async def test_too_many_at_once_are_told_when_to_come_again(tmp_path, monkeypatch):
    async with open_hook(tmp_path, limits=Limits(free_disk_bytes=0, hook_requests_at_once=1)) as hook:
        begun, end, cases = asyncio.Event(), asyncio.Event(), hook.store.cases

        async def slow(**asked):
            begun.set()
            await end.wait()
            return await cases(**asked)

        monkeypatch.setattr(hook.store, "cases", slow)
        first = asyncio.create_task(hook("GET", "/cases"))
        await begun.wait()
        assert (await hook("GET", "/messages")).code == "rate_limited"
        end.set()
        assert (await first).status == 200
        assert (await hook("GET", "/messages")).status == 200


@pytest.mark.parametrize("token", ["", "art18_nobody"])
async def test_who_is_not_let_in_uses_nobodys_allowance(tmp_path, token):
    async with open_hook(tmp_path, limits=Limits(free_disk_bytes=0, hook_requests_per_s=1)) as hook:
        for _ in range(5):
            assert (await hook("GET", "/cases", token=token)).status == 401
        assert (await hook("GET", "/cases")).status == 200
