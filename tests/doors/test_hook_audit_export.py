"""The audit trail exported at the hook, and verified from the file alone."""

import asyncio
import contextlib
import csv
import json
import sqlite3
from pathlib import Path

import pytest
from click.testing import CliRunner

from gateway.cli.hook import Hook
from gateway.cli.program import art18
from gateway.cli.trail import verify_log
from gateway.cli.trail_files import Writer, companion, lines_of
from gateway.core.card import fingerprint
from gateway.core.entry import Draft
from gateway.core.merkle import Frontier, leaf_hash
from gateway.core.note import cosign
from gateway.core.soundness import Unsound
from gateway.ports import Change
from gateway.rows import CosignedRow
from gateway.web.tokens import Scope
from tests.support.authorities import make_authority
from tests.support.hooks import MARK, PEER, US, faulty, open_hook

MANY = 1100


@pytest.fixture
async def hook(tmp_path):
    async with open_hook(tmp_path) as opened:
        yield opened


async def exported(hook, query: str = "") -> bytes:
    answer = await hook("GET", f"/audit/export{query}")
    assert answer.status == 200, answer.body
    return answer.body


async def fill(hook, count: int = MANY) -> None:
    drafts = tuple(Draft(event="log.read", outcome="ok", actor_ref=str(number)) for number in range(count))
    await hook.store.record(Change(name="read", entries=drafts))


async def verified(file: Path, *words: str) -> tuple[int, dict]:
    """Return exit code and answer of the command, which has nothing but *file*."""
    runner = CliRunner(env={"ART18_CONFIG": None})
    args = ["--output", "json", "audit", "verify", str(file), *words]
    result = await asyncio.to_thread(runner.invoke, art18, args)
    return result.exit_code, json.loads(result.stdout or result.stderr)


def root(hook) -> list[str]:
    return ["--root", f"{US}={fingerprint(hook.party.card)}"]


async def cosigned(hook) -> int:
    """Let the witness of PEER sign the newest checkpoint; return its size."""
    checkpoint, peer = await hook.store.checkpoint(), make_authority(PEER)
    name = peer.card.witness.name
    lines = cosign(checkpoint, name, hook.clock.now_ms(), peer.keyring.witness)
    row = CosignedRow(
        size=checkpoint.size, witness=name, version=0, lines=lines, time_s=hook.clock.now_ms() // 1000
    )
    await hook.store.record(Change(name="cosigned", puts=(row,)))
    return checkpoint.size


async def as_file(hook, folder: Path, form: str, query: str = "") -> Path:
    """Return a file in the form that the command writes."""
    body = await exported(hook, ("?form=leaves&" if form == "leaves" else "?") + query)
    file = folder / f"trail.{form}"
    Writer(file, as_csv=form == "csv").write(lines_of([body[:1000], body[1000:]]), lambda _: None)
    return file


@pytest.mark.parametrize("form", ["jsonl", "csv", "leaves"])
async def test_an_export_verifies_from_its_file_alone(hook, tmp_path, form):
    await fill(hook)
    file = await as_file(hook, tmp_path, form)
    code, found = await verified(file, *root(hook))
    assert (code, found["verified"]) == (0, True)
    assert found["entries"] == found["size"] == hook.counts()["entries"]
    code, found = await verified(file)
    assert (code, found["verified"], found["authenticated"]) == (4, False, False)
    assert found["entries"] == found["size"]
    code, _ = await verified(file, "--root", f"{US}={'0' * 64}")
    assert code == 4


async def test_a_range_is_proved_by_its_leaves_alone(hook, tmp_path):
    await fill(hook)
    for start, end in ((0, 1), (3, 3), (5, 900), (511, 1024), (1000, 1003)):
        file = await as_file(hook, tmp_path, "leaves", f"from={start}&to={end}")
        assert len(file.read_bytes().splitlines()) == end - start + 2
        code, found = await verified(file, *root(hook))
        assert (code, found["entries"], found["from"], found["to"]) == (0, end - start, start, end)


async def test_a_selection_is_exported(hook, tmp_path):
    said = await hook.sent()
    await fill(hook)
    file = await as_file(hook, tmp_path, "csv", f"message={said['id']}")
    code, found = await verified(file, *root(hook))
    assert (code, found["entries"], found["filters"]) == (0, 1, {"message": said["id"]})
    with file.open(newline="") as opened:
        (row,) = csv.DictReader(opened)
    assert (row["event"], row["peer"], row["message_id"]) == ("submission.accepted", PEER, said["id"])


