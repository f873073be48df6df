"""A log that is taken up again as a new epoch: another name, other keys, the same tree grown on."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from gateway.core.custody import box_detail
from gateway.core.entry import Draft, parse_entry
from gateway.core.errors import Misconfigured, Unavailable
from gateway.core.merkle import leaf_hash, verify_consistency, verify_inclusion
from gateway.core.note import LogIdentity, verify_checkpoint
from gateway.core.proof import parse_proof
from gateway.core.standing import members, verify_epoch
from gateway.ports import Recorded
from gateway.rows import AlarmRow, DetailRow, EpochRow
from gateway.store.committer import Committer
from gateway.store.epoch import StandingStore
from keys.rest import StorageKey
from keys.signing import LogKeys
from tests.contract.conftest import Place
from tests.support.authorities import NOW_MS, FixedEntropy
from tests.support.rows import PEER, alarm, change
from tests.support.stores import AUTHORITY, ORIGIN, SQLITE, log_identity

NEXT = "qm-moj.example/audit/2"
KEYS = LogKeys.generate()
NEXT_LOG = LogIdentity(NEXT, KEYS.ed.public, KEYS.lattice.public)
NEW = {"origin": NEXT, "signer": KEYS}


async def standing(place: Place) -> StandingStore:
    return await StandingStore.opened(place.url, authority=AUTHORITY, data_dir=place.folder)


async def begin(store: StandingStore, place: Place, **changes: Any) -> Recorded:
    sealed = box_detail(StorageKey.generate(), b"Example Operator One")
    draft = Draft(
        event="log.epoch",
        outcome="ok",
        commitment=sealed.commitment,
        extra=members(origin=NEXT, previous_origin=ORIGIN, restored_size=store.size, known=None),
    )
    found = {"authority": AUTHORITY, "origin": NEXT, "signer": KEYS, "draft": draft} | changes
    return await store.begin(
        **found, puts=(DetailRow.of(sealed), alarm("begun")), clock=place.clock, entropy=FixedEntropy()
    )


async def begun(place: Place) -> Recorded:
    """Take the log up again, as a restart of every process would find it."""
    await place.close()
    store = await standing(place)
    recorded = await begin(store, place)
    await store.close()
    return recorded


async def test_the_tree_grows_on_under_another_name_and_other_keys(place: Place):
    store = await place.open()
    first = (await store.record(change(entries=3, answers=True))).receipt
    before = await store.checkpoint()
    recorded = await begun(place)

    epoch = verify_epoch(recorded.receipt, AUTHORITY, NEXT, {ORIGIN: log_identity(), NEXT: NEXT_LOG})
    assert (epoch.restored_size, epoch.checkpoint.size) == (3, 4)
    store = await place.open(**NEW)
    await store.record(change(entries=2))
    now = await store.checkpoint()
    assert verify_checkpoint(now.text, NEXT_LOG).size == 6
    proof = await store.consistency(before.size, now.size)
    verify_consistency(before.size, now.size, before.root, now.root, proof)
    assert [parse_entry(one.leaf).event async for one in store.leaves(3, 4)] == ["log.epoch"]
    assert await store.checkpoint_at(3) == before.text, "what was signed stays"
    assert first is not None
    again = parse_proof((await store.receipt(0)).proof)
    assert (again.origin, parse_proof(first.proof).origin) == (NEXT, ORIGIN)
    leaf = leaf_hash(first.entry)
    verify_inclusion(leaf, again.index, now.size, again.hashes, now.root)
    assert await store.get(DetailRow, 3) is not None
    assert [row.subject for row in await store.all(AlarmRow)] == ["begun"]


async def test_what_no_checkpoint_covered_is_covered_by_the_new_epoch(place: Place, monkeypatch):
    monkeypatch.setattr(Committer, "_sign_in_time", lambda _: None)
    store = await place.open()
    await store.record(change(entries=2))
    monkeypatch.setattr(Committer, "close", _without_signing)
    await begun(place)
    monkeypatch.undo()
    store = await place.open(**NEW)
    assert verify_checkpoint((await store.checkpoint()).text, NEXT_LOG).size == 3
    assert await store.checkpoint_at(2) is None


async def _without_signing(committer: Committer) -> None:
    """End as a killed process does."""
    committer._closing = True
    committer._wake.set()
    await committer._task


async def test_a_node_of_the_epoch_before_does_not_start(place: Place):
    await (await place.open()).record(change())
    await begun(place)
    with pytest.raises(Misconfigured, match="new-epoch"):
        await place.open()
    with pytest.raises(Misconfigured, match="other keys"):
        await place.open(origin=NEXT)
    await place.open(**NEW)


async def test_a_log_of_another_authority_or_none_has_no_epochs(place: Place):
    with pytest.raises(Misconfigured, match="no log"):
        await standing(place)
    await place.open()
    await place.close()
    with pytest.raises(Misconfigured, match="no log"):
        await StandingStore.opened(place.url, authority=PEER, data_dir=place.folder)
    await (await standing(place)).close()


async def test_what_cannot_be_written_leaves_the_epoch_before(place: Place):
    await (await place.open()).record(change(alarm("begun")))
    await place.close()
    store = await standing(place)
    with pytest.raises(Exception, match="row"):
        await begin(store, place)
    assert (store.origin, store.size) == (ORIGIN, 1)
    await store.close()
    await place.open()


async def test_no_epoch_is_opened_in_a_file_that_a_node_serves(tmp_path: Path):
    place = Place(SQLITE, tmp_path)
    await place.open()
    with pytest.raises(Misconfigured, match="another process"):
        await standing(place)
    await place.close()


async def test_a_process_of_the_epoch_before_is_stopped(postgres: Place):
    old = await postgres.open()
    await old.record(change())
    store = await standing(postgres)
    await begin(store, postgres)
    await store.close()

    with pytest.raises(Unavailable, match="new epoch"):
        await old.record(change())
    assert old.broken is not None
    new = await postgres.open(**NEW)
    assert await new.log_size() == 2
    await new.record(change())


async def test_no_epoch_is_opened_in_a_log_that_grows(postgres: Place):
    node = await postgres.open()
    store = await standing(postgres)
    await node.record(change())
    with pytest.raises(Misconfigured, match="still running"):
        await begin(store, postgres)
    await store.close()
    await node.record(change())
    assert node.broken is None


# -- stopping, and the guard


async def test_a_store_that_was_stopped_can_be_read_and_signs_nothing(place: Place):
    store = await place.open()
    await store.record(change(alarm("a")))
    store.stop("an old copy")
    store.stop("and something else")

    assert store.broken == "an old copy"
    with pytest.raises(Unavailable, match="an old copy"):
        await store.record(change())
    assert await store.log_size() == 1
    await place.close()
    store = await place.open()
    assert await store.checkpoint_at(1) is None, "the end signs nothing either"


@dataclass
class Gate:
    """A guard that a test opens and shuts."""

    shut: str | None = "not now"
    asked: int = field(default=0)

    def objection(self) -> str | None:
        self.asked += 1
        return self.shut


async def test_while_the_guard_objects_nothing_is_written_or_signed(place: Place):
    store = await place.open()
    await store.record(change(entries=2))
    gate = Gate(shut=None)
    store = await place.reopen(guard=gate)
    await store.record(change())
    gate.shut = "not now"
    for refused in (store.record(change()), store.checkpoint()):
        with pytest.raises(Unavailable, match="not now"):
            await refused
    store._committer._sign_now()
    assert (await store.log_size(), store.broken) == (3, None)
    assert await store.root(2) is not None
    gate.shut = None
    await store.record(change())
    assert (await store.checkpoint()).size == 4


async def test_a_node_that_ends_before_it_was_admitted_signs_nothing(place: Place, monkeypatch):
    monkeypatch.setattr(Committer, "_sign_in_time", lambda _: None)
    store = await place.open()
    await store.record(change())
    with monkeypatch.context() as killed:
        killed.setattr(Committer, "close", _without_signing)
        await place.close()
    await place.open(guard=Gate())
    await place.close()
    store = await place.open()
    assert await store.checkpoint_at(1) is None


async def test_how_far_an_epoch_of_a_peer_was_looked_through_is_a_row(place: Place):
    row = EpochRow(
        origin="qn.example/audit/2", version=0, peer=PEER, restored_size=7, body=b"{}", stored_ms=NOW_MS
    )
    store = await place.open()
    await store.record(change(row))
    moved = replace(row, version=1, seen=41, settled_ms=NOW_MS + 1)
    await store.record(change(moved))
    assert await (await place.reopen()).get(EpochRow, row.origin) == replace(moved, version=2)
