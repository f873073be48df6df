"""Following the cards of peers, between two real doors (protocol §4)."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from unittest.mock import ANY

import aiohttp
import pytest

from gateway.core.card import Card, build_card, parse_card
from gateway.core.envelope import MEDIA_TYPE
from gateway.core.ids import Digest
from gateway.peering.client import PeerClient
from gateway.peering.directory import PinnedPeer
from gateway.peering.replies import PeerUnavailable
from gateway.peering.successors import follow
from gateway.ports import EntryFilter
from gateway.rows import NEVER_PINNED, AlarmRow, CardRow, PeerRow
from gateway.workers import cards
from gateway.workers.cards import CardKeeper
from keys.signing import SigningKey
from keys.vault import Keyring
from tests.support.authorities import (
    DAY_MS,
    NOW_MS,
    Party,
    make_authority,
    message,
    next_tls,
    plan_of,
    seal,
    sign_raw,
)
from tests.support.doors import Door, calling, open_door


@pytest.fixture
async def door(tmp_path: Path, far: Door) -> AsyncIterator[Door]:
    """The door of qm.moj, which has pinned the first card of the far one."""
    async with open_door(tmp_path / "qm", make_authority("qm.moj")) as door:
        await door.pin(far.party)
        await far.pin(door.party)
        yield door


@pytest.fixture
async def far(tmp_path: Path) -> AsyncIterator[Door]:
    async with open_door(tmp_path / "qn", make_authority("qn.justice")) as door:
        yield door


async def follow_once(door: Door, far: Door) -> Card:
    peer = door.context.directory.peers[far.party.id]
    async with door.context.dial(peer) as client:
        return await follow(
            client, peer.card, store=door.store, directory=door.context.directory, clock=door.clock
        )


def publish(far: Door, *parties: Party) -> None:
    """Let the far door serve the cards of *parties*, the last one as its newest."""
    for party in parties:
        far.context.directory.replace_own(party.card)
    far.party = parties[-1]


async def alarms(door: Door) -> set[str]:
    return {row.code for row in await door.store.all(AlarmRow)}


async def kept(door: Door, far: Door) -> dict[Digest, int]:
    """Return the cards of the far side that are kept, and when each was pinned."""
    return {
        row.sha256: row.pinned_ms for row in await door.store.all(CardRow) if row.authority == far.party.id
    }


async def test_nothing_new_changes_nothing(door: Door, far: Door) -> None:
    before = door.counts()
    assert await follow_once(door, far) == far.party.card
    assert door.counts() == before


async def test_successors_are_applied_one_at_a_time(door: Door, far: Door) -> None:
    second = far.party.succeeded(next_tls(far.party))
    third = second.succeeded(replace(second.keyring, signing={(key := SigningKey.generate()).kid: key}))
    publish(far, second, third)
    assert await follow_once(door, far) == third.card
    row = await door.store.get(PeerRow, far.party.id)
    assert row is not None
    assert (row.sequence, row.card_sha256) == (3, third.card.sha256)
    pinned = await door.store.entries(EntryFilter(peer=far.party.id, event="card.pinned"))
    assert len(pinned) == 2
    peer = door.context.directory.peers[far.party.id]
    assert [card.sequence for card in peer.cards] == [1, 2, 3]
    assert peer.card.signing_keys().keys() == third.keyring.signing.keys()
    assert not await alarms(door)
    before = door.counts()
    assert await follow_once(door, far) == third.card
    assert door.counts() == before


async def test_a_new_certificate_gets_in_once_its_card_is_pinned(door: Door, far: Door) -> None:
    renewed = far.party.succeeded(next_tls(far.party))
    fresh = renewed.keyring.tls[-1]
    async with calling(door, fresh) as caller:
        with pytest.raises(aiohttp.ClientError):
            await caller("GET", "/v1/ping")
    publish(far, renewed)
    await follow_once(door, far)
    async with calling(door, fresh) as caller:
        assert (await caller("GET", "/v1/ping")).status == 200


async def test_a_root_change_is_followed(door: Door, far: Door) -> None:
    root = SigningKey.generate()
    plan = replace(plan_of(far.party.card), sequence=2, previous=far.party.card.sha256, root=(root.public,))
    changed = replace(far.party, root=root, card=parse_card(build_card(plan, [root, far.party.root])))
    publish(far, changed)
    assert (await follow_once(door, far)).root == (root.public,)


def _by_another_root(far: Door, _door: Door) -> Party:
    root = SigningKey.generate()
    plan = replace(plan_of(far.party.card), sequence=2, previous=far.party.card.sha256, root=(root.public,))
    return replace(far.party, card=parse_card(build_card(plan, [root])))


def _after_another_card(far: Door, _door: Door) -> Party:
    plan = replace(plan_of(far.party.card), sequence=2, previous=Digest("0" * 64))
    return replace(far.party, card=parse_card(build_card(plan, [far.party.root])))


def _of_another_authority(_far: Door, _door: Door) -> Party:
    return make_authority("qo.justice").succeeded()


def _of_us(_far: Door, door: Door) -> Party:
    """A card that claims to be ours, by a root of the peer's making."""
    root = SigningKey.generate()
    log = Keyring.generate("qm.moj", ["127.0.0.1"]).log
    identity = replace(door.party.card.log, ed_public=log.ed.public, lattice_public=log.lattice.public)
    plan = replace(plan_of(door.party.card), root=(root.public,), log=identity)
    return replace(door.party, card=parse_card(build_card(plan, [root])))


