"""An attachment crosses a line that is cut, slow and silent, between nodes that are killed, whole."""

import asyncio
import contextlib
import hashlib
import io
import json
import random
from collections.abc import AsyncIterator

import aiohttp
import pytest

import schemas
from tests.support.hooks import OCTETS, TUS
from tests.support.nodes import Node, Place, all_accepted, eventually, free_port, pinned, set_up

MIB = 1 << 20
PLAIN = random.Random(15).randbytes(24 * MIB + 4321)
KILLS = ("recipient", "sender", "recipient")


class Line:
    """A line that cuts each connection after some MiB, and is slow or silent for moments before."""

    def __init__(self, port: int, dice: random.Random) -> None:
        self._port, self._dice = port, dice
        self._tasks: set[asyncio.Task[None]] = set()
        self.cuts = 0

    @contextlib.asynccontextmanager
    async def open(self, port: int) -> AsyncIterator["Line"]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", port)
        try:
            yield self
        finally:
            server.close()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        with contextlib.suppress(OSError, asyncio.CancelledError):
            there, back = await asyncio.open_connection("127.0.0.1", self._port)
            ends = [
                asyncio.create_task(self._carry(reader, back, self._dice.randrange(MIB, 6 * MIB))),
                asyncio.create_task(self._carry(there, writer, None)),
            ]
            try:
                await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for end in ends:
                    end.cancel()
                await asyncio.gather(*ends, return_exceptions=True)
                back.transport.abort()
        writer.transport.abort()
        self._tasks.discard(task)

    async def _carry(
        self, source: asyncio.StreamReader, target: asyncio.StreamWriter, left: int | None
    ) -> None:
        while piece := await source.read(65_536):
            target.write(piece)
            await target.drain()
            if left is not None:
                left -= len(piece)
                if self._dice.random() < 0.02:
                    await asyncio.sleep(self._dice.choice((0.01, 0.05, 0.3)))
                if left <= 0:
                    self.cuts += 1
                    return


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    folder = tmp_path_factory.mktemp("authorities")
    return {
        "sender": set_up(folder / "qo", "qo.justice"),
        "recipient": set_up(folder / "qp", "qp.justice", endpoint=free_port()),
    }


async def sent(node: Node) -> str:
    """Send a message with PLAIN attached; return its id."""
    place, length = node.place, {"Upload-Length": str(len(PLAIN)), "Content-Type": OCTETS}
    headers = {"Authorization": f"Bearer {place.token}", **TUS, **length}
    async with (
        aiohttp.ClientSession() as session,
        session.post(
            f"http://127.0.0.1:{place.hook}/v1/uploads", data=io.BytesIO(PLAIN), headers=headers
        ) as answer,
    ):
        assert answer.status == 201
        upload = answer.headers["Location"].rpartition("/")[2]
    attached = {"upload": upload, "name": "image.dd", "media_type": OCTETS, "role": "other", "language": "en"}
    draft = next(step["draft"] for step in schemas.sample(2)["steps"])
    draft = {**draft, "to": "qp.justice", "attachments": [attached]}
    status, answer = await node.call("POST", "/messages", draft)
    assert status == 201, answer
    return str(answer["id"])


def resumed(place: Place) -> list[int]:
    """Return from where the node went on with a blob, each time."""
    lines = [json.loads(line) for line in (place.folder / "node.log").read_text().splitlines()]
    return [line["offset_bytes"] for line in lines if line["event"] == "blob_resumed"]


async def test_an_attachment_crosses_a_bad_line_and_kills(places):
    dice = random.Random(13)
    nodes = {name: await Node.started(place) for name, place in places.items()}
    arriving = places["recipient"].folder / "blobs" / "in" / "qo.justice"

    def come() -> int:
        return sum(path.stat().st_size for path in arriving.iterdir()) if arriving.exists() else 0

    try:
        await asyncio.to_thread(pinned, *nodes.values())
        line = Line(places["recipient"].federation, dice)
        async with line.open(places["recipient"].endpoint):
            id_ = await sent(nodes["sender"])
            kept: list[tuple[int, int]] = []
            for number, side in enumerate(KILLS, 1):
                enough = number * 5 * MIB + dice.randrange(2 * MIB)

                async def further(enough: int = enough) -> bool:
                    await nodes["sender"].call("POST", f"/messages/{id_}/retry")
                    return come() >= enough

                await eventually(further)
                nodes[side].kill()
                assert await nodes[side].died() == -9
                kept.append((len(resumed(places["sender"])), come()))
                nodes[side] = await Node.started(places[side])
            await eventually(lambda: all_accepted(nodes["sender"], [id_]))
        offsets = resumed(places["sender"])
        assert offsets == sorted(offsets), "bytes that were acknowledged were sent again"
        for position, size in kept:
            assert offsets[position] >= size, "what was on disk when a node was killed was sent again"
        assert line.cuts > len(KILLS)
        recipient = places["recipient"]
        url = f"{recipient.base}/messages/{id_}/attachments/0"
        async with (
            aiohttp.ClientSession() as session,
            session.get(url, headers={"Authorization": f"Bearer {recipient.token}"}) as answer,
        ):
            assert hashlib.sha256(await answer.read()).digest() == hashlib.sha256(PLAIN).digest()
        for node in nodes.values():
            _, verified = await node.call("GET", "/audit/verify")
            assert verified["verified"], verified
    finally:
        assert [await node.stop() for node in nodes.values()] == [0, 0]
