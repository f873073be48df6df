"""A node that was put back to an old copy, or runs twice: noticed, not signed, and mended by a new epoch."""

import asyncio
import copy
import json
import re
import sys
from functools import partial
from pathlib import Path

import pytest

import schemas
from gateway.core.proof import parse_proof
from tests.support.nodes import (
    Node,
    Place,
    all_accepted,
    art18,
    cheap_passphrases,
    eventually,
    two_places,
)

SENDER, PEER = "qo.justice", "qp.justice"


@pytest.fixture(scope="module")
def places(tmp_path_factory) -> tuple[Place, Place]:
    """Two authorities that have pinned each other."""
    return two_places(tmp_path_factory.mktemp("authorities"), SENDER, PEER)


def draft() -> dict[str, object]:
    found = copy.deepcopy(next(step["draft"] for step in schemas.sample(2)["steps"]))
    return {**found, "to": PEER, "attachments": []}


async def exchange(sender: Node, count: int) -> list[str]:
    """Send so many messages; return their ids once the peer has accepted them."""
    ids = []
    for _ in range(count):
        status, answer = await sender.call("POST", "/messages", draft())
        assert status == 201, answer
        ids.append(answer["id"])
    await eventually(partial(all_accepted, sender, ids))
    return ids


async def with_attachment(sender: Node, folder: Path) -> str:
    """Send a message with an attachment as a user would; return its id once it is accepted."""
    _write(folder)
    told = await asyncio.to_thread(
        art18, "send", str(folder / "draft.json"), "--attach", f"{folder}/summons.txt:other",
        "--output", "json", "--config", sender.place.config,
    )  # fmt: skip
    id_ = str(json.loads(told)["id"])
    await eventually(partial(all_accepted, sender, [id_]))
    return id_


def _write(folder: Path) -> None:
    folder.mkdir()
    (folder / "draft.json").write_text(json.dumps(draft()))
    (folder / "summons.txt").write_text("Example Person One is to come.")


async def witnessed(node: Node, sender: Node, ids: list[str]) -> None:
    """Wait until the sender's witness has cosigned the log of *node* as far as its receipts for *ids*."""
    farthest = max([(await where(sender, id_))[-1][1] for id_ in ids])

    async def cosigned() -> bool:
        await node.call("POST", "/audit/witnesses")
        _, listed = await node.call("GET", "/audit/witnesses")
        return all(item["size"] > farthest for item in listed["items"])

    await eventually(cosigned)


async def where(sender: Node, id_: str) -> list[tuple[str, int]]:
    """Return what the receipts about a message prove: the epoch of the peer's log, and the index there."""
    _, found = await sender.call("GET", f"/messages/{id_}/receipts")
    proofs = [parse_proof(item["proof"]) for item in found["items"]]
    return [(proof.origin.rpartition("/")[2], proof.index) for proof in proofs]