def _with_a_key_of_ours(far: Door, door: Door) -> Party:
    return far.party.succeeded(sealing=door.party.card.sealing)


@pytest.mark.parametrize(
    "make", [_by_another_root, _after_another_card, _of_another_authority, _of_us, _with_a_key_of_ours]
)
async def test_what_does_not_follow_changes_nothing_and_is_an_alarm(door: Door, far: Door, make) -> None:
    card = make(far, door).card
    far.context.directory.replace_own(card)
    before, pinned = door.counts(), door.context.directory.peers[far.party.id].card
    assert await follow_once(door, far) == pinned
    assert await alarms(door) == {"card_does_not_follow"}
    after = {**before, "alarms": 1, "entries": before["entries"] + 1, "nodes": ANY}
    assert door.counts() == after
    assert door.context.directory.peers[far.party.id].card == pinned
    await follow_once(door, far)
    assert door.counts() == after


def _second(far: Door) -> Card:
    """Return another card with the sequence of the first, which names another log key."""
    log = Keyring.generate(far.party.id, ["127.0.0.1"]).log
    identity = replace(far.party.card.log, ed_public=log.ed.public, lattice_public=log.lattice.public)
    return parse_card(build_card(replace(plan_of(far.party.card), log=identity), [far.party.root]))


async def test_two_cards_with_one_sequence_are_both_kept_and_the_second_is_never_believed(
    door: Door, far: Door
) -> None:
    first, second = far.party.card, _second(far)
    far.context.directory.replace_own(second)
    assert await follow_once(door, far) == first
    assert await alarms(door) == {"card_fork"}
    assert await kept(door, far) == {first.sha256: NOW_MS, second.sha256: NEVER_PINNED}
    fresh = door.context.directory
    fresh._parsed.clear()  # as after a restart
    await fresh.refresh()
    peer = fresh.peers[far.party.id]
    assert peer.cards == (first,)
    assert peer.logs == {first.log.origin: first.log}
    before = door.counts()
    await follow_once(door, far)
    assert door.counts() == before


async def test_a_successor_of_a_second_card_shows_the_fork(door: Door, far: Door) -> None:
    first = far.party.card
    forked = replace(far.party, card=_second(far))
    publish(far, forked, forked.succeeded())
    far.context.directory._chains = {first.authority: (forked.card,)}
    assert await follow_once(door, far) == first
    assert await alarms(door) == {"card_fork"}
    assert set(await kept(door, far)) == {first.sha256, forked.card.sha256}


