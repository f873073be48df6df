"""Kill a real node with SIGKILL while an upload comes in, again and again: it is taken up each time."""

import asyncio
import base64
import hashlib
import random
import signal

import aiohttp
import pytest

from gateway.store.blobs import BlobFolder
from keys.stream import CHUNK
from tests.support.hooks import MARK, OCTETS, TUS
from tests.support.nodes import Node, Place, eventually, set_up

PLAIN = (f"{MARK} ".encode() * (9 * CHUNK // len(MARK)))[: 8 * CHUNK + 1234]
ROUNDS = 2


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return set_up(tmp_path_factory.mktemp("authority") / "qo", "qo.justice")


async def ask(
    place: Place, method: str, path: str, data: object = None, **headers: str
) -> tuple[int, dict[str, str]]:
    sent = {"Authorization": f"Bearer {place.token}", **TUS}
    sent |= {name.replace("_", "-"): value for name, value in headers.items()}
    url = place.base + path
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, url, data=data, headers=sent) as answer,
    ):
        await answer.read()
        return answer.status, {name.lower(): value for name, value in answer.headers.items()}


async def bring(place: Place, path: str, begin: int, end: int, *, hold: bool = False) -> int:
    """Bring the bytes from *begin* to *end*, and *hold* the line then; return the acknowledged offset."""

    async def body():
        for at in range(begin, end, 60_000):
            yield PLAIN[at : min(at + 60_000, end)]
        if hold:
            await asyncio.Event().wait()

    status, headers = await ask(place, "PATCH", path, body(), Upload_Offset=str(begin), Content_Type=OCTETS)
    assert status == 204
    return int(headers["upload-offset"])


async def test_an_upload_is_taken_up_after_each_kill(place):
    dice = random.Random(18)
    node = await Node.started(place)
    try:
        _, headers = await ask(place, "POST", "/uploads", Upload_Length=str(len(PLAIN)))
        path = headers["location"].removeprefix("/v1")
        blobs, upload = BlobFolder(place.folder / "blobs"), path.rpartition("/")[2]
        acknowledged = await bring(place, path, 0, 70_000)
        for _ in range(ROUNDS):
            until = acknowledged + dice.randrange(2 * CHUNK, 5 * CHUNK // 2)
            seen = blobs.size_bytes(blobs.outgoing(upload)) + dice.randrange(1, CHUNK)
            bringing = asyncio.create_task(bring(place, path, acknowledged, until, hold=True))
            await eventually(lambda seen=seen: blobs.size_bytes(blobs.outgoing(upload)) >= seen)
            node.kill()
            assert await node.died() == -signal.SIGKILL
            await node.stop()
            with pytest.raises((aiohttp.ClientError, ConnectionError)):
                await bringing
            on_disk = blobs.outgoing(upload).read_bytes() + blobs.tail(upload).read_bytes()
            assert MARK.encode() not in on_disk
            node = await Node.started(place)
            _, headers = await ask(place, "HEAD", path)
            offset = int(headers["upload-offset"])
            assert acknowledged <= offset <= until
            acknowledged = await bring(place, path, offset, offset + 5000)
        assert await bring(place, path, acknowledged, len(PLAIN)) == len(PLAIN)
        _, headers = await ask(place, "HEAD", path)
        digest = base64.b64encode(hashlib.sha256(PLAIN).digest()).decode()
        assert headers["repr-digest"] == f"sha-256=:{digest}:"
    finally:
        assert await node.stop() == 0
