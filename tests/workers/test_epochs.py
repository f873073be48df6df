"""A peer that was restored from an old copy gets again what it has lost, and nothing else."""

import copy
import json
from dataclasses import replace
from typing import Any

import pytest

from gateway.core.entry import Draft
from gateway.core.errors import Unavailable
from gateway.core.note import Checkpoint
from gateway.core.proof import parse_proof, parse_receipt
from gateway.core.standing import members
from gateway.peering import epochs
from gateway.peering.epochs import NOT_PROVED, Epochs
from gateway.ports import Change, EntryFilter
from gateway.rows import AlarmRow, ContentRow, Direction, EpochRow, MessageRow, ReceiptRow
from tests.support.authorities import DAY_MS, make_authority
from tests.support.memory import Disk, MemoryStore
from tests.support.stations import GONE, NO_EPOCH
from tests.workers.conftest import PEER, SENDER, Bench


class Scene:
    """A sender and a peer that can be put back to an old copy."""

    def __init__(self, bench: Bench) -> None:
        self.bench, self.sender = bench, bench.sender
        store = bench.there.store
        assert isinstance(store, MemoryStore)
        self.peer_store = store

    def copy(self) -> Disk:
        return copy.deepcopy(self.peer_store.disk)

    async def restore(self, disk: Disk, *, known: Checkpoint | None = None, **changes: Any) -> None:
        """Put the peer back to *disk* and open a new epoch there, which says *changes* instead."""
        before = self.bench.there.party
        party = before.next_epoch()
        self.bench.there.party = self.peer_store.party = party
        self.peer_store.disk = copy.deepcopy(disk)
        await self.bench.there.directory.refresh()
        self.bench.there.directory.replace_own(party.card)
        extra = members(
            origin=party.origin, previous_origin=before.origin, restored_size=len(disk.log), known=known
        )
        entry = Draft(event="log.epoch", outcome="ok", extra=tuple((dict(extra) | changes).items()))
        await self.peer_store.record(Change(name="epoch", entries=(entry,)))

    async def follow(self) -> None:
        """Pin the peer's newest card, and follow its epochs."""
        if self.sender.directory.peers[PEER].card.sha256 != self.bench.there.party.card.sha256:
            await self.sender.repin(self.bench.there.party)
        found = Epochs(
            store=self.bench.store,
            directory=self.sender.directory,
            settlement=self.bench.parts.settlement,
            clock=self.bench.clock,
        )
        await found.follow(self.bench.peer, PEER)  # type: ignore[arg-type]  # the simulated peer

    async def exchange(self, **members: Any) -> MessageRow:
        """Send a message; return its row once it is accepted."""
        row = await self.sender.submit(PEER, **members)
        await self.bench.work_off()
        found = await self.message(row)
        assert found.state == "accepted"
        return found

    async def message(self, row: MessageRow) -> MessageRow:
        return await self.sender.message(PEER, row.id)

    async def states(self, *rows: MessageRow) -> list[str]:
        return [(await self.message(row)).state for row in rows]

    async def indexes(self, row: MessageRow) -> list[tuple[str, int]]:
        """Return where the peer's log has what its receipts about a message say."""
        receipts = await self.bench.store.receipts(PEER, row.id)
        proofs = [parse_proof(parse_receipt(receipt.body).proof) for receipt in receipts]
        return [(proof.origin.rpartition("/")[2], proof.index) for proof in proofs]

    async def entries(self, event: str) -> list[str]:
        found = await self.bench.store.entries(EntryFilter(event=event), limit=500)
        return [json.loads(one.leaf)["message_id"] for one in found]

    def taken(self) -> list[str]:
        """Return the messages that the peer has, by when it accepted them."""
        return [row.id for row in self.peer_store.of(MessageRow, direction=Direction.IN)]

    async def alarms(self) -> dict[str, str]:
        return {row.code: row.subject for row in await self.bench.store.all(AlarmRow)}


@pytest.fixture
def scene(bench: Bench) -> Scene:
    return Scene(bench)


