"""The federation door over real TLS and a real store: every answer of protocol §8.

A refusal comes with the proof of what it did not do: no row, no entry of the log.
"""

import asyncio
import json
import logging
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import structlog

from gateway.config import Limits
from gateway.core.entry import Draft, parse_entry
from gateway.core.envelope import MAX_BYTES, MEDIA_TYPE, build_envelope
from gateway.core.intake import MAX_AHEAD_MS, REFUSALS_PER_HOUR
from gateway.core.merkle import verify_consistency
from gateway.core.note import verify_checkpoint
from gateway.core.proof import Receipt, SentEnvelope, Statement, parse_receipt, verify_receipt
from gateway.core.strict import b64url, sha256, time_text
from gateway.peering.client import BATCH_TYPE, BLOB_TYPE, PeerClient, PeerUnavailable
from gateway.ports import (
    AlarmRow,
    BlobRow,
    CaseRow,
    Change,
    Direction,
    MessageRow,
    PeerRow,
    ReceiptRow,
)
from gateway.web import blobs
from gateway.web.openings import Openings
from gateway.web.reception import Answer, Reception
from keys.sealing import SealingKey
from keys.signing import SigningKey
from tests.support.authorities import (
    CONTENT,
    DAY_MS,
    NOW_MS,
    Party,
    Posted,
    acknowledgment,
    card_row,
    enquiry,
    make_authority,
    make_blob,
    message,
    next_tls,
    payload,
    seal,
    sign_raw,
)
from tests.support.doors import Caller, Door, Said, calling, open_door

JSON = "application/json"
ENVELOPES = "/v1/envelopes"
BATCH = "/v1/envelopes/batch"


@pytest.fixture
def peer() -> Party:
    return make_authority("qn.justice")


@pytest.fixture
def third() -> Party:
    return make_authority("qo.justice")


@pytest.fixture
async def door(tmp_path: Path, peer: Party) -> AsyncIterator[Door]:
    """The door of qm.moj, which has pinned the peer."""
    async with open_door(tmp_path / "qm", make_authority("qm.moj")) as door:
        await door.pin(peer)
        yield door


@pytest.fixture
async def call(door: Door, peer: Party) -> AsyncIterator[Caller]:
    """What the peer says to the door, byte for byte."""
    async with calling(door, peer.keyring.tls[0]) as caller:
        yield caller


@pytest.fixture
async def client(door: Door, peer: Party) -> AsyncIterator[PeerClient]:
    """The peer's own client of the door."""
    async with PeerClient(door.party.card, peer.keyring.tls[0]) as client:
        yield client


def proved(door: Door, peer: Party, posted: Posted, receipt: Receipt | bytes) -> Statement:
    """Return what a receipt of the door proves to the peer about what it posted."""
    sent = SentEnvelope(
        message_id=posted.id,
        sender=peer.id,
        recipient=door.party.id,
        message_sha256=posted.signed.sha256,
        envelopes=frozenset({posted.envelope.sha256}),
    )
    found = parse_receipt(receipt) if isinstance(receipt, bytes) else receipt
    return verify_receipt(found, sent, {door.party.origin: door.party.card.log})


async def put_blob(call: Caller, sealed: bytes, *, digest: str | None = None, **headers: str) -> Said:
    size = str(len(sealed))
    return await call(
        "PATCH",
        f"/v1/blobs/{digest or sha256(sealed)}",
        sealed,
        BLOB_TYPE,
        **{"Upload_Offset": "0", "Upload_Length": size, **headers},
    )


# -- what is accepted


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


# -- signed refusals


def _sealed(door: Door, peer: Party, found: dict[str, Any], *, id_: str | None = None) -> bytes:
    raw = json.dumps(found).encode()
    return seal(peer, door.party, sign_raw(peer, raw), id_=id_ or found["id"]).raw


def _altered_header(door: Door, peer: Party) -> bytes:
    found = json.loads(message(peer, door.party).raw)
    other = json.loads(message(peer, door.party).raw)
    return json.dumps({"header": other["header"], "sealed": found["sealed"]}).encode()


def _altered_ciphertext(door: Door, peer: Party) -> bytes:
    envelope = message(peer, door.party).envelope
    sealed = bytearray(envelope.sealed)
    sealed[-20] ^= 1
    return json.dumps({"header": b64url(envelope.header_bytes), "sealed": b64url(bytes(sealed))}).encode()


def _no_content(door: Door, peer: Party) -> bytes:
    return seal(peer, door.party, "", plaintext=b'{"message":"x"}').raw


def _altered_signature(door: Door, peer: Party) -> bytes:
    posted = message(peer, door.party)
    head, body, signature = posted.signed.jws.split(".")
    flipped = ("B" if signature[0] == "A" else "A") + signature[1:]
    return seal(peer, door.party, f"{head}.{body}.{flipped}", id_=posted.id).raw


def _another_type(door: Door, peer: Party) -> bytes:
    jws = peer.signing.sign_compact(message(peer, door.party).signed.message.raw, "art18-profile+jws")
    return seal(peer, door.party, jws).raw


def _another_header(door: Door, peer: Party) -> bytes:
    return seal(peer, door.party, message(peer, door.party).signed.jws).raw


def _message_to_another(door: Door, peer: Party) -> bytes:
    return _sealed(door, peer, payload(peer, make_authority("qo.justice")))