async def test_cosignatures_at_hand_go_with_an_export(hook, tmp_path):
    await fill(hook)
    size = await cosigned(hook)
    await fill(hook, 10)
    peer = make_authority(PEER)
    file = await as_file(hook, tmp_path, "jsonl")
    code, found = await verified(file, *root(hook), "--root", f"{PEER}={fingerprint(peer.card)}")
    (one,) = found["witnessed"]
    assert (code, one["name"], one["size"], one["authentic"]) == (0, peer.card.witness.name, size, True)
    assert one["time_s"] == hook.clock.now_ms() // 1000
    code, found = await verified(file, *root(hook))
    assert (code, found["witnessed"][0]["authentic"]) == (0, False)
    policy = tmp_path / "policy.toml"
    policy.write_text(f'[roots]\n"{US}" = "{fingerprint(hook.party.card)}"\n')
    assert (await verified(file, "--policy", str(policy)))[0] == 0


@pytest.mark.parametrize("what", ["consistency", "cosignature"])
async def test_a_cosigned_checkpoint_that_was_altered_is_found(hook, tmp_path, what):
    await fill(hook)
    await cosigned(hook)
    await fill(hook, 10)
    file = await as_file(hook, tmp_path, "jsonl")
    first, rest = file.read_bytes().split(b"\n", 1)
    header = json.loads(first)
    if what == "consistency":
        header["cosigned"]["consistency"] = []
    else:
        *lines, last, _ = header["cosigned"]["checkpoint"].split("\n")
        at = len(last) // 2
        last = last[:at] + ("A" if last[at] != "A" else "B") + last[at + 1 :]
        header["cosigned"]["checkpoint"] = "\n".join([*lines, last, ""])
    file.write_bytes(json.dumps(header).encode() + b"\n" + rest)
    code, found = await verified(file, *root(hook))
    assert code == 4
    assert {"consistency": "root_differs", "cosignature": "cosignature_wrong"}[what] in found["error"]


async def test_an_entry_is_proved_under_the_earliest_cosigned_checkpoint(hook):
    await fill(hook, 5)
    size = await cosigned(hook)
    await fill(hook, 5)
    early = (await hook("GET", "/audit/entries/1/proof")).body.decode()
    assert f"\n{size}\n" in early
    assert f"— {make_authority(PEER).card.witness.name} " in early
    late = (await hook("GET", f"/audit/entries/{size + 1}/proof")).body.decode()
    assert make_authority(PEER).card.witness.name not in late


async def test_exporting_is_logged_before_it_is_answered(hook):
    before = hook.counts()["entries"]
    lines = (await exported(hook)).splitlines()
    entry = json.loads(json.loads(lines[-2])["entry"])
    assert (entry["event"], entry["purpose"]) == ("log.read", "export")
    assert json.loads(lines[-1]) == {"count": before + 1}


@pytest.mark.parametrize(
    "query",
    ["from=5&to=2", "to=999999", "from=999999", "form=leaves&event=log.read", "form=other", "before=now"],
)
async def test_what_cannot_be_exported_is_refused(hook, query):
    answer = await hook("GET", f"/audit/export?{query}")
    assert answer.status == 400


def _replaced(at: int, old: bytes, new: bytes):
    def change(lines: list[bytes]) -> None:
        assert old in lines[at]
        lines[at] = lines[at].replace(old, new, 1)

    return change


def _swapped(lines: list[bytes]) -> None:
    lines[3], lines[4] = lines[4], lines[3]


def _dropped(at: int):
    return lambda lines: lines.pop(at)


def _doubled(lines: list[bytes]) -> None:
    lines.insert(3, lines[3])


OK, FAILED = b'\\"outcome\\":\\"ok\\"', b'\\"outcome\\":\\"failed\\"'
CHANGES = [
    # form, what is done to the lines, what is found. Line 0 is the header: entry N is line N + 1.
    ("jsonl", _replaced(8, OK, FAILED), "not_included: entry 7"),
    ("jsonl", _replaced(8, b'"v\\":1', b'"v\\":2'), "malformed_entry: entry 7"),
    ("jsonl", _replaced(8, US.encode(), b"qz.nobody"), "wrong_authority: entry 7"),
    ("jsonl", _replaced(8, b"T11:", b"T10:"), "time_goes_back: entry 7"),
    ("jsonl", _replaced(8, b'"index":7', b'"index":9'), "entries_missing: entry 7"),
    ("jsonl", _dropped(8), "entries_missing: entry 7"),
    ("jsonl", _dropped(-2), "count_differs"),
    ("jsonl", _dropped(-1), "count_differs"),
    ("jsonl", _swapped, "entries_missing: entry 2"),
    ("jsonl", _doubled, "entries_missing: entry 3"),
    ("leaves", _replaced(8, b'"outcome":"ok"', b'"outcome":"failed"'), "root_differs"),
    ("leaves", _replaced(8, b'"v":1', b'"v":2'), "malformed_entry: entry 7"),
    ("leaves", _dropped(8), "count_differs"),
    ("leaves", _dropped(-1), "count_differs"),
    ("leaves", _swapped, "root_differs"),
    ("csv", _replaced(8, b",ok,", b",failed,"), "columns_differ: entry 7"),
    ("csv", _replaced(8, b'""outcome"":""ok""', b'""outcome"":""failed""'), "columns_differ: entry 7"),
    ("csv", _dropped(8), "entries_missing: entry 7"),
    ("csv", _dropped(-1), "count_differs"),
]


