"""The bare program beside which attachments are measured: takes an upload over TLS, hashes, writes, syncs.

python -m tests.bench.receiver FOLDER PORT
"""

import asyncio
import hashlib
import os
import sys
from pathlib import Path

import uvloop
from aiohttp import web

from tests.bench import pair

PIECE = 1 << 20


def receiver(folder: Path, port: int) -> web.Application:
    async def receive(request: web.Request) -> web.Response:
        digest, piece = hashlib.sha256(), bytearray()
        with (folder / "bare").open("wb") as file:

            def keep(data: bytes) -> None:
                digest.update(data)
                file.write(data)

            async for chunk in request.content.iter_any():
                piece += chunk
                if len(piece) >= PIECE:
                    await asyncio.to_thread(keep, bytes(piece))
                    piece.clear()
            await asyncio.to_thread(keep, bytes(piece))
            file.flush()
            await asyncio.to_thread(os.fsync, file.fileno())
        (folder / "bare").unlink()
        return web.Response(status=201, text=digest.hexdigest())

    context = pair.server_context(folder)
    return pair.application("bare", folder, port, context, [web.put("/", receive)])


if __name__ == "__main__":
    os.umask(0o077)
    uvloop.run(pair.serve(receiver(Path(sys.argv[1]), int(sys.argv[2]))))