def _message_of_another(door: Door, peer: Party) -> bytes:
    return _sealed(door, peer, payload(make_authority("qo.justice"), door.party))


def _expired(door: Door, peer: Party) -> bytes:
    then = NOW_MS - 2 * DAY_MS
    return message(peer, door.party, created=time_text(then), expires=time_text(NOW_MS)).raw


def _unknown_kind(door: Door, peer: Party) -> bytes:
    return _sealed(door, peer, payload(peer, door.party, kind="request.moon"))


def _against_schema(door: Door, peer: Party) -> bytes:
    return _sealed(door, peer, payload(peer, door.party, body={"purpose": 7}))


def _no_message(door: Door, peer: Party) -> bytes:
    return _sealed(door, peer, payload(peer, door.party, case=...))


def _not_allowed(door: Door, peer: Party) -> bytes:
    return message(peer, door.party, kind="status.enquiry", body={}).raw


def _unknown_head(door: Door, peer: Party) -> bytes:
    return message(peer, door.party, case_head="0" * 64).raw


def _another_blob_key(door: Door, peer: Party) -> bytes:
    posted = message(peer, door.party)
    return seal(peer, door.party, posted.signed.jws, id_=posted.id, blobs=[make_blob(b"x")]).raw


REFUSED: list[tuple[str, Callable[[Door, Party], bytes]]] = [
    ("unopenable", _altered_header),
    ("unopenable", _altered_ciphertext),
    ("unopenable", _no_content),
    ("bad_signature", _altered_signature),
    ("bad_signature", _another_type),
    ("header_mismatch", _another_header),
    ("header_mismatch", _message_to_another),
    ("header_mismatch", _message_of_another),
    ("expired", _expired),
    ("unknown_kind", _unknown_kind),
    ("schema", _against_schema),
    ("schema", _no_message),
    ("not_allowed", _not_allowed),
    ("unknown_case_head", _unknown_head),
    ("blob_mismatch", _another_blob_key),
]


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


# -- unsigned answers: nothing is written


async def refused_unsigned(
    door: Door, call: Caller, raw: bytes, status: int, code: str, **headers: str
) -> Said:
    """Check that the answer is the problem *code*, and that nothing at all was written."""
    before = door.counts()
    answer = await call("POST", ENVELOPES, raw, MEDIA_TYPE, **headers)
    assert (answer.status, answer.code) == (status, code)
    assert door.counts() == before
    return answer


def _deep(_door: Door, _peer: Party) -> bytes:
    return b'{"header":' + b"[" * 40 + b"]" * 40 + b',"sealed":""}'


def _twice(door: Door, peer: Party) -> bytes:
    raw = message(peer, door.party).raw
    return raw[:-1] + b',"sealed":"AA"}'


MALFORMED: dict[str, Callable[[Door, Party], bytes]] = {
    "truncated": lambda door, peer: message(peer, door.party).raw[:-7],
    "duplicate names": _twice,
    "duplicate names, escaped": lambda door, peer: (
        message(peer, door.party).raw[:-1] + b',"s\\u0065aled":"AA"}'
    ),
    "deep nesting": _deep,
    "no JSON": lambda _door, _peer: b"header",
    "empty": lambda _door, _peer: b"",
    "a further member": lambda door, peer: message(peer, door.party).raw[:-1] + b',"x":1}',
    "byte order mark": lambda door, peer: b"\xef\xbb\xbf" + message(peer, door.party).raw,
    "not canonical base64url": lambda door, peer: message(peer, door.party).raw[:-2] + b'="}',
    "another version": lambda door, peer: json.dumps(
        {
            "header": b64url(message(peer, door.party).envelope.header_bytes.replace(b'"v":1', b'"v":2')),
            "sealed": "AA",
        }
    ).encode(),
}


@pytest.mark.parametrize("make", MALFORMED.values(), ids=MALFORMED)
async def test_malformed(door: Door, call: Caller, peer: Party, make: Callable[[Door, Party], bytes]) -> None:
    await refused_unsigned(door, call, make(door, peer), 400, "malformed")


@pytest.mark.parametrize("known_length", [True, False])
async def test_too_large(door: Door, call: Caller, known_length: bool) -> None:
    raw = b" " * (MAX_BYTES + 1)

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(raw), 1 << 18):
            yield raw[start : start + (1 << 18)]

    before = door.counts()
    try:
        answer = await call("POST", ENVELOPES, raw if known_length else pieces(), MEDIA_TYPE)
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError):
        pass  # the door hung up on what it would not read
    else:
        assert (answer.status, answer.code) == (413, "too_large")
    assert door.counts() == before


async def test_wrong_sender(door: Door, call: Caller, third: Party) -> None:
    await door.pin(third)
    await refused_unsigned(door, call, message(third, door.party).raw, 403, "wrong_sender")


async def test_wrong_recipient(door: Door, call: Caller, peer: Party, third: Party) -> None:
    await refused_unsigned(door, call, message(peer, third).raw, 403, "wrong_recipient")


async def test_unknown_sealing_key(door: Door, call: Caller, peer: Party) -> None:
    posted, other = message(peer, door.party), SealingKey.generate()
    header = replace(posted.envelope.header, key=other.kid)
    raw = build_envelope(header, b"{}", other.public).raw
    await refused_unsigned(door, call, raw, 421, "unknown_sealing_key")


