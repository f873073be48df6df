"""Attachments on their way out of the gateway: opened chunk by chunk as they are read from disk.

While a chunk goes out the next one is read and opened in a thread. A download has three chunks of 1 MiB
in memory at most; so many run at once, and others wait for them.
"""

import asyncio
import contextlib
import os
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import IO

import structlog
from aiohttp import web

from gateway.core.envelope import Content
from gateway.core.errors import Damaged, Misuse, Unavailable
from gateway.core.message import Attachment
from gateway.core.names import disposition
from gateway.core.strict import b64
from gateway.rows import Direction, MessageRow
from gateway.web.content import log_reading, message_of, stored_content
from gateway.web.context import CONTEXT, Context
from gateway.web.documents import number
from gateway.web.messages import find
from gateway.web.ranges import range_of
from keys.errors import CannotOpen
from keys.stream import CHUNK, TAG, check_length, chunk_count, open_chunk

_SEALED_CHUNK = CHUNK + TAG
_AT_ONCE = 16
_PATIENCE_S = 20.0
_STALL_S = 120.0
_MISSING = "missing"
_CODES: Mapping[type[OSError], str] = {FileNotFoundError: _MISSING}
_OCTETS = "application/octet-stream"

_log = structlog.get_logger(__name__)


class Downloads:
    """The downloads that run in this process."""

    def __init__(self, at_once: int = _AT_ONCE, patience_s: float = _PATIENCE_S) -> None:
        self._slots = asyncio.Semaphore(at_once)
        self._patience_s = patience_s

    @contextlib.asynccontextmanager
    async def admit(self) -> AsyncIterator[None]:
        """Let one download run, once there is room for it.

        Raises:
            Unavailable: there was none in time.
        """
        try:
            async with asyncio.timeout(self._patience_s):
                await self._slots.acquire()
        except TimeoutError:
            raise Unavailable("other attachments are being read") from None
        try:
            yield
        finally:
            self._slots.release()


DOWNLOADS: web.AppKey[Downloads] = web.AppKey("downloads", Downloads)


@dataclass(frozen=True, slots=True)
class _Opened:
    """An attachment whose file is open: chunk *n* of its plain bytes can be asked for."""

    attachment: Attachment
    key: bytes
    file: IO[bytes]
    row: MessageRow
    position: int

    def chunk(self, index: int) -> bytes:
        """Return the plain bytes of one chunk. Blocks. Raises Damaged."""
        with _kept(self.row, self.position):
            sealed = os.pread(self.file.fileno(), _SEALED_CHUNK, index * _SEALED_CHUNK)
            chunks = chunk_count(self.attachment.size)
            return open_chunk(self.key, index, sealed, last=index == chunks - 1, chunks=chunks)


async def attachment(request: web.Request) -> web.StreamResponse:
    """Give the plain bytes of attachment *n* (from 0), or a range of them.

    The reading is logged before a byte leaves. What is altered or cut on disk breaks the
    connection off before the end: nothing but authentic bytes ever leaves.

    Raises:
        Damaged: `attachment_missing`, `attachment_truncated`, `attachment_extended`,
            `attachment_reordered`, `attachment_altered` or `attachment_unreadable`: nothing can be sent.
        Misuse, Unavailable, HTTPRequestRangeNotSatisfiable.
    """
    context, row = request.app[CONTEXT], await find(request)
    _, content = await stored_content(context, row)
    position = number(request.match_info["n"], what="the position of an attachment")
    listed = message_of(content).attachments
    if position >= len(listed):
        raise Misuse(HTTPStatus.NOT_FOUND, "not_found", "the message has no such attachment")
    found = listed[position]
    asked = range_of(request, found.size, _etag(found))
    async with request.app[DOWNLOADS].admit():
        path = await _path(context, row, position, found)
        opened = await asyncio.to_thread(_open, path, row, position, content)
        with opened.file:
            await log_reading(request, row, (("attachment", position),))
            return await _send(request, opened, asked)


