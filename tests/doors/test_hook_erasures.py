"""Erasing content by two operators, and legal holds, at the hook."""

import os
import sqlite3
from contextlib import closing
from dataclasses import replace

import pytest

from gateway.config import Retention
from gateway.core import custody
from gateway.core.case import History
from gateway.core.entry import parse_entry
from gateway.core.evidence import examine
from gateway.core.machine import MACHINE
from gateway.core.merkle import leaf_hash, verify_inclusion
from gateway.core.note import verify_checkpoint
from gateway.core.proof import parse_proof
from gateway.peering.settlement import open_case
from gateway.ports import Change, EntryFilter
from gateway.rows import (
    BlobRow,
    CaseRow,
    ContentRow,
    DetailRow,
    Direction,
    EnvelopeRow,
    ErasureRow,
    HoldRow,
    SubjectRow,
    UploadRow,
)
from gateway.web.erasing import Erasure, erase
from gateway.web.reception import Answer, Reception
from gateway.workers.keeper import Keeper
from tests.support.authorities import DAY_MS, make_authority, make_blob, message
from tests.support.evidence import roots
from tests.support.hooks import MARK, PEER, accepted, draft, faulty, open_hook

(CLOSED,) = MACHINE.final
OVERRIDE = {"override": {"reason": "The peer agrees by telephone."}}


@pytest.fixture
async def hook(tmp_path):
    async with open_hook(tmp_path) as opened:
        yield opened


async def another(hook):
    """Return the token of another operator."""
    made = await hook("POST", "/tokens", {"name": "another", "scopes": ["admin"]})
    return made.json["token"]


async def close(hook, case):
    """Close a case as its messages would."""
    row = await hook.store.get(CaseRow, PEER, case)
    closed = replace(row, state=CLOSED, changed_ms=hook.clock.now_ms())
    await hook.store.record(Change(name="test", puts=(closed,)))


async def sent_and_closed(hook, **members):
    said = await hook.sent(**members)
    await accepted(hook, await hook.row(said["id"]))
    await close(hook, said["case"])
    return said


async def erased(hook, *messages, **members):
    """Have messages erased by two operators; return the answer to the second."""
    body = {"messages": list(messages), "by": "A. Example"} | members
    proposed = await hook("POST", "/erasures", body)
    assert proposed.status == 201, proposed.body
    second = await another(hook)
    done = await hook("POST", f"/erasures/{proposed.json['id']}/confirm", {"by": "B. Example"}, token=second)
    assert done.status == 200, done.body
    return done.json


async def test_two_operators_erase_and_nothing_before_the_second(hook):
    said = await sent_and_closed(hook)
    dry = await hook("POST", "/erasures/preview", {"messages": [said["id"]]})
    assert (dry.status, dry.json["erasable"], dry.json["items"][0]["barred"]) == (200, 1, None)
    assert await hook.store.all(ErasureRow) == []
    proposed = await hook("POST", "/erasures", {"messages": [said["id"]], "by": "A. Example"})
    assert (await hook("GET", f"/messages/{said['id']}/content")).status == 200
    path = f"/erasures/{proposed.json['id']}"
    assert (await hook("GET", path)).json["items"][0]["barred"] is None
    second = await another(hook)
    for token, name in ((hook.token, "B. Example"), (second, "a.  EXAMPLE"), (second, "A. Example")):
        refused = await hook("POST", f"{path}/confirm", {"by": name}, token=token)
        assert (refused.status, refused.code) == (403, "second_operator")
    assert (await hook("GET", f"/messages/{said['id']}/content")).status == 200
    done = await hook("POST", f"{path}/confirm", {"by": "B. Example"}, token=second)
    assert (done.status, done.json["erased"], done.json["barred"]) == (200, 1, [])
    for what in ("content", "jws"):
        answer = await hook("GET", f"/messages/{said['id']}/{what}")
        assert (answer.status, answer.code) == (410, "erased")
    shown = (await hook("GET", f"/messages/{said['id']}")).json
    assert shown["erased"] is not None
    assert "content.erased" in [one["event"] for one in shown["timeline"]]
    assert (await hook("POST", f"{path}/confirm", {"by": "B. Example"}, token=second)).code == "wrong_state"
    assert (await hook("GET", "/erasures")).json["items"][0]["state"] == "done"


