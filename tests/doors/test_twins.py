"""The sample cases with one thing wrong each: told to the sender, shown to the recipient, lost nowhere."""

import asyncio
import copy
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import schemas
from gateway.core.case import History, add, step_of
from gateway.core.errors import Misuse
from gateway.core.ids import AuthorityId
from gateway.core.strict import parse_time
from gateway.peering.settlement import move_case
from gateway.ports import Change, EntryFilter
from gateway.rows import AlarmRow, CaseRow, Direction, MessageRow
from gateway.store.blobs import BlobFolder
from gateway.web.submission import Submission
from gateway.workers.timekeeper import Timekeeper
from tests.support.authorities import (
    PERIODS_MS,
    FixedClock,
    FixedEntropy,
    make_authority,
    make_blob,
)
from tests.support.cases import CASE, played
from tests.support.memory import MemoryStore
from tests.support.profiles import make_profile, record_profile
from tests.support.stations import Station

TWINS = schemas.load("samples/twins")["twins"]
ORAL, HOUR_MS = 3, 3_600_000
FRAME = ("v", "id", "case", "from", "created", "expires", "previous", "case_head", "attachments")


@dataclass
class Pair:
    """Both sides of a sample case, each with the profile of the other, at the time of one step."""

    case: int
    step: int
    clock: FixedClock
    sender: Station
    recipient: Station

    @property
    def message(self) -> dict[str, Any]:
        return copy.deepcopy(dict(played(self.case)[self.step][1].message.payload))


async def pair_of(folder: Path, case: int, step: int, *, not_accepted: str | None = None) -> Pair:
    """Return the sides of a sample case as they stand before *step*; the recipient takes all but one type."""
    steps = played(case)
    signed = steps[step][1]
    clock = FixedClock(signed.message.created_ms)
    parties = [make_authority(signed.message.sender), make_authority(signed.message.recipient)]
    stations = []
    for party in parties:
        blobs = BlobFolder(folder / party.id)
        (folder / party.id).mkdir()
        blobs.prepare()
        stations.append(Station(party, MemoryStore(party, clock, FixedEntropy()), clock, blobs))
    left_out: dict[str, Any] = {}
    if not_accepted is not None:
        sample = schemas.sample_profile(parties[1].id[:2])
        left_out = {
            name: {type_: one for type_, one in sample[name].items() if type_ != not_accepted}
            for name in ("accepts", "languages")
        }
    sender, recipient = stations
    await sender.pin(parties[1])
    await recipient.pin(parties[0])
    history = History()
    for _, earlier in steps[:step]:
        history = add(history, step_of(earlier))
    for station, other in ((sender, parties[1]), (recipient, parties[0])):
        for party in parties:
            profile = make_profile(party, **(left_out if party is parties[1] else {}))
            await record_profile(station.store, profile)
        await station.directory.refresh()
        if step:
            row = CaseRow.opened(other.id, CASE, clock.now_ms())
            moved = move_case(station.party.keyring.storage, row, history, clock.now_ms(), PERIODS_MS)
            await station.store.record(Change(name="test", puts=(moved,)))
    return Pair(case, step, clock, sender, recipient)


async def draft_of(pair: Pair, edits: list[dict[str, Any]], override: str | None = None) -> bytes:
    """Return the draft of the step with *edits*, its attachments brought."""
    message, step = pair.message, played(pair.case)[pair.step][0]
    attachments = []
    for one, signed in zip(step["attachments"], message["attachments"], strict=True):
        brought = await pair.sender.upload(make_blob(schemas.sample_file(one["file"]), signed["name"]))
        named = {name: signed[name] for name in ("name", "media_type", "role", "language")}
        attachments.append({**named, "upload": brought["upload"]})
    draft = {name: value for name, value in message.items() if name not in FRAME}
    draft |= {"attachments": attachments, **({"case": CASE} if pair.step else {})}
    for edit in edits:
        change(draft, edit)
    if override is not None:
        draft["override"] = {"reason": override}
    return json.dumps(draft).encode()


def change(draft: dict[str, Any], edit: dict[str, Any]) -> None:
    pointer = edit.get("set") or edit.get("remove") or edit["add"]
    *parents, last = pointer.split("/")[1:]
    holder: Any = draft
    for name in parents:
        holder = holder[int(name) if isinstance(holder, list) else name]
    if "set" in edit:
        holder[last] = edit["to"]
    elif "remove" in edit:
        del holder[last]
    else:
        holder[last].append(edit["item"])


def errors(row: MessageRow) -> list[tuple[str, str]]:
    return [(one["article"], one["path"]) for one in json.loads(row.findings) if one["severity"] == "error"]


async def post(pair: Pair, id_: str) -> int:
    """Bring the message to the recipient, its blobs first; return the status of the answer."""
    for upload in await pair.sender.store.uploads_of([id_]):
        path = pair.sender.blobs.outgoing(upload.blob_sha256)
        await pair.recipient.take_blob(pair.sender.id, upload.blob_sha256, path)
    (envelope,) = await pair.sender.store.envelopes(id_)
    (reply,) = await pair.recipient.receive(pair.sender.id, [envelope.body or b""])
    return reply.status