async def test_unknown_signing_key_asks_for_the_newest_card(door: Door, call: Caller, peer: Party) -> None:
    signed = sign_raw(peer, message(peer, door.party).signed.message.raw, key=SigningKey.generate())
    answer = await refused_unsigned(
        door, call, seal(peer, door.party, signed).raw, 425, "unknown_signing_key"
    )
    assert int(answer.headers["Retry-After"]) > 0
    assert door.wanted == [peer.id]


async def test_created_ahead(door: Door, call: Caller, peer: Party) -> None:
    created = NOW_MS + MAX_AHEAD_MS
    on_time = message(peer, door.party, created=time_text(created), expires=time_text(created + DAY_MS))
    ahead = message(peer, door.party, created=time_text(created + 1), expires=time_text(created + DAY_MS))
    answer = await refused_unsigned(door, call, ahead.raw, 425, "created_ahead")
    assert answer.headers["Retry-After"] == "1"
    assert (await call("POST", ENVELOPES, on_time.raw, MEDIA_TYPE)).status == 201
    door.clock.time_ms += 1000
    assert (await call("POST", ENVELOPES, ahead.raw, MEDIA_TYPE)).status == 201


async def test_predecessor_missing(door: Door, call: Caller, peer: Party) -> None:
    first = message(peer, door.party)
    second = enquiry(first, peer, door.party)
    answer = await refused_unsigned(door, call, second.raw, 425, "predecessor_missing")
    assert int(answer.headers["Retry-After"]) > 0
    assert (await call("POST", ENVELOPES, first.raw, MEDIA_TYPE)).status == 201
    assert (await call("POST", ENVELOPES, second.raw, MEDIA_TYPE)).status == 201


async def test_a_case_of_another_peer_is_another_case(
    door: Door, call: Caller, peer: Party, third: Party
) -> None:
    await door.pin(third)
    first = message(peer, door.party)
    await call("POST", ENVELOPES, first.raw, MEDIA_TYPE)
    stolen = enquiry(first, third, door.party)
    async with calling(door, third.keyring.tls[0]) as other:
        await refused_unsigned(door, other, stolen.raw, 425, "predecessor_missing")


async def test_blobs_missing_are_named(door: Door, call: Caller, peer: Party) -> None:
    blobs = [make_blob(b"one", "one.txt"), make_blob(b"two", "two.txt")]
    posted = message(peer, door.party, blobs=blobs)
    await put_blob(call, blobs[0].sealed)
    answer = await refused_unsigned(door, call, posted.raw, 424, "blobs_missing")
    assert answer.json["missing"] == [blobs[1].sha256]
    await put_blob(call, blobs[1].sealed)
    assert (await call("POST", ENVELOPES, posted.raw, MEDIA_TYPE)).status == 201


async def test_the_blob_of_another_peer_is_missing(
    door: Door, call: Caller, peer: Party, third: Party
) -> None:
    await door.pin(third)
    blob = make_blob(b"theirs")
    async with calling(door, third.keyring.tls[0]) as other:
        await put_blob(other, blob.sealed)
    posted = message(peer, door.party, blobs=[blob])
    await refused_unsigned(door, call, posted.raw, 424, "blobs_missing")


@pytest.mark.parametrize("media_type", ["application/json", "text/plain", BATCH_TYPE, None])
async def test_another_media_type(door: Door, call: Caller, peer: Party, media_type: str | None) -> None:
    raw, before = message(peer, door.party).raw, door.counts()
    answer = await call("POST", ENVELOPES, raw, media_type)
    assert (answer.status, answer.code) == (415, "unsupported_media_type")
    assert door.counts() == before


async def test_a_content_encoding(door: Door, call: Caller, peer: Party) -> None:
    raw = message(peer, door.party).raw
    await refused_unsigned(door, call, raw, 415, "unsupported_media_type", Content_Encoding="identity")


async def test_a_suspended_peer_is_told_so_and_nothing_is_written(
    door: Door, call: Caller, peer: Party
) -> None:
    await door.set_state(peer, state="suspended")
    posted = message(peer, door.party)
    await refused_unsigned(door, call, posted.raw, 403, "suspended")
    before = door.counts()
    for method, path in [("GET", "/v1/ping"), ("GET", "/v1/card"), ("GET", "/v1/log/checkpoint")]:
        assert (await call(method, path)).code == "suspended"
    assert (await put_blob(call, b"x" * 16)).code == "suspended"
    assert door.counts() == before


async def test_a_peer_can_be_suspended_on_a_live_connection(door: Door, call: Caller, peer: Party) -> None:
    assert (await call("GET", "/v1/ping")).status == 200
    await door.set_state(peer, state="suspended")
    assert (await call("GET", "/v1/ping")).code == "suspended"
    await door.set_state(peer, state="active")
    assert (await call("GET", "/v1/ping")).status == 200


async def test_a_stranger_does_not_get_past_the_handshake(door: Door, third: Party) -> None:
    before = door.counts()
    async with calling(door, third.keyring.tls[0]) as caller:
        with pytest.raises(aiohttp.ClientError):
            await caller("GET", "/v1/ping")
    assert door.counts() == before


async def test_a_new_peer_is_admitted_at_once(door: Door, third: Party) -> None:
    await door.pin(third)
    async with calling(door, third.keyring.tls[0]) as caller:
        assert (await caller("GET", "/v1/ping")).status == 200


