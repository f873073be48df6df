"""The notary between real doors: cosigning, comparing receipts with the log, and what others hold."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Sequence
from functools import partial
from pathlib import Path

import pytest
from aiohttp import web

from gateway.core.entry import Draft, parse_entry
from gateway.core.ids import AuthorityId
from gateway.core.merkle import Frontier, consistency, leaf_hash, verify_consistency
from gateway.core.note import (
    WitnessIdentity,
    cosign,
    sign_checkpoint,
    verify_checkpoint,
    verify_cosignature,
    verify_cosignatures,
)
from gateway.core.proof import Receipt, encode_proof, parse_hashes, parse_receipt
from gateway.core.signed_note import parse_note
from gateway.core.strict import sha256
from gateway.core.witness import SIZE_TYPE, parse_submission
from gateway.peering.client import PeerClient
from gateway.peering.comparing import Contradicted
from gateway.peering.cosigning import AHEAD, Cosigner, be_cosigned
from gateway.peering.directory import PinnedPeer
from gateway.peering.outside import add_checkpoint
from gateway.peering.replies import PeerUnavailable
from gateway.peering.witness import Witness
from gateway.ports import Change
from gateway.rows import (
    AlarmRow,
    BridgeRow,
    ComparedRow,
    CosignedRow,
    CoverRow,
    ForkRow,
    WitnessedRow,
    WitnessRow,
)
from gateway.workers.notary import CONFLICT, Notary
from keys.signing import LogKeys
from tests.support.authorities import NOW_MS, Party, make_authority
from tests.support.doors import Door, open_door
from tests.support.nodes import eventually
from tests.support.rows import draft, new_id, receipt


@pytest.fixture
async def doors(tmp_path: Path) -> AsyncIterator[tuple[Door, Door]]:
    async with (
        open_door(tmp_path / "here", make_authority("qm.moj")) as here,
        open_door(tmp_path / "there", make_authority("qn.moj")) as there,
    ):
        await here.pin(there.party)
        await there.pin(here.party)
        yield here, there


@pytest.fixture
async def door(tmp_path: Path) -> AsyncIterator[Door]:
    async with open_door(tmp_path / "alone", make_authority("qm.moj")) as door:
        await grow(door)
        yield door


def witness_of(door: Door) -> Witness:
    keys = door.party.keyring.witness
    return Witness(door.store, door.context.directory, lambda: keys, door.clock)


def notary(door: Door, **parts: object) -> Notary:
    return Notary(witness_of(door), door.context.dial, **parts)


async def visit(door: Door, authority: AuthorityId, **parts: object) -> None:
    """Have the notary of *door* make one visit, as after a start of its node."""
    found = notary(door, **parts)
    try:
        await found.visit(authority)
    finally:
        await found.close()


async def grow(door: Door, entries: int = 1) -> None:
    await door.store.record(Change(name="test", entries=(Draft(event="log.read", outcome="ok"),) * entries))


async def receipted(here: Door, there: Door) -> int:
    """Have *there* log something and *here* record the receipt; return the size of its checkpoint."""
    entry = Draft(
        event="relay.accepted",
        outcome="ok",
        peer=here.party.id,
        message_id=new_id(),
        envelope_sha256=sha256(b"envelope"),
        message_sha256=sha256(b"message"),
    )
    given = (await there.store.record(Change(name="receive", entries=(entry,), answers=True))).receipt
    assert given is not None
    await keep(here, there, given)
    return (await there.store.checkpoint()).size


async def keep(here: Door, there: Door, given: Receipt) -> None:
    row = receipt(new_id(), peer=there.party.id, body=given.encode(), entry_sha256=sha256(given.entry))
    await here.store.record(Change(name="settle", entries=(draft(),), puts=(row,)))


async def test_a_log_that_grew_is_cosigned_by_every_peer(doors: tuple[Door, Door]) -> None:
    here, there = doors
    await visit(here, there.party.id)
    (row,) = await here.store.newest_cosigned()
    checkpoint = await here.store.checkpoint()
    assert (row.size, row.witness) == (checkpoint.size, there.party.card.witness.name)
    note = parse_note(checkpoint.text + row.lines)
    assert verify_cosignatures(checkpoint, note.signatures, there.party.card.witness).time_s == row.time_s
    assert (await there.store.get(WitnessedRow, here.party.origin)).size == checkpoint.size

    before = here.counts()
    await visit(here, there.party.id)
    assert here.counts() == before

    await grow(here, 5)
    await visit(here, there.party.id)
    assert (await here.store.newest_cosigned())[0].size == checkpoint.size + 5
    assert len(await here.store.all(CosignedRow)) == 2


async def test_a_witness_that_stands_elsewhere_is_asked_again_from_there(doors: tuple[Door, Door]) -> None:
    here, there = doors
    await grow(here, 3)
    await visit(here, there.party.id)
    row = await here.store.get(WitnessRow, there.party.card.witness.name)
    await here.store.record(Change(name="test", deletes=(row,)))
    await grow(here, 2)
    await visit(here, there.party.id)
    size = (await here.store.checkpoint()).size
    assert (await here.store.get(WitnessRow, row.name)).size == size
    assert (await there.store.get(WitnessedRow, here.party.origin)).size == size


async def test_a_witness_whose_answer_was_lost_is_asked_for_it_again(doors: tuple[Door, Door]) -> None:
    here, there = doors
    await visit(here, there.party.id)
    row = await here.store.get(WitnessRow, there.party.card.witness.name)
    (lost,) = await here.store.newest_cosigned()
    await here.store.record(Change(name="test", deletes=(row, lost)))
    await visit(here, there.party.id)
    (again,) = await here.store.newest_cosigned()
    assert (again.size, again.witness) == (lost.size, lost.witness)
    assert (await here.store.get(WitnessRow, row.name)).problem is None


async def test_a_witness_that_has_seen_more_of_our_log_raises_doubt(doors: tuple[Door, Door]) -> None:
    here, there = doors
    leaves = [leaf_hash(b"%d" % number) for number in range(50)]
    frontier, _ = Frontier().append(leaves)
    later = sign_checkpoint(here.party.origin, 50, frontier.root(), NOW_MS, here.party.keyring.log)
    row = WitnessedRow(
        origin=here.party.origin, version=0, peer=here.party.id, size=50, text=later.text,
        cosignatures="", witnessed_ms=1,
    )  # fmt: skip
    await there.store.record(Change(name="test", puts=(row,)))
    doubted = []

    async def doubt(peer: PinnedPeer, client: PeerClient) -> None:
        assert peer.row.authority == there.party.id
        doubted.append(await client.held_checkpoint(here.party.origin))

    await visit(here, there.party.id, doubt=doubt)
    assert doubted == [later.text]
    assert (await here.store.get(WitnessRow, there.party.card.witness.name)).problem == AHEAD
    (alarm,) = await here.store.all(AlarmRow)
    assert (alarm.code, alarm.detail) == (CONFLICT, AHEAD)
    await visit(here, there.party.id, doubt=doubt)
    assert len(await here.store.all(AlarmRow)) == 1


async def test_every_receipt_is_led_to_a_cosigned_checkpoint(doors: tuple[Door, Door]) -> None:
    here, there = doors
    sizes = [await receipted(here, there) for _ in range(3)]
    await grow(there, 4)
    await visit(there, here.party.id)
    await visit(here, there.party.id)

    log, origin = there.party.card.log, there.party.origin
    bridges = {row.size: row for row in await here.store.all(BridgeRow)}
    assert sorted(bridges) == sizes
    (cover,) = await here.store.all(CoverRow)
    target = verify_checkpoint(cover.text, log)
    assert target.size == cover.size == (await there.store.checkpoint()).size
    verify_cosignatures(target, parse_note(cover.text).signatures, here.party.card.witness)
    for size in sizes:
        text = await there.store.checkpoint_at(size)
        assert text is not None
        proof = parse_hashes(bridges[size].proof)
        verify_consistency(size, target.size, verify_checkpoint(text, log).root, target.root, proof)
        assert await here.store.first_cover(origin, size) == cover

    before = here.counts()
    await visit(here, there.party.id)
    assert here.counts() == before
    await receipted(here, there)
    await visit(here, there.party.id)
    assert len(await here.store.all(BridgeRow)) == 4


async def test_what_a_peer_does_not_bring_is_fetched_and_cosigned(doors: tuple[Door, Door]) -> None:
    """A peer that never asks our witness is compared all the same."""
    here, there = doors
    size = await receipted(here, there)
    await visit(here, there.party.id)
    (cover,) = await here.store.all(CoverRow)
    assert cover.size >= size
    assert (await here.store.get(WitnessedRow, there.party.origin)).size == cover.size
    target = verify_checkpoint(cover.text, there.party.card.log)
    verify_cosignatures(target, parse_note(cover.text).signatures, here.party.card.witness)


def forged(party: Party, size: int) -> Receipt:
    """Return a receipt of *party* from a log that it shows to nobody else."""
    leaves = [leaf_hash(b"forged %d" % number) for number in range(size - 1)]
    entry = parse_entry_of(party)
    frontier, made = Frontier().append([*leaves, leaf_hash(entry)])
    nodes = {(level, index): digest for level, index, digest in made}
    text = sign_checkpoint(party.origin, size, frontier.root(), NOW_MS, party.keyring.log).text
    proof = consistency(size - 1, size, lambda level, index: nodes[level, index])
    return Receipt(entry, encode_proof(size - 1, proof, text))


def parse_entry_of(party: Party) -> bytes:
    leaf = b'{"authority":"%s","entry_id":"%s","event":"log.read","outcome":"ok","time":"%s","v":1}' % (
        party.id.encode(), str(new_id()).encode(), b"2026-11-18T12:26:40.000Z",
    )  # fmt: skip
    assert parse_entry(leaf).authority == party.id
    return leaf


@pytest.mark.parametrize(
    ("size", "code"), [(3, "inconsistent"), (8, "two_roots")], ids=["another log", "another root"]
)
async def test_a_receipt_of_another_log_under_the_same_name_is_found(
    doors: tuple[Door, Door], size: int, code: str
) -> None:
    here, there = doors
    await grow(there, 8 - (await there.store.checkpoint()).size)
    await keep(here, there, forged(there.party, size))
    with pytest.raises(Contradicted):
        await visit(here, there.party.id)
    (fork,) = await here.store.all(ForkRow)
    assert (fork.code, fork.size, fork.peer) == (code, size, there.party.id)
    first, second = (verify_checkpoint(text, there.party.card.log) for text in (fork.first, fork.second))
    assert first.root != second.root
    assert [row.code for row in await here.store.all(AlarmRow)] == [f"log_{code}"]
    assert await here.store.all(BridgeRow) == []
    assert await here.store.get(ComparedRow, there.party.id) is None


async def test_a_receipt_beyond_what_the_peer_shows_is_found(doors: tuple[Door, Door]) -> None:
    """The peer's log was put back: it shows less than it has signed."""
    here, there = doors
    shown = await there.store.checkpoint()
    await keep(here, there, forged(there.party, 40))
    with pytest.raises(Contradicted):
        await visit(here, there.party.id)
    (fork,) = await here.store.all(ForkRow)
    assert (fork.code, fork.size, fork.first) == ("inconsistent", shown.size, shown.text)


