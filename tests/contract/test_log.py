"""The audit log: it grows consistently, and every receipt verifies."""

import asyncio
from dataclasses import replace
from itertools import pairwise

import pytest
import sqlalchemy as sa

from gateway.core.custody import box_detail, open_detail
from gateway.core.entry import Draft, parse_entry
from gateway.core.errors import Misconfigured, Misuse
from gateway.core.merkle import EMPTY_ROOT, Frontier, leaf_hash, root, verify_consistency, verify_inclusion
from gateway.core.note import verify_checkpoint
from gateway.core.proof import Receipt, parse_proof, parse_receipt
from gateway.ports import Change
from gateway.rows import CosignedRow, DetailRow
from gateway.store import SqlStore
from gateway.store.statements import Statement
from gateway.store.tables import nodes
from gateway.store.trail import NEWEST, TrailReads
from keys.errors import CannotOpen
from keys.rest import Box, StorageKey
from keys.signing import LogKeys
from tests.contract.conftest import Place
from tests.support.authorities import NOW_MS, FixedClock
from tests.support.rows import answer, change, draft
from tests.support.stores import AUTHORITY, log_identity

ALL_NODES = Statement(sa.select(nodes))


def verified(receipt: Receipt) -> int:
    """Return the size of the checkpoint to which *receipt* leads."""
    proof = parse_proof(parse_receipt(receipt.encode()).proof)
    checkpoint = verify_checkpoint(proof.checkpoint, log_identity())
    verify_inclusion(leaf_hash(receipt.entry), proof.index, checkpoint.size, proof.hashes, checkpoint.root)
    return checkpoint.size


async def leaf_hashes(store: TrailReads, size: int) -> list[bytes]:
    return [leaf_hash(entry.leaf) async for entry in store.leaves(0, size)]


async def grow(store: SqlStore, entries: int) -> None:
    await store.record(change(entries=entries))


async def test_an_empty_log_has_a_checkpoint(store: SqlStore):
    checkpoint = await store.checkpoint()

    assert (checkpoint.size, checkpoint.root) == (0, EMPTY_ROOT)
    assert verify_checkpoint(checkpoint.text, log_identity()) == checkpoint


async def test_an_entry_says_what_its_draft_says(store: SqlStore, clock: FixedClock):
    wanted = answer(reason="schema")

    recorded = await store.record(Change(name="receive", entries=(wanted,), answers=True))

    entry = parse_entry(recorded.entries[0].leaf)
    assert {name: getattr(entry, name) for name in Draft.__dataclass_fields__} == {
        name: getattr(wanted, name) for name in Draft.__dataclass_fields__
    }
    assert (entry.authority, entry.time_ms) == (AUTHORITY, clock.time_ms)
    assert await store.entry(0) == recorded.entries[0]
    assert await store.entry(1) is None


async def test_a_detail_is_kept_apart_behind_the_commitment_of_the_first_entry(store: SqlStore):
    storage = StorageKey.generate()
    sealed = box_detail(storage, b"who and why")
    entry = replace(draft(), commitment=sealed.commitment)
    recorded = await store.record(Change(name="test", entries=(entry, draft()), puts=(DetailRow.of(sealed),)))

    first, second = (parse_entry(entry.leaf) for entry in recorded.entries)
    assert (first.commitment, second.commitment) == (sealed.commitment, None)
    row = await store.get(DetailRow, recorded.entries[0].index)
    assert b"who" not in row.ciphertext
    box = Box(row.wrapped_key, row.ciphertext)
    assert open_detail(storage, first.commitment, box) == b"who and why"
    with pytest.raises(CannotOpen):
        open_detail(storage, "A" * 43, box)

    await store.record(Change(name="test", deletes=(row,)))
    assert (await store.receipt(0)).entry == recorded.entries[0].leaf


async def test_the_tree_of_any_size_is_read_from_what_is_stored(store: SqlStore):
    await grow(store, 21)
    hashes = await leaf_hashes(store, 21)
    for size in range(22):
        assert await store.root(size) == root(hashes[:size])
        for index in range(size):
            verify_inclusion(
                hashes[index], index, size, await store.inclusion(index, size), root(hashes[:size])
            )
    with pytest.raises(Misuse):
        await store.root(22)
    with pytest.raises(Misuse):
        await store.inclusion(3, 22)


async def test_cosignatures_are_found_by_what_they_cover(store: SqlStore):
    await grow(store, 3)
    first = await store.checkpoint()
    await grow(store, 2)
    second = await store.checkpoint()
    one, other = (
        CosignedRow(size=first.size, witness="a.example/witness", version=0, lines="1", time_s=1),
        CosignedRow(size=second.size, witness="b.example/witness", version=0, lines="2", time_s=2),
    )
    later = replace(one, size=second.size, lines="3")
    await store.record(Change(name="test", puts=(one, other, later)))

    assert [row.lines for row in await store.first_cosigned(0)] == ["1", "2"]
    assert [row.lines for row in await store.first_cosigned(3)] == ["3", "2"]
    assert await store.first_cosigned(5) == []
    assert [row.lines for row in await store.newest_cosigned()] == ["3", "2"]
    assert await store.checkpoint_at(3) == first.text
    assert await store.checkpoint_at(4) is None


async def test_only_a_change_that_answers_has_a_receipt(store: SqlStore):
    one, other = await asyncio.gather(
        store.record(Change(name="receive", entries=(answer(), draft()), answers=True)),
        store.record(change()),
    )

    assert one.receipt is not None
    assert one.receipt.entry == one.entries[0].leaf
    assert verified(one.receipt) == 3, "they shared a transaction, and its checkpoint"
    assert other.receipt is None


