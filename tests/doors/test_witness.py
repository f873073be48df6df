"""The witness at the federation door: C2SP tlog-witness, scoped by peer (protocol §8, §9)."""

import asyncio
from collections.abc import Sequence

import pytest

from gateway.core.entry import Draft
from gateway.core.merkle import Frontier, consistency, leaf_hash
from gateway.core.note import (
    Checkpoint,
    LogIdentity,
    sign_checkpoint,
    verify_checkpoint,
    verify_cosignatures,
)
from gateway.core.signed_note import parse_note, parse_signatures
from gateway.core.strict import sha256
from gateway.core.witness import SIZE_TYPE, encode_submission
from gateway.ports import Change
from gateway.rows import AlarmRow, CosignedRow, ForkRow, WitnessedRow
from keys.signing import LogKeys
from tests.support.authorities import NOW_MS, Party
from tests.support.doors import Caller, Door, calling

ADD = "/v1/witness/add-checkpoint"
TEXT = "text/plain"
LEAVES = [leaf_hash(b"%d" % number) for number in range(30)]
FORKED = [*LEAVES[:5], leaf_hash(b"another"), *LEAVES[6:]]


def signed(party: Party, size: int, leaves: Sequence[bytes] = LEAVES) -> Checkpoint:
    frontier, _ = Frontier().append(leaves[:size])
    return sign_checkpoint(party.origin, size, frontier.root(), NOW_MS, party.keyring.log)


def body(party: Party, old: int, new: int, leaves: Sequence[bytes] = LEAVES) -> bytes:
    _, made = Frontier().append(leaves[:new])
    nodes = {(level, index): digest for level, index, digest in made}
    proof = consistency(old, new, lambda level, index: nodes[level, index])
    return encode_submission(old, proof, signed(party, new, leaves).text)


def held_at(party: Party) -> str:
    return f"/v1/witness/{sha256(party.origin.encode())}/checkpoint"


async def test_a_peers_checkpoint_is_cosigned_twice_by_our_clock(
    door: Door, call: Caller, peer: Party
) -> None:
    said = await call("POST", ADD, body(peer, 0, 7), TEXT)
    assert said.status == 200
    cosigned = verify_cosignatures(
        signed(peer, 7), parse_signatures(said.body.decode()), door.party.card.witness
    )
    assert cosigned.time_s == door.clock.now_ms() // 1000

    again = await call("POST", ADD, body(peer, 7, 21), TEXT)
    assert again.status == 200
    note = (await call("GET", held_at(peer))).body.decode()
    newest = verify_checkpoint(note, peer.card.log)
    assert newest.size == 21
    verify_cosignatures(newest, parse_note(note).signatures, door.party.card.witness)


async def test_witnessing_writes_no_entry(door: Door, call: Caller, peer: Party) -> None:
    before = door.counts()
    await call("POST", ADD, body(peer, 0, 7), TEXT)
    await call("POST", ADD, body(peer, 7, 9), TEXT)
    after = door.counts()
    assert after["entries"] == before["entries"]
    assert after["witnessed"] == 1


async def test_one_that_stands_elsewhere_is_told_the_size(call: Caller, peer: Party) -> None:
    await call("POST", ADD, body(peer, 0, 7), TEXT)
    said = await call("POST", ADD, body(peer, 3, 9), TEXT)
    assert (said.status, said.body, said.headers["Content-Type"]) == (409, b"7\n", SIZE_TYPE)
    assert (await call("POST", ADD, body(peer, 3, 5), TEXT)).body == b"7\n"


async def test_two_roots_for_one_size_are_both_kept_and_told_once(
    door: Door, call: Caller, peer: Party
) -> None:
    await call("POST", ADD, body(peer, 0, 7), TEXT)
    said = await call("POST", ADD, body(peer, 7, 7, FORKED), TEXT)
    assert (said.status, said.code) == (422, "two_roots")
    (fork,) = await door.store.all(ForkRow)
    assert (fork.peer, fork.code, fork.origin, fork.size) == (peer.id, "two_roots", peer.origin, 7)
    roots = {verify_checkpoint(text, peer.card.log).root for text in (fork.first, fork.second)}
    assert roots == {signed(peer, 7).root, signed(peer, 7, FORKED).root}
    (alarm,) = await door.store.all(AlarmRow)
    assert (alarm.code, alarm.subject) == ("log_two_roots", peer.id)
    kept = verify_checkpoint((await door.store.get(WitnessedRow, peer.origin)).text, peer.card.log)
    assert kept.root == signed(peer, 7).root


@pytest.mark.parametrize("old", [0, 3])
async def test_two_roots_are_kept_even_of_one_that_stands_elsewhere(
    door: Door, call: Caller, peer: Party, old: int
) -> None:
    await call("POST", ADD, body(peer, 0, 7), TEXT)
    said = await call("POST", ADD, body(peer, old, 7, FORKED), TEXT)
    assert (said.status, said.body, said.headers["Content-Type"]) == (409, b"7\n", SIZE_TYPE)
    (fork,) = await door.store.all(ForkRow)
    assert (fork.code, fork.size) == ("two_roots", 7)


