"""The console in a real browser: coming in, looking round, going out, and what everybody can use."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import Browser, BrowserContext, Page, expect

from gateway.core.account import ACCOUNT_TRIES, Role
from gateway.ports import Change
from gateway.rows import AlarmRow
from tests.support.authorities import NOW_MS, make_authority
from tests.support.consoles import PASSPHRASE, STEP_MS, Console, open_console
from tests.support.hooks import PEER
from tests.support.profiles import make_profile, record_profile

AXE = Path(__file__).parents[1] / "interop" / "node_modules" / "axe-core" / "axe.min.js"
HOSTILE = '"><img src=x onerror=alert(1)>'


@pytest.fixture
async def console(tmp_path: Path) -> AsyncIterator[Console]:
    async with open_console(tmp_path) as opened:
        yield opened


@pytest.fixture
async def browsing(
    chromium: Browser,
    console: Console,  # noqa: ARG001 - which goes after the browser: no request finds it closed
) -> AsyncIterator[BrowserContext]:
    """A browser whose every complaint fails the test, of policies above all."""
    context = await chromium.new_context()
    troubles: list[str] = []
    context.on("console", lambda message: troubles.append(message.text))
    context.on("weberror", lambda error: troubles.append(str(error.error)))
    yield context
    await context.close()
    # A browser notes each answer that is not a success; whether it should be one, the tests say themselves.
    assert [
        one for one in troubles if not one.startswith("Failed to load resource: the server responded")
    ] == []


def base(console: Console) -> str:
    return str(console.client.make_url("/")).rstrip("/")


async def sign_in(page: Page, console: Console, name: str, code: str | None = None) -> None:
    await page.goto(f"{base(console)}/sign-in")
    await page.get_by_label("Name").fill(name)
    await page.get_by_label("Passphrase").fill(PASSPHRASE)
    await page.get_by_label("Code of your app").fill(code or await console.code(name))
    await page.get_by_role("button", name="Sign in").click()


async def check(page: Page, where: str) -> None:
    """Fail if axe finds anything serious on the page."""
    found = await page.evaluate(
        # Evaluated by the driver, past the page's policy: the page itself may run nothing but its own files.
        AXE.read_text() + ";axe.run(document, {}).then(r => JSON.stringify(r))"
    )
    told = json.loads(found)
    assert len(told["passes"]) > 10, "axe looked at the page"
    serious = [
        (one["id"], [node["html"] for node in one["nodes"]])
        for one in told["violations"]
        if one["impact"] in {"serious", "critical"}
    ]
    assert serious == [], where


async def test_a_person_comes_in_by_a_link_looks_round_and_goes_out(
    browsing: BrowserContext, console: Console
) -> None:
    link = await console.invite("a.haddad", Role.VIEWER)
    page = await browsing.new_page()
    await page.goto(f"{base(console)}/welcome/{link}")
    await page.get_by_label("Passphrase", exact=True).fill(PASSPHRASE)
    await page.get_by_label("The same passphrase again").fill(PASSPHRASE)
    await page.get_by_label("Code of your app").fill(await console.code("a.haddad"))
    await page.get_by_role("button", name="Set up").click()
    await expect(page.get_by_role("heading", level=1)).to_have_text("Your recovery codes")
    assert await page.locator(".codes li").count() == 10
    console.hook.clock.time_ms += STEP_MS
    await sign_in(page, console, "a.haddad")
    await expect(page.get_by_role("heading", level=1)).to_have_text("Overview")
    assert await page.evaluate("document.cookie") == "", "no script reads the cookie"
    await page.get_by_role("button", name="Sign out").click()
    await expect(page.get_by_role("heading", level=1)).to_have_text("Sign in")
    await page.goto(base(console))
    await expect(page.get_by_role("heading", level=1)).to_have_text("Sign in")


async def test_who_guesses_is_locked_out(browsing: BrowserContext, console: Console) -> None:
    await console.enrol("a.haddad", Role.VIEWER)
    page = await browsing.new_page()
    for _ in range(ACCOUNT_TRIES):
        await sign_in(page, console, "a.haddad", "000000")
        await expect(page.get_by_role("alert")).to_contain_text("do not belong together")
    await sign_in(page, console, "a.haddad")
    await expect(page.get_by_role("alert")).to_contain_text("Too many attempts failed")


async def test_filters_keep_their_address_and_hostile_text_is_text(
    browsing: BrowserContext, console: Console
) -> None:
    posted = await console.hook.received()
    await console.hook.change(await console.hook.row(posted.id, "in"), kind=HOSTILE, problem=HOSTILE)
    await console.enrol("a.haddad", Role.VIEWER)
    page = await browsing.new_page()
    await sign_in(page, console, "a.haddad")
    await page.get_by_role("link", name="Messages").click()
    await page.get_by_label("Direction").select_option("out")
    await expect(page.locator("#list")).to_have_text("None.")
    await expect(page).to_have_url(f"{base(console)}/messages?direction=out&state=&peer=")
    await page.get_by_label("Direction").select_option("in")
    await page.get_by_role("link", name=HOSTILE).click()
    await expect(page.locator("dl")).to_contain_text(HOSTILE)
    await expect(page.locator("time + .local").first).to_be_visible()
    assert await page.locator("img").count() == 0


async def test_another_site_changes_nothing(browsing: BrowserContext, console: Console) -> None:
    await console.enrol("a.admin", Role.ADMIN)
    page = await browsing.new_page()
    await sign_in(page, console, "a.admin")
    before = console.hook.counts()
    form = (
        f"<link rel=icon href=data:,><form method=post action='{base(console)}/accounts'>"
        "<input name=name value=b.haddad><input name=role value=admin><button>Win</button></form>"
    )
    await page.route(
        "http://evil.example/**", lambda route: route.fulfill(content_type="text/html", body=form)
    )
    await page.goto("http://evil.example/")
    await page.get_by_role("button", name="Win").click()
    await expect(page.get_by_role("heading", level=1)).to_have_text("That did not work")
    assert console.hook.counts() == before


async def busy(console: Console) -> None:
    """Give the pages of peers and alarms something to show."""
    await record_profile(console.hook.store, make_profile(make_authority(PEER)))
    await console.hook.context.directory.refresh()
    alarm = AlarmRow(code="card_fork", subject=PEER, version=0, raised_ms=NOW_MS, detail="sequence 2")
    await console.hook.store.record(Change(name="alarm", puts=(alarm,)))


@pytest.mark.parametrize(("language", "direction", "scheme"), [("en", "ltr", "light"), ("ar", "rtl", "dark")])
async def test_everybody_can_use_each_page(
    chromium: Browser, console: Console, language: str, direction: str, scheme: str
) -> None:
    posted = await console.hook.received()
    link = await console.invite("b.haddad", Role.OFFICER)
    await console.enrol("a.haddad", Role.VIEWER, Role.OFFICER, Role.ADMIN)
    await console.hook.store.checkpoint()
    context = await chromium.new_context(locale=language, color_scheme=scheme)
    page = await context.new_page()
    for path in ("/sign-in", f"/welcome/{link}"):
        await page.goto(base(console) + path)
        await check(page, path)
    form = {"name": "a.haddad", "passphrase": PASSPHRASE, "code": await console.code("a.haddad")}
    await page.goto(f"{base(console)}/sign-in")
    for name, value in form.items():
        await page.locator(f"[name={name}]").fill(value)
    await page.locator("main button").click()
    await expect(page.locator("header nav")).to_be_visible()
    message, case = f"/messages/in/{PEER}/{posted.id}", f"/cases/{PEER}/{posted.signed.message.case}"
    opened = f"{message}/open"
    await busy(console)
    for path in (
        "/",
        "/messages",
        message,
        opened,
        case,
        "/peers",
        f"/peers/{PEER}",
        "/alarms",
        "/log",
        "/log/0",
        "/checkpoints",
        "/account",
        "/accounts",
        "/nothing",
    ):
        await page.goto(base(console) + path.removesuffix("/open"))
        if path == opened:
            await page.locator("main form button").click()
            await expect(page.locator("dl.members").first).to_be_visible()
        assert await page.evaluate("document.documentElement.dir") == direction
        await check(page, path)
        for width in (400, 1280):
            await page.set_viewport_size({"width": width, "height": 900})
            wide = await page.evaluate("document.documentElement.scrollWidth")
            assert wide <= width, f"{path} is wider than {width}"
    await page.keyboard.press("Tab")
    assert await page.evaluate("document.activeElement.className") == "skip"
    await context.close()