async def test_what_was_receipted_beyond_the_old_copy_is_sent_again(scene: Scene):
    kept = await scene.exchange()
    disk = scene.copy()
    lost = await scene.exchange()
    behind = await scene.exchange(case=lost.case)
    handed = await scene.exchange()
    await scene.bench.there.hand_over(SENDER, handed.id)
    for receipt in [await scene.peer_store.receipt(len(scene.peer_store.disk.log) - 1)]:
        await scene.sender.take_receipt(PEER, receipt)
    assert await scene.states(handed) == ["handed_over"]
    known = await scene.peer_store.checkpoint()
    before = await scene.indexes(lost)

    await scene.restore(disk, known=known)
    await scene.follow()
    assert await scene.states(kept, lost, behind, handed) == ["accepted", *3 * ["queued"]]
    assert sorted(await scene.entries("delivery.repeated")) == sorted([lost.id, behind.id, handed.id])
    envelopes = [one for one in await scene.bench.store.envelopes(lost.id) if one.body is not None]
    assert [one.sha256 for one in envelopes] == [(await scene.message(lost)).envelope_sha256]

    await scene.bench.work_off()
    assert await scene.states(kept, lost, behind, handed) == 4 * ["accepted"]
    assert sorted(scene.taken()) == sorted([kept.id, lost.id, behind.id, handed.id])
    assert scene.taken().index(lost.id) < scene.taken().index(behind.id)
    assert await scene.indexes(lost) == [*before, ("2", 3)]
    assert [parse_proof(parse_receipt(one.body).proof).origin for one in await _receipts(scene, kept)]
    assert await scene.alarms() == {}

    posted = len(scene.bench.peer.posted)
    await scene.follow()
    await scene.bench.work_off()
    assert len(scene.bench.peer.posted) == posted
    row = await scene.bench.store.get(EpochRow, scene.bench.there.party.origin)
    assert row is not None
    assert (row.restored_size, row.settled_ms) == (len(disk.log), scene.bench.clock.time_ms)


async def _receipts(scene: Scene, row: MessageRow) -> list[ReceiptRow]:
    return await scene.bench.store.receipts(PEER, row.id)


async def test_a_crash_in_between_changes_nothing(scene: Scene, monkeypatch):
    monkeypatch.setattr(epochs, "_PAGE", 2)
    disk = scene.copy()
    rows = [await scene.exchange() for _ in range(5)]
    await scene.restore(disk)
    record, left = scene.bench.store.record, 4

    async def failing(change: Change) -> Any:
        nonlocal left
        left -= 1
        if left < 0:
            raise Unavailable("the disk is full")
        return await record(change)

    for changes in range(1, 9):
        left = changes
        monkeypatch.setattr(scene.bench.store, "record", failing)
        with pytest.raises(Unavailable):
            await scene.follow()
        monkeypatch.setattr(scene.bench.store, "record", record)
        if (await scene.states(*rows)).count("queued") == 5:
            break
    await scene.follow()
    assert await scene.states(*rows) == 5 * ["queued"]
    await scene.bench.work_off()
    await scene.follow()
    assert await scene.states(*rows) == 5 * ["accepted"]
    assert sorted(await scene.entries("delivery.repeated")) == sorted(row.id for row in rows)
    assert len(scene.taken()) == 5


async def test_what_has_expired_is_an_alarm_instead(scene: Scene):
    disk = scene.copy()
    late = await scene.exchange(lifetime_ms=DAY_MS)
    await scene.restore(disk)
    scene.bench.pass_by(2 * DAY_MS)
    posted = len(scene.bench.peer.posted)
    await scene.follow()
    await scene.bench.work_off()
    assert await scene.states(late) == ["accepted"]
    assert (await scene.alarms(), len(scene.bench.peer.posted)) == ({"lost_by_peer": late.id}, posted)


async def test_what_was_erased_here_cannot_be_sent_again(scene: Scene):
    disk = scene.copy()
    erased = await scene.exchange()
    content = await scene.bench.store.get(ContentRow, Direction.OUT, PEER, erased.id)
    row = replace(erased, erased_ms=scene.bench.clock.time_ms)
    await scene.bench.store.record(Change(name="erase", puts=(row,), deletes=(content,)))
    await scene.restore(disk)
    await scene.follow()
    assert await scene.states(erased) == ["accepted"]
    assert await scene.alarms() == {"lost_by_peer": erased.id}


