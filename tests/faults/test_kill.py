"""Kill either node at each named point of a message's way; afterwards all is as it should be.

Invariants: every message that the hook accepted arrives exactly once, has its receipt, and both
logs verify.
"""

import copy
import json
from functools import partial

import aiohttp
import pytest

import schemas
from tests.support.nodes import Node, all_accepted, eventually, two_places

PASSINGS = (1, 3)
"""At which passing of its fail-point a node is killed; as many messages are sent until then."""

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
    """Two authorities that have pinned each other."""
    return two_places(tmp_path_factory.mktemp("authorities"), "qo.justice", "qp.justice")


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


@pytest.mark.parametrize(
    ("side", "point"), [("sender", p) for p in SENDER] + [("recipient", p) for p in RECIPIENT]
)
async def test_kill(places, tmp_path, side, point):
    """Two kills, one after the other: at the first passing of the point, and in the midst of others."""
    sender_at, recipient_at = (place.copied(tmp_path / place.id) for place in places)
    at = {"sender": sender_at, "recipient": recipient_at}
    nodes = {name: await Node.started(place) for name, place in at.items() if name != side}
    ids: dict[str, str] = {}
    try:
        for passing in PASSINGS:
            nodes[side] = await Node.started(at[side], kill=f"{point}:{passing}")
            posted: dict[str, str | None] = {}
            for number in range(passing):
                if nodes[side].running:
                    posted[f"{passing}-{number}"] = id_ = await post(nodes["sender"], f"{passing}-{number}")
                    # One after the other, so that each passes every point by itself.
                    await eventually(partial(settled_or_dead, *(nodes[name] for name in at), id_))
            assert await nodes[side].died() == -9
            await nodes[side].stop()
            nodes[side] = await Node.started(at[side])
            for key, known in posted.items():
                again = await post(nodes["sender"], key)
                assert known is None or again == known, "the same key made a second message"
                assert again is not None
                ids[key] = again
            await eventually(partial(all_accepted, nodes["sender"], ids.values()))
            if passing != PASSINGS[-1]:
                assert await nodes[side].stop() == 0
        assert len(set(ids.values())) == len(ids) == sum(PASSINGS)
        for id_ in ids.values():
            _, receipts = await nodes["sender"].call("GET", f"/messages/{id_}/receipts")
            events = [json.loads(item["entry"])["event"] for item in receipts["items"]]
            assert events == ["relay.accepted"]
        _, listed = await nodes["recipient"].call("GET", "/messages?direction=in&limit=50")
        assert sorted(item["id"] for item in listed["items"]) == sorted(ids.values())
        for node in nodes.values():
            status, verified = await node.call("GET", "/audit/verify")
            assert (status, verified["problem"]) == (200, None), verified
    finally:
        assert [await node.stop() for node in nodes.values()] == [0, 0]
