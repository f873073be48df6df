"""The console: coming in, staying in, and what each role may ask."""

import asyncio
import json

import pytest

from gateway.core.account import ACCOUNT_TRIES, Role
from gateway.ports import EntryFilter
from gateway.rows import AccountRow, SessionRow, SignInRow
from gateway.web.console.door import ROUTES
from tests.support.consoles import PASSPHRASE, SAME, STEP_MS, open_console
from tests.support.hooks import PEER

WRONG = "another horse battery"
NOTHING = "00000000-0000-4000-8000-000000000000"
MINUTE_MS = 60_000


@pytest.fixture
async def console(tmp_path):
    async with open_console(tmp_path) as opened:
        yield opened


async def events(console) -> list[str]:
    found = await console.hook.store.entries(EntryFilter(), limit=500)
    return [json.loads(one.leaf)["event"] for one in found]


async def test_a_person_sets_the_account_up_and_signs_in(console):
    link = await console.invite("a.haddad", Role.VIEWER)
    shown = await console.text(f"/welcome/{link}")
    assert "<svg" in shown
    form = {"passphrase": PASSPHRASE, "again": PASSPHRASE, "code": await console.code("a.haddad")}
    done = await console.post(f"/welcome/{link}", form)
    assert done.status == 200
    assert (await done.text()).count("<li>") == 10
    assert (await console.get(f"/welcome/{link}")).status == 404, "a link works once"
    assert (await console.sign_in("a.haddad")).status == 403, "so does a code"
    console.hook.clock.time_ms += STEP_MS
    signed_in = await console.sign_in("a.haddad")
    assert (signed_in.status, signed_in.headers["Location"]) == (303, "/")
    cookie = signed_in.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert "Overview" in await console.text("/")
    assert {"user.created", "user.enrolled", "session.refused", "session.opened"} <= set(
        await events(console)
    )


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"again": "another horse battery staple"}, 422),
        ({"passphrase": "short", "again": "short"}, 422),
        ({"code": "000000"}, 422),
    ],
)
async def test_what_is_wrong_leaves_the_link_as_it_is(console, change, status):
    link = await console.invite("a.haddad", Role.VIEWER)
    form = {"passphrase": PASSPHRASE, "again": PASSPHRASE, "code": await console.code("a.haddad"), **change}
    before = await console.hook.store.all(AccountRow)
    answer = await console.post(f"/welcome/{link}", form)
    assert answer.status == status
    assert "alert" in await answer.text()
    assert await console.hook.store.all(AccountRow) == before


async def test_a_link_ends_after_a_day(console):
    link = await console.invite("a.haddad", Role.VIEWER)
    console.hook.clock.time_ms += 24 * 60 * MINUTE_MS - 1
    assert (await console.get(f"/welcome/{link}")).status == 200
    console.hook.clock.time_ms += 1
    assert (await console.get(f"/welcome/{link}")).status == 404


async def test_whatever_is_wrong_the_answer_is_the_same(console):
    await console.enrol("a.haddad", Role.VIEWER)
    await console.invite("b.haddad", Role.VIEWER)
    answers = [
        await console.sign_in("a.haddad", passphrase=WRONG),
        await console.sign_in("a.haddad", code="000000"),
        await console.sign_in("b.haddad"),
        await console.sign_in("Nobody <b>", code="000000"),
    ]
    assert {answer.status for answer in answers} == {403}
    said = [(await answer.text()).partition("<form")[0] for answer in answers]
    assert len(set(said)) == 1
    assert not any("Set-Cookie" in answer.headers for answer in answers)
    found = await console.hook.store.entries(EntryFilter(event="session.refused"), limit=500)
    refused = [json.loads(one.leaf) for one in found]
    ids = {row.name: row.id for row in await console.hook.store.all(AccountRow)}
    assert [one.get("actor_ref") for one in refused] == [
        ids["a.haddad"],
        ids["a.haddad"],
        ids["b.haddad"],
        None,
    ]


async def test_a_recovery_code_lets_in_once(console):
    codes = await console.enrol("a.haddad", Role.VIEWER)
    assert (await console.sign_in("a.haddad", code=codes[0].upper())).status == 303
    assert (await console.sign_in("a.haddad", code=codes[0])).status == 403
    assert (await console.sign_in("a.haddad", code=codes[1])).status == 303


async def test_failures_that_come_at_once_count_each(console):
    await console.enrol("a.haddad", Role.VIEWER)
    attempts = [console.sign_in("a.haddad", passphrase=WRONG, code="000000") for _ in range(ACCOUNT_TRIES)]
    assert {answer.status for answer in await asyncio.gather(*attempts)} == {403}
    assert {row.failures for row in await console.hook.store.all(SignInRow)} == {ACCOUNT_TRIES}
    assert (await console.sign_in("a.haddad")).status == 429


