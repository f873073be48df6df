"""What the monitoring is told."""

import pytest

from gateway.core import delivery
from gateway.ports import Change
from gateway.rows import AlarmRow
from tests.support.hooks import accepted, open_hook, settlement_of


@pytest.fixture
async def hook(tmp_path):
    async with open_hook(tmp_path) as opened:
        yield opened


async def figures(hook) -> dict[str, float]:
    text = (await hook.ask("GET", "/metrics", token="")).body.decode()
    lines = [line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, value in lines}


async def test_requests_commits_and_the_log(hook):
    await hook.sent()
    await hook("GET", "/messages/none")
    found = await figures(hook)
    posted = 'door="hook",method="POST",route="/v1/messages",status="201"'
    assert found[f"art18_requests_total{{{posted}}}"] == 1
    shown = 'door="hook",method="GET",route="/v1/messages/{id}",status="400"'
    assert found[f"art18_requests_total{{{shown}}}"] == 1
    assert found['art18_request_seconds_count{door="hook",route="/v1/messages"}'] == 1
    assert found['art18_requests_running{door="hook"}'] == 1, "this very request"
    assert found['art18_commits_total{outcome="ok"}'] >= 1
    assert found["art18_commit_seconds_count"] >= 1
    assert found['art18_log_entries_total{event="submission.accepted",outcome="ok"}'] == 1
    assert found["art18_log_size"] == hook.counts()["entries"]
    assert any(name.startswith("art18_build_info{version=") for name in found)
    assert found["art18_process_resident_memory_bytes"] > 0


async def test_the_outbox(hook):
    assert (await figures(hook))["art18_outbox_oldest_seconds"] == 0
    first = await hook.sent()
    hook.clock.time_ms += 90_000
    await hook.sent()
    await hook.store.record(
        Change(name="alarm", puts=(AlarmRow(code="x", subject="y", version=0, raised_ms=1, detail=""),))
    )
    found = await figures(hook)
    assert found["art18_outbox_queued"] == 2
    assert found["art18_outbox_oldest_seconds"] == 90
    assert found["art18_alarms"] == 1
    await hook.change(await hook.row(first["id"]), state="held")
    found = await figures(hook)
    assert (found["art18_outbox_queued"], found["art18_outbox_held"]) == (1, 1)
    assert found["art18_outbox_oldest_seconds"] == 0


async def test_what_became_of_messages(hook):
    first, second = [await hook.sent() for _ in range(2)]
    settlement = settlement_of(hook)
    deferred = await settlement.settle(await hook.row(first["id"]), delivery.Deferred("unavailable"))
    await accepted(hook, deferred)
    hook.clock.time_ms = (await hook.row(second["id"])).expires_ms
    await settlement.settle(await hook.row(second["id"]), delivery.Silent("unavailable"))
    found = await figures(hook)
    for outcome in ("deferred", "accepted", "undetermined"):
        assert found[f'art18_deliveries_total{{outcome="{outcome}"}}'] == 1, outcome