async def test_a_certificate_that_left_the_card_is_refused(door: Door, call: Caller, peer: Party) -> None:
    assert (await call("GET", "/v1/ping")).status == 200
    after = peer.succeeded(next_tls(peer, keep=False))
    row = replace(
        door.context.directory.peers[peer.id].row, sequence=after.card.sequence, card_sha256=after.card.sha256
    )
    await door.store.record(Change(name="pin", puts=(card_row(after.card), row)))
    await door.context.directory.refresh()
    assert (await call("GET", "/v1/ping")).code == "wrong_sender"
    async with calling(door, after.keyring.tls[0]) as caller:
        assert (await caller("GET", "/v1/ping")).status == 200


async def test_signed_refusals_are_limited_and_then_nothing_is_opened(
    door: Door, call: Caller, peer: Party
) -> None:
    raws = [_another_header(door, peer) for _ in range(REFUSALS_PER_HOUR + 5)]
    first = await call("POST", BATCH, b"".join(raw + b"\n" for raw in raws[:50]), BATCH_TYPE)
    assert {answer["status"] for answer in first.json["answers"]} == {422}
    second = await call("POST", BATCH, b"".join(raw + b"\n" for raw in raws[50:]), BATCH_TYPE)
    codes = [answer.get("problem", {}).get("code") for answer in second.json["answers"]]
    assert sorted(codes, key=str) == [None] * 10 + ["too_many_refusals"] * 5
    assert await door.store.refusals_since(peer.id, 0) == REFUSALS_PER_HOUR
    good = message(peer, door.party)
    answer = await refused_unsigned(door, call, good.raw, 429, "too_many_refusals")
    assert int(answer.headers["Retry-After"]) > 0
    repeated = await call("POST", ENVELOPES, raws[0], MEDIA_TYPE)
    assert repeated.status == 422
    door.clock.time_ms += 3_600_001
    assert (await call("POST", ENVELOPES, good.raw, MEDIA_TYPE)).status == 201


async def test_requests_are_limited_in_rate(tmp_path: Path, peer: Party, third: Party) -> None:
    limits = Limits(free_disk_bytes=0, peer_requests_per_s=1)
    async with open_door(tmp_path / "qm", make_authority("qm.moj"), limits=limits) as door:
        await door.pin(peer, third)
        async with calling(door, peer.keyring.tls[0]) as call, calling(door, third.keyring.tls[0]) as other:
            said = [await call("GET", "/v1/ping") for _ in range(4)]
            assert [one.status for one in said[:2]] == [200, 200]
            assert said[-1].code == "rate_limited"
            assert said[-1].headers["Retry-After"] == "1"
            assert (await other("GET", "/v1/ping")).status == 200


async def test_unknown_paths_and_methods_are_problems_too(call: Caller) -> None:
    assert (await call("GET", "/v1/nothing")).code == "not_found"
    assert (await call("DELETE", ENVELOPES)).code == "method_not_allowed"


# -- batches


async def test_a_batch_answers_as_the_singles_do(tmp_path: Path, peer: Party) -> None:
    """Two equal nodes get the same envelopes, one alone and one in a batch."""
    ours = make_authority("qm.moj")
    async with AsyncExitStack() as stack:
        doors = [await stack.enter_async_context(open_door(tmp_path / name, ours)) for name in ("a", "b")]
        for door in doors:
            await door.pin(peer)
        calls = [await stack.enter_async_context(calling(door, peer.keyring.tls[0])) for door in doors]
        door = doors[0]
        good = message(peer, door.party)
        raws = [
            good.raw,
            good.raw,
            message(peer, door.party, id=good.id).raw,
            b"{}",
            message(peer, make_authority("qo.justice")).raw,
            *(make(door, peer) for _, make in REFUSED),
            message(peer, door.party, blobs=[make_blob(b"missing")]).raw,
            enquiry(good, peer, door.party).raw,
        ]
        singles = [await calls[0]("POST", ENVELOPES, raw, MEDIA_TYPE) for raw in raws]
        batch = await calls[1]("POST", BATCH, b"".join(raw + b"\n" for raw in raws), BATCH_TYPE)
        assert batch.status == 200
        for single, answer in zip(singles, batch.json["answers"], strict=True):
            assert answer["status"] == single.status
            if single.code is None:
                one, other = (parse_entry(found["entry"].encode()) for found in (single.json, answer))
                assert (one.event, one.reason) == (other.event, other.reason)
                assert one.message_sha256 == other.message_sha256
            else:
                assert answer["problem"]["code"] == single.code
        assert doors[0].counts() == doors[1].counts()


async def test_the_receipts_of_a_batch_share_a_checkpoint_and_hold(
    door: Door, client: PeerClient, peer: Party
) -> None:
    posted = [message(peer, door.party) for _ in range(20)]
    replies = await client.post_batch([one.raw for one in posted])
    assert [reply.status for reply in replies] == [201] * 20
    found = []
    for one, reply in zip(posted, replies, strict=True):
        assert reply.receipt is not None
        found.append(proved(door, peer, one, reply.receipt))
    assert len({statement.checkpoint for statement in found}) <= 2
    assert {statement.index for statement in found} == set(range(found[0].index, found[0].index + 20))


async def test_a_case_goes_in_order_within_a_batch(door: Door, client: PeerClient, peer: Party) -> None:
    first = message(peer, door.party)
    second = enquiry(first, peer, door.party)
    third = enquiry(second, peer, door.party)
    replies = await client.post_batch([first.raw, second.raw, third.raw])
    assert [reply.status for reply in replies] == [201, 201, 201]