@pytest.mark.parametrize(("form", "change", "told"), CHANGES)
async def test_what_was_altered_in_a_file_is_found(hook, tmp_path, form, change, told):
    await fill(hook, 40)
    file = await as_file(hook, tmp_path, form)
    lines = file.read_bytes().splitlines()
    change(lines)
    file.write_bytes(b"\n".join(lines) + b"\n")
    code, found = await verified(file, *root(hook))
    assert code == 4
    assert told in found["error"]


@pytest.mark.parametrize(
    ("member", "told"),
    [
        ("checkpoint", "checkpoint_not_signed"),
        ("origin", "no card"),
        ("authority", "no card"),
        ("cards", "no card"),
    ],
)
async def test_a_header_that_was_altered_proves_nothing(hook, tmp_path, member, told):
    await fill(hook, 5)
    file = await as_file(hook, tmp_path, "jsonl")
    first, rest = file.read_bytes().split(b"\n", 1)
    header = json.loads(first)
    origin, size, *_ = header["checkpoint"].split("\n")
    altered = {
        "checkpoint": header["checkpoint"].replace(f"{origin}\n{size}\n", f"{origin}\n{int(size) + 1}\n"),
        "origin": "qz.example/audit/1",
        "authority": "qz.nobody",
        "cards": [],
    }[member]
    file.write_bytes(json.dumps(header | {member: altered}).encode() + b"\n" + rest)
    code, found = await verified(file, *root(hook))
    assert code == 4
    assert told in found["error"]


async def test_a_table_has_no_formulas_and_what_it_lacks_beside_it(hook, tmp_path):
    draft = Draft(event="log.read", outcome="ok", actor_ref="=cmd")
    await hook.store.record(Change(name="read", entries=(draft,)))
    await fill(hook, 60)  # enough proofs for one that begins with +
    file = await as_file(hook, tmp_path, "csv")
    assert companion(file).read_bytes().count(b"\n") == 2
    with file.open(newline="") as opened:
        rows = list(csv.reader(opened))
    assert not [cell for row in rows for cell in row if cell.startswith(("=", "+", "-", "@"))]
    assert any("'=cmd" in row for row in rows)
    assert (await verified(file, *root(hook)))[0] == 0


async def test_an_answer_that_was_cut_short_leaves_no_file(hook, tmp_path):
    await fill(hook, 5)
    lines = lines_of([(await exported(hook)).rsplit(b"\n", 2)[0]])
    with pytest.raises(Exception, match="count_differs"):
        Writer(tmp_path / "trail.jsonl", as_csv=False).write(lines, lambda _: None)
    assert not list(tmp_path.glob("*trail.jsonl*"))


async def test_a_tree_with_holes_ends_an_export_before_its_end(hook):
    await fill(hook)
    with contextlib.closing(sqlite3.connect(hook.folder / "gateway.db")) as database, database:
        database.execute('DELETE FROM nodes WHERE level = 0 AND "index" = 1000')
    with pytest.raises(Exception, match=r"payload|disconnected"):
        await exported(hook)


# -- the node's log, verified by the command line

TAMPERED = {
    "changed": (
        """UPDATE entries SET leaf = CAST(replace(leaf, '"ok"', '"failed"') AS BLOB) WHERE "index" = 700""",
        "entry_altered: entry 700",
    ),
    "out of form": (
        """UPDATE entries SET leaf = CAST(replace(leaf, '"v":1', '"v":2') AS BLOB) WHERE "index" = 700""",
        "malformed_entry: entry 700",
    ),
    "the first": (
        """UPDATE entries SET leaf = CAST(replace(leaf, '"ok"', '"failed"') AS BLOB) WHERE "index" = 0""",
        "entry_altered: entry 0",
    ),
    "deleted": ('DELETE FROM entries WHERE "index" = 700', "entries_missing: entry 700"),
    "truncated": ('DELETE FROM entries WHERE "index" BETWEEN 900 AND 1102', "entries_missing: entry 900"),
    "reordered": (
        """UPDATE entries SET "index" = -1 WHERE "index" = 700;
        UPDATE entries SET "index" = 700 WHERE "index" = 701;
        UPDATE entries SET "index" = 701 WHERE "index" = -1""",
        "entry_altered: entry 700",
    ),
    "inserted": (
        """DELETE FROM entries WHERE "index" = 1000;
        UPDATE entries SET "index" = -"index" - 2 WHERE "index" > 700 AND "index" < 1000;
        UPDATE entries SET "index" = -"index" - 1 WHERE "index" < 0;
        INSERT INTO entries ("index", leaf, entry_id, event, peer, message_id, time_ms)
        SELECT 701, leaf, entry_id, event, peer, message_id, time_ms FROM entries WHERE "index" = 700""",
        "entry_altered: entry 701",
    ),
    "tree anew": (None, "root_differs"),
}