@pytest.mark.parametrize("name", ["a.haddad", "nobody", "My secret passphrase!"])
async def test_failures_lock_a_name_whether_anybody_has_it_or_not(console, name):
    await console.enrol("a.haddad", Role.VIEWER)
    for _ in range(ACCOUNT_TRIES):
        assert (await console.sign_in(name, passphrase=WRONG, code="000000")).status == 403
    code = await console.code("a.haddad")
    locked = await console.sign_in(name, code=code)
    assert (locked.status, locked.headers["Retry-After"]) == (429, "30")
    assert name not in repr(await console.hook.store.all(SignInRow))
    console.hook.clock.time_ms += STEP_MS
    assert (await console.sign_in(name, code=await console.code("a.haddad"))).status == (
        303 if name == "a.haddad" else 403
    )


async def test_a_restart_forgives_nothing(tmp_path):
    async with open_console(tmp_path) as console:
        await console.enrol("a.haddad", Role.VIEWER)
        for _ in range(ACCOUNT_TRIES):
            await console.sign_in("a.haddad", passphrase=WRONG)
        time_ms = console.hook.clock.time_ms
    async with open_console(tmp_path) as console:
        console.hook.clock.time_ms = time_ms
        assert (await console.sign_in("a.haddad")).status == 429


async def test_an_address_is_locked_too(console):
    for number in range(20):
        assert (await console.sign_in(f"nobody{number}", code="000000")).status == 403
    assert (await console.sign_in("nobody99", code="000000")).status == 429


async def test_a_session_ends_by_rest_and_by_age(console):
    await console.enrol("a.haddad", Role.VIEWER)
    await console.sign_in("a.haddad")
    for _ in range(24):
        console.hook.clock.time_ms += 29 * MINUTE_MS
        assert (await console.get("/")).status == 200
    console.hook.clock.time_ms += 25 * MINUTE_MS
    assert (await console.get("/")).status == 303, "after twelve hours"
    await console.sign_in("a.haddad")
    console.hook.clock.time_ms += 30 * MINUTE_MS
    assert (await console.get("/")).status == 303, "after half an hour of rest"


async def test_sessions_are_kept_by_their_hash_and_ended(console):
    await console.enrol("a.haddad", Role.VIEWER)
    first = await console.sign_in("a.haddad")
    secret = first.cookies["art18"].value
    (kept,) = await console.hook.store.all(SessionRow)
    assert secret not in repr(kept)
    console.client.session.cookie_jar.clear()
    console.hook.clock.time_ms += STEP_MS
    await console.sign_in("a.haddad")
    assert (await console.text("/account")).count("End this session") == 1
    assert (await console.post(f"/account/sessions/{kept.sha256}/end")).status == 303
    assert len(await console.hook.store.all(SessionRow)) == 1
    assert (await console.post("/account/sessions/end")).status == 303
    assert (await console.get("/")).status == 303
    assert await console.hook.store.all(SessionRow) == []


async def test_signing_in_again_replaces_the_session(console):
    await console.enrol("a.haddad", Role.VIEWER)
    old = (await console.sign_in("a.haddad")).cookies["art18"].value
    console.hook.clock.time_ms += STEP_MS
    new = (await console.sign_in("a.haddad")).cookies["art18"].value
    assert old != new
    assert len(await console.hook.store.all(SessionRow)) == 1
    assert (await console.post("/sign-out")).headers["Location"] == "/sign-in"
    assert await console.hook.store.all(SessionRow) == []


async def test_nobody_ends_the_session_of_another(console):
    for name in ("a.haddad", "b.haddad"):
        await console.enrol(name, Role.VIEWER)
        console.client.session.cookie_jar.clear()
        await console.sign_in(name)
    (other,) = [row for row in await console.hook.store.all(SessionRow) if row.account == "a.haddad"]
    assert (await console.post(f"/account/sessions/{other.sha256}/end")).status == 404
    assert len(await console.hook.store.all(SessionRow)) == 2