async def test_a_log_that_is_shown_differently_to_two_peers_is_found(tmp_path: Path) -> None:
    async with (
        open_door(tmp_path / "a", make_authority("qm.moj")) as here,
        open_door(tmp_path / "b", make_authority("qn.moj")) as there,
        open_door(tmp_path / "c", make_authority("qp.moj")) as two_faced,
    ):
        for door in (here, there, two_faced):
            await door.pin(*(other.party for other in (here, there, two_faced) if other is not door))
        await grow(two_faced, 6)
        await visit(two_faced, here.party.id)
        shown = (await here.store.get(WitnessedRow, two_faced.party.origin)).size
        leaves = [leaf_hash(b"%d" % number) for number in range(shown)]
        frontier, _ = Frontier().append(leaves)
        other = sign_checkpoint(
            two_faced.party.origin, shown, frontier.root(), NOW_MS, two_faced.party.keyring.log
        )
        row = WitnessedRow(
            origin=other.origin, version=0, peer=two_faced.party.id, size=shown, text=other.text,
            cosignatures="", witnessed_ms=1,
        )  # fmt: skip
        await there.store.record(Change(name="test", puts=(row,)))
        await visit(here, there.party.id)
        (fork,) = await here.store.all(ForkRow)
        assert (fork.peer, fork.code) == (two_faced.party.id, "two_roots")