async def refused(place: Place, *words: str) -> str:
    """Start a node as a user would; return what it says once it has ended with exit code 5."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gateway", "run", "--config", place.config, *words),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, told = await process.communicate()
    assert (process.returncode, out) == (5, b""), told
    return told.decode()


async def new_epoch(place: Place) -> str:
    """Open a new epoch as an operator does."""
    with cheap_passphrases():
        return await asyncio.to_thread(
            art18, "audit", "new-epoch", "--root", str(place.folder / "offline" / "root.key"),
            "--by", "Example Operator One", "--yes", "--output", "json", "--config", place.config,
        )  # fmt: skip


async def evidence(sender: Node, peer: Node, message: str, file: Path) -> None:
    """What is proved of a message in both epochs convinces a stranger."""
    await asyncio.to_thread(art18, "evidence", message, "-o", str(file), "--config", sender.place.config)
    roots = []
    for node in (sender, peer):
        shown = json.loads(
            await asyncio.to_thread(art18, "card", "show", "--output", "json", "--config", node.place.config)
        )
        roots += ["--root", f"{node.place.id}={shown['fingerprint']}"]
    told = await asyncio.to_thread(art18, "verify", str(file), *roots)
    for origin in ("qp-justice.example/audit/1", "qp-justice.example/audit/2"):
        assert re.search(rf"logged relay.accepted: entry \d+ of {origin}, signed by it", told), told


async def entries(node: Node, event: str) -> list[dict[str, object]]:
    _, listed = await node.call("GET", f"/audit/entries?event={event}")
    return [json.loads(item["entry"]) for item in listed["items"]]


async def test_an_old_copy_does_not_sign_and_a_new_epoch_brings_back_what_it_lost(places, tmp_path):
    sender_at, peer_at = (place.copied(tmp_path / place.id) for place in places)
    sender = await Node.started(sender_at)
    nodes = [sender, await Node.started(peer_at)]
    try:
        kept = await exchange(sender, 2)
        assert await nodes.pop().stop() == 0
        old = peer_at.copied(tmp_path / "backup")
        nodes.append(await Node.started(peer_at))
        lost = [*await exchange(sender, 3), await with_attachment(sender, tmp_path / "send")]
        await witnessed(nodes[1], sender, lost)
        assert await nodes.pop().stop() == 0

        told = await refused(old)
        assert f"{SENDER} holds a checkpoint" in told
        assert "art18 audit new-epoch" in told
        opened = json.loads(await new_epoch(old))
        assert opened["log"] == "qp-justice.example/audit/2"
        assert json.loads(await new_epoch(old)) == opened, "run again, it finds that all is done"

        nodes.append(await Node.started(old))
        peer = nodes[1]
        # What the peer wants cosigned of its new epoch has the sender look at its cards.

        async def repeated() -> bool:
            return len(await entries(sender, "delivery.repeated")) == len(lost)

        await eventually(repeated)
        await eventually(partial(all_accepted, sender, lost))
        for id_ in lost:
            (first, _), (again, index) = await where(sender, id_)
            assert (first, again) == ("1", "2")
            assert index > opened["restored_size"]
        assert [[epoch for epoch, _ in await where(sender, id_)] for id_ in kept] == [["1"], ["1"]]
        _, inbox = await peer.call("GET", "/messages?direction=in&limit=50")
        assert sorted(item["id"] for item in inbox["items"]) == sorted([*kept, *lost])
        (epoch,) = await entries(peer, "log.epoch")
        assert epoch["known_size"] > epoch["restored_size"] == opened["restored_size"]
        assert epoch["previous_origin"] == "qp-justice.example/audit/1"
        for node in nodes:
            status, verified = await node.call("GET", "/audit/verify")
            assert (status, verified["problem"]) == (200, None), verified
            assert (await node.call("GET", "/alarms"))[1] == {"items": []}
        await witnessed(peer, sender, lost)
        await evidence(sender, peer, lost[0], tmp_path / "evidence.zip")
    finally:
        assert [await node.stop() for node in nodes] == [0] * len(nodes)


async def test_a_copy_that_runs_beside_the_node_is_stopped(places, tmp_path):
    """Where no peer answers at its start, it is found out when one is met."""
    sender_at, peer_at = (place.copied(tmp_path / place.id) for place in places)
    second_at = peer_at.elsewhere(tmp_path / "second")
    nodes = [await Node.started(sender_at), await Node.started(peer_at)]
    try:
        await witnessed(nodes[1], nodes[0], await exchange(nodes[0], 1))
        assert await nodes.pop(0).stop() == 0
        second = await Node.started(second_at)
        nodes.append(second)
        nodes.append(await Node.started(sender_at))
        await second.call("POST", "/audit/witnesses")
        assert await second.died() == 1
        nodes.remove(second)
        assert f"{SENDER} holds a checkpoint" in (second_at.folder / "node.log").read_text()
        assert all(node.running for node in nodes)
    finally:
        assert [await node.stop() for node in nodes] == [0] * len(nodes)
