"""What the federation door makes of an envelope: every answer of protocol §8 "Receiving".

A signed refusal leaves its answer and nothing else.
"""

import json
import uuid
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from structlog.testing import capture_logs

from gateway.core.entry import parse_entry
from gateway.core.envelope import MEDIA_TYPE
from gateway.core.strict import sha256
from gateway.rows import BlobRow, CaseRow, Direction, MessageRow
from keys.signing import SigningKey
from tests.support.authorities import (
    Blob,
    Party,
    Posted,
    acknowledgment,
    make_authority,
    make_blob,
    message,
    payload,
    seal,
    sign_raw,
)
from tests.support.doors import ENVELOPES, Caller, Door, proved, put_blob
from tests.support.refused import REFUSED


async def test_a_message_is_accepted_once_with_the_same_entry_each_time(
    door: Door, call: Caller, peer: Party
) -> None:
    posted = message(peer, door.party)
    first = await call("POST", ENVELOPES, posted.raw, MEDIA_TYPE)
    before = door.counts()
    second = await call("POST", ENVELOPES, posted.raw, MEDIA_TYPE)
    assert (first.status, second.status) == (201, 200)
    statement = proved(door, peer, posted, first.body)
    assert statement.event == "relay.accepted"
    assert statement.entry.leaf == proved(door, peer, posted, second.body).entry.leaf
    assert door.counts() == before


async def test_a_receipt_follows_what_it_states(door: Door, call: Caller, peer: Party) -> None:
    blob = make_blob(b"a statement" * 1000)
    posted = message(peer, door.party, blobs=[blob])
    assert (await put_blob(call, blob.sealed)).status == 204
    assert (await call("POST", ENVELOPES, posted.raw, MEDIA_TYPE)).status == 201
    row = await door.store.get(MessageRow, Direction.IN, peer.id, posted.id)
    assert row is not None
    assert (row.state, row.kind, row.attachments) == ("available", "request.mla", 1)
    case = await door.store.get(CaseRow, peer.id, posted.signed.message.case)
    assert case is not None
    assert case.state == "filed"
    claimed = await door.store.get(BlobRow, peer.id, blob.sha256)
    assert claimed is not None
    assert claimed.claimed_by == posted.id
    assert door.context.blobs.incoming(peer.id, blob.sha256).read_bytes() == blob.sealed


async def test_the_same_message_sealed_again_gets_the_stored_answer(
    door: Door, call: Caller, peer: Party
) -> None:
    posted = message(peer, door.party)
    again = seal(peer, door.party, posted.signed.jws, id_=posted.id)
    first = await call("POST", ENVELOPES, posted.raw, MEDIA_TYPE)
    before = door.counts()
    second = await call("POST", ENVELOPES, again.raw, MEDIA_TYPE)
    assert second.status == 200
    assert second.json["entry"] == first.json["entry"]
    assert door.counts() == before


async def test_both_sides_speak_in_one_case(door: Door, call: Caller, peer: Party) -> None:
    ours = message(door.party, peer)
    await door.sent(ours, peer)
    theirs = acknowledgment(ours, peer, door.party)
    answer = await call("POST", ENVELOPES, theirs.raw, MEDIA_TYPE)
    assert answer.status == 201
    case = await door.store.get(CaseRow, peer.id, ours.signed.message.case)
    assert case is not None
    assert case.state == "registered"


async def test_a_legal_defect_becomes_a_finding_and_refuses_nothing(
    door: Door, call: Caller, peer: Party
) -> None:
    posted = message(peer, door.party, body={})
    assert (await call("POST", ENVELOPES, posted.raw, MEDIA_TYPE)).status == 201
    row = await door.store.get(MessageRow, Direction.IN, peer.id, posted.id)
    assert row is not None
    assert any(finding["article"].startswith("18(15)") for finding in json.loads(row.findings))


@pytest.mark.parametrize(("reason", "make"), REFUSED, ids=lambda item: getattr(item, "__name__", item))
async def test_a_refusal_is_signed_and_leaves_nothing_but_its_answer(
    door: Door, call: Caller, peer: Party, reason: str, make: Callable[[Door, Party], bytes]
) -> None:
    raw, before = make(door, peer), door.counts()
    first = await call("POST", ENVELOPES, raw, MEDIA_TYPE)
    assert first.status == 422
    entry = parse_entry(first.json["entry"].encode())
    assert (entry.event, entry.reason, entry.outcome) == ("relay.refused", reason, "refused")
    assert entry.envelope_sha256 == sha256(raw)
    assert (entry.message_sha256 is None) == (reason == "unopenable")
    left = {name for name, count in door.counts().items() if count != before[name]}
    assert left == {"answers", "entries", "nodes"}
    assert door.counts()["answers"] == before["answers"] + 1
    after = door.counts()
    second = await call("POST", ENVELOPES, raw, MEDIA_TYPE)
    assert (second.status, second.json["entry"]) == (422, first.json["entry"])
    assert door.counts() == after