async def test_names_and_accounts_are_on_record(hook):
    said = await sent_and_closed(hook)
    await erased(hook, said["id"])
    storage = hook.party.keyring.storage
    names, accounts = {}, set()
    for event in ("erasure.proposed", "erasure.confirmed"):
        (logged,) = await hook.store.entries(EntryFilter(event=event))
        entry, detail = parse_entry(logged.leaf), await hook.store.get(DetailRow, logged.index)
        box = custody.Box(detail.wrapped_key, detail.ciphertext)
        names[event] = custody.open_detail(storage, entry.commitment, box).decode()
        accounts.add(entry.actor_ref)
    assert names == {"erasure.proposed": "A. Example", "erasure.confirmed": "B. Example"}
    assert len(accounts) == 2
    (logged,) = await hook.store.entries(EntryFilter(event="content.erased"))
    entry = parse_entry(logged.leaf)
    assert (entry.message_id, entry.actor_ref in accounts) == (said["id"], True)
    with closing(sqlite3.connect(hook.folder / "gateway.db")) as database:
        leaves = b"".join(row[0] for row in database.execute("SELECT leaf FROM entries"))
    assert b"Example" not in leaves


async def test_every_proof_holds_as_before(hook):
    said = await sent_and_closed(hook)
    size = (await hook.store.checkpoint()).size
    await erased(hook, said["id"])
    for index in range(size):
        text = (await hook("GET", f"/audit/entries/{index}/proof")).body.decode()
        proof, leaf = parse_proof(text), (await hook.store.entry(index)).leaf
        checkpoint = verify_checkpoint(proof.checkpoint, hook.party.card.log)
        verify_inclusion(leaf_hash(leaf), index, checkpoint.size, proof.hashes, checkpoint.root)
    assert (await hook("GET", "/audit/verify")).json["verified"] is True
    bundle = (await hook("GET", f"/messages/{said['id']}/evidence")).body
    assert MARK.encode() not in bundle
    found = examine(bundle, roots(make_authority(PEER), make_authority("qo.justice")))
    assert found.holds


async def test_an_outgoing_message_with_all_that_belongs_to_it(hook):
    upload = await hook.upload(b"evidence " * 1000)
    attached = {
        "upload": upload,
        "name": "a.txt",
        "media_type": "text/plain",
        "role": "other",
        "language": "en",
    }
    said = await hook.sent(attachments=[attached])
    await accepted(hook, await hook.row(said["id"]))
    await close(hook, said["case"])
    path = hook.context.blobs.outgoing(upload)
    assert path.exists()
    assert await hook.store.all(SubjectRow) != []
    kept = open_case(hook.party.keyring.storage, await hook.store.get(CaseRow, PEER, said["case"]))
    assert kept.steps[0].recorded
    await erased(hook, said["id"])
    assert await hook.store.get(ContentRow, Direction.OUT, PEER, said["id"]) is None
    assert await hook.store.all(UploadRow) == []
    assert not path.exists()
    assert [row.body for row in await hook.store.all(EnvelopeRow)] == [None]
    assert await hook.store.all(SubjectRow) == []
    history = open_case(hook.party.keyring.storage, await hook.store.get(CaseRow, PEER, said["case"]))
    assert isinstance(history, History)
    assert [step.recorded for step in history.steps] == [{}]
    assert [step.sha256 for step in history.steps] == [step.sha256 for step in kept.steps]
    gone = await hook("GET", f"/messages/{said['id']}/attachments/0")
    assert (gone.status, gone.code) == (410, "erased")
    assert (await hook("GET", f"/cases/{said['case']}")).status == 200


async def test_an_incoming_message_and_the_same_envelope_again(hook):
    blob = make_blob(b"the answer")
    posted = await hook.received(blob)
    path = hook.context.blobs.incoming(make_authority(PEER).id, blob.sha256)
    case = posted.signed.message.case
    assert (await hook("POST", f"/messages/{posted.id}/acknowledge")).status == 204
    await close(hook, case)
    before = await hook.store.receipt((await hook.row(posted.id, Direction.IN)).entry)
    await erased(hook, posted.id)
    assert not path.exists()
    assert await hook.store.all(BlobRow) == []
    peer = hook.context.directory.peers[make_authority(PEER).id]
    (answer,) = await Reception(hook.context).receive(peer, [posted.raw])
    assert isinstance(answer, Answer)
    assert (answer.status, answer.receipt.entry) == (200, before.entry)
    assert await hook.store.get(ContentRow, Direction.IN, PEER, posted.id) is None


async def test_a_blob_that_another_message_names_too_stays_for_it(hook):
    blob = make_blob(b"the same blob twice")
    first = await hook.received(blob)
    party = make_authority(PEER)
    found = draft()
    second = message(
        party, hook.party, blobs=[blob], kind="request.mla", body=found["body"], language=found["language"]
    )
    peer = hook.context.directory.peers[party.id]
    (answer,) = await Reception(hook.context).receive(peer, [second.raw])
    assert answer.status == 201
    path = hook.context.blobs.incoming(party.id, blob.sha256)
    for posted, there in ((first, True), (second, False)):
        await hook("POST", f"/messages/{posted.id}/acknowledge")
        await close(hook, posted.signed.message.case)
        await erased(hook, posted.id)
        assert path.exists() is there
    assert await hook.store.all(BlobRow) == []