@pytest.mark.parametrize(
    ("body", "status"),
    [(b"", 400), (b"\n", 200), (b"{}", 400), (b"{}\n\n", 200), (b"{}\n" * 65, 400), (b"{}\r\n", 200)],
)
async def test_the_form_of_a_batch(door: Door, call: Caller, body: bytes, status: int) -> None:
    before = door.counts()
    answer = await call("POST", BATCH, body, BATCH_TYPE)
    assert answer.status == status
    if status == 200:
        assert {item["problem"]["code"] for item in answer.json["answers"]} == {"malformed"}
    assert door.counts() == before


async def test_a_line_of_a_batch_is_no_larger_than_an_envelope(client: PeerClient) -> None:
    (large, small) = await client.post_batch([b" " * (MAX_BYTES + 1), b"{}"])
    assert (large.status, large.code) == (413, "too_large")
    assert (small.status, small.code) == (400, "malformed")


async def test_an_unforeseen_error_is_one_envelopes_alone(
    door: Door, client: PeerClient, peer: Party, monkeypatch: pytest.MonkeyPatch
) -> None:
    good, bad = message(peer, door.party), message(peer, door.party)
    accept = Reception._accept

    async def failing(self: Reception, *arguments: Any) -> Answer:
        if arguments[1].id == bad.id:
            raise ZeroDivisionError(CONTENT)
        return await accept(self, *arguments)

    monkeypatch.setattr(Reception, "_accept", failing)
    replies = await client.post_batch([good.raw, bad.raw])
    assert [(reply.status, reply.code) for reply in replies] == [(201, None), (500, "internal")]


async def test_one_envelope_posted_many_times_at_once_is_recorded_once(
    door: Door, call: Caller, peer: Party
) -> None:
    posted = message(peer, door.party)
    said = await asyncio.gather(
        *(call("POST", ENVELOPES, posted.raw, MEDIA_TYPE) for _ in range(8)),
        call("POST", BATCH, (posted.raw + b"\n") * 8, BATCH_TYPE),
    )
    statuses = [one.status for one in said[:-1]] + [item["status"] for item in said[-1].json["answers"]]
    assert sorted(statuses) == [200] * 15 + [201]
    entries = {one.json["entry"] for one in said[:-1]} | {one["entry"] for one in said[-1].json["answers"]}
    assert len(entries) == 1
    assert door.counts()["messages"] == 1


# -- asking for and closing


async def test_the_newest_receipt(door: Door, call: Caller, peer: Party) -> None:
    posted = message(peer, door.party)
    path = f"{ENVELOPES}/{posted.id}/receipt"
    assert (await call("GET", path)).code == "not_found"
    accepted = await call("POST", ENVELOPES, posted.raw, MEDIA_TYPE)
    await call("POST", ENVELOPES, message(peer, door.party, id=posted.id).raw, MEDIA_TYPE)
    before = door.counts()
    assert (await call("GET", path)).json["entry"] == accepted.json["entry"]
    assert door.counts() == before
    await door.store.record(Change(name="handover", entries=(_handed_over(peer, posted),), answers=True))
    assert proved(door, peer, posted, (await call("GET", path)).body).event == "content.handed_over"


async def test_the_receipt_of_another_peers_message_is_not_found(
    door: Door, call: Caller, peer: Party, third: Party
) -> None:
    await door.pin(third)
    posted = message(peer, door.party)
    await call("POST", ENVELOPES, posted.raw, MEDIA_TYPE)
    async with calling(door, third.keyring.tls[0]) as other:
        assert (await other("GET", f"{ENVELOPES}/{posted.id}/receipt")).code == "not_found"


def _closing(posted: Posted) -> tuple[str, str, bytes, str]:
    body = json.dumps({"envelope_sha256": posted.envelope.sha256}).encode()
    return "POST", f"{ENVELOPES}/{posted.id}/close", body, JSON


async def test_close_refuses_an_unknown_id_for_ever(door: Door, call: Caller, peer: Party) -> None:
    posted = message(peer, door.party)
    first = await call(*_closing(posted))
    statement = proved(door, peer, posted, first.body)
    assert statement.event == "relay.unknown"
    before = door.counts()
    again = await call(*_closing(posted))
    late = await call("POST", ENVELOPES, posted.raw, MEDIA_TYPE)
    sealed_again = seal(peer, door.party, posted.signed.jws, id_=posted.id)
    other = await call("POST", ENVELOPES, sealed_again.raw, MEDIA_TYPE)
    for said in (again, late, other):
        assert (said.status, said.json["entry"]) == (422, first.json["entry"])
    assert door.counts() == before
    assert before["messages"] == 0


async def test_close_gives_the_answer_that_exists(door: Door, call: Caller, peer: Party) -> None:
    posted, refused = message(peer, door.party), _another_header(door, peer)
    accepted = await call("POST", ENVELOPES, posted.raw, MEDIA_TYPE)
    refusal = await call("POST", ENVELOPES, refused, MEDIA_TYPE)
    before = door.counts()
    closed = await call(*_closing(posted))
    assert (closed.status, closed.json["entry"]) == (200, accepted.json["entry"])
    entry = parse_entry(refusal.json["entry"].encode())
    body = json.dumps({"envelope_sha256": sha256(refused)})
    said = await call("POST", f"{ENVELOPES}/{entry.message_id}/close", body, JSON)
    assert (said.status, said.json["entry"]) == (422, refusal.json["entry"])
    assert door.counts() == before