async def test_another_message_under_a_known_id_is_a_conflict_once_for_each_envelope(
    door: Door, call: Caller, peer: Party
) -> None:
    posted = message(peer, door.party)
    other = message(peer, door.party, id=posted.id)
    accepted = await call("POST", ENVELOPES, posted.raw, MEDIA_TYPE)
    first = await call("POST", ENVELOPES, other.raw, MEDIA_TYPE)
    before = door.counts()
    again = await call("POST", ENVELOPES, other.raw, MEDIA_TYPE)
    assert (first.status, again.status) == (409, 409)
    statement = proved(door, peer, other, first.body)
    assert (statement.event, statement.reason) == ("relay.conflict", "conflict")
    assert again.json["entry"] == first.json["entry"]
    assert door.counts() == before
    row = await door.store.get(MessageRow, Direction.IN, peer.id, posted.id)
    assert row is not None
    assert row.message_sha256 == posted.signed.sha256
    unchanged = await call("POST", ENVELOPES, posted.raw, MEDIA_TYPE)
    assert (unchanged.status, unchanged.json["entry"]) == (200, accepted.json["entry"])


async def test_a_forged_envelope_under_an_answered_id_changes_no_answer(
    door: Door, call: Caller, peer: Party
) -> None:
    posted = message(peer, door.party)
    accepted = await call("POST", ENVELOPES, posted.raw, MEDIA_TYPE)
    before = door.counts()
    broken = json.loads(posted.raw)
    broken["sealed"] = json.loads(message(peer, door.party).raw)["sealed"]
    answer = await call("POST", ENVELOPES, json.dumps(broken), MEDIA_TYPE)
    assert (answer.status, answer.json["entry"]) == (200, accepted.json["entry"])
    assert door.counts() == before


@pytest.mark.parametrize("change", ["plain", "size", "key", "blob"])
async def test_an_attachment_that_is_not_what_was_signed_is_refused(
    door: Door, call: Caller, peer: Party, change: str
) -> None:
    blob, other = make_blob(b"signed"), make_blob(b"opened")
    member = blob.member()
    member |= {"plain": {"sha256": sha256(b"others")}, "size": {"size": 5}}.get(change, {})
    if change == "blob":
        member["blob"] = {"sha256": blob.sha256, "size": len(blob.sealed) + 1}
    await put_blob(call, blob.sealed)
    posted = message(peer, door.party)
    signed = payload(peer, door.party, id=posted.id, attachments=[member])
    keyed = replace(blob, key=other.key) if change == "key" else blob
    jws = sign_raw(peer, json.dumps(signed).encode())
    before = door.counts()
    answer = await call(
        "POST", ENVELOPES, seal(peer, door.party, jws, id_=posted.id, blobs=[keyed]).raw, MEDIA_TYPE
    )
    assert answer.status == 422
    assert parse_entry(answer.json["entry"].encode()).reason == "blob_mismatch"
    after = door.counts()
    assert (after["messages"], after["cases"], after["blobs"]) == (0, 0, before["blobs"])
    row = await door.store.get(BlobRow, peer.id, blob.sha256)
    assert row is not None
    assert row.claimed_by is None


CHUNK = (1 << 20) + 16


def _swapped_keys(one: Blob, other: Blob) -> list[tuple[dict[str, Any], Blob]]:
    return [(one.member(), replace(one, key=other.key)), (other.member(), replace(other, key=one.key))]


def _broken(one: Blob, sealed: bytes) -> list[tuple[dict[str, Any], Blob]]:
    """Return an attachment whose blob is not the form of what was signed, under its own digest and size."""
    broken = replace(one, sealed=sealed)
    return [(broken.member(), broken)]


LARGE = make_blob(bytes(range(256)) * 9_000, "large.bin")
BROKEN = {
    "truncated": _broken(LARGE, LARGE.sealed[:-CHUNK]),
    "extended": _broken(LARGE, LARGE.sealed + make_blob(b"more").sealed),
    "reordered": _broken(
        LARGE, LARGE.sealed[CHUNK : 2 * CHUNK] + LARGE.sealed[:CHUNK] + LARGE.sealed[2 * CHUNK :]
    ),
    "altered": _broken(LARGE, LARGE.sealed[:-1] + bytes([LARGE.sealed[-1] ^ 1])),
    "swapped": _swapped_keys(make_blob(b"one", "one.txt"), make_blob(b"two", "two.txt")),
    "other_content": [(LARGE.member() | {"sha256": sha256(b"b")}, LARGE)],
}