async def test_what_two_peers_hold_of_a_third_is_compared_across_sizes(tmp_path: Path) -> None:
    async with (
        open_door(tmp_path / "a", make_authority("qm.moj")) as here,
        open_door(tmp_path / "b", make_authority("qn.moj")) as there,
        open_door(tmp_path / "c", make_authority("qp.moj")) as third,
    ):
        for door in (here, there, third):
            await door.pin(*(other.party for other in (here, there, third) if other is not door))
        await grow(third, 3)
        await visit(third, here.party.id)
        await grow(third, 3)
        await visit(third, there.party.id)
        await visit(here, there.party.id)
        assert await here.store.all(ForkRow) == []
        assert await here.store.all(AlarmRow) == []


OUTSIDE = LogKeys.generate()
OUTSIDER = WitnessIdentity("witness.example", OUTSIDE.ed.public, OUTSIDE.lattice.public)


@contextlib.asynccontextmanager
async def outside(log: Party, answers: Sequence[web.Response] = ()) -> AsyncIterator[str]:
    """Give the URL of a witness that is no peer: it cosigns, or says *answers* first."""
    first = list(answers)

    async def handle(request: web.Request) -> web.Response:
        if first:
            return first.pop(0)
        submission = parse_submission(await request.read())
        checkpoint = verify_checkpoint(submission.note, log.card.log)
        return web.Response(text=cosign(checkpoint, OUTSIDER.name, NOW_MS, OUTSIDE))

    app = web.Application()
    app.router.add_post("/w/add-checkpoint", handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    listener = socket.create_server(("127.0.0.1", 0))
    await web.SockSite(runner, listener).start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/w/"
    finally:
        await runner.cleanup()


def cosigner(url: str, **changes: object) -> Cosigner:
    return Cosigner(
        **{"name": OUTSIDER.name, "keys": OUTSIDER.verifiers, "ask": partial(add_checkpoint, url)} | changes
    )


@pytest.mark.parametrize("keys", [OUTSIDER.verifiers, OUTSIDER.verifiers[:1], OUTSIDER.verifiers[1:]])
async def test_a_witness_that_is_no_peer_cosigns_with_the_keys_that_it_has(
    door: Door, keys: tuple[object, ...]
) -> None:
    async with outside(door.party) as url:
        assert await be_cosigned(door.store, door.clock, cosigner(url, keys=keys)) is None
    (row,) = await door.store.newest_cosigned()
    checkpoint = await door.store.checkpoint()
    signatures = parse_note(checkpoint.text + row.lines).signatures
    assert len(signatures) == 2 + len(keys)
    assert {verify_cosignature(checkpoint, signatures, key) for key in keys} == {row.time_s}


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (web.Response(status=409, body=b"99999\n", headers={"Content-Type": SIZE_TYPE}), AHEAD),
        (web.Response(status=409, text="3\n"), "status_409"),
        (web.Response(status=409, body=b"x\n", headers={"Content-Type": SIZE_TYPE}), "bad_answer"),
        (web.Response(status=409, body=b"3", headers={"Content-Type": SIZE_TYPE}), "bad_answer"),
        (web.Response(status=403), "status_403"),
        (web.Response(status=307, headers={"Location": "/elsewhere"}), "status_307"),
        (web.Response(text="nothing signed\n"), "bad_cosignature"),
        (web.Response(body=b"\xff"), "bad_answer"),
    ],
)
async def test_what_is_no_cosignature_is_told_once(door: Door, answer: web.Response, problem: str) -> None:
    async with outside(door.party, [answer]) as url:
        assert await be_cosigned(door.store, door.clock, cosigner(url)) == problem
        assert (await door.store.get(WitnessRow, OUTSIDER.name)).problem == problem
        assert await door.store.newest_cosigned() == []
        assert await be_cosigned(door.store, door.clock, cosigner(url)) is None
    assert (await door.store.get(WitnessRow, OUTSIDER.name)).problem is None


async def test_a_size_counts_only_under_its_media_type(door: Door) -> None:
    """Another 409 is no reason to prove less than was asked for."""
    await grow(door, 5)
    hint = web.Response(status=409, body=b"2\n", headers={"Content-Type": SIZE_TYPE})
    async with outside(door.party, [hint]) as url:
        assert await be_cosigned(door.store, door.clock, cosigner(url)) is None


async def test_a_witness_that_is_not_there_is_unavailable(door: Door) -> None:
    async with outside(door.party) as url:
        pass
    with pytest.raises(PeerUnavailable):
        await be_cosigned(door.store, door.clock, cosigner(url))
    assert await door.store.all(WitnessRow) == []


async def test_one_that_cannot_be_reached_holds_up_nobody(doors: tuple[Door, Door]) -> None:
    here, there = doors
    gone = make_authority("qp.moj").at("https://127.0.0.1:9")
    await here.pin(gone)
    working = asyncio.create_task(notary(here).run())
    try:
        await eventually(here.store.newest_cosigned)
    finally:
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)
    assert (await here.store.newest_cosigned())[0].witness == there.party.card.witness.name


def test_receipts_of_the_helper_are_receipts() -> None:
    parse_receipt(forged(make_authority("qn.moj"), 3).encode())
