"""Other people's witness cosigns our log, and their log client is served by our witness (C2SP tlog-witness).

aics-witness and aics-tlog, unchanged: the witness as a process of its own, the client over mutual TLS with a
peer's certificate. They know Ed25519 alone, so that our ML-DSA-44 lines are lines of unknown keys to them.
"""

import asyncio
import contextlib
import json
import os
import signal
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from gateway.core import merkle
from gateway.core.entry import Draft
from gateway.core.note import sign_checkpoint, verify_checkpoint, verify_cosignature, verify_cosignatures
from gateway.core.signed_note import VerifierKey, parse_note, parse_vkey
from gateway.peering.cosigning import CONFLICTS, Cosigner, be_cosigned
from gateway.peering.outside import add_checkpoint
from gateway.ports import Change
from gateway.rows import ForkRow, WitnessedRow, WitnessRow
from keys.certificates import load_into
from tests.support.authorities import NOW_MS, Party, make_authority
from tests.support.doors import Door, open_door

ELSEWHERE = Path(sys.prefix) / "elsewhere"
NAME = "witness.example/w1"
LEAVES = [b'{"entry":%d}' % number for number in range(40)]
FORKED = [*LEAVES[:5], b"another", *LEAVES[6:]]


@pytest.fixture(scope="module")
def theirs() -> Iterator[ModuleType]:
    """Return the package aics_tlog; aics_witness is beside it."""
    assert (ELSEWHERE / "aics_witness").is_dir(), "make .venv/.elsewhere brings it"
    sys.path.append(str(ELSEWHERE))
    try:
        import aics_tlog  # noqa: PLC0415 - only here is it on the path

        yield aics_tlog
    finally:
        sys.path.remove(str(ELSEWHERE))


@dataclass(frozen=True)
class Theirs:
    """A witness that runs: its configuration, where it listens, and its key."""

    config: Path
    url: str
    key: VerifierKey

    @property
    def cosigner(self) -> Cosigner:
        return Cosigner(NAME, (self.key,), partial(add_checkpoint, self.url))

    def run(self, command: str, *arguments: str) -> str:
        return run(self.config, command, *arguments)


