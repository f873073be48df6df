"""Asking for receipts, closing, and later receipts (protocol §8, §9)."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import pytest

from gateway.core.entry import Draft, parse_entry
from gateway.core.envelope import MEDIA_TYPE
from gateway.core.proof import Receipt, parse_receipt
from gateway.core.strict import sha256
from gateway.peering.client import PeerClient
from gateway.ports import Change
from gateway.rows import AlarmRow, Direction, MessageRow, ReceiptRow
from tests.support.authorities import (
    Party,
    Posted,
    make_authority,
    message,
    seal,
)
from tests.support.doors import (
    ENVELOPES,
    JSON,
    Caller,
    Door,
    calling,
    open_door,
    proved,
)
from tests.support.refused import another_header


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
    posted, refused = message(peer, door.party), another_header(door, peer)
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
    after = {**before, "alarms": 1, "entries": before["entries"] + 1, "nodes": ANY}
    assert door.counts() == after
    assert (await client.post_receipt(receipt)).status == 422
    assert door.counts() == after


async def test_a_malformed_receipt_is_malformed(door: Door, call: Caller) -> None:
    before = door.counts()
    for body in (b"", b"{}", b'{"entry":"{}","proof":""}'):
        assert (await call("POST", "/v1/receipts", body, JSON)).code == "malformed"
    assert door.counts() == before
