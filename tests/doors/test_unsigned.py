"""Unsigned answers of the federation door, each with the proof that nothing at all was written."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest

from gateway.config import Limits
from gateway.core.envelope import MAX_BYTES, MEDIA_TYPE, build_envelope
from gateway.core.intake import MAX_AHEAD_MS, REFUSALS_PER_HOUR
from gateway.core.strict import b64url, time_text
from gateway.peering.client import BATCH_TYPE
from gateway.ports import (
    Change,
)
from gateway.web import limits
from keys.sealing import SealingKey
from keys.signing import SigningKey
from tests.support.authorities import (
    DAY_MS,
    NOW_MS,
    Party,
    card_row,
    enquiry,
    make_authority,
    make_blob,
    message,
    next_tls,
    seal,
    sign_raw,
)
from tests.support.doors import BATCH, ENVELOPES, Caller, Door, Said, calling, open_door, put_blob
from tests.support.refused import another_header


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
    raws = [another_header(door, peer) for _ in range(REFUSALS_PER_HOUR + 5)]
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
    few = Limits(free_disk_bytes=0, peer_requests_per_s=1)
    async with open_door(tmp_path / "qm", make_authority("qm.moj"), limits=few) as door:
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


async def test_a_request_that_stalls_gives_its_place_back(
    door: Door, call: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "_STALL_S", 0.0)
    over, before = asyncio.Event(), door.counts()

    async def slowly() -> AsyncIterator[bytes]:
        yield b"{"
        await over.wait()

    answer = await call("POST", ENVELOPES, slowly(), MEDIA_TYPE)
    over.set()
    assert (answer.status, answer.code) == (503, "unavailable")
    assert door.counts() == before