async def test_close_and_intake_decide_on_one_row(door: Door, call: Caller, peer: Party) -> None:
    for _ in range(5):
        posted = message(peer, door.party)
        posting, closing = await asyncio.gather(
            call("POST", ENVELOPES, posted.raw, MEDIA_TYPE), call(*_closing(posted))
        )
        assert posting.json["entry"] == closing.json["entry"]
        row = await door.store.get(MessageRow, Direction.IN, peer.id, posted.id)
        event = parse_entry(posting.json["entry"].encode()).event
        assert (row is not None) == (event == "relay.accepted")


@pytest.mark.parametrize("body", [b"", b"{}", b'{"envelope_sha256":"00"}', b'{"envelope_sha256":1,"x":2}'])
async def test_a_malformed_close_writes_nothing(door: Door, call: Caller, body: bytes) -> None:
    before = door.counts()
    said = await call("POST", f"{ENVELOPES}/{uuid.uuid4()}/close", body, JSON)
    assert (said.status, said.code) == (400, "malformed")
    assert (await call("POST", f"{ENVELOPES}/1/close", body, JSON)).code == "malformed"
    assert door.counts() == before


# -- later receipts


def _handed_over(peer: Party, posted: Posted, event: str = "content.handed_over") -> Draft:
    return Draft(
        event=event,
        outcome="ok",
        peer=peer.id,
        message_id=posted.id,
        envelope_sha256=posted.envelope.sha256,
        message_sha256=posted.signed.sha256,
    )


@pytest.fixture
async def far(tmp_path: Path, peer: Party) -> AsyncIterator[Door]:
    """The peer's own node, whose log its later receipts come from."""
    async with open_door(tmp_path / "qn", peer) as door:
        yield door


async def later(far: Door, door: Door, posted: Posted, event: str = "content.handed_over") -> Receipt:
    change = Change(name="later", entries=(_handed_over(door.party, posted, event),), answers=True)
    receipt = (await far.store.record(change)).receipt
    assert receipt is not None
    return receipt


async def test_a_later_receipt_moves_our_message_once(
    door: Door, far: Door, client: PeerClient, peer: Party
) -> None:
    posted = message(door.party, peer)
    await door.sent(posted, peer, state="accepted")
    receipt = await later(far, door, posted)
    assert (await client.post_receipt(receipt)).status == 204
    row = await door.store.get(MessageRow, Direction.OUT, peer.id, posted.id)
    assert row is not None
    assert row.state == "handed_over"
    before = door.counts()
    assert before["receipts"] == 1
    assert (await client.post_receipt(receipt)).status == 204
    assert door.counts() == before
    kept = await door.store.get(ReceiptRow, sha256(receipt.entry))
    assert kept is not None
    assert parse_receipt(kept.body) == receipt


async def test_a_later_receipt_can_come_before_the_answer(
    door: Door, far: Door, client: PeerClient, peer: Party
) -> None:
    posted = message(door.party, peer)
    await door.sent(posted, peer)
    assert (await client.post_receipt(await later(far, door, posted, "content.opened"))).status == 204
    row = await door.store.get(MessageRow, Direction.OUT, peer.id, posted.id)
    assert row is not None
    assert row.state == "accepted"


async def _unknown(door: Door, far: Door, _folder: Path) -> Receipt:
    return await later(far, door, message(door.party, far.party))


async def _an_answer(door: Door, far: Door, _folder: Path) -> Receipt:
    posted = message(door.party, far.party)
    await door.sent(posted, far.party, state="accepted")
    return await later(far, door, posted, "relay.accepted")


async def _of_another_log(door: Door, far: Door, folder: Path) -> Receipt:
    posted = message(door.party, far.party)
    await door.sent(posted, far.party, state="accepted")
    async with open_door(folder / "qo", make_authority("qo.justice")) as other:
        return await later(other, door, posted)


async def _altered(door: Door, far: Door, _folder: Path) -> Receipt:
    posted = message(door.party, far.party)
    await door.sent(posted, far.party, state="accepted")
    receipt = await later(far, door, posted, "content.opened")
    return replace(receipt, entry=receipt.entry.replace(b"content.opened", b"content.handed_over"))


async def _of_another_envelope(door: Door, far: Door, _folder: Path) -> Receipt:
    posted = message(door.party, far.party)
    await door.sent(posted, far.party, state="accepted")
    envelope = seal(door.party, far.party, posted.signed.jws, id_=posted.id)
    return await later(far, door, replace(posted, envelope=envelope))


async def _never_posted(door: Door, far: Door, _folder: Path) -> Receipt:
    posted = message(door.party, far.party)
    await door.sent(posted, far.party, state="held")
    return await later(far, door, posted)


@pytest.mark.parametrize(
    "make", [_unknown, _an_answer, _of_another_log, _altered, _of_another_envelope, _never_posted]
)
async def test_a_later_receipt_that_does_not_hold_is_an_alarm(
    door: Door, far: Door, client: PeerClient, tmp_path: Path, make: Any
) -> None:
    receipt, peer = await make(door, far, tmp_path), far.party
    before = door.counts()
    reply = await client.post_receipt(receipt)
    assert (reply.status, reply.code) == (422, "not_proved")
    assert await door.store.get(AlarmRow, "receipt_not_proved", peer.id) is not None
    assert door.counts() == {**before, "alarms": 1}
    assert (await client.post_receipt(receipt)).status == 422
    assert door.counts() == {**before, "alarms": 1}


