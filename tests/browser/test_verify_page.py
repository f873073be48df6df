"""The page in every bundle that checks it: in a real browser, off line, from a file."""

import base64
import hashlib
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page, expect

from gateway.core.bundle import encode_bundle
from gateway.core.card import fingerprint
from schemas.evidence import reading
from tests.support.evidence import make_case

CASE = make_case()
HOLDS = "Everything that this page can check holds. Now compare the fingerprints."
FAILS = "This does not hold. Do not rely on it."


@pytest.fixture
async def page(chromium: Browser, tmp_path: Path) -> AsyncIterator[Page]:
    """The page as it lies beside the bundle, in a browser that reaches nothing."""
    file = tmp_path / "verify.html"
    file.write_bytes(reading()["verify.html"])
    context = await chromium.new_context(offline=True)
    opened = await context.new_page()
    asked: list[str] = []
    opened.on("request", lambda request: asked.append(request.url))
    troubles: list[str] = []
    opened.on("console", lambda message: troubles.append(message.text))
    opened.on("pageerror", lambda error: troubles.append(str(error)))
    await opened.goto(file.as_uri())
    yield opened
    assert asked == [file.as_uri()]
    assert troubles == []
    await context.close()


async def give(page: Page, raw: bytes) -> None:
    await page.get_by_label("The bundle, a ZIP file").set_input_files(
        {"name": "evidence.zip", "mimeType": "application/zip", "buffer": raw}
    )


async def test_a_sound_bundle_holds_and_shows_whose_word_it_is(page: Page) -> None:
    await give(page, CASE.raw)
    await expect(page.locator("#verdict")).to_have_text(HOLDS)
    lines = await page.locator("#lines li").all_inner_texts()
    told = "\n".join(lines)
    assert f"qm.moj signed message {CASE.posted.id} (request.mla) to qn.moj" in told
    for event in ("submission.accepted", "receipt.recorded", "relay.accepted", "content.handed_over"):
        assert f"logged {event}: entry" in told
    assert "qm-moj.example/witness (the witness of qm.moj) cosigned that log up to 7 entries" in told
    assert "2026-11-18T11:07:40.000Z by its clock" in told
    assert not [line for line in lines if line.startswith("\N{BALLOT X}")]
    shown = dict(
        zip(
            await page.locator("#roots dt").all_inner_texts(),
            await page.locator("#roots dd").all_inner_texts(),
            strict=True,
        )
    )
    assert shown == {
        str(party.id): fingerprint(party.card) for party in (CASE.sender, CASE.recipient, CASE.third)
    }


ALTERED = {
    "file": ("message.jws", 200, "message.jws is not what the manifest says."),
    "message": ("message.jws", -20, "qm.moj has not signed the message."),
    "entry": ("statements/qm.moj-1.json", 60, "The entry in statements/qm.moj-1.json"),
    "log signature": (
        "checkpoints/peer-7.txt",
        30,
        "has not signed the checkpoint in checkpoints/peer-7.txt",
    ),
    "consistency": ("consistency/peer-7-from-3.txt", 5, "consistency/peer-7-from-3.txt does not hold."),
    "card": ("cards/qm.moj/1.json", -30, "cards/qm.moj/1.json is not signed by its own root key."),
}


async def test_what_was_altered_does_not_hold(page: Page) -> None:
    for what, (name, place, text) in ALTERED.items():
        data = bytearray(CASE.bundle.part(name).data)
        data[place] = ord("3") if data[place] != ord("3") else ord("4")
        if what == "file":
            raw = CASE.raw.replace(CASE.bundle.part(name).data, bytes(data))
        else:
            raw = CASE.with_part(name, bytes(data)).raw
        await give(page, raw)
        await expect(page.locator("#verdict")).to_have_text(FAILS)
        last = (await page.locator("#lines li").all_inner_texts())[-1]
        assert last.startswith("\N{BALLOT X}"), what
        assert text in last, what
        assert await page.locator("#roots dt").count() == 0


async def test_what_is_no_bundle_does_not_hold(page: Page) -> None:
    await give(page, b"nothing of the kind")
    await expect(page.locator("#verdict")).to_have_text(FAILS)


async def test_the_cosignature_of_a_witness_is_checked(page: Page) -> None:
    note = CASE.bundle.part("checkpoints/peer-7.txt").data
    begin = note.index("— qm-moj.example/witness ".encode()) + 40
    wrong = note[:begin] + (b"A" if note[begin : begin + 1] != b"A" else b"B") + note[begin + 1 :]
    await give(page, CASE.with_part("checkpoints/peer-7.txt", wrong).raw)
    await expect(page.locator("#verdict")).to_have_text(FAILS)
    assert "The cosignature of qm-moj.example/witness is wrong." in await page.locator("#lines").inner_text()


async def test_hostile_text_is_shown_as_text(page: Page) -> None:
    name = "<img src=x onerror=alert(1)>"
    parts = tuple(replace(one, name=name) if one.name == "README.txt" else one for one in CASE.bundle.parts)
    raw = encode_bundle(replace(CASE.bundle, parts=parts))
    await give(
        page,
        raw.replace(CASE.bundle.part("README.txt").data, b"x" * len(CASE.bundle.part("README.txt").data)),
    )
    await expect(page.locator("#verdict")).to_have_text(FAILS)
    assert name in await page.locator("#lines").inner_text()
    assert await page.locator("img").count() == 0


async def test_an_erased_message_is_said_to_be_so(page: Page) -> None:
    await give(page, CASE.without("message.jws").raw)
    await expect(page.locator("#verdict")).to_have_text(HOLDS)
    assert "The content was erased" in await page.locator("#lines").inner_text()


async def test_it_is_usable_by_keyboard_alone(page: Page) -> None:
    await page.keyboard.press("Tab")
    assert await page.evaluate("document.activeElement.id") == "file"


def test_nothing_but_its_own_script_and_style_may_run() -> None:
    html = reading()["verify.html"].decode()
    policy = re.search('Content-Security-Policy" content="([^"]*)"', html)
    assert policy is not None
    assert policy[1].startswith("default-src 'none'; ")
    for tag, word in (("script", "script-src"), ("style", "style-src")):
        bodies = re.findall(rf"<{tag}>(.*?)</{tag}>", html, re.DOTALL)
        assert len(bodies) == 1
        digest = base64.b64encode(hashlib.sha256(bodies[0].encode()).digest()).decode()
        assert f"{word} 'sha256-{digest}'" in policy[1]
    assert not re.search(r'\s(src|href|action|style|on\w+)="', html)