def start(config: Path, command: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "aics_witness", command, "--config", config, *arguments],
        env=os.environ | {"PYTHONPATH": str(ELSEWHERE)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(config: Path, command: str, *arguments: str) -> str:
    started = start(config, command, *arguments)
    output, errors = started.communicate(timeout=30)
    assert started.returncode == 0, errors
    return output


@contextlib.contextmanager
def their_witness(folder: Path, log: Party) -> Iterator[Theirs]:
    """Run a witness that was told of the log of *log* by its origin and its Ed25519 key."""
    assert (ELSEWHERE / "aics_witness").is_dir(), "make .venv/.elsewhere brings it"
    config = folder / "witness.json"
    (vkey,) = (word for word in run(config, "init", "--name", NAME).split() if word.startswith(f"{NAME}+"))
    run(config, "add-log", "--origin", log.origin, "--vkey", log.card.log.vkeys()[0])
    serving = start(config, "serve", "--listen", "127.0.0.1:0")
    try:
        assert serving.stderr is not None
        line = next(line for line in serving.stderr if " listening on " in line)
        yield Theirs(config, line.partition(" listening on ")[2].split()[0], parse_vkey(vkey))
    finally:
        serving.send_signal(signal.SIGTERM)
        serving.communicate(timeout=30)


@pytest.fixture
async def door(tmp_path: Path) -> AsyncIterator[Door]:
    async with open_door(tmp_path / "node", make_authority("qm.moj")) as opened:
        yield opened


async def grow(door: Door, entries: int) -> None:
    drafts = (Draft(event="log.read", outcome="ok"),) * entries
    await door.store.record(Change(name="test", entries=drafts))


async def test_their_witness_cosigns_our_log_as_it_grows(door: Door, tmp_path: Path) -> None:
    await grow(door, 3)
    with their_witness(tmp_path, door.party) as witness:
        for entries in (0, 1, 30):
            await grow(door, entries)
            assert await be_cosigned(door.store, door.clock, witness.cosigner) is None
            (row,) = await door.store.newest_cosigned()
            own = await door.store.checkpoint()
            assert (row.size, row.witness) == (own.size, NAME)
            signatures = parse_note(own.text + row.lines).signatures
            assert verify_cosignature(own, signatures, witness.key) == row.time_s
            log = await their_view(witness)
            assert (log["origin"], log["size"]) == (door.party.origin, own.size)


async def their_view(witness: Theirs) -> dict[str, Any]:
    """Return what their witness itself says that it has cosigned last."""
    status = json.loads(await asyncio.to_thread(witness.run, "status", "--json"))
    (log,) = status["logs"]
    return log


async def test_their_witness_is_asked_again_from_where_it_stands(door: Door, tmp_path: Path) -> None:
    await grow(door, 3)
    with their_witness(tmp_path, door.party) as witness:
        assert await be_cosigned(door.store, door.clock, witness.cosigner) is None
        for entries in (0, 9):
            (row,) = await door.store.newest_cosigned()
            known = await door.store.get(WitnessRow, NAME)
            await door.store.record(Change(name="test", deletes=(row, known)))
            await grow(door, entries)
            assert await be_cosigned(door.store, door.clock, witness.cosigner) is None
            assert (await door.store.newest_cosigned())[0].size == (await door.store.checkpoint()).size


@pytest.mark.parametrize("entries", [0, 4], ids=["another root", "another log"])
async def test_their_witness_refuses_another_log_under_our_name(
    door: Door, tmp_path: Path, entries: int
) -> None:
    await grow(door, 3)
    async with open_door(tmp_path / "copy", make_authority("qm.moj")) as copy:
        size = (await door.store.checkpoint()).size
        await grow(copy, size - (await copy.store.checkpoint()).size)
        assert (await copy.store.checkpoint()).root != (await door.store.checkpoint()).root
        with their_witness(tmp_path, door.party) as witness:
            assert await be_cosigned(door.store, door.clock, witness.cosigner) is None
            await grow(copy, entries)
            problem = await be_cosigned(copy.store, copy.clock, witness.cosigner)
            assert problem == "status_422"
            assert problem in CONFLICTS
            kept = await asyncio.to_thread(witness.run, "evidence")
            assert (await copy.store.checkpoint()).text.splitlines()[2] in kept
            assert await copy.store.newest_cosigned() == []


async def test_their_note_verifier_accepts_our_checkpoint_with_their_cosignature(
    door: Door, tmp_path: Path, theirs: ModuleType
) -> None:
    await grow(door, 5)
    with their_witness(tmp_path, door.party) as witness:
        assert await be_cosigned(door.store, door.clock, witness.cosigner) is None
    (row,) = await door.store.newest_cosigned()
    own = await door.store.checkpoint()
    note = theirs.parse_note(own.text + row.lines)
    log, cosigner = theirs.parse_vkey(door.party.card.log.vkeys()[0]), theirs.parse_vkey(witness.key.encode())
    found = theirs.verify_checkpoint(note, log, [cosigner], 1, expected_origin=door.party.origin)
    assert (found.ok, found.size, found.root) == (True, own.size, own.root)
    assert (found.witnesses, found.timestamps) == ([NAME], {NAME: row.time_s})
    other = theirs.parse_vkey(make_authority("qn.moj").card.log.vkeys()[0])
    assert not theirs.verify_checkpoint(note, other, [cosigner], 1).log_ok


def test_their_tree_is_ours(theirs: ModuleType) -> None:
    tree = theirs.MerkleTree(LEAVES)
    for size in (1, 2, 3, 8, 21, 40):
        frontier, made = merkle.Frontier().append(map(merkle.leaf_hash, LEAVES[:size]))
        nodes = {(level, index): digest for level, index, digest in made}
        assert frontier.root() == tree.root(size)
        for index in range(size):
            proof = merkle.inclusion(index, size, lambda *node, known=nodes: known[node])
            assert theirs.verify_leaf_inclusion(LEAVES[index], index, size, proof, tree.root(size))
            assert not theirs.verify_leaf_inclusion(b"another", index, size, proof, tree.root(size))


# -- their client, our witness


@pytest.fixture
def peer() -> Party:
    return make_authority("qn.moj")


def client_of(door: Door, peer: Party, **options: Any) -> Any:
    """Return their client of our witness, which shows the peer's certificate."""
    from aics_witness.feeder import WitnessClient  # noqa: PLC0415 - on the path through `theirs`

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    for one in door.party.card.tls:
        context.load_verify_locations(cadata=one.der)
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    load_into(context, peer.keyring.tls[0])
    return WitnessClient(
        f"{door.endpoint}/v1/witness",
        door.party.card.witness.vkeys()[0],
        ssl_context=context,
        clock=lambda: door.clock.now_ms() / 1000,
        **options,
    )


def signed(tree: Any, peer: Party, size: int) -> str:
    """Return the checkpoint of the peer's log, whose tree is theirs."""
    return sign_checkpoint(peer.origin, size, tree.root(size), NOW_MS, peer.keyring.log).text


async def submit(client: Any, tree: Any, peer: Party, size: int) -> str:
    return await asyncio.to_thread(client.submit, signed(tree, peer, size), tree.consistency_proof)


async def test_our_witness_serves_their_client(
    door: Door, peer: Party, theirs: ModuleType, tmp_path: Path
) -> None:
    await door.pin(peer)
    tree = theirs.MerkleTree(LEAVES)
    with contextlib.closing(client_of(door, peer, state_path=tmp_path / "state.json")) as client:
        for size in (1, 7, 8, 8, 40):
            line = await submit(client, tree, peer, size)
            checkpoint = verify_checkpoint(signed(tree, peer, size), peer.card.log)
            signatures = parse_note(checkpoint.text + line).signatures
            ed, _ = door.party.card.witness.verifiers
            assert verify_cosignature(checkpoint, signatures, ed) == door.clock.now_ms() // 1000
    with contextlib.closing(client_of(door, peer)) as forgetful:  # told the size by a 409
        assert await submit(forgetful, tree, peer, 40) == line
    row = await door.store.get(WitnessedRow, peer.origin)
    kept = verify_checkpoint(row.text, peer.card.log)
    assert (kept.size, kept.root) == (40, tree.root(40))
    verify_cosignatures(kept, parse_note(row.text + row.cosignatures).signatures, door.party.card.witness)


async def test_our_witness_refuses_their_client_what_contradicts_the_log(
    door: Door, peer: Party, theirs: ModuleType
) -> None:
    from aics_witness import feeder  # noqa: PLC0415 - on the path through `theirs`

    await door.pin(peer)
    with contextlib.closing(client_of(door, peer)) as client:
        await submit(client, theirs.MerkleTree(LEAVES), peer, 8)
        for size in (8, 21):
            with pytest.raises(feeder.WitnessRejected) as refused:
                await submit(client, theirs.MerkleTree(FORKED), peer, size)
            assert refused.value.status == 422
    with contextlib.closing(client_of(door, peer)) as client, pytest.raises(feeder.WitnessAhead) as ahead:
        await submit(client, theirs.MerkleTree(LEAVES), peer, 3)
    assert ahead.value.known_size == 8
    codes = {(row.code, row.size) for row in await door.store.all(ForkRow)}
    assert codes == {("two_roots", 8), ("inconsistent", 8)}


async def test_our_witness_refuses_their_client_a_log_that_is_not_the_callers(
    door: Door, peer: Party, theirs: ModuleType
) -> None:
    from aics_witness import feeder  # noqa: PLC0415 - on the path through `theirs`

    await door.pin(peer)
    with contextlib.closing(client_of(door, peer)) as client:
        with pytest.raises(feeder.WitnessRejected) as unknown:
            await submit(client, theirs.MerkleTree(LEAVES), make_authority("qp.moj"), 3)
        assert unknown.value.status == 404
        text = sign_checkpoint(
            peer.origin, 3, theirs.MerkleTree(LEAVES).root(3), NOW_MS, make_authority("qp.moj").keyring.log
        ).text
        with pytest.raises(feeder.WitnessRejected) as unsigned:
            await asyncio.to_thread(client.submit, text, (0, ()))
        assert unsigned.value.status == 403