async def test_a_malformed_receipt_is_malformed(door: Door, call: Caller) -> None:
    before = door.counts()
    for body in (b"", b"{}", b'{"entry":"{}","proof":""}'):
        assert (await call("POST", "/v1/receipts", body, JSON)).code == "malformed"
    assert door.counts() == before


# -- blobs


async def test_a_blob_comes_in_one_piece(door: Door, call: Caller) -> None:
    sealed = make_blob(b"x" * 3_000_000).sealed
    path = f"/v1/blobs/{sha256(sealed)}"
    assert (await call("HEAD", path)).headers["Upload-Offset"] == "0"
    said = await put_blob(call, sealed)
    assert (said.status, said.headers["Upload-Offset"]) == (204, str(len(sealed)))
    here = await call("HEAD", path)
    assert (here.headers["Upload-Offset"], here.headers["Upload-Length"]) == (str(len(sealed)),) * 2
    before = door.counts()
    again = await put_blob(call, sealed)
    assert (again.status, again.code) == (409, "wrong_offset")
    assert again.headers["Upload-Offset"] == str(len(sealed))
    assert door.counts() == before


async def test_the_client_brings_a_blob_once(
    door: Door, client: PeerClient, peer: Party, tmp_path: Path
) -> None:
    sealed = make_blob(b"y" * 2_000_000).sealed
    path = tmp_path / "blob"
    path.write_bytes(sealed)
    for _ in range(2):
        assert (await client.put_blob(sha256(sealed), len(sealed), path)).status == 204
    assert door.context.blobs.incoming(peer.id, sha256(sealed)).read_bytes() == sealed


def _files(door: Door) -> list[Path]:
    return [path for path in (door.folder / "blobs").rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    ("status", "code", "headers"),
    [
        (460, "wrong_digest", {}),
        (409, "wrong_offset", {"Upload_Offset": "7"}),
        (400, "malformed", {"Upload_Offset": "-1"}),
        (400, "malformed", {"Upload_Length": "x"}),
        (400, "malformed", {"Upload_Length": "17"}),
        (415, "unsupported_media_type", {"Content_Encoding": "gzip"}),
    ],
)
async def test_a_blob_that_is_refused_leaves_nothing(
    door: Door, call: Caller, status: int, code: str, headers: dict[str, str]
) -> None:
    before = door.counts()
    said = await put_blob(call, b"z" * 16, digest="0" * 64, **headers)
    assert (said.status, said.code) == (status, code)
    assert door.counts() == before
    assert not _files(door)


async def test_the_quota_counts_what_is_on_its_way(tmp_path: Path, peer: Party) -> None:
    limits = Limits(free_disk_bytes=0, peer_unclaimed_bytes=100)
    async with open_door(tmp_path / "qm", make_authority("qm.moj"), limits=limits) as door:
        await door.pin(peer)
        async with calling(door, peer.keyring.tls[0]) as call:
            sent = [bytes([number]) * 40 for number in range(5)]
            said = await asyncio.gather(*(put_blob(call, one) for one in sent))
            assert sorted(one.status for one in said) == [204, 204, 413, 413, 413]
            assert {one.code for one in said if one.status == 413} == {"quota"}
            assert await door.store.unclaimed_bytes(peer.id) == 80


async def test_claimed_blobs_leave_the_quota(tmp_path: Path, peer: Party) -> None:
    limits = Limits(free_disk_bytes=0, peer_unclaimed_bytes=30)
    async with open_door(tmp_path / "qm", make_authority("qm.moj"), limits=limits) as door:
        await door.pin(peer)
        async with calling(door, peer.keyring.tls[0]) as call:
            for _ in range(3):
                blob = make_blob(b"1234")
                assert (await put_blob(call, blob.sealed)).status == 204
                raw = message(peer, door.party, blobs=[blob]).raw
                assert (await call("POST", ENVELOPES, raw, MEDIA_TYPE)).status == 201


async def test_a_full_disk_takes_no_blob_and_says_so_before_the_body(tmp_path: Path, peer: Party) -> None:
    limits = Limits(free_disk_bytes=1 << 60)
    async with open_door(tmp_path / "qm", make_authority("qm.moj"), limits=limits) as door:
        await door.pin(peer)
        path = tmp_path / "blob"
        path.write_bytes(bytes(8_000_000))
        before = door.counts()
        async with PeerClient(door.party.card, peer.keyring.tls[0]) as client:
            reply = await client.put_blob(sha256(path.read_bytes()), 8_000_000, path)
        assert (reply.status, reply.code) == (507, "storage_full")
        assert door.counts() == before
        assert not _files(door)