async def test_a_backoff_is_no_change_of_peers(door: Door, far: Door) -> None:
    told: list[None] = []
    door.context.directory.on_change(lambda: told.append(None))
    await door.set_state(far.party, attempt=3, next_ms=NOW_MS + DAY_MS)
    assert door.context.directory.peers[far.party.id].row.attempt == 3
    assert not told
    await door.set_state(far.party, state="suspended")
    assert len(told) == 1


@pytest.fixture
async def keeper(door: Door, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[CardKeeper]:
    """A running keeper of cards that looks as often as it is asked to."""
    monkeypatch.setattr(cards, "_SHORTEST_S", 0.0)
    context = door.context
    keeper = CardKeeper(store=door.store, directory=context.directory, dial=context.dial, clock=door.clock)
    task = asyncio.create_task(keeper.run())
    yield keeper
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def changed(door: Door) -> None:
    """Return once the pinned cards of *door* have changed."""
    event = asyncio.Event()
    door.context.directory.on_change(event.set)
    async with asyncio.timeout(10):
        await event.wait()


async def test_the_keeper_looks_at_start_and_when_it_is_asked(
    door: Door, far: Door, keeper: CardKeeper
) -> None:
    second = far.party.succeeded(next_tls(far.party))
    publish(far, second)
    await changed(door)
    assert door.context.directory.peers[far.party.id].card == second.card
    third = second.succeeded()
    publish(far, third)
    keeper.wanted(far.party.id)
    await changed(door)
    assert door.context.directory.peers[far.party.id].card == third.card


async def test_a_message_under_a_new_key_is_taken_once_the_card_is_here(
    door: Door, far: Door, keeper: CardKeeper
) -> None:
    key = SigningKey.generate()
    signing = {**far.party.keyring.signing, key.kid: key}
    renewed = far.party.succeeded(replace(far.party.keyring, signing=signing))
    raw = message(renewed, door.party).signed.message.raw
    found = json.loads(raw)
    posted = seal(renewed, door.party, sign_raw(renewed, raw, key=key), id_=found["id"]).raw
    async with calling(door, far.party.keyring.tls[0]) as call:
        first = await call("POST", "/v1/envelopes", posted, MEDIA_TYPE)
        assert first.code == "unknown_signing_key"
        assert door.wanted == [far.party.id]
        publish(far, renewed)
        keeper.wanted(door.wanted.pop())
        await changed(door)
        assert (await call("POST", "/v1/envelopes", posted, MEDIA_TYPE)).status == 201


async def test_a_peer_that_is_away_stops_no_other(door: Door, far: Door, keeper: CardKeeper) -> None:
    away = make_authority("qo.justice").at("https://127.0.0.1:9")
    await door.pin(away)
    publish(far, far.party.succeeded())
    keeper.wanted(away.id)
    keeper.wanted(far.party.id)
    await changed(door)
    assert door.context.directory.peers[far.party.id].card.sequence == 2
    async with PeerClient(away.card, door.party.keyring.tls[0]) as client:
        with pytest.raises(PeerUnavailable):
            await client.ping()


async def test_a_peer_that_was_not_there_is_soon_looked_at_again(
    door: Door, far: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cards, "_SHORTEST_S", 3600.0)
    monkeypatch.setattr(cards, "_AFTER_FAILURE_S", 0.0)
    context, failed = door.context, asyncio.Event()

    def dial(peer: PinnedPeer) -> PeerClient:
        if not failed.is_set():
            failed.set()
            raise PeerUnavailable("unreachable")
        return context.dial(peer)

    publish(far, far.party.succeeded())
    keeper = CardKeeper(store=door.store, directory=context.directory, dial=dial, clock=door.clock)
    task = asyncio.create_task(keeper.run())
    try:
        async with asyncio.timeout(10):
            await failed.wait()
        keeper.wanted(far.party.id)
        await changed(door)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert context.directory.peers[far.party.id].card.sequence == 2