async def test_what_does_not_go_on_is_not_cosigned_and_kept(door: Door, call: Caller, peer: Party) -> None:
    await call("POST", ADD, body(peer, 0, 7), TEXT)
    said = await call("POST", ADD, body(peer, 7, 12, FORKED), TEXT)
    assert (said.status, said.code) == (422, "not_consistent")
    (fork,) = await door.store.all(ForkRow)
    assert (fork.code, fork.size) == ("inconsistent", 7)
    assert verify_checkpoint(fork.second, peer.card.log).size == 12
    assert (await door.store.get(WitnessedRow, peer.origin)).size == 7


async def test_both_signatures_of_the_log_are_required(door: Door, call: Caller, peer: Party) -> None:
    raw = body(peer, 0, 7).decode()
    *rest, last, _ = raw.split("\n")
    one_less = ("\n".join(rest) + "\n").encode()
    assert (await call("POST", ADD, one_less, TEXT)).code == "not_signed"
    other = sign_checkpoint(peer.origin, 7, signed(peer, 7).root, NOW_MS, LogKeys.generate())
    assert (await call("POST", ADD, encode_submission(0, (), other.text), TEXT)).code == "not_signed"
    assert last.startswith("— ")
    assert await door.store.all(WitnessedRow) == []


async def test_another_peers_log_is_unknown_to_whoever_is_not_that_peer(
    door: Door, call: Caller, peer: Party, third: Party
) -> None:
    assert (await call("POST", ADD, body(third, 0, 7), TEXT)).code == "not_found"
    await door.pin(third)
    assert (await call("POST", ADD, body(third, 0, 7), TEXT)).code == "not_found"
    async with calling(door, third.keyring.tls[0]) as other:
        assert (await other("POST", ADD, body(third, 0, 7), TEXT)).status == 200
        assert (await other("POST", ADD, body(peer, 0, 7), TEXT)).status == 404


@pytest.mark.parametrize(
    ("raw", "status"),
    [(b"", 400), (b"old 0\n\n", 400), (b"old 9\n\n", 400), (b"x" * 300_000, 413)],
)
async def test_what_is_no_submission_changes_nothing(
    door: Door, call: Caller, raw: bytes, status: int
) -> None:
    before = door.counts()
    assert (await call("POST", ADD, raw, TEXT)).status == status
    assert (await call("POST", ADD, raw, "application/json")).status == 415
    assert door.counts() == before


async def test_an_old_size_above_the_checkpoint_is_a_bad_request(call: Caller, peer: Party) -> None:
    raw = encode_submission(9, (), signed(peer, 7).text)
    assert (await call("POST", ADD, raw, TEXT)).status == 400


async def test_of_submissions_at_once_each_goes_on_from_the_one_before(
    door: Door, call: Caller, peer: Party
) -> None:
    await call("POST", ADD, body(peer, 0, 3), TEXT)
    said = await asyncio.gather(*(call("POST", ADD, body(peer, 3, size), TEXT) for size in range(4, 14)))
    assert {one.status for one in said} <= {200, 409}
    newest = (await door.store.get(WitnessedRow, peer.origin)).size
    assert [size for size, one in zip(range(4, 14), said, strict=True) if one.status == 200] == [newest]
    assert {one.body for one in said if one.status == 409} == {b"%d\n" % newest}


async def test_what_is_held_of_a_log_is_shown_to_every_peer(
    door: Door, call: Caller, peer: Party, third: Party
) -> None:
    await door.pin(third)
    assert (await call("GET", held_at(third))).code == "not_found"
    assert (await call("GET", "/v1/witness/none/checkpoint")).code == "not_found"
    await call("POST", ADD, body(peer, 0, 7), TEXT)
    async with calling(door, third.keyring.tls[0]) as other:
        note = (await other("GET", held_at(peer))).body.decode()
    assert verify_checkpoint(note, peer.card.log).size == 7


async def test_signatures_of_others_are_not_kept_as_the_logs_own(
    door: Door, call: Caller, peer: Party
) -> None:
    stranger = sign_checkpoint(peer.origin, 7, signed(peer, 7).root, NOW_MS, LogKeys.generate()).text
    extra = stranger.rpartition("\n\n")[2]
    assert (await call("POST", ADD, body(peer, 0, 7) + extra.encode(), TEXT)).status == 200
    kept = (await door.store.get(WitnessedRow, peer.origin)).text
    assert len(parse_note(kept).signatures) == 2
    verify_checkpoint(kept, peer.card.log)


async def test_the_own_checkpoint_comes_with_the_cosignatures_at_hand(
    door: Door, call: Caller, peer: Party
) -> None:
    own = LogIdentity.from_vkeys(door.party.origin, door.party.card.log.vkeys())
    first = verify_checkpoint((await call("GET", "/v1/log/checkpoint")).body.decode(), own)
    assert (await call("GET", held_at(door.party))).body.decode() == first.text
    lines = f"— {peer.card.witness.name} {'A' * 12}\n"
    row = CosignedRow(size=first.size, witness=peer.card.witness.name, version=0, lines=lines, time_s=1)
    await door.store.record(Change(name="cosigned", puts=(row,)))
    for path in ("/v1/log/checkpoint", held_at(door.party)):
        assert (await call("GET", path)).body.decode() == first.text + lines
    await door.store.record(Change(name="test", entries=(Draft(event="log.read", outcome="ok"),)))
    newest = (await call("GET", "/v1/log/checkpoint")).body.decode()
    assert verify_checkpoint(newest, own).size == first.size + 1
    assert lines not in newest
    assert (await call("GET", held_at(door.party))).body.decode() == first.text + lines
