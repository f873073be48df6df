"""Many envelopes in one request (protocol §8 "Batch")."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from gateway.core.entry import parse_entry
from gateway.core.envelope import MAX_BYTES, MEDIA_TYPE
from gateway.peering.client import BATCH_TYPE, PeerClient
from gateway.web.answers import Answer
from gateway.web.reception import Reception
from tests.support.authorities import (
    CONTENT,
    Party,
    enquiry,
    make_authority,
    make_blob,
    message,
)
from tests.support.doors import (
    BATCH,
    ENVELOPES,
    Caller,
    Door,
    calling,
    open_door,
    proved,
)
from tests.support.refused import REFUSED


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
