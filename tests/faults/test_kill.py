"""Kill either node at each named point of a message's way; afterwards all is as it should be.

Invariants: every message that the hook accepted arrives exactly once, has its receipt, and both
logs verify.
"""

import asyncio
import copy
import json
from functools import partial

import aiohttp
import pytest

import schemas
from tests.support.nodes import Node, art18, eventually, pinned, set_up

MESSAGES = 4

SENDER = [
    "submit.before_commit",
    "submit.after_commit",
    "courier.before_post",
    "courier.after_post",
    "settle.before_commit",
    "settle.after_commit",
]
RECIPIENT = ["receive.before_commit", "receive.after_commit", "door.before_answer"]


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """Two authorities that have pinned each other, as folders to copy."""
    folder = tmp_path_factory.mktemp("authorities")
    places = set_up(folder / "qo", "qo.justice"), set_up(folder / "qp", "qp.justice")

    async def ceremony() -> None:
        nodes = [await Node.started(place) for place in places]
        try:
            await asyncio.to_thread(pinned, *nodes)
        finally:
            assert [await node.stop() for node in nodes] == [0, 0]

    asyncio.run(ceremony())
    return places


def draft() -> dict[str, object]:
    request = copy.deepcopy(next(step["draft"] for step in schemas.sample(2)["steps"]))
    return {**request, "to": "qp.justice", "attachments": []}


async def post(node: Node, key: str) -> str | None:
    """Submit a message under *key*; None when the node was gone before it answered."""
    try:
        status, answer = await node.call("POST", "/messages", draft(), headers={"Idempotency-Key": key})
    except (aiohttp.ClientConnectionError, ConnectionError):
        return None
    assert status == 201, answer
    return answer["id"]


async def settled_or_dead(sender: Node, recipient: Node, id_: str | None) -> bool:
    if id_ is None or not (sender.running and recipient.running):
        return True
    try:
        _, message = await sender.call("GET", f"/messages/{id_}")
    except (aiohttp.ClientConnectionError, ConnectionError):
        return True
    return message["state"] != "queued"


@pytest.mark.parametrize("passing", [1, 3])
@pytest.mark.parametrize(
    ("side", "point"), [("sender", p) for p in SENDER] + [("recipient", p) for p in RECIPIENT]
)
async def test_kill(places, tmp_path, side, point, passing):
    sender_at, recipient_at = (place.copied(tmp_path / place.id) for place in places)
    kill = f"{point}:{passing}"
    sender = await Node.started(sender_at, kill=kill if side == "sender" else None)
    recipient = await Node.started(recipient_at, kill=kill if side == "recipient" else None)
    try:
        keys = [f"key-{number}" for number in range(MESSAGES)]
        ids: dict[str, str | None] = dict.fromkeys(keys)
        for key in keys:
            if sender.running and recipient.running:
                ids[key] = await post(sender, key)
                # One after the other, so that each passes every point by itself.
                await eventually(partial(settled_or_dead, sender, recipient, ids[key]))
        if side == "sender":
            assert await sender.died() == -9
            await sender.stop()
            sender = await Node.started(sender_at)
        else:
            assert await recipient.died() == -9
            await recipient.stop()
            recipient = await Node.started(recipient_at)
        for key, known in ids.items():
            again = await post(sender, key)
            assert known is None or again == known, "the same key made a second message"
            ids[key] = again
        assert len(set(ids.values())) == MESSAGES

        async def all_accepted() -> bool:
            done = True
            for id_ in ids.values():
                _, message = await sender.call("GET", f"/messages/{id_}")
                if message["state"] == "queued":
                    done = False
                    await sender.call("POST", f"/messages/{id_}/retry")
                else:
                    assert message["state"] == "accepted"
            return done

        await eventually(all_accepted)
        for id_ in ids.values():
            _, receipts = await sender.call("GET", f"/messages/{id_}/receipts")
            events = [json.loads(item["entry"])["event"] for item in receipts["items"]]
            assert events == ["relay.accepted"]
        _, listed = await recipient.call("GET", "/messages?direction=in&limit=50")
        assert sorted(item["id"] for item in listed["items"]) == sorted(ids.values())
        for place in (sender_at, recipient_at):
            await asyncio.to_thread(art18, "audit", "verify", "--config", place.config)
    finally:
        assert await sender.stop() == 0
        assert await recipient.stop() == 0
