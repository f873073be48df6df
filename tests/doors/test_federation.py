"""The federation door: the log, the cards, and what holds for every request (protocol §8)."""

import json
import logging
from dataclasses import replace
from typing import Any

import pytest
import structlog

from gateway.core.envelope import MEDIA_TYPE
from gateway.core.merkle import verify_consistency
from gateway.core.note import verify_checkpoint
from gateway.core.strict import b64url, time_text
from gateway.peering.client import PeerClient
from gateway.peering.replies import PeerUnavailable
from gateway.ports import Change
from gateway.rows import PeerRow
from gateway.web.reception import Reception
from tests.support.authorities import (
    CONTENT,
    DAY_MS,
    NOW_MS,
    Party,
    card_row,
    make_blob,
    message,
)
from tests.support.doors import ENVELOPES, Caller, Door, put_blob
from tests.support.refused import REFUSED


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


async def test_requests_are_counted_by_route_and_not_by_peer(
    door: Door, client: PeerClient, peer: Party
) -> None:
    await client.ping()
    backlog = await door.store.backlog()
    told = door.context.figures.exposition(backlog, NOW_MS).decode()
    assert 'art18_requests_total{door="federation",method="GET",route="/v1/ping",status="200"} 1.0' in told
    assert 'art18_requests_running{door="federation"} 0.0' in told
    assert peer.id not in told


async def test_an_earlier_own_card_stays_to_be_had(door: Door, client: PeerClient) -> None:
    first = door.party.card
    renewed = door.party.succeeded(endpoints=first.endpoints)
    await door.store.record(Change(name="own_card", puts=(card_row(renewed.card),)))
    door.context.directory.replace_own(renewed.card)
    assert await client.card() == renewed.card.raw
    assert await client.card(1) == first.raw
    assert await client.card(2) == renewed.card.raw


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