@pytest.mark.parametrize("twin", TWINS, ids=lambda twin: twin["title"])
async def test_the_sender_is_told_and_the_recipient_shown(twin, tmp_path):
    pair = await pair_of(tmp_path, twin["case"], twin["step"], not_accepted=twin.get("not_accepted"))
    expected = (twin["found"]["article"], twin["found"]["path"])
    submission = Submission(pair.sender.context, "test")

    with pytest.raises(Misuse) as refused:
        await submission.submit(await draft_of(pair, twin["edits"]), None)

    assert (refused.value.status, refused.value.code) == (422, "findings")
    assert [(flaw.pointer, flaw.detail.split(":")[0]) for flaw in refused.value.flaws] == [
        (expected[1], expected[0])
    ]
    assert not pair.sender.store.of(MessageRow), "what is refused leaves nothing"

    sent = await submission.submit(await draft_of(pair, twin["edits"], override="agreed by telephone"), None)
    found = json.loads(sent.body)
    row = await pair.sender.message(pair.recipient.id, found["id"])
    assert errors(row) == [expected]
    (entry,) = await pair.sender.store.entries(EntryFilter(message_id=row.id, event="submission.accepted"))
    assert b'"errors_overridden":1' in entry.leaf

    assert await post(pair, row.id) == 201
    there = await pair.recipient.message(pair.sender.id, row.id, Direction.IN)
    assert errors(there) == [expected], "an authentic message is shown with its defect, never refused"


@pytest.mark.parametrize("twin", TWINS, ids=lambda twin: twin["title"])
async def test_as_it_stands_in_the_sample_nothing_is_wrong(twin, tmp_path):
    pair = await pair_of(tmp_path, twin["case"], twin["step"])
    sent = await Submission(pair.sender.context, "test").submit(await draft_of(pair, []), None)
    row = await pair.sender.message(pair.recipient.id, json.loads(sent.body)["id"])
    assert errors(row) == []


async def test_an_oral_request_that_is_never_confirmed_is_shown_by_the_clock_on_both_sides(tmp_path):
    pair = await pair_of(tmp_path, ORAL, 0)
    sent = await Submission(pair.sender.context, "test").submit(await draft_of(pair, []), None)
    id_ = json.loads(sent.body)["id"]
    assert await post(pair, id_) == 201
    confirm_by = parse_time(pair.message["body"]["confirm_by"])

    for before, alarms in ((True, 0), (False, 1), (False, 1)):
        pair.clock.time_ms = confirm_by - HOUR_MS if before else confirm_by + HOUR_MS
        for station, other in ((pair.sender, pair.recipient), (pair.recipient, pair.sender)):
            await keeper(station).round()
            subject = f"{other.id}/{json.loads(sent.body)['case']}"
            found = await station.store.get(AlarmRow, "clock_written_confirmation", subject)
            assert (found is not None) == bool(alarms)
            entries = await station.store.entries(EntryFilter(message_id=id_, event="clock.expired"))
            told = [entry for entry in entries if b'"clock":"written_confirmation"' in entry.leaf]
            assert len(told) == alarms, "once, however often it is looked at"


def keeper(station: Station) -> Timekeeper:
    return Timekeeper(
        store=station.store,
        storage=lambda: station.party.keyring.storage,
        periods=PERIODS_MS,
        clock=station.clock,
    )


async def test_an_acknowledgment_that_is_replayed_gets_the_same_answer_and_as_another_is_refused(tmp_path):
    pair = await pair_of(tmp_path, 2, 1)
    submission = Submission(pair.sender.context, "test")
    raw = await draft_of(pair, [])
    first = json.loads((await submission.submit(raw, None)).body)["id"]
    assert await post(pair, first) == 201
    entries = len(pair.recipient.store.disk.log)

    assert await post(pair, first) == 200
    assert len(pair.recipient.store.disk.log) == entries, "nothing new was logged"

    with pytest.raises(Misuse) as refused:
        await submission.submit(raw, None)
    assert refused.value.code == "not_allowed"


async def test_an_attachment_that_was_tampered_with_is_refused(tmp_path):
    pair = await pair_of(tmp_path, 2, 0)
    sent = await Submission(pair.sender.context, "test").submit(await draft_of(pair, []), None)
    id_ = json.loads(sent.body)["id"]
    (upload,) = await pair.sender.store.uploads_of([id_])
    path = pair.sender.blobs.outgoing(upload.blob_sha256)
    assert (await pair.recipient.take_blob(pair.sender.id, upload.blob_sha256, path)).status == 204
    there = pair.recipient.blobs.incoming(AuthorityId(pair.sender.id), upload.blob_sha256)
    content = bytearray(await asyncio.to_thread(there.read_bytes))
    content[7] ^= 1
    await asyncio.to_thread(there.write_bytes, bytes(content))

    assert await post(pair, id_) == 422

    (entry,) = await pair.recipient.store.entries(EntryFilter(message_id=id_))
    assert b'"reason":"blob_mismatch"' in entry.leaf


async def test_a_withdrawal_that_crosses_the_result_wins_and_both_are_kept(tmp_path):
    number = next(at for at, (_, one) in enumerate(played(8)) if one.message.kind == "withdrawal")
    pair = await pair_of(tmp_path, 8, number)
    requesting, requested = pair.sender, pair.recipient
    result = next(one for _, one in played(7) if one.message.kind == "execution.result").message.payload
    draft = {
        **{name: result[name] for name in ("kind", "language", "own_ref", "authorised_by", "body")},
        "to": requesting.id,
        "case": CASE,
        "override": {"reason": "a result that nobody waits for any more"},
    }
    withdrawal = await Submission(requesting.context, "test").submit(
        await draft_of(pair, [], override="a test"), None
    )
    crossing = await Submission(requested.context, "test").submit(json.dumps(draft).encode(), None)
    ids = [json.loads(one.body)["id"] for one in (withdrawal, crossing)]

    assert await post(pair, ids[0]) == 201
    back = Pair(pair.case, pair.step, pair.clock, requested, requesting)
    assert await post(back, ids[1]) == 201

    for station, other in ((requesting, requested), (requested, requesting)):
        row = await station.store.get(CaseRow, other.id, CASE)
        assert row is not None
        assert row.state == "withdrawn"
        kept = {one.id for one in station.store.of(MessageRow)}
        assert kept == set(ids), "both are kept"
