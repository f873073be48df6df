"""Attachments on their way out of the gateway: opened chunk by chunk as they are read from disk."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote

import structlog
from aiohttp import web

from gateway.core.envelope import Content
from gateway.core.errors import Misuse
from gateway.core.message import Attachment
from gateway.core.strict import b64
from gateway.rows import Direction, MessageRow
from gateway.web.content import log_reading, message_of, stored_content
from gateway.web.context import CONTEXT, Context
from gateway.web.documents import number
from gateway.web.messages import find
from keys.errors import CannotOpen
from keys.stream import CHUNK, TAG, open_chunk

_SEALED_CHUNK = CHUNK + TAG

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Opened:
    """An attachment whose file is open: chunk *n* of its plain bytes can be asked for."""

    attachment: Attachment
    key: bytes
    file: BinaryIO

    def chunk(self, position: int) -> bytes:
        """Return the plain bytes of one chunk. Blocks. Raises CannotOpen."""
        self.file.seek(position * _SEALED_CHUNK)
        sealed = self.file.read(_SEALED_CHUNK)
        return open_chunk(self.key, position, sealed, last=position == self._last)

    @property
    def _last(self) -> int:
        return max(0, -(-self.attachment.size // CHUNK) - 1)


async def attachment(request: web.Request) -> web.StreamResponse:
    """Give the plain bytes of attachment *n* (from 0), or a range of them.

    The reading is logged before a byte leaves. What is altered or cut on disk breaks the
    connection off before the end: nothing but authentic bytes ever leaves.
    """
    context, row = request.app[CONTEXT], await find(request)
    _, content = await stored_content(context, row)
    position = number(request.match_info["n"], what="the position of an attachment")
    listed = message_of(content).attachments
    if position >= len(listed):
        raise Misuse(HTTPStatus.NOT_FOUND, "not_found", "the message has no such attachment")
    found = listed[position]
    asked = _range(request, found.size)
    opened = await asyncio.to_thread(_open, await _path(context, row, found), found, content)
    with opened.file:
        await log_reading(request, row, (("attachment", position),))
        return await _send(request, opened, asked)


async def _send(request: web.Request, opened: _Opened, asked: range | None) -> web.StreamResponse:
    sent = range(opened.attachment.size) if asked is None else asked
    status = HTTPStatus.OK if asked is None else HTTPStatus.PARTIAL_CONTENT
    response = web.StreamResponse(status=status, headers=_headers(opened.attachment, asked))
    response.content_length = len(sent)
    pieces = _pieces(opened, sent)
    first = await anext(pieces)  # what does not open at all is told as a problem
    await response.prepare(request)
    try:
        await response.write(first)
        async for piece in pieces:
            await response.write(piece)
    except ConnectionError:
        return response  # the reader has gone
    except (CannotOpen, OSError) as fault:
        _log.error("attachment_broken", error=type(fault).__qualname__)
        if request.transport is not None:
            request.transport.abort()
    return response


async def _pieces(opened: _Opened, sent: range) -> AsyncIterator[bytes]:
    """Yield the plain bytes of *sent*, at most a chunk at a time; once, if it is empty."""
    for position in range(sent.start // CHUNK, max(sent.start, sent.stop - 1) // CHUNK + 1):
        plain = await asyncio.to_thread(opened.chunk, position)
        begin = position * CHUNK
        yield plain[max(sent.start - begin, 0) : sent.stop - begin]


def _open(path: Path, found: Attachment, content: Content) -> _Opened:
    return _Opened(found, content.blob_keys[found.blob_sha256], path.open("rb"))


async def _path(context: Context, row: MessageRow, found: Attachment) -> Path:
    if row.direction is Direction.IN:
        return context.blobs.incoming(row.peer, found.blob_sha256)
    uploads = await context.store.uploads_of([row.id])
    return context.blobs.outgoing(next(one.id for one in uploads if one.blob_sha256 == found.blob_sha256))


def _headers(found: Attachment, asked: range | None) -> dict[str, str]:
    """Return headers that make a browser save the file, whatever the sender called it."""
    headers = {
        "Accept-Ranges": "bytes",
        "Content-Disposition": f"attachment; filename*=UTF-8''{quote(found.name, safe='')}",
        "Content-Type": found.media_type,
        "ETag": f'"{found.sha256}"',
        "Repr-Digest": f"sha-256=:{b64(bytes.fromhex(found.sha256))}:",
    }
    if asked is not None:
        headers["Content-Range"] = f"bytes {asked.start}-{asked.stop - 1}/{found.size}"
    return headers


def _range(request: web.Request, size: int) -> range | None:
    """Return the bytes that a Range asks for; None without one.

    Raises:
        Misuse: 416: more than one range, or none that the attachment has.
    """
    try:
        asked = request.http_range
    except ValueError:
        raise _unsatisfiable(size) from None
    if asked.start is None and asked.stop is None:
        return None
    start, stop, _ = asked.indices(size)
    if start >= stop:
        raise _unsatisfiable(size)
    return range(start, stop)


def _unsatisfiable(size: int) -> Misuse:
    return Misuse(
        HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE,
        "range_not_satisfiable",
        "one range of bytes that the attachment has",
        members={"size": size},
    )