async def test_the_details_of_its_entries_go_too(hook):
    said = await hook.sent(**faulty(**OVERRIDE))
    row = await hook.row(said["id"])
    assert await hook.store.get(DetailRow, row.entry) is not None
    await accepted(hook, row)
    await close(hook, said["case"])
    await erased(hook, said["id"])
    assert await hook.store.get(DetailRow, row.entry) is None


async def sent_open(hook):
    said = await hook.sent()
    await accepted(hook, await hook.row(said["id"]))
    return said


async def received(hook):
    posted = await hook.received()
    await close(hook, posted.signed.message.case)
    return {"id": posted.id}


@pytest.mark.parametrize(
    ("make", "bar"),
    [
        (lambda hook: hook.sent(), "unfinished"),
        (sent_open, "case_open"),
        (received, "not_taken"),
    ],
)
async def test_what_bars_it_is_told_and_nothing_is_proposed(hook, make, bar):
    said = await make(hook)
    body = {"messages": [said["id"]], "by": "A. Example"}
    answer = await hook("POST", "/erasures", body)
    assert (answer.status, answer.code) == (409, "nothing_to_erase")
    assert [one["barred"] for one in answer.json["items"]] == [bar]
    assert await hook.store.all(ErasureRow) == []


async def test_what_was_not_taken_over_goes_if_it_is_said(hook):
    said = await received(hook)
    done = await erased(hook, said["id"], not_taken=True)
    assert done["erased"] == 1


async def test_what_changed_after_the_proposal_is_kept_and_told(hook):
    one, other = await sent_and_closed(hook), await sent_and_closed(hook)
    proposed = await hook("POST", "/erasures", {"messages": [one["id"], other["id"]], "by": "A. Example"})
    held = {"peer": PEER, "case": one["case"], "reason": "An appeal is pending.", "by": "C. Example"}
    assert (await hook("POST", "/holds", held)).status == 201
    second = await another(hook)
    done = await hook("POST", f"/erasures/{proposed.json['id']}/confirm", {"by": "B. Example"}, token=second)
    assert done.json["erased"] == 1
    assert [(item["message"], item["barred"]) for item in done.json["barred"]] == [(one["id"], "held")]
    assert (await hook("GET", f"/messages/{one['id']}/content")).status == 200


async def test_a_proposal_is_withdrawn_or_too_old(hook):
    said = await sent_and_closed(hook)
    second = await another(hook)
    body = {"messages": [said["id"]], "by": "A. Example"}
    first = (await hook("POST", "/erasures", body)).json["id"]
    assert (await hook("POST", f"/erasures/{first}/withdraw")).json["state"] == "withdrawn"
    assert (await hook("POST", f"/erasures/{first}/withdraw")).code == "wrong_state"
    confirmed = await hook("POST", f"/erasures/{first}/confirm", {"by": "B. Example"}, token=second)
    assert confirmed.code == "wrong_state"
    later = (await hook("POST", "/erasures", body)).json["id"]
    hook.clock.time_ms += 15 * DAY_MS
    confirmed = await hook("POST", f"/erasures/{later}/confirm", {"by": "B. Example"}, token=second)
    assert confirmed.code == "wrong_state"
    assert (await hook("GET", f"/messages/{said['id']}/content")).status == 200


async def test_what_the_policies_make_due(hook):
    rules = [{"kinds": "request.*", "days": 100}, {"kinds": "closure", "days": 1}]
    hook.context.settings.__dict__["retention"] = Retention.model_validate({"rules": rules})
    old, held = await sent_and_closed(hook), await sent_and_closed(hook)
    hook.clock.time_ms += 100 * DAY_MS
    young = await sent_and_closed(hook)
    assert (await hook("POST", "/holds", hold(held))).status == 201
    dry = (await hook("POST", "/erasures/preview", {"due": True})).json
    assert {one["message"]: one["barred"] for one in dry["items"]} == {old["id"]: None, held["id"]: "held"}
    assert (dry["erasable"], dry["more"]) == (1, False)
    proposed = await hook("POST", "/erasures", {"due": True, "by": "A. Example"})
    second = await another(hook)
    path = f"/erasures/{proposed.json['id']}/confirm"
    assert (await hook("POST", path, {"by": "B. Example"}, token=second)).json["erased"] == 1
    assert (await hook("GET", f"/messages/{young['id']}/content")).status == 200


