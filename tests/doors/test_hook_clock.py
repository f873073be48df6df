"""The clock at the hook: an operator says that it is right."""

import pytest

from gateway.core.custody import open_detail
from gateway.rows import DetailRow
from gateway.web.tokens import Scope
from keys.rest import Box
from tests.support.hooks import Hook, open_hook

OFF_MS = 6 * 60_000


@pytest.fixture
async def hook(tmp_path):
    async with open_hook(tmp_path) as hook:
        yield hook


async def test_a_clock_that_is_believed_needs_nobody(hook: Hook):
    before = hook.counts()
    assert (await hook("POST", "/clock/confirm", {"by": "Example Operator One"})).code == "clock_agrees"
    assert hook.counts() == before


async def test_an_operator_confirms_a_clock_that_has_jumped(hook: Hook):
    hook.steady.stepped_ms += OFF_MS
    assert (await hook("POST", "/tokens", {"name": "x", "scopes": ["admin"]})).status == 503
    answer = await hook("POST", "/clock/confirm", {"by": "Example Operator One"})
    assert answer.status == 200
    entry = await hook.last()
    assert (entry["event"], entry["actor_ref"]) == ("clock.confirmed", await actor(hook))
    row = await hook.store.get(DetailRow, answer.json["entry"])
    assert row is not None
    box = Box(row.wrapped_key, row.ciphertext)
    detail = open_detail(hook.party.keyring.storage, entry["commitment"], box)
    assert detail == b"Example Operator One"
    assert (await hook("POST", "/tokens", {"name": "x", "scopes": ["admin"]})).status == 201


async def actor(hook: Hook) -> str:
    tokens = (await hook("GET", "/tokens")).json["items"]
    return str(tokens[0]["id"])


async def test_nobody_is_no_name_and_confirms_nothing(hook: Hook):
    hook.steady.stepped_ms += OFF_MS
    for by in ("", "  ", "two\nlines", "x" * 101):
        assert (await hook("POST", "/clock/confirm", {"by": by})).code == "malformed"
    assert (await hook("POST", "/clock/confirm", {})).code == "malformed"
    assert hook.sentry.objection() is not None


async def test_only_an_administrator_may(hook: Hook):
    hook.steady.stepped_ms -= OFF_MS
    token = await bearer(hook)
    answer = await hook("POST", "/clock/confirm", {"by": "Example Operator One"}, token=token)
    assert answer.status == 403


async def bearer(hook: Hook) -> str:
    """Return a token without the scope, made while the clock was right."""
    hook.steady.stepped_ms += OFF_MS
    token = await hook.bearer(Scope.READ, Scope.WRITE, Scope.AUDIT)
    hook.steady.stepped_ms -= OFF_MS
    return token


async def test_what_cannot_be_put_on_record_is_not_confirmed(hook: Hook):
    hook.steady.stepped_ms += OFF_MS
    hook.store.stop("a disk is gone")
    assert (await hook("POST", "/clock/confirm", {"by": "Example Operator One"})).status == 503
    assert hook.sentry.objection() is not None
