"""The body of a request that brings a part of an upload: as it comes, or once its checksum held."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator

from aiohttp import ClientPayloadError, web
from aiohttp.http_exceptions import HttpProcessingError

from gateway.core.errors import Misuse, PeerFault, Unavailable
from gateway.store.blobs import BlobFolder, GrowingBlob
from gateway.web.limits import chunks
from gateway.web.tus import Checksum, new_hash
from keys.stream import CHUNK, TAG, new_stream_key, open_chunk, seal_chunk

_PIECE_BYTES = 2 * CHUNK
_SEALED_CHUNK = CHUNK + TAG
_BROKEN = (OSError, ClientPayloadError, HttpProcessingError)
"""What aiohttp says when a connection is gone, or its end is not that of the body."""


async def pieces(came: AsyncIterator[bytes], offset: int) -> AsyncGenerator[bytes]:
    """Yield what *came*, from *offset* of its upload on, cut where chunks end; the last may be short."""
    parts: list[memoryview] = []
    missing = _PIECE_BYTES - offset % CHUNK
    async for data in came:
        view = memoryview(data)
        while len(view) >= missing:
            parts.append(view[:missing])
            yield b"".join(parts)
            parts, view, missing = [], view[missing:], _PIECE_BYTES
        parts.append(view)
        missing -= len(view)
    if rest := b"".join(parts):
        yield rest


class Body:
    """What a request brings, of which no more than *most_bytes* are taken."""

    def __init__(self, request: web.Request, most_bytes: int) -> None:
        self._request = request
        self._left = most_bytes
        self._broke: Unavailable | None = None

    def check(self) -> None:
        """Raise Unavailable if the body broke off."""
        if self._broke is not None:
            raise self._broke

    @contextlib.asynccontextmanager
    async def read(
        self, checksum: Checksum | None, blobs: BlobFolder
    ) -> AsyncIterator[AsyncGenerator[bytes]]:
        """Give what comes; with a *checksum* once all of it is here, and what it should be.

        Until then it rests in a file without a name, sealed under a key that only this process has: were
        it sealed under the key of its upload and then thrown away, other bytes would come under its
        counters. Without a checksum the body just ends when it breaks off: see `check`.

        Raises:
            PeerFault: 413 `too_large`, from what was given if there is no checksum.
            Misuse: 460 `checksum_mismatch`.
            Unavailable: it broke off, and there is a checksum.
        """
        if checksum is None:
            yield self._coming()
            return
        with blobs.passing() as file:
            stage = _Stage(file, checksum)
            async with contextlib.aclosing(pieces(self._coming(), 0)) as coming:
                async for piece in coming:
                    await asyncio.to_thread(stage.add, piece)
            self.check()
            stage.check()
            yield stage.read()

    async def _coming(self) -> AsyncGenerator[bytes]:
        try:
            async for data in chunks(self._request):
                self._left -= len(data)
                if self._left < 0:
                    raise PeerFault(413, "too_large")
                yield data
        except Unavailable as fault:
            self._broke = fault
        except _BROKEN:
            self._broke = Unavailable("the connection broke off")


class _Stage:
    """A body that waits for its checksum."""

    def __init__(self, file: GrowingBlob, checksum: Checksum) -> None:
        self._file, self._checksum = file, checksum
        self._hash = new_hash(checksum.algorithm)
        self._key = new_stream_key()
        self._chunks = 0

    def add(self, piece: bytes) -> None:
        """Take a piece of whole chunks; only the last may be another. Blocks."""
        self._hash.update(piece)
        for begin in range(0, len(piece), CHUNK):
            chunk = memoryview(piece)[begin : begin + CHUNK]
            self._file.append(seal_chunk(self._key, self._chunks, chunk, last=len(chunk) < CHUNK))
            self._chunks += 1

    def check(self) -> None:
        """Raise Misuse unless all that came has the checksum."""
        if self._hash.digest() != self._checksum.digest:
            text = "the bytes are not those of the checksum: send them again"
            raise Misuse(460, "checksum_mismatch", text)

    async def read(self) -> AsyncGenerator[bytes]:
        """Yield what came."""
        for position in range(self._chunks):
            yield await asyncio.to_thread(self._open, position)

    def _open(self, position: int) -> bytes:
        sealed = self._file.read(position * _SEALED_CHUNK, _SEALED_CHUNK)
        return open_chunk(self._key, position, sealed, last=len(sealed) < _SEALED_CHUNK)
