"""The audit log in the console: entries, what proves them, and who read them."""

import contextlib
import json
import re
import sqlite3

import pytest

from gateway.core.account import Role
from gateway.core.entry import Draft
from gateway.core.merkle import leaf_hash, verify_inclusion
from gateway.core.note import cosign, verify_checkpoint
from gateway.core.proof import parse_proof
from gateway.core.strict import time_text
from gateway.ports import Change
from gateway.rows import CosignedRow
from tests.support.authorities import NOW_MS, make_authority
from tests.support.consoles import open_console
from tests.support.hooks import MARK, PEER

MINUTE_MS = 60_000
READ = Draft(event="log.read", outcome="ok", actor_ref="a-token")


@pytest.fixture
async def console(tmp_path):
    async with open_console(tmp_path) as opened:
        await opened.enrol("a.haddad", Role.AUDITOR)
        await opened.sign_in("a.haddad")
        yield opened


def listed(page: str) -> list[int]:
    return [int(found) for found in re.findall(r'<td><a href="/log/(\d+)">', page)]


async def cosigned(console) -> int:
    """Let the witness of PEER sign the newest checkpoint; return its size."""
    store, peer, now_ms = console.hook.store, make_authority(PEER), console.hook.clock.now_ms()
    newest, name = await store.checkpoint(), peer.card.witness.name
    lines = cosign(newest, name, now_ms, peer.keyring.witness)
    row = CosignedRow(size=newest.size, witness=name, version=0, lines=lines, time_s=now_ms // 1000)
    await store.record(Change(name="cosigned", puts=(row,)))
    return newest.size


def alter(console, index: int, old: bytes, new: bytes) -> None:
    with contextlib.closing(sqlite3.connect(console.hook.folder / "gateway.db")) as database, database:
        (leaf,) = database.execute('SELECT leaf FROM entries WHERE "index" = ?', (index,)).fetchone()
        assert old in leaf
        database.execute('UPDATE entries SET leaf = ? WHERE "index" = ?', (leaf.replace(old, new), index))


async def test_entries_are_listed_newest_first_and_filtered(console):
    console.hook.clock.time_ms += MINUTE_MS
    said = await console.hook.sent()
    number = console.hook.counts()["entries"] - 1
    console.hook.clock.time_ms += MINUTE_MS
    page = await console.text("/log")
    assert listed(page) == list(range(number, -1, -1))
    assert MARK not in page
    minute = time_text(console.hook.clock.now_ms() - MINUTE_MS)[:16]
    for query in (
        f"message={said['id']}",
        "event=submission.accepted",
        f"peer={PEER}&event=submission.accepted&message=",
        f"after={minute}&before={minute}",
    ):
        assert listed(await console.text(f"/log?{query}")) == [number], query
    assert listed(await console.text(f"/log?before={time_text(NOW_MS - MINUTE_MS)[:16]}")) == []
    assert number not in listed(
        await console.text(f"/log?after={time_text(console.hook.clock.now_ms())[:16]}")
    )


@pytest.mark.parametrize(
    "query", ["", "event=log.read&", "after=2026-01-01T00:00&", "before=2036-01-01T00:00&"]
)
async def test_older_entries_follow_however_many_are_read_meanwhile(console, query):
    drafts = tuple(Draft(event="log.read", outcome="ok", actor_ref=str(number)) for number in range(120))
    await console.hook.store.record(Change(name="read", entries=drafts))
    newest = console.hook.counts()["entries"] - 1
    first = await console.text(f"/log?{query}")
    older = re.search(r'<p><a href="(/log\?[^"]*cursor=\d+)">', first)[1].replace("&amp;", "&")
    assert listed(first) == list(range(newest, newest - 50, -1))
    assert listed(await console.text(older)) == list(range(newest - 50, newest - 100, -1))


@pytest.mark.parametrize(
    "query",
    [
        "event=none",
        "peer=%3Cb%3E",
        "message=x",
        "after=yesterday",
        "before=2026-02-30T00:00",
        "cursor=-1",
        "x=1",
    ],
)
async def test_filters_in_no_form_read_nothing(console, query):
    before = console.hook.counts()
    assert (await console.get(f"/log?{query}")).status == 400
    assert console.hook.counts() == before


async def test_every_reading_leaves_an_entry_that_names_the_account(console):
    account = await console.accounts.find("a.haddad")
    for path, extra in (("/log", {}), ("/log/1", {"entry_index": 1}), ("/log/1/proof", {"entry_index": 1})):
        before = console.hook.counts()["entries"]
        assert (await console.get(path)).status == 200
        assert console.hook.counts()["entries"] == before + 1
        entry = await console.hook.last()
        assert (entry["event"], entry["actor_ref"]) == ("log.read", account.id)
        assert extra.items() <= entry.items()
    before = console.hook.counts()
    for path in ("/log/99999", "/log/99999/proof"):
        assert (await console.get(path)).status == 404
    assert (await console.get("/log/x")).status == 400
    assert console.hook.counts() == before


async def test_an_entry_is_shown_with_its_proof_and_who_cosigned(console):
    said = await console.hook.sent()
    number = console.hook.counts()["entries"] - 1
    page = await console.text(f"/log/{number}")
    assert said["id"] in page
    assert "Nobody yet" in page
    size = await cosigned(console)
    page = await console.text(f"/log/{number}")
    entry = await console.hook.store.entry(number)
    for value in json.loads(entry.leaf).values():
        assert f"<code>{value}</code>" in page
    answer = await console.get(f"/log/{number}/proof")
    assert answer.content_type == "text/plain"
    assert answer.headers["Content-Disposition"].startswith("attachment; ")
    text = await answer.text()
    assert text == (await console.hook("GET", f"/audit/entries/{number}/proof")).body.decode()
    found = parse_proof(text)
    checkpoint = verify_checkpoint(found.checkpoint, console.hook.party.card.log)
    verify_inclusion(leaf_hash(entry.leaf), number, checkpoint.size, found.hashes, checkpoint.root)
    assert checkpoint.size == size
    assert leaf_hash(entry.leaf).hex() in page
    assert f"<code>{make_authority(PEER).card.witness.name}</code>" in page
    assert f"art18 audit prove {number} -o" in page


async def test_what_was_altered_is_shown_as_text_and_does_not_hide_the_rest(console):
    await console.hook.sent()
    number = console.hook.counts()["entries"] - 1
    alter(console, number, b'"outcome":"ok"', b'"outcome":"<script>alert(1)</script>"')
    page = await console.text("/log")
    assert listed(page) == list(range(number, -1, -1))
    assert page.count("Altered: this is no entry of the log.") == 1
    shown = await console.text(f"/log/{number}")
    assert "&lt;script&gt;alert(1)" in shown
    assert "<script>" not in page + shown


async def test_hostile_filters_are_not_repeated(console):
    answer = await console.get("/log?message=%22%3E%3Cscript%3Ealert(1)%3C/script%3E")
    assert answer.status == 400
    assert "alert(1)" not in await answer.text()


async def test_checkpoints_are_shown_with_who_cosigned_them(console):
    assert await cosigned(console)
    console.hook.clock.time_ms += MINUTE_MS
    await console.hook.sent()
    size = await cosigned(console)
    before = console.hook.counts()
    page = await console.text("/checkpoints")
    assert console.hook.counts() == before, "it says nothing of an entry"
    assert re.findall(r"<tr><td>.*?<code>(\d+)</code>", page)[0] == str(size)
    assert page.count(f"<code>{make_authority(PEER).card.witness.name}</code>") == 2
    picture = re.search(r"<svg.*?</svg>", page)[0]
    assert picture.count("<circle ") == 2
    assert "<title " in picture
    assert "style=" not in picture
    points = [tuple(map(int, one.split(","))) for one in re.search(r'points="([^"]*)"', picture)[1].split()]
    assert points == sorted(points, key=lambda one: (one[0], -one[1])), "it grows"
    assert {points[0], points[-1]} == {(8, 192), (632, 8)}


async def test_older_checkpoints_follow(console):
    for _ in range(55):
        await console.hook.store.record(Change(name="read", entries=(READ,)))
        newest = await console.hook.store.checkpoint()
    page = await console.text("/checkpoints")
    sizes = re.findall(r"<tr><td>.*?<code>(\d+)</code>", page)
    assert [int(one) for one in sizes] == list(range(newest.size, newest.size - 50, -1))
    older = re.search(r'href="(/checkpoints\?cursor=\d+)"', page)[1]
    following = re.findall(r"<tr><td>.*?<code>(\d+)</code>", await console.text(older))
    assert int(following[0]) == newest.size - 50
    for query in ("cursor=x", "limit=1"):
        assert (await console.get(f"/checkpoints?{query}")).status == 400
    assert "None." in await console.text("/checkpoints?cursor=0")


async def test_the_stored_log_is_verified_now(console):
    await console.hook.sent()
    number = console.hook.counts()["entries"] - 1
    before = console.hook.counts()
    answer = await console.post("/checkpoints/verify")
    assert answer.status == 200
    assert f"Sound: all {number + 1} entries" in await answer.text()
    assert console.hook.counts() == before
    alter(console, number, b'"outcome":"ok"', b'"outcome":"no"')
    page = await (await console.post("/checkpoints/verify")).text()
    assert "The log is not sound" in page
    assert f'<a href="/log/{number}">' in page
    assert "Sound: all" not in page
