"""Clocks and alarms at the hook."""

import pytest

from gateway.core.strict import time_text
from gateway.ports import Change
from gateway.rows import AlarmRow
from gateway.web.tokens import Scope
from gateway.workers.timekeeper import Timekeeper
from tests.support.authorities import DAY_MS, NOW_MS
from tests.support.hooks import MARK, PEER, US, Hook, draft, open_hook

HOUR_MS = 3600 * 1000


@pytest.fixture
async def hook(tmp_path):
    async with open_hook(tmp_path) as opened:
        yield opened


async def look(hook: Hook) -> None:
    """Look at the clocks, as the node does by itself."""
    keeper = Timekeeper(
        store=hook.store,
        storage=lambda: hook.party.keyring.storage,
        periods=hook.context.settings.clocks.periods_ms,
        clock=hook.clock,
    )
    await keeper.round()


async def acknowledge(hook: Hook, posted) -> str:
    body = {
        "received_at": time_text(NOW_MS),
        "registered_ref": f"QO-1/2026 {MARK}",
        "case_officer": {"function": "Desk Two"},
        "request_sha256": posted.signed.sha256,
        "attachments_readable": True,
        "language_ok": True,
        "next_update_by": "2026-12-24",
    }
    said = await hook.sent(
        kind="acknowledgment", case=posted.signed.message.case, in_reply_to=posted.id, body=body
    )
    return said["id"]


async def shown(hook: Hook, case: str) -> list[tuple[object, ...]]:
    found = (await hook("GET", f"/cases/{case}")).json["clocks"]
    return [(one["name"], one["due"], one["started_by"], one["side"], one["expired"]) for one in found]


async def test_a_case_shows_its_clocks(hook):
    said = await hook.sent(urgency="urgent", body=draft()["body"] | {"urgency_reason": "A hearing is near."})
    day = time_text(NOW_MS + DAY_MS)

    found = await shown(hook, said["case"])

    assert found == [
        ("acknowledgment", day, said["id"], PEER, False),
        ("receipt", day, said["id"], PEER, False),
    ]
    (clock, _) = (await hook("GET", f"/cases/{said['case']}")).json["clocks"]
    assert (clock["title"], clock["article"]) == ("Acknowledgment", "18(13)")
    (listed,) = (await hook("GET", "/cases")).json["items"]
    assert (listed["due"], listed["overdue"]) == (day, [])


async def test_a_clock_of_ours_runs_until_we_acknowledge(hook):
    posted = await hook.received()
    case = posted.signed.message.case
    assert await shown(hook, case) == [
        ("acknowledgment", time_text(NOW_MS + 7 * DAY_MS), posted.id, US, False)
    ]

    said = await acknowledge(hook, posted)

    assert await shown(hook, case) == [
        ("receipt", time_text(NOW_MS + DAY_MS), said, PEER, False),
        ("update", "2026-12-24T23:59:59.999Z", said, US, False),
    ]


async def test_alarms_come_and_go_with_what_was_awaited(hook):
    posted = await hook.received()
    case = posted.signed.message.case
    hook.clock.time_ms += 8 * DAY_MS
    assert await shown(hook, case) == [
        ("acknowledgment", time_text(NOW_MS + 7 * DAY_MS), posted.id, US, True)
    ]
    await look(hook)

    (alarm,) = (await hook("GET", "/alarms")).json["items"]
    assert alarm == {
        "code": "clock_acknowledgment",
        "subject": f"{PEER}/{case}",
        "detail": posted.id,
        "raised": time_text(NOW_MS + 8 * DAY_MS),
        "title": "Acknowledgment",
        "description": "The request was sent, and the requested authority has not acknowledged it.",
        "article": "18(13)",
    }
    (listed,) = (await hook("GET", "/cases")).json["items"]
    assert (listed["due"], listed["overdue"]) == (None, ["acknowledgment"])
    last = await hook.last()
    assert last["event"] == "clock.expired"
    assert (last["clock"], last["message_id"], last["case"]) == ("acknowledgment", posted.id, case)
    assert set(last) == {
        "v", "event", "entry_id", "time", "authority", "outcome", "peer", "message_id", "clock",
        "case",
    }  # fmt: skip

    await acknowledge(hook, posted)
    await look(hook)

    assert (await hook("GET", "/alarms")).json["items"] == []
    (listed,) = (await hook("GET", "/cases")).json["items"]
    assert (listed["due"], listed["overdue"]) == ("2026-12-24T23:59:59.999Z", [])


async def test_alarms_are_listed_newest_first_and_in_pages(hook):
    for number in range(3):
        row = AlarmRow(
            code="card_fork", subject=f"q{number}.moj", version=0, raised_ms=NOW_MS + number, detail="2"
        )
        await hook.store.record(Change(name="alarm", puts=(row,)))

    first = await hook("GET", "/alarms?limit=2")

    assert [one["subject"] for one in first.json["items"]] == ["q2.moj", "q1.moj"]
    assert first.headers["Link"] == '</v1/alarms?limit=2&cursor=2>; rel="next"'
    second = await hook("GET", "/alarms?limit=2&cursor=2")
    assert second.json["items"] == [
        {"code": "card_fork", "subject": "q0.moj", "detail": "2", "raised": time_text(NOW_MS)}
    ]


async def test_alarms_take_the_scope_of_reading(hook):
    bearer = await hook.bearer(Scope.AUDIT)
    assert (await hook("GET", "/alarms", token=bearer)).status == 403
    bearer = await hook.bearer(Scope.READ)
    hook.clock.time_ms += 1000
    assert (await hook("GET", "/alarms", token=bearer)).status == 200