@pytest.mark.parametrize(("statements", "told"), TAMPERED.values(), ids=TAMPERED)
async def test_the_command_line_says_which_entry_of_the_node_is_wrong(hook, statements, told):
    await fill(hook)
    await hook.store.checkpoint()
    here = Hook(hook.client.host, hook.client.port, hook.token)
    await asyncio.to_thread(verify_log, here, hook.party.card, 0, None)
    with contextlib.closing(sqlite3.connect(hook.folder / "gateway.db")) as database, database:
        database.executescript(statements or TAMPERED["changed"][0])
        if statements is None:
            leaves = database.execute('SELECT leaf FROM entries ORDER BY "index"').fetchall()
            _, made = Frontier().append([leaf_hash(leaf) for (leaf,) in leaves])
            database.executemany('UPDATE nodes SET hash = ?3 WHERE level = ?1 AND "index" = ?2', made)
    with pytest.raises(Unsound, match=f"^{told}"):
        await asyncio.to_thread(verify_log, here, hook.party.card, 0, None)


# -- details


async def overridden(hook, reason: str) -> int:
    """Send a message against a finding, for *reason*; return the entry that commits to it."""
    answer = await hook("POST", "/messages", faulty(override={"reason": reason}))
    assert answer.status == 201, answer.body
    return hook.counts()["entries"] - 1


async def test_entries_are_found_by_their_details(hook):
    first = await overridden(hook, f"The {MARK} of Straße 5")
    second = await overridden(hook, f"{MARK}")

    async def found(**asked: object) -> list[int]:
        answer = await hook("POST", "/audit/find", asked)
        assert answer.status == 200, answer.body
        assert answer.json["damaged"] == []
        assert answer.json["after"] is None
        return [item["index"] for item in answer.json["items"]]

    assert await found(value=MARK.upper()) == [first, second]
    assert await found(value=MARK, match="equals") == [second]
    assert await found(value="STRASSE") == [first]
    assert await found(value=MARK, after=first) == [second]
    assert await found(value="nothing") == []
    entry = await hook.last()
    assert (entry["event"], entry["purpose"]) == ("log.read", "find")
    assert "nothing" not in json.dumps(entry)


@pytest.mark.parametrize(
    "asked", [{}, {"value": ""}, {"value": "x", "match": "like"}, {"value": 1}, {"value": "x", "after": -2}]
)
async def test_a_search_has_its_form(hook, asked):
    before = hook.counts()["entries"]
    assert (await hook("POST", "/audit/find", asked)).status in {400, 422}
    assert hook.counts()["entries"] == before


async def test_what_is_behind_a_commitment_is_shown_until_it_is_erased(hook):
    index = await overridden(hook, MARK)
    shown = (await hook("GET", f"/audit/entries/{index}")).json
    assert shown["detail"] == {"state": "kept", "text": MARK}
    assert "detail" not in (await hook("GET", "/audit/entries/0")).json
    with contextlib.closing(sqlite3.connect(hook.folder / "gateway.db")) as database, database:
        database.execute("UPDATE details SET ciphertext = zeroblob(60)")
    assert (await hook("GET", f"/audit/entries/{index}")).json["detail"] == {"state": "damaged"}
    assert (await hook("POST", "/audit/find", {"value": MARK})).json["damaged"] == [index]
    with contextlib.closing(sqlite3.connect(hook.folder / "gateway.db")) as database, database:
        database.execute("DELETE FROM details")
    assert (await hook("GET", f"/audit/entries/{index}")).json["detail"] == {"state": "erased"}
    assert (await hook("GET", "/audit/verify")).json["verified"]


async def test_reading_the_trail_takes_the_scope_for_it(hook):
    token = await hook.bearer(Scope.READ, Scope.WRITE, Scope.ADMIN)
    for method, path, body in (("GET", "/audit/export", None), ("POST", "/audit/find", {"value": "x"})):
        assert (await hook(method, path, body, token=token)).status == 403