async def test_a_whole_case(hook):
    said = await sent_and_closed(hook)
    body = {"case": {"peer": PEER, "id": said["case"]}}
    dry = (await hook("POST", "/erasures/preview", body)).json
    assert [one["message"] for one in dry["items"]] == [said["id"]]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"messages": [], "due": True},
        {"due": False},
        {"messages": ["x"]},
        {"case": {"peer": PEER}},
        {"messages": [], "not_taken": 1},
        {"messages": [], "more": 1},
    ],
)
async def test_what_is_no_proposal(hook, body):
    before = hook.counts()
    answer = await hook("POST", "/erasures/preview", body)
    assert answer.status == 400
    assert hook.counts() == before


async def test_a_proposal_needs_a_name_and_messages_that_are_there(hook):
    said = await sent_and_closed(hook)
    for name in (None, "", "  ", "x" * 201):
        assert (await hook("POST", "/erasures", {"messages": [said["id"]], "by": name})).status == 400
    missing = {"messages": ["5e0c8c1e-6a2c-4c0e-9b6e-4f0c1c1d2e3f"], "by": "A. Example"}
    assert (await hook("POST", "/erasures", missing)).code == "not_found"
    assert (await hook("GET", "/erasures/5e0c8c1e-6a2c-4c0e-9b6e-4f0c1c1d2e3f")).code == "not_found"


def hold(said, **members):
    found = {"peer": PEER, "case": said["case"], "reason": "An appeal is pending.", "by": "C. Example"}
    return found | members


async def test_a_hold_is_put_listed_and_taken_away(hook):
    said = await sent_and_closed(hook)
    assert (await hook("POST", "/holds", hold(said))).status == 201
    assert (await hook("POST", "/holds", hold(said))).code == "wrong_state"
    (item,) = (await hook("GET", "/holds")).json["items"]
    assert (item["case"], item["reason"], item["by"]) == (said["case"], "An appeal is pending.", "C. Example")
    answer = await hook("POST", "/erasures/preview", {"messages": [said["id"]]})
    assert answer.json["items"][0]["barred"] == "held"
    assert (await hook("POST", "/holds/remove", hold(said, reason="Decided."))).status == 204
    assert (await hook("POST", "/holds/remove", hold(said))).code == "not_found"
    assert await hook.store.all(HoldRow) == []
    events = [
        parse_entry(one.leaf).event for one in await hook.store.entries(EntryFilter(peer=PEER), limit=99)
    ]
    assert [event for event in events if event.startswith("hold")] == ["hold.added", "hold.removed"]
    other = hold(said, case="5e0c8c1e-6a2c-4c0e-9b6e-4f0c1c1d2e3f")
    assert (await hook("POST", "/holds", other)).code == "not_found"
    assert (await hook("POST", "/holds", hold(said, reason=" "))).status == 400


async def test_nothing_of_the_key_or_the_details_is_left_on_disk(hook):
    """Not in the database, not in its log: without the wrapped key the rest is noise."""
    said = await hook.sent(**faulty(**OVERRIDE))
    row = await hook.row(said["id"])
    for _ in range(40):
        await hook.sent()
    await accepted(hook, row)
    await close(hook, said["case"])
    content = await hook.store.get(ContentRow, Direction.OUT, PEER, said["id"])
    detail = await hook.store.get(DetailRow, row.entry)
    traces = (content.wrapped_key, content.ciphertext[-64:], detail.wrapped_key, detail.ciphertext)

    def on_disk():
        files = [path for path in hook.folder.rglob("*") if path.is_file()]
        data = b"".join(path.read_bytes() for path in files)
        return [trace in data for trace in traces]

    assert all(on_disk())
    await erased(hook, said["id"])
    assert on_disk() == [False] * len(traces)


async def test_a_process_that_ends_between_rows_and_files_leaves_what_the_keeper_sweeps(hook):
    class Ended(BaseException):
        pass

    class Probe:
        def reached(self, point):
            if point == "erase.before_files":
                raise Ended

    blob = make_blob(b"the answer")
    posted = await hook.received(blob)
    await hook("POST", f"/messages/{posted.id}/acknowledge")
    await close(hook, posted.signed.message.case)
    context = replace(hook.context, probe=Probe())
    with pytest.raises(Ended):
        await erase(context, await hook.row(posted.id, Direction.IN), Erasure("someone", "x"))
    path = hook.context.blobs.incoming(make_authority(PEER).id, blob.sha256)
    assert path.exists()
    assert await hook.store.get(ContentRow, Direction.IN, PEER, posted.id) is None

    os.utime(path, (1, 1))
    await Keeper(store=hook.store, blobs=hook.context.blobs, clock=hook.clock).sweep()
    assert not path.exists()