async def test_a_second_writer_is_busy(call: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    sealed, begun, go_on, copy = b"w" * 64, asyncio.Event(), asyncio.Event(), blobs._copy

    async def slowly(*arguments: Any) -> None:
        begun.set()
        await go_on.wait()
        await copy(*arguments)

    monkeypatch.setattr(blobs, "_copy", slowly)
    first = asyncio.create_task(put_blob(call, sealed))
    await begun.wait()
    second = await put_blob(call, sealed)
    assert (second.status, second.code, second.headers["Upload-Offset"]) == (409, "blob_busy", "0")
    go_on.set()
    assert (await first).status == 204


async def test_a_long_opening_goes_on_while_the_peer_is_told_to_ask_again(
    door: Door, call: Caller, peer: Party
) -> None:
    openings = Openings(patience_s=0)
    reception, pinned = Reception(door.context, openings), door.context.directory.peers[peer.id]
    blob = make_blob(b"v" * 5_000_000)
    await put_blob(call, blob.sealed)
    posted, before = message(peer, door.party, blobs=[blob]), door.counts()
    (first,) = await reception.receive(pinned, [posted.raw])
    assert getattr(first, "code", None) == "check_running"
    assert door.counts() == before
    await asyncio.gather(*openings._tasks.values())
    openings._patience_s = 20
    (second,) = await reception.receive(pinned, [posted.raw])
    assert isinstance(second, Answer)
    assert second.status == 201
    assert len(openings._tasks) == 1


# -- the log and the cards


async def test_checkpoints_are_consistent(door: Door, client: PeerClient, peer: Party) -> None:
    log = door.party.card.log
    old = verify_checkpoint(await client.checkpoint(), log)
    await client.post_batch([message(peer, door.party).raw for _ in range(5)])
    new = verify_checkpoint(await client.checkpoint(), log)
    assert new.size == old.size + 5
    proof = await client.consistency(old.size, new.size)
    verify_consistency(old.size, new.size, old.root, new.root, proof)


@pytest.mark.parametrize(
    "query", ["", "from=1", "from=2&to=1", "from=0&to=999", "from=-1&to=1", "from=01&to=1"]
)
async def test_a_consistency_proof_that_cannot_be(call: Caller, query: str) -> None:
    said = await call("GET", f"/v1/log/consistency?{query}")
    assert (said.status, said.code) == (400, "malformed")


async def test_cards_and_ping(door: Door, client: PeerClient) -> None:
    assert await client.card() == door.party.card.raw
    assert await client.card(1) == door.party.card.raw
    assert await client.card(2) is None
    said = await client.ping()
    assert (said["authority"], said["time"]) == ("qm.moj", time_text(NOW_MS))


async def test_an_earlier_own_card_stays_to_be_had(door: Door, client: PeerClient) -> None:
    first = door.party.card
    renewed = door.party.succeeded(endpoints=first.endpoints)
    await door.store.record(Change(name="own_card", puts=(card_row(renewed.card),)))
    door.context.directory.replace_own(renewed.card)
    assert await client.card() == renewed.card.raw
    assert await client.card(1) == first.raw
    assert await client.card(2) == renewed.card.raw


# -- what else holds for every request


async def test_an_authenticated_request_ends_our_backoff(door: Door, call: Caller, peer: Party) -> None:
    await door.set_state(peer, attempt=5, next_ms=NOW_MS + DAY_MS, problem="unreachable")
    door.clock.time_ms += 10_000
    assert (await call("GET", "/v1/ping")).status == 200
    row = await door.store.get(PeerRow, peer.id)
    assert row is not None
    assert (row.attempt, row.next_ms, row.problem) == (0, 0, None)
    before = row.version
    door.clock.time_ms += 10_000
    assert (await call("GET", "/v1/ping")).status == 200
    again = await door.store.get(PeerRow, peer.id)
    assert again is not None
    assert again.version == before


async def test_the_client_trusts_the_pinned_certificate_alone(door: Door, peer: Party, third: Party) -> None:
    """Another node answers where the pinned one should: nothing is said to it."""
    impostor = replace(third.card, endpoints=door.party.card.endpoints)
    async with PeerClient(impostor, peer.keyring.tls[0]) as client:
        with pytest.raises(PeerUnavailable) as fault:
            await client.ping()
    assert fault.value.code == "tls"


async def test_the_client_tries_each_pinned_endpoint_in_order(door: Door, peer: Party) -> None:
    with_dead = replace(door.party.card, endpoints=("https://127.0.0.1:9", *door.party.card.endpoints))
    async with PeerClient(with_dead, peer.keyring.tls[0]) as client:
        assert (await client.ping())["authority"] == "qm.moj"
        assert client._preferred == 1


async def test_no_content_appears_in_any_log(
    door: Door, call: Caller, peer: Party, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.DEBUG)
    blob = make_blob(CONTENT.encode(), f"{CONTENT}.txt")

    async def failing(*_: Any) -> None:
        raise ZeroDivisionError(CONTENT)

    with structlog.testing.capture_logs() as captured:
        await put_blob(call, blob.sealed)
        raws = [message(peer, door.party, blobs=[blob]).raw, *(make(door, peer) for _, make in REFUSED)]
        for raw in [*raws, CONTENT.encode(), json.dumps({"header": CONTENT}).encode()]:
            await call("POST", ENVELOPES, raw, MEDIA_TYPE)
        monkeypatch.setattr(Reception, "_accept", failing)
        assert (await call("POST", ENVELOPES, message(peer, door.party).raw, MEDIA_TYPE)).status == 500
    everything = "\n".join([caplog.text, *map(repr, captured)])
    assert "incident" in everything
    for secret in (CONTENT, blob.key.hex(), b64url(blob.key), "statement"):
        assert secret not in everything