async def test_the_tree_is_that_of_the_leaves_and_grows_consistently(store: SqlStore):
    checkpoints = [await store.checkpoint()]
    for entries in (1, 1, 2, 3, 1, 7, 16, 1):
        await grow(store, entries)
        checkpoints.append(await store.checkpoint())

    for checkpoint in checkpoints:
        assert checkpoint.root == root(await leaf_hashes(store, checkpoint.size))
    for old, new in [*pairwise(checkpoints), (checkpoints[3], checkpoints[-1])]:
        proof = await store.consistency(old.size, new.size)
        verify_consistency(old.size, new.size, old.root, new.root, proof)


async def test_every_receipt_verifies(store: SqlStore):
    receipts = []
    for batch in (1, 5, 1, 8, 3):
        changes = [Change(name="receive", entries=(answer(),), answers=True) for _ in range(batch)]
        recorded = await asyncio.gather(*(store.record(one) for one in changes))
        receipts += [one.receipt for one in recorded if one.receipt]
        await grow(store, 2)

    assert len(receipts) == 18
    for receipt in receipts:
        verified(receipt)


async def test_the_receipt_of_any_entry_leads_to_the_newest_checkpoint_that_covers_it(store: SqlStore):
    await grow(store, 5)
    await store.checkpoint()
    await grow(store, 4)

    assert {verified(await store.receipt(index)) for index in range(5)} == {5}
    assert verified(await store.receipt(7)) == 9, "none covered it: one was signed"
    assert verified(await store.receipt(0)) == 9
    with pytest.raises(Misuse):
        await store.receipt(9)


async def test_there_is_no_consistency_with_what_is_not_there(store: SqlStore):
    await grow(store, 3)

    assert await store.consistency(0, 3) == []
    assert await store.consistency(3, 3) == []
    for old, new in ((1, 4), (2, 1)):
        with pytest.raises(Misuse):
            await store.consistency(old, new)


async def test_a_checkpoint_is_signed_once_for_each_size(store: SqlStore):
    await grow(store, 1)

    first, second = await asyncio.gather(store.checkpoint(), store.checkpoint())

    assert first == second == await store.checkpoint()


async def test_time_never_goes_back(store: SqlStore, clock: FixedClock):
    times = []
    for step in (0, 500, -90_000, 100, 90_000):
        clock.time_ms += step
        recorded = await store.record(change(entries=1))
        times.append(recorded.entries[0].time_ms - NOW_MS)

    assert times == [0, 500, 500, 500, 600]
    assert (await store.checkpoint()).time_s == (NOW_MS + 600) // 1000


async def test_the_time_of_the_log_survives_a_restart(place: Place):
    store = await place.open()
    await grow(store, 1)
    place.clock.time_ms -= 5000

    store = await place.reopen()

    assert (await store.record(change())).entries[0].time_ms == NOW_MS


class Reached:
    """A probe that lets a test wait for a point."""

    def __init__(self, point: str) -> None:
        self._point, self._loop = point, asyncio.get_running_loop()
        self.event = asyncio.Event()

    def reached(self, point: str) -> None:
        if point == self._point:
            self._loop.call_soon_threadsafe(self.event.set)


async def test_a_head_that_nothing_leaves_with_is_signed_in_time(place: Place):
    probe = Reached("checkpoint.after_commit")
    store = await place.open(probe=probe)

    await grow(store, 3)

    await asyncio.wait_for(probe.event.wait(), 5)
    ((size, signed, _),) = await store._database.fetch(NEWEST)
    assert (size, signed) == (3, 3)


async def test_a_closed_log_is_signed(place: Place):
    store = await place.open()
    await grow(store, 3)

    store = await place.reopen()

    ((size, signed, text),) = await store._database.fetch(NEWEST)
    assert (size, signed) == (3, 3)
    assert verify_checkpoint(text, log_identity()).root == root(await leaf_hashes(store, 3))


async def test_the_fail_points_of_a_change_are_passed_in_order(place: Place):
    class Points(list[str]):
        reached = list.append

    points = Points()
    store = await place.open(probe=points)

    await store.record(change(name="submit"))

    assert points == ["submit.before_commit", "submit.after_commit"]


async def test_a_database_belongs_to_one_log(place: Place):
    await place.open()
    await place.close()

    with pytest.raises(Misconfigured, match=r"holds the log qm-moj\.example/audit/1 of qm\.moj"):
        await place.open(origin="qm-moj.example/audit/2")
    with pytest.raises(Misconfigured, match=r"store\.url"):
        await place.open(authority="qn.justice")


async def test_a_log_has_one_pair_of_keys_for_ever(place: Place):
    await grow(await place.open(), 1)
    await place.close()

    with pytest.raises(Misconfigured, match="other keys"):
        await place.open(signer=LogKeys.generate())

    await place.open()


async def test_a_restart_goes_on_where_it_ended(place: Place):
    store = await place.open()
    await grow(store, 5)
    old = await store.checkpoint()

    for _ in range(3):
        store = await place.reopen()
        await grow(store, 4)

    new = await store.checkpoint()
    assert new.size == 17
    assert new.root == root(await leaf_hashes(store, 17))
    verify_consistency(5, 17, old.root, new.root, await store.consistency(5, 17))


async def test_what_a_tree_needs_is_kept(store: SqlStore):
    """The stored nodes are exactly those of a tree built in one go."""
    for entries in (1, 2, 3, 5):
        await grow(store, entries)

    _, made = Frontier().append(await leaf_hashes(store, 11))
    stored = await store._database.fetch(ALL_NODES)
    assert sorted((level, index, bytes(node)) for level, index, node in stored) == sorted(made)
