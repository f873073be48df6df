"""The console: what a message says, opened by whom is recorded first."""

import asyncio
from types import SimpleNamespace

import pytest

import schemas
from gateway.core.account import Role
from gateway.core.errors import Unavailable
from gateway.ports import Change
from gateway.rows import NoticeRow
from gateway.web.console.reading import shown, title_of
from gateway.web.content import message_of, stored_content
from tests.support.authorities import make_blob
from tests.support.consoles import open_console
from tests.support.hooks import MARK, PEER, draft

HOSTILE = '"><script>alert(1)</script>'


@pytest.fixture
async def console(tmp_path):
    async with open_console(tmp_path) as opened:
        yield opened


async def come_in(console, *roles: Role) -> str:
    """Sign a person in; return the id of the account."""
    await console.enrol("a.haddad", *roles)
    await console.sign_in("a.haddad")
    return (await console.accounts.find("a.haddad")).id


def place(posted, direction: str = "in") -> str:
    return f"/messages/{direction}/{PEER}/{posted.id}"


async def told(console, posted) -> list[tuple[str, str | None]]:
    """Return what the log says of the openings of a message, and by whom."""
    entries = await console.hook.logged(posted.id)
    return [
        (entry["event"], entry.get("actor_ref")) for entry in entries if entry["event"].startswith("content.")
    ]


async def test_an_officer_opens_what_came_in(console):
    posted = await console.hook.received()
    account = await come_in(console, Role.OFFICER)
    before = await console.text(place(posted))
    assert "Open the content" in before
    assert MARK not in before
    assert await told(console, posted) == []
    answer = await console.post(f"{place(posted)}/open")
    page = await answer.text()
    assert answer.status == 200
    assert answer.headers["Cache-Control"] == "no-store"
    assert MARK in page
    assert "Purpose" in page
    assert "Article 18(15)(f)" in page
    assert await told(console, posted) == [("content.opened", None), ("content.read", account)]
    (notice,) = await console.hook.store.all(NoticeRow)
    assert (notice.peer, notice.id) == (PEER, posted.id)
    assert (await console.post(f"{place(posted)}/open")).status == 200
    assert (await told(console, posted))[2:] == [("content.read", account)], "the sender is told once"
    assert len(await console.hook.store.all(NoticeRow)) == 1


async def test_what_goes_out_is_read_and_nobody_is_told(console):
    sent = await console.hook.sent()
    account = await come_in(console, Role.OFFICER)
    answer = await console.post(f"/messages/out/{PEER}/{sent['id']}/open")
    assert MARK in await answer.text()
    entries = await console.hook.logged(sent["id"])
    assert [entry["event"] for entry in entries if entry.get("actor_ref") == account] == ["content.read"]
    assert await console.hook.store.all(NoticeRow) == []


async def test_a_viewer_opens_nothing(console):
    posted = await console.hook.received()
    await come_in(console, Role.VIEWER, Role.AUDITOR, Role.ADMIN)
    assert "Open the content" not in await console.text(place(posted))
    before = console.hook.counts()
    assert (await console.post(f"{place(posted)}/open")).status == 403
    assert console.hook.counts() == before


async def test_content_has_no_address(console):
    posted = await console.hook.received()
    await come_in(console, Role.OFFICER)
    assert (await console.get(f"{place(posted)}/open")).status == 405
    before = console.hook.counts()
    assert (await console.post(f"{place(posted, 'out')}/open")).status == 404
    assert (await console.post(f"{place(posted, 'up')}/open")).status == 404
    assert console.hook.counts() == before


async def test_what_cannot_be_logged_is_not_shown(console, monkeypatch):
    posted = await console.hook.received()
    await come_in(console, Role.OFFICER)

    async def refuse(_: object) -> None:
        raise Unavailable("the disk is full")

    monkeypatch.setattr(console.hook.context.store, "record", refuse)
    answer = await console.post(f"{place(posted)}/open")
    assert answer.status == 503
    assert MARK not in await answer.text()


async def test_of_two_at_once_one_tells_the_sender(console):
    posted = await console.hook.received()
    await come_in(console, Role.OFFICER)
    answers = await asyncio.gather(*(console.post(f"{place(posted)}/open") for _ in range(4)))
    assert {answer.status for answer in answers} == {200}
    events = [event for event, _ in await told(console, posted)]
    assert (events.count("content.opened"), events.count("content.read")) == (1, 4)


async def test_hostile_content_is_shown_as_text(console):
    body = draft()["body"]
    body["purpose"] = HOSTILE
    posted = await console.hook.received(body=body)
    await come_in(console, Role.OFFICER)
    page = await (await console.post(f"{place(posted)}/open")).text()
    assert "&lt;script&gt;alert(1)" in page
    assert "<script>" not in page


async def test_attachments_are_named(console):
    posted = await console.hook.received(make_blob(b"%PDF-1.7 a page"))
    await come_in(console, Role.OFFICER)
    row = await console.hook.row(posted.id, "in")
    _, content = await stored_content(console.hook.context, row)
    (one,) = message_of(content).attachments
    page = await (await console.post(f"{place(posted)}/open")).text()
    assert one.name in page
    assert one.media_type in page
    assert f"<td>{one.size}</td>" in page


async def test_erased_content_is_said_to_be_erased(console):
    posted = await console.hook.received()
    await come_in(console, Role.OFFICER)
    content, _ = await stored_content(console.hook.context, await console.hook.row(posted.id, "in"))
    await console.hook.store.record(Change(name="erase", deletes=(content,)))
    answer = await console.post(f"{place(posted)}/open")
    assert answer.status == 410
    assert "was erased" in await answer.text()
    assert await told(console, posted) == []


@pytest.mark.parametrize("number", schemas.samples())
def test_every_member_of_the_samples_has_a_title(number):
    for step in schemas.sample(number)["steps"]:
        made = SimpleNamespace(kind=step["draft"]["kind"], payload=step["draft"])
        for one in members(shown(made)):
            assert one.label[:1].isupper(), (made.kind, one.label)


def members(one):
    for inner in one.inner:
        if one.form == "members":
            yield inner
        yield from members(inner)


def test_a_kind_has_its_title():
    assert title_of("safe_conduct") == "Safe conduct"
    assert title_of("of.nobody") == "of.nobody"
