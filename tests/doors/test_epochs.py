"""Epochs at the federation door: how one began, and receipts of one whose card is not pinned yet."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from gateway.core.entry import Draft
from gateway.core.ids import AuthorityId
from gateway.core.note import sign_checkpoint, verify_checkpoint
from gateway.core.proof import Receipt
from gateway.core.standing import members, verify_epoch
from gateway.peering.client import PeerClient
from gateway.peering.directory import Directory
from gateway.peering.epochs import Epochs
from gateway.peering.settlement import Settlement
from gateway.peering.standing import held
from gateway.ports import Change
from gateway.rows import AlarmRow, EpochRow, ForkRow, WitnessedRow
from gateway.store import SqlStore
from tests.support.authorities import (
    NOW_MS,
    PERIODS_MS,
    FixedEntropy,
    Party,
    card_row,
    make_authority,
    message,
    pin,
)
from tests.support.doors import JSON, Caller, Door, open_door
from tests.support.stores import make_store

FIRST = make_authority("qm.moj")
BEFORE = FIRST.card.log
AGAIN = FIRST.next_epoch()


async def begin(door: Door, size: int) -> None:
    """Let the log of *door*, whose card names epoch 2, begin it at *size*."""
    while (now := await door.store.log_size()) < size:
        await door.store.record(Change(name="test", entries=(Draft(event="node.started", outcome="ok"),)))
    extra = members(origin=AGAIN.origin, previous_origin=BEFORE.origin, restored_size=now, known=None)
    await door.store.record(
        Change(name="epoch", entries=(Draft(event="log.epoch", outcome="ok", extra=extra),))
    )


@pytest.fixture
async def again(tmp_path: Path, peer: Party) -> AsyncIterator[Door]:
    """The door of qm.moj in the second epoch of its log."""
    async with open_door(tmp_path / "again", AGAIN) as door:
        await door.pin(peer)
        yield door


async def test_the_first_epoch_begins_without_an_entry(door: Door, call: Caller, client: PeerClient):
    assert (await call("GET", "/v1/log/epoch")).code == "not_found"
    assert (await call("GET", "/v1/log/epochs/1")).code == "not_found"
    assert (await call("GET", "/v1/log/epochs/one")).code == "malformed"
    assert await client.epoch() is None
    assert door.counts()["entries"] == await door.store.log_size()


async def test_a_later_epoch_begins_with_an_entry_that_is_proved(again: Door, peer: Party):
    await begin(again, 3)
    async with PeerClient(again.party.card, peer.keyring.tls[0]) as client:
        receipt = await client.epoch()
        assert await client.epoch(2) == receipt
        assert await client.epoch(1) is await client.epoch(3) is None
    assert receipt is not None
    logs = {AGAIN.origin: AGAIN.card.log, BEFORE.origin: BEFORE}
    epoch = verify_epoch(receipt, AuthorityId("qm.moj"), AGAIN.origin, logs)
    assert (epoch.restored_size, epoch.previous_origin) == (3, BEFORE.origin)


async def test_what_peers_hold_of_our_log(door: Door, peer: Party, tmp_path: Path):
    """The peer is the one that holds: we ask it as a node does at its start."""
    async with open_door(tmp_path / "qn", peer) as far:
        await far.pin(door.party)
        async with PeerClient(far.party.card, door.party.keyring.tls[0]) as client:
            assert await held(client, door.party.card.log) is None
            checkpoint = await door.store.checkpoint()
            row = WitnessedRow(
                origin=checkpoint.origin, version=0, peer=door.party.id, size=checkpoint.size,
                text=checkpoint.text, cosignatures="", witnessed_ms=NOW_MS,
            )  # fmt: skip
            await far.store.record(Change(name="witness", puts=(row,)))
            assert await held(client, door.party.card.log) == checkpoint


# -- going on from what was witnessed


@dataclass
class Witness:
    """The peer's side: it has pinned both cards, and follows the epochs of the door."""

    door: Door
    store: SqlStore
    epochs: Epochs
    client: PeerClient

    async def saw(self, size: int, root: bytes) -> None:
        """Let it have cosigned this under the epoch before."""
        checkpoint = sign_checkpoint(BEFORE.origin, size, root, NOW_MS, FIRST.keyring.log)
        row = WitnessedRow(
            origin=BEFORE.origin, version=0, peer=FIRST.id, size=size, text=checkpoint.text,
            cosignatures="", witnessed_ms=NOW_MS,
        )  # fmt: skip
        await self.store.record(Change(name="witness", puts=(row,)))

    async def follow(self) -> tuple[EpochRow | None, list[str]]:
        """Return what it knows of the epoch then, and which alarms there are."""
        await self.epochs.follow(self.client, FIRST.id)
        alarms = [row.code for row in await self.store.all(AlarmRow)]
        return await self.store.get(EpochRow, AGAIN.origin), alarms


