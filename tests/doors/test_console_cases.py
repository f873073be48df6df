"""The console: a case as a timeline."""

import re

import pytest

import schemas
from gateway.core.account import Role
from gateway.ports import EntryFilter
from tests.support.consoles import open_console
from tests.support.hooks import MARK, PEER, US

NOTHING = "00000000-0000-4000-8000-000000000000"
YEAR_MS = 365 * 24 * 3_600_000


@pytest.fixture
async def console(tmp_path):
    async with open_console(tmp_path) as opened:
        await opened.enrol("a.haddad", Role.VIEWER)
        yield opened


async def test_a_case_shows_its_messages_and_clocks(console):
    posted = await console.hook.received()
    await console.sign_in("a.haddad")
    row = await console.hook.row(posted.id, "in")
    message = f"/messages/in/{PEER}/{posted.id}"
    path = f"/cases/{PEER}/{row.case}"
    assert f'href="{path}"' in await console.text(message)
    page = await console.text(path)
    assert f'href="{message}"' in page
    assert "To be taken over" in page
    clocks = page[page.index('id="clocks"') : page.index('id="messages"')]
    assert US in clocks, "we have to acknowledge"
    assert "Late" not in clocks
    assert MARK not in page
    entries = await console.hook.store.entries(EntryFilter(message_id=row.id, event="content.read"), limit=1)
    assert entries == []


async def test_a_clock_that_ran_out_is_late(console):
    posted = await console.hook.received()
    row = await console.hook.row(posted.id, "in")
    console.hook.clock.time_ms += YEAR_MS
    await console.sign_in("a.haddad")
    assert "<strong>Late</strong>" in await console.text(f"/cases/{PEER}/{row.case}")


async def test_messages_stand_in_their_order(console):
    posted = await console.hook.received()
    case = (await console.hook.row(posted.id, "in")).case
    body = schemas.sample(1)["steps"][3]["draft"]["body"] | {
        "received_at": posted.signed.message.payload["created"],
        "request_sha256": posted.signed.sha256,
    }
    then = await console.hook.sent(kind="acknowledgment", case=case, in_reply_to=posted.id, body=body)
    row = await console.hook.row(then["id"])
    await console.sign_in("a.haddad")
    page = await console.text(f"/cases/{PEER}/{row.case}")
    assert re.findall(r'href="/messages/\w+/[^/"]+/([^"]+)"', page) == [posted.id, then["id"]]


async def test_hostile_text_is_shown_as_text(console):
    posted = await console.hook.received()
    row = await console.hook.row(posted.id, "in")
    await console.hook.change(row, kind='"><script>alert(1)</script>')
    await console.sign_in("a.haddad")
    page = await console.text(f"/cases/{PEER}/{row.case}")
    assert "&lt;script&gt;alert(1)" in page
    assert "<script>" not in page


async def test_what_is_no_case_is_not_found(console):
    await console.sign_in("a.haddad")
    assert (await console.get(f"/cases/{PEER}/{NOTHING}")).status == 404
    assert (await console.get(f"/cases/{PEER}/x")).status == 400
    assert (await console.get(f"/cases/X/{NOTHING}")).status == 400
