"""The audit log at the hook: read, proved, computed anew; and every reading leaves its entry."""

import contextlib
import json
import sqlite3

import pytest

from gateway.core.entry import Draft
from gateway.core.merkle import leaf_hash, verify_inclusion
from gateway.core.note import verify_checkpoint
from gateway.core.proof import parse_proof
from gateway.core.strict import b64, time_text
from gateway.ports import Change
from tests.support.authorities import NOW_MS
from tests.support.hooks import MARK, PEER, US, open_hook


@pytest.fixture
async def hook(tmp_path):
    async with open_hook(tmp_path) as opened:
        yield opened


async def test_entries_are_listed_and_filtered(hook):
    said = await hook.sent()
    hook.clock.time_ms += 60_000
    later = await hook.sent()

    async def listed(query: str) -> list[dict[str, object]]:
        answer = await hook("GET", f"/audit/entries?{query}")
        assert answer.status == 200
        assert MARK not in answer.body.decode()
        return answer.json["items"]

    (one,) = await listed(f"message={said['id']}")
    assert (one["event"], one["peer"], one["message_id"]) == ("submission.accepted", PEER, said["id"])
    assert json.loads(one["entry"])["message_id"] == said["id"]
    assert one["index"] == 1
    both = await listed("event=submission.accepted")
    assert [each["message_id"] for each in both] == [said["id"], later["id"]]
    assert await listed(f"event=submission.accepted&limit=1&cursor={one['index']}") == both[1:]
    assert await listed(f"peer={PEER}&after={time_text(NOW_MS + 1)}") == both[1:]
    before = await listed(f"before={time_text(NOW_MS)}")
    assert [each["event"] for each in before] == ["peer.added", "submission.accepted"]


async def test_every_reading_leaves_an_entry_that_names_who_read(hook):
    said = await hook.sent()
    me = (await hook("GET", "/tokens")).json["items"][0]["id"]
    for path, extra in (
        ("/audit/entries", {}),
        ("/audit/entries/1", {"entry_index": 1}),
        ("/audit/entries/1/proof", {"entry_index": 1}),
    ):
        before = hook.counts()["entries"]
        answer = await hook("GET", path)
        assert answer.status == 200
        assert hook.counts()["entries"] == before + 1
        entry = await hook.last()
        assert (entry["event"], entry["actor_ref"]) == ("log.read", me)
        assert extra.items() <= entry.items()
    before = hook.counts()["entries"]
    for path in ("/audit/checkpoint", "/audit/verify", f"/messages/{said['id']}"):
        assert (await hook("GET", path)).status == 200
    assert hook.counts()["entries"] == before


async def test_an_entry_is_proved(hook):
    said = await hook.sent()
    shown = (await hook("GET", "/audit/entries/1")).json
    assert shown["message_id"] == said["id"]
    text = (await hook("GET", "/audit/entries/1/proof")).body.decode()
    proof = parse_proof(text)
    checkpoint = verify_checkpoint(proof.checkpoint, hook.party.card.log)
    leaf = leaf_hash(shown["entry"].encode())
    verify_inclusion(leaf, proof.index, checkpoint.size, proof.hashes, checkpoint.root)


async def test_the_checkpoint_is_signed(hook):
    await hook.sent()
    answer = await hook("GET", "/audit/checkpoint")
    assert answer.headers["Content-Type"].startswith("text/plain")
    checkpoint = verify_checkpoint(answer.body.decode(), hook.party.card.log)
    assert checkpoint.size == hook.counts()["entries"]


async def test_the_whole_log_is_computed_anew(hook):
    await hook.sent()
    many = tuple(Draft(event="log.read", outcome="ok", actor_ref=str(number)) for number in range(1100))
    await hook.store.record(Change(name="read", entries=many))
    found = (await hook("GET", "/audit/verify")).json
    assert (found["verified"], found["problem"], found["entry"]) == (True, None, None)
    assert found["size"] == hook.counts()["entries"]
    checkpoint = verify_checkpoint(found["checkpoint"], hook.party.card.log)
    assert found["root"] == b64(checkpoint.root)


@pytest.mark.parametrize(
    ("old", "new", "problem", "entry"),
    [
        ('"ok"', '"failed"', "entry_altered", 1),
        ('"v":1', '"v":2', "malformed_entry", 1),
        (f'"authority":"{US}"', '"authority":"qz.nobody"', "wrong_authority", 1),
        ("T11:", "T10:", "time_goes_back", 1),
    ],
)
async def test_what_was_altered_in_the_database_is_found(hook, old, new, problem, entry):
    await hook.sent()
    await hook("GET", "/audit/checkpoint")
    with contextlib.closing(sqlite3.connect(hook.folder / "gateway.db")) as database, database:
        (leaf,) = database.execute('SELECT leaf FROM entries WHERE "index" = 1').fetchone()
        altered = leaf.replace(old.encode(), new.encode())
        assert altered != leaf
        database.execute('UPDATE entries SET leaf = ? WHERE "index" = 1', (altered,))
    found = (await hook("GET", "/audit/verify")).json
    assert (found["verified"], found["problem"], found["entry"]) == (False, problem, entry)


async def test_what_was_deleted_in_the_database_is_found(hook):
    await hook.sent()
    await hook("GET", "/audit/checkpoint")
    with contextlib.closing(sqlite3.connect(hook.folder / "gateway.db")) as database, database:
        database.execute('DELETE FROM entries WHERE "index" = 0')
    found = (await hook("GET", "/audit/verify")).json
    assert (found["verified"], found["problem"], found["entry"]) == (False, "entries_missing", 0)