@pytest.mark.parametrize("code", BROKEN)
async def test_what_is_wrong_with_a_blob_is_told_apart(
    door: Door, call: Caller, peer: Party, code: str
) -> None:
    """Its digest is right, so it is taken; its stream is not that of what was signed."""
    members, blobs = zip(*BROKEN[code], strict=True)
    for blob in blobs:
        assert (await put_blob(call, blob.sealed)).status == 204
    posted = message(peer, door.party)
    signed = payload(peer, door.party, id=posted.id, attachments=list(members))
    jws = sign_raw(peer, json.dumps(signed).encode())
    envelope = seal(peer, door.party, jws, id_=posted.id, blobs=blobs)
    with capture_logs() as logs:
        answer = await call("POST", ENVELOPES, envelope.raw, MEDIA_TYPE)
    assert answer.status == 422
    assert parse_entry(answer.json["entry"].encode()).reason == "blob_mismatch"
    assert [line["code"] for line in logs if line["event"] == "blob_refused"] == [code]


async def test_a_blob_whose_file_is_gone_is_brought_again(door: Door, call: Caller, peer: Party) -> None:
    blob = make_blob(b"once there")
    await put_blob(call, blob.sealed)
    door.context.blobs.incoming(peer.id, blob.sha256).unlink()
    posted = message(peer, door.party, blobs=[blob])
    answer = await call("POST", ENVELOPES, posted.raw, MEDIA_TYPE)
    assert (answer.status, answer.code, answer.json["missing"]) == (424, "blobs_missing", [blob.sha256])
    assert (await put_blob(call, blob.sealed)).status == 204
    assert (await call("POST", ENVELOPES, posted.raw, MEDIA_TYPE)).status == 201


def _faults(door: Door, peer: Party, known: Posted) -> list[tuple[str, bytes]]:
    """Return envelopes, each wrong in two stages of "Receiving", with the reason of the first."""
    other, past = make_authority("qo.justice"), {"created": "2026-01-01T00:00:00.000Z"}
    expired = {**past, "expires": "2026-02-01T00:00:00.000Z"}
    unknown_kind, missing = {"kind": "request.moon"}, {"previous": "0" * 64}
    against_schema, not_ours = {"body": {"purpose": 7}}, {"case_head": "0" * 64}
    enquiring = {"kind": "status.enquiry", "body": {}}
    blobs = [make_blob(b"one", "one.txt").member(), make_blob(b"two", "two.txt").member()]
    forged = SigningKey.generate()

    def sealed(
        *, id_: str | None = None, sender: Party = peer, key: SigningKey | None = None, **found: Any
    ) -> bytes:
        signed = payload(sender, door.party, **found)
        jws = sign_raw(peer, json.dumps(signed).encode(), key=key)
        return seal(peer, door.party, jws, id_=id_ or signed["id"]).raw

    return [
        ("wrong_sender", message(other, peer).raw),
        ("wrong_recipient", message(peer, other).raw),
        ("unknown_signing_key", sealed(key=forged, sender=other, **expired)),
        ("header_mismatch", sealed(id_=str(uuid.uuid4()), **expired, **unknown_kind)),
        ("conflict", sealed(id=known.id, **expired, **unknown_kind)),
        ("expired", sealed(**expired, **unknown_kind)),
        ("unknown_kind", sealed(**(unknown_kind | {"body": {"purpose": 7}}))),
        ("schema", sealed(**against_schema, **missing)),
        ("predecessor_missing", sealed(**missing, **not_ours)),
        ("unknown_case_head", sealed(**not_ours, **enquiring)),
        ("not_allowed", sealed(**enquiring, attachments=blobs)),
        ("blob_mismatch", sealed(attachments=blobs)),
    ]


async def test_the_first_stage_that_fails_decides(door: Door, call: Caller, peer: Party) -> None:
    known = message(peer, door.party)
    await call("POST", ENVELOPES, known.raw, MEDIA_TYPE)
    for reason, raw in _faults(door, peer, known):
        answer = await call("POST", ENVELOPES, raw, MEDIA_TYPE)
        assert (answer.code or parse_entry(answer.json["entry"].encode()).reason) == reason