@pytest.mark.parametrize("role", [None, *Role])
async def test_every_route_is_for_its_roles_alone(console, role):
    if role is not None:
        await console.enrol("a.haddad", role)
        await console.sign_in("a.haddad")
    for route in ROUTES:
        if route.roles is None or route.path.startswith(("/sign-out", "/account/sessions")):
            continue
        path = route.path.format(
            name="nobody", direction="in", peer=PEER, id=NOTHING, sha256="0" * 64, file="x", link="x", n=0
        )
        answer = await console.client.request(route.method, path, headers=SAME, allow_redirects=False)
        if role is None:
            assert (answer.status, answer.headers["Location"]) == (303, "/sign-in"), path
        else:
            assert (answer.status == 403) is (role not in route.roles), (path, answer.status)
    assert {route.path for route in ROUTES if route.roles is None} == {
        "/static/{file}", "/sign-in", "/welcome/{link}"
    }  # fmt: skip


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "none"},
        {"Sec-Fetch-Site": "cross-site", "Origin": "http://127.0.0.1:8490"},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Accept": "*/*"},
    ],
)
async def test_a_request_from_another_site_changes_nothing(console, headers):
    await console.enrol("a.admin", Role.ADMIN)
    await console.sign_in("a.admin")
    before = console.hook.counts()
    for route in ROUTES:
        if route.method == "POST":
            path = route.path.format(
                name="nobody", sha256="0" * 64, link="x", direction="in", peer=PEER, id=NOTHING
            )
            assert (
                await console.post(path, {"name": "b.haddad", "role": "admin"}, **headers)
            ).status == 403, path
    assert console.hook.counts() == before


async def test_a_browser_without_fetch_metadata_says_its_origin(console):
    await console.enrol("a.haddad", Role.VIEWER)
    form = {"name": "a.haddad", "passphrase": PASSPHRASE, "code": await console.code("a.haddad")}
    origin = str(console.client.make_url("")).rstrip("/")
    assert (await console.post("/sign-in", form, Origin=origin)).status == 303


async def test_an_administrator_makes_resets_and_disables_accounts(console):
    await console.enrol("a.admin", Role.ADMIN)
    await console.sign_in("a.admin")
    made = await console.post("/accounts", {"name": "b.haddad", "role": "officer"})
    assert made.status == 201
    assert "/welcome/" in await made.text()
    assert "/welcome/" not in await console.text("/accounts")
    again = await console.post("/accounts", {"name": "b.haddad", "role": "officer"})
    assert again.status == 409
    assert (await console.post("/accounts/b.haddad/reset")).status == 200
    assert (await console.post("/accounts/b.haddad/disable")).status == 303
    assert (await console.accounts.find("b.haddad")).state == "disabled"
    for what in ("reset", "disable"):
        assert (await console.post(f"/accounts/a.admin/{what}")).status == 409, "not the own one"
    assert (await console.post("/accounts", {"name": "B", "role": "officer"})).status == 400
    assert (await console.post("/accounts", {"name": "c.haddad"})).status == 400


async def test_a_disabled_account_is_out_at_once(console):
    await console.enrol("a.haddad", Role.VIEWER)
    await console.sign_in("a.haddad")
    await console.accounts.disable("a.haddad", "a-token")
    assert (await console.get("/")).status == 303
    assert await console.hook.store.all(SessionRow) == []


async def test_messages_are_listed_and_shown_without_opening_them(console):
    posted = await console.hook.received()
    await console.enrol("a.haddad", Role.VIEWER)
    await console.sign_in("a.haddad")
    assert posted.id in await console.text("/messages?direction=in&state=available")
    assert posted.id not in await console.text("/messages?direction=out")
    shown = await console.text(f"/messages/in/{PEER}/{posted.id}")
    assert "relay.accepted" in shown
    assert "content.opened" not in await events(console)
    assert (await console.get("/messages?state=none")).status == 400
    assert (await console.get("/messages?unknown=1")).status == 400
    assert (await console.get(f"/messages/in/{PEER}/{NOTHING}")).status == 404
    assert '<a href="/messages?direction=in&amp;state=available">' in await console.text("/")


async def test_hostile_text_is_shown_as_text(console):
    posted = await console.hook.received()
    row = await console.hook.row(posted.id, "in")
    hostile = '"><script>alert(1)</script>'
    await console.hook.change(row, kind=hostile, problem=hostile)
    await console.enrol("a.haddad", Role.VIEWER)
    await console.sign_in("a.haddad")
    for path in ("/messages", f"/messages/in/{PEER}/{posted.id}"):
        shown = await console.text(path)
        assert "&lt;script&gt;alert(1)" in shown
        assert "<script>" not in shown


async def test_every_answer_says_what_a_browser_may_do(console):
    for path in ("/", "/sign-in", "/nothing", "/welcome/x"):
        headers = (await console.get(path)).headers
        assert "'unsafe-inline'" not in headers["Content-Security-Policy"]
        assert headers["Content-Security-Policy"].startswith("default-src 'none'; ")
        assert headers["Cache-Control"] == "no-store"
    page = await console.text("/sign-in")
    name = page.partition('<script src="')[2].partition('"')[0]
    static = await console.get(name)
    assert "immutable" in static.headers["Cache-Control"]
    assert static.content_type == "text/javascript"
    assert (await console.get("/static/LICENSE.htmx.txt")).status == 404


@pytest.mark.parametrize(
    ("accepted", "direction"), [("ar-EG, en;q=0.5", "rtl"), ("fr", "ltr"), ("de", "ltr")]
)
async def test_the_browser_names_a_language_until_the_person_does(console, accepted, direction):
    await console.enrol("a.haddad", Role.VIEWER)
    await console.sign_in("a.haddad")
    answer = await console.client.get("/", headers={"Accept-Language": accepted})
    assert f'dir="{direction}"' in (await answer.text()).partition("<head>")[0]
    assert (await console.post("/account/language", {"language": "zh"})).status == 303
    answer = await console.client.get("/", headers={"Accept-Language": accepted})
    assert '<html lang="zh" dir="ltr">' in await answer.text()
    assert (await console.post("/account/language", {"language": "de"})).status == 400


async def test_over_tls_the_cookie_is_of_this_host_alone(tmp_path):
    async with open_console(tmp_path, url="https://console.example") as console:
        await console.enrol("a.haddad", Role.VIEWER)
        cookie = (await console.sign_in("a.haddad")).headers["Set-Cookie"]
        assert cookie.startswith("__Host-art18=")
        assert {"Secure", "Path=/"} <= set(cookie.split("; "))
        assert "Domain" not in cookie