async def _send(request: web.Request, opened: _Opened, asked: range | None) -> web.StreamResponse:
    """Send what is asked for. Raises Damaged: before anything was sent."""
    sent = range(opened.attachment.size) if asked is None else asked
    status = HTTPStatus.OK if asked is None else HTTPStatus.PARTIAL_CONTENT
    response = web.StreamResponse(status=status, headers=_headers(opened.attachment, asked))
    response.content_length = len(sent)
    async with contextlib.aclosing(_pieces(opened, sent)) as pieces:
        first = await anext(pieces)  # what does not open at all is told as a problem
        try:
            await response.prepare(request)
            await _write(response, first)
            async for piece in pieces:
                await _write(response, piece)
        except (ConnectionError, TimeoutError, Damaged):  # the reader has gone or takes nothing
            if request.transport is not None:
                request.transport.abort()
    return response


async def _write(response: web.StreamResponse, piece: memoryview) -> None:
    async with asyncio.timeout(_STALL_S):
        await response.write(piece)


async def _pieces(opened: _Opened, sent: range) -> AsyncGenerator[memoryview]:
    """Yield the plain bytes of *sent*, at most a chunk at a time; once, if it is empty.

    The chunk after the one that is out is being opened meanwhile.
    """
    final = max(sent.start, sent.stop - 1) // CHUNK

    def open_ahead(position: int) -> asyncio.Future[bytes]:
        return asyncio.get_running_loop().run_in_executor(None, opened.chunk, position)

    coming = open_ahead(sent.start // CHUNK)
    try:
        for position in range(sent.start // CHUNK, final + 1):
            plain = memoryview(await asyncio.shield(coming))
            if position < final:
                coming = open_ahead(position + 1)
            begin = position * CHUNK
            yield plain[max(sent.start - begin, 0) : sent.stop - begin]
    finally:
        await asyncio.gather(coming, return_exceptions=True)  # its thread reads the file, closed next


def _open(path: Path, row: MessageRow, position: int, content: Content) -> _Opened:
    """Open the file of an attachment. Raises Damaged: not there, or not as long as was signed."""
    found = message_of(content).attachments[position]
    with _kept(row, position), contextlib.ExitStack() as left:
        file = left.enter_context(path.open("rb", buffering=0))
        check_length(os.fstat(file.fileno()).st_size, found.size)
        left.pop_all()
    return _Opened(found, content.blob_keys[found.blob_sha256], file, row, position)


async def _path(context: Context, row: MessageRow, position: int, found: Attachment) -> Path:
    """Return where the file of an attachment lies. Raises Damaged: nothing says where it does."""
    if row.direction is Direction.IN:
        return context.blobs.incoming(row.peer, found.blob_sha256)
    for upload in await context.store.uploads_of([row.id]):
        if upload.blob_sha256 == found.blob_sha256:
            return context.blobs.outgoing(upload.id)
    raise _damaged(row, position, _MISSING)


@contextlib.contextmanager
def _kept(row: MessageRow, position: int) -> Iterator[None]:
    """Tell the operator, and whoever asks, what is wrong with a file. Raises Damaged."""
    try:
        yield
    except (CannotOpen, OSError) as fault:
        code = fault.code if isinstance(fault, CannotOpen) else _CODES.get(type(fault), "unreadable")
        raise _damaged(row, position, code) from None


def _damaged(row: MessageRow, position: int, code: str) -> Damaged:
    """Tell the operator that an attachment is *code*; return what its reader is told."""
    _log.error("attachment.damaged", code=code, peer=row.peer, message_id=row.id, index=position)
    return Damaged(
        f"attachment_{code}", f"the attachment as it is kept here is {code}: restore it from a backup"
    )


def _etag(found: Attachment) -> str:
    return f'"{found.sha256}"'


def _headers(found: Attachment, asked: range | None) -> dict[str, str]:
    """Return headers that have the file saved, whatever its sender called it and says that it is.

    The type that the sender claims is data of the message: no reader of this answer acts on it.
    """
    headers = {
        "Accept-Ranges": "bytes",
        "Content-Disposition": disposition(found.name),
        "Content-Type": _OCTETS,
        "ETag": _etag(found),
        "Repr-Digest": f"sha-256=:{b64(bytes.fromhex(found.sha256))}:",
    }
    if asked is not None:
        headers["Content-Range"] = f"bytes {asked.start}-{asked.stop - 1}/{found.size}"
    return headers