async def test_a_peer_that_has_not_lost_it_after_all_gives_the_answer_of_before(scene: Scene):
    row = await scene.exchange()
    settlement = scene.bench.parts.settlement()
    await settlement.settle(await scene.message(row), epochs.delivery.Lost())
    assert await scene.states(row) == ["queued"]
    await scene.bench.work_off()
    assert await scene.states(row) == ["accepted"]
    assert (await scene.indexes(row), scene.taken()) == ([("1", 1)], [row.id])
    assert await scene.alarms() == {}


async def test_epochs_that_were_missed_are_followed_in_their_order(scene: Scene):
    disk = scene.copy()
    early = await scene.exchange()
    await scene.restore(disk)
    first = scene.bench.there.party
    late = scene.copy()
    await scene.restore(late)
    await scene.sender.repin(first)
    await scene.follow()
    assert [row.restored_size for row in await _epochs(scene)] == [1, 2]
    assert await scene.states(early) == ["queued"]
    await scene.bench.work_off()
    assert await scene.indexes(early) == [("1", 1), ("3", 3)]


async def _epochs(scene: Scene) -> list[EpochRow]:
    domain = scene.bench.there.party.origin.rpartition("/")[0]
    rows = [await scene.bench.store.get(EpochRow, f"{domain}/{number}") for number in (2, 3)]
    return [row for row in rows if row is not None]


async def test_an_epoch_that_a_later_one_has_swallowed_is_passed_over(scene: Scene):
    disk = scene.copy()
    early = await scene.exchange()
    await scene.restore(disk)
    first = scene.bench.there.party
    await scene.restore(disk)
    await scene.sender.repin(first)
    await scene.follow()
    assert [row.origin[-1] for row in await _epochs(scene)] == ["3"]
    assert await scene.states(early) == ["queued"]


async def test_an_epoch_that_is_not_proved_sends_nothing_again_and_is_told(scene: Scene):
    disk = scene.copy()
    row = await scene.exchange()
    await scene.restore(disk, previous_origin="other.example/audit/1")
    await scene.follow()
    assert (await scene.states(row), await scene.alarms()) == (["accepted"], {NOT_PROVED: PEER})
    assert await _epochs(scene) == []


async def test_a_card_that_names_an_epoch_without_a_first_entry_is_told(scene: Scene):
    await scene.restore(scene.copy())
    scene.bench.peer.script["epoch"] = [NO_EPOCH]
    await scene.follow()
    assert await scene.alarms() == {NOT_PROVED: PEER}
    await scene.follow()
    assert await scene.alarms() == {}, "it is proved now"


async def test_a_peer_that_cannot_be_reached_is_asked_again(scene: Scene):
    disk = scene.copy()
    row = await scene.exchange()
    await scene.restore(disk)
    scene.bench.peer.script["epoch"] = [GONE]
    with pytest.raises(Unavailable):
        await scene.follow()
    await scene.follow()
    assert await scene.states(row) == ["queued"]


# -- receipts of an epoch whose card is not pinned yet


async def test_a_receipt_of_an_unknown_log_has_the_cards_looked_at_before_anybody_is_told(scene: Scene):
    await scene.restore(scene.copy())
    row = await scene.sender.submit(PEER)
    await scene.bench.work_off()
    message = await scene.message(row)
    assert (message.state, message.problem) == ("queued", "unknown_log")
    assert message.next_ms >= scene.bench.clock.time_ms + 30_000
    assert (scene.sender.cards_wanted, await scene.alarms()) == ([PEER], {})

    await scene.sender.repin(scene.bench.there.party)
    scene.bench.clock.time_ms = message.next_ms
    await scene.bench.work_off()
    assert (await scene.states(row), await scene.alarms()) == (["accepted"], {})
    assert scene.taken() == [row.id]


async def test_a_log_that_stays_unknown_is_told(scene: Scene):
    await scene.restore(scene.copy())
    row = await scene.sender.submit(PEER)
    for _ in range(2):
        await scene.bench.work_off()
        scene.bench.clock.time_ms = (await scene.message(row)).next_ms
    assert await scene.alarms() == {"receipt_not_proved": row.id}


async def test_a_receipt_of_a_known_log_that_does_not_hold_is_told_at_once(scene: Scene):
    row = await scene.sender.submit(PEER)
    stranger = make_authority(PEER, generation=0)
    scene.peer_store.party = replace(
        stranger, keyring=replace(stranger.keyring, log=make_authority("qo.moj").keyring.log)
    )
    await scene.bench.work_off()
    assert await scene.alarms() == {"receipt_not_proved": row.id}
