"""No room for files while attachments are on their way: what was acknowledged stays, and the rest follows."""

import hashlib
import io
import json
import random
import resource

import aiohttp
import pytest

import schemas
from tests.support.hooks import OCTETS, TUS
from tests.support.nodes import Node, all_accepted, eventually, pinned, set_up

MIB = 1 << 20
PLAIN = random.Random(9).randbytes(11 * MIB)
ROOM = 6 * MIB


def leave(node: Node, size_bytes: int) -> None:
    """Let no file of *node* become longer than *size_bytes*: the system refuses to write on."""
    _, most = resource.prlimit(node.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(node.pid, resource.RLIMIT_FSIZE, (size_bytes, most))


async def ask(node: Node, method: str, url: str, begin: int | None = None, **headers: str):
    sent = {"Authorization": f"Bearer {node.place.token}", **TUS}
    sent |= {name.replace("_", "-"): value for name, value in headers.items()}
    body = None if begin is None else io.BytesIO(PLAIN[begin:])
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, url, data=body, headers=sent) as got,
    ):
        return got.status, await got.read(), got.headers


def draft(*uploads: str) -> dict[str, object]:
    found = next(step["draft"] for step in schemas.sample(2)["steps"])
    attached = [
        {"upload": upload, "name": "image.dd", "media_type": OCTETS, "role": "other", "language": "en"}
        for upload in uploads
    ]
    return {**found, "to": "qp.justice", "attachments": attached}


@pytest.fixture
async def nodes(tmp_path):
    pair = [await Node.started(set_up(tmp_path / country, f"{country}.justice")) for country in ("qo", "qp")]
    try:
        pinned(*pair)
        yield pair
    finally:
        assert [await node.stop() for node in pair] == [0, 0]


async def test_a_full_disk_holds_an_attachment_up_and_nothing_else(nodes):
    sender, recipient = nodes
    uploads = f"{sender.place.base}/uploads"
    leave(sender, ROOM)
    _, _, headers = await ask(sender, "POST", uploads, Upload_Length=str(len(PLAIN)))
    upload = headers["Location"].rpartition("/")[2]
    status, body, _ = await ask(
        sender, "PATCH", f"{uploads}/{upload}", 0, Upload_Offset="0", Content_Type=OCTETS
    )
    assert (status, json.loads(body)["type"].rpartition(":")[2]) == (507, "storage_full")
    _, _, headers = await ask(sender, "HEAD", f"{uploads}/{upload}")
    offset = int(headers["Upload-Offset"])
    assert ROOM - 2 * MIB < offset < ROOM
    leave(sender, resource.RLIM_INFINITY)
    status, _, headers = await ask(
        sender, "PATCH", f"{uploads}/{upload}", offset, Upload_Offset=str(offset), Content_Type=OCTETS
    )
    assert (status, headers["Upload-Offset"]) == (204, str(len(PLAIN)))

    leave(recipient, ROOM)
    _, large = await sender.call("POST", "/messages", draft(upload))
    _, small = await sender.call("POST", "/messages", draft())

    async def held_up() -> bool:
        _, found = await sender.call("GET", f"/messages/{large['id']}")
        return found["state"] == "queued" and found["problem"] == "storage_full"

    await eventually(held_up)
    await eventually(lambda: all_accepted(sender, [small["id"]]))
    assert await held_up()
    leave(recipient, resource.RLIM_INFINITY)
    await eventually(lambda: all_accepted(sender, [large["id"]]))
    status, body, _ = await ask(
        recipient, "GET", f"{recipient.place.base}/messages/{large['id']}/attachments/0"
    )
    assert hashlib.sha256(body).digest() == hashlib.sha256(PLAIN).digest()
    lines = [json.loads(line) for line in (sender.place.folder / "node.log").read_text().splitlines()]
    assert [line["offset_bytes"] for line in lines if line["event"] == "blob_resumed"] == [ROOM]