@pytest.fixture
async def witness(again: Door, peer: Party, tmp_path: Path) -> AsyncIterator[Witness]:
    async with make_store(tmp_path, authority=peer.id, origin=peer.origin, signer=peer.keyring.log) as store:
        row = await pin(store, FIRST.card)
        card = again.party.card
        moved = replace(row, sequence=card.sequence, card_sha256=card.sha256)
        await store.record(Change(name="pin", puts=(card_row(card, NOW_MS + 1), moved)))
        directory = Directory(store, peer.card)
        await directory.refresh()
        settlement = Settlement(store, peer.id, peer.keyring.storage, again.clock, FixedEntropy(), PERIODS_MS)
        epochs = Epochs(store=store, directory=directory, settlement=lambda: settlement, clock=again.clock)
        async with PeerClient(card, peer.keyring.tls[0]) as client:
            yield Witness(again, store, epochs, client)


@pytest.mark.parametrize("size", [0, 2, 3])
async def test_an_epoch_goes_on_from_what_was_witnessed_before_it(again: Door, witness: Witness, size: int):
    await begin(again, 3)
    await witness.saw(size, await again.store.root(size))
    row, alarms = await witness.follow()
    assert row is not None
    assert (row.restored_size, row.settled_ms is not None, alarms) == (3, True, [])


async def test_what_was_witnessed_beyond_it_is_what_was_lost(again: Door, witness: Witness):
    await begin(again, 3)
    await witness.saw(5, b"l" * 32)
    row, alarms = await witness.follow()
    assert (row is not None, alarms) == (True, [])


async def test_an_epoch_that_does_not_go_on_is_kept_as_the_proof(again: Door, witness: Witness):
    await begin(again, 3)
    await witness.saw(2, b"o" * 32)
    row, alarms = await witness.follow()
    assert (row, alarms) == (None, ["log_inconsistent"])
    (fork,) = await witness.store.all(ForkRow)
    assert (fork.origin, fork.size, fork.code) == (BEFORE.origin, 2, "inconsistent")
    assert verify_checkpoint(fork.second, AGAIN.card.log).size == 4


# -- a receipt of an unknown log


async def later_receipt(door: Door, peer: Party, folder: Path) -> Receipt:
    """Return a receipt of the peer, in its next epoch, about a message that went there."""
    posted = message(door.party, peer)
    await door.sent(posted, peer, state="accepted")
    entry = Draft(
        event="content.handed_over",
        outcome="ok",
        peer=door.party.id,
        message_id=posted.id,
        envelope_sha256=posted.envelope.sha256,
        message_sha256=posted.signed.sha256,
    )
    following = peer.next_epoch()
    async with make_store(
        folder, authority=peer.id, origin=following.origin, signer=following.keyring.log
    ) as store:
        recorded = await store.record(Change(name="test", entries=(entry,), answers=True))
    assert recorded.receipt is not None
    return recorded.receipt


async def test_a_later_receipt_of_an_unknown_log_is_to_come_again(
    door: Door, call: Caller, peer: Party, tmp_path: Path
):
    receipt = await later_receipt(door, peer, tmp_path)
    answer = await call("POST", "/v1/receipts", receipt.encode(), JSON)
    assert (answer.status, answer.code, answer.headers["Retry-After"]) == (425, "unknown_log", "30")
    assert door.wanted == [peer.id]
    assert await door.store.all(AlarmRow) == []

    door.clock.time_ms += 29_000
    await call("POST", "/v1/receipts", receipt.encode(), JSON)
    assert await door.store.all(AlarmRow) == []
    door.clock.time_ms += 1_000
    assert (await call("POST", "/v1/receipts", receipt.encode(), JSON)).code == "unknown_log"
    assert [row.code for row in await door.store.all(AlarmRow)] == ["receipt_not_proved"]


async def test_a_checkpoint_of_an_unknown_log_has_the_cards_looked_at(
    door: Door, call: Caller, peer: Party, tmp_path: Path
):
    following = peer.next_epoch()
    async with make_store(
        tmp_path, authority=peer.id, origin=following.origin, signer=following.keyring.log
    ) as store:
        note = (await store.checkpoint()).text
    answer = await call("POST", "/v1/witness/add-checkpoint", f"old 0\n\n{note}".encode(), "text/plain")
    assert (answer.code, door.wanted) == ("not_found", [peer.id])
