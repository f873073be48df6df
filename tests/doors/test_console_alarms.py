"""Alarms in the console: what stands, and what to do next."""

import pytest

from gateway.core import delivery
from gateway.core.account import Role
from gateway.core.clocks import CLOCKS
from gateway.ports import Change
from gateway.rows import AlarmRow
from gateway.web.console import words
from tests.support.authorities import NOW_MS
from tests.support.consoles import open_console
from tests.support.hooks import PEER

HOSTILE = '"><script>alert(1)</script>'


@pytest.fixture
async def console(tmp_path):
    async with open_console(tmp_path) as opened:
        yield opened


async def stand(console, code: str, subject: str, *, detail: str = "", raised_ms: int = NOW_MS) -> None:
    row = AlarmRow(code=code, subject=subject, version=0, raised_ms=raised_ms, detail=detail)
    await console.hook.store.record(Change(name="alarm", puts=(row,)))


@pytest.mark.parametrize("role", Role)
async def test_everybody_may_look_at_alarms(console, role):
    await console.enrol("a.haddad", role)
    await console.sign_in("a.haddad")
    assert "None." in await console.text("/alarms")
    await stand(console, "card_fork", PEER, detail="sequence 2", raised_ms=NOW_MS + 60_000)
    for number in range(12):
        await stand(console, "clock_receipt", f"message {number}", detail=PEER)
    shown = await console.text("/alarms")
    assert words.ALARMS["card_fork"][0] in shown
    assert f'<a href="/peers/{PEER}">' in shown
    assert "sequence 2" in shown
    assert shown.count(words.ALARMS["clock_receipt"][1]) == 12, "all of them, unlike the overview"
    assert shown.index("card_fork") < shown.index("clock_receipt"), "the newest first"


async def test_an_alarm_without_words_is_shown_by_its_code_as_text(console):
    await console.enrol("a.haddad", Role.OFFICER)
    await console.sign_in("a.haddad")
    await stand(console, f"new{HOSTILE}", f"subject{HOSTILE}", detail=f"detail{HOSTILE}")
    shown = await console.text("/alarms")
    for name in ("new", "subject", "detail"):
        assert f"{name}&#34;&gt;&lt;script&gt;" in shown
    assert "<script>" not in shown
    assert words.ALARM_OTHERWISE in shown


def test_the_alarms_of_clocks_and_of_messages_have_words():
    clocks = {clock.code for clock in (*CLOCKS.case, CLOCKS.delivery)}
    raised = {one.code for one in vars(delivery).values() if isinstance(one, delivery.Alarm)}
    assert raised
    assert clocks | raised <= set(words.ALARMS)
