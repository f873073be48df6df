"""Blobs of peers at the federation door: HEAD and PATCH in one piece (protocol §7).

A blob is written beside its place, hashed on the way, synced with its folder and only then
recorded: a digest under which something can be found is whole. Each peer has its own. What is on
its way counts against quota and disk from the start, so that many at once cannot overrun them.
"""

import asyncio
import contextlib
import errno
from collections import Counter
from collections.abc import Iterator, Sequence

from aiohttp import web

from gateway.core.errors import Malformed, PeerFault, Stale
from gateway.core.ids import AuthorityId, Digest, parse_digest
from gateway.peering.client import BLOB_TYPE
from gateway.peering.directory import PinnedPeer
from gateway.ports import Change
from gateway.rows import BlobRow
from gateway.store.blobs import BlobWriter
from gateway.web.context import CONTEXT, Context
from gateway.web.limits import check_media_type, chunks
from gateway.web.problems import problem_response

_PIECE_BYTES = 1 << 20
_COUNT_DIGITS = 15
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


def blob_routes(peer_key: web.RequestKey[PinnedPeer]) -> Sequence[web.RouteDef]:
    """Return the routes; *peer_key* is where the door's middleware puts the peer."""
    door = _BlobDoor(peer_key)
    path = "/v1/blobs/{sha256}"
    return [web.head(path, door.head), web.patch(path, door.patch, expect_handler=_not_yet)]


async def _not_yet(_request: web.Request) -> None:
    """Leave it to the handler to ask for the body, once it knows that it wants it."""


class _BlobDoor:
    def __init__(self, peer_key: web.RequestKey[PinnedPeer]) -> None:
        self._peer_key = peer_key
        self._writing: set[tuple[AuthorityId, Digest]] = set()
        self._coming: Counter[AuthorityId] = Counter()

    async def head(self, request: web.Request) -> web.Response:
        """Say how much of a blob is here: all of it, or nothing."""
        row = await request.app[CONTEXT].store.get(BlobRow, *self._place(request))
        here = "0" if row is None else str(row.size_bytes)
        length = {} if row is None else {"Upload-Length": here}
        return web.Response(headers={"Upload-Offset": here, "Cache-Control": "no-store", **length})

    async def patch(self, request: web.Request) -> web.Response:
        """Take a blob as a whole."""
        check_media_type(request, BLOB_TYPE)
        context, place = request.app[CONTEXT], self._place(request)
        offset, length = (_count(request.headers.get(name)) for name in ("Upload-Offset", "Upload-Length"))
        row = await context.store.get(BlobRow, *place)
        here = 0 if row is None else row.size_bytes
        if offset != here:
            return _elsewhere("wrong_offset", here)
        if row is not None:
            return _taken(here)
        if request.content_length not in {None, length}:
            raise PeerFault(400, "malformed")
        if place in self._writing:
            return _elsewhere("blob_busy", 0)
        self._writing.add(place)
        try:
            free_bytes = await asyncio.to_thread(context.blobs.free_bytes)
            unclaimed_bytes = await context.store.unclaimed_bytes(place[0])
            with self._room(context, place[0], length, unclaimed_bytes, free_bytes):
                await _ask_for_body(request)
                await _write(request, context, place, length)
        finally:
            self._writing.discard(place)
        return _taken(length)

    @contextlib.contextmanager
    def _room(
        self, context: Context, peer: AuthorityId, length: int, unclaimed_bytes: int, free_bytes: int
    ) -> Iterator[None]:
        """Keep room for *length* more bytes while the block runs.

        Raises:
            PeerFault: 413 `quota`, 507 `storage_full`.
        """
        limits = context.settings.limits
        if unclaimed_bytes + self._coming[peer] + length > limits.peer_unclaimed_bytes:
            raise PeerFault(413, "quota")
        if free_bytes - self._coming.total() - length < limits.free_disk_bytes:
            raise PeerFault(507, "storage_full")
        self._coming[peer] += length
        try:
            yield
        finally:
            self._coming[peer] -= length

    def _place(self, request: web.Request) -> tuple[AuthorityId, Digest]:
        return request[self._peer_key].row.authority, parse_digest(request.match_info["sha256"])


async def _ask_for_body(request: web.Request) -> None:
    if request.headers.get("Expect", "").lower() == "100-continue" and request.transport is not None:
        request.transport.write(_CONTINUE)


async def _write(
    request: web.Request, context: Context, place: tuple[AuthorityId, Digest], length: int
) -> None:
    peer, digest = place
    try:
        with context.blobs.writer() as writer:
            await _copy(request, writer, length)
            if writer.size_bytes != length:
                raise PeerFault(400, "malformed")
            if writer.sha256 != digest:
                raise PeerFault(460, "wrong_digest")
            await asyncio.to_thread(writer.keep, context.blobs.incoming(peer, digest))
    except OSError as error:
        if error.errno in _FULL:
            raise PeerFault(507, "storage_full") from None
        raise
    row = BlobRow(peer=peer, sha256=digest, version=0, size_bytes=length, received_ms=context.clock.now_ms())
    with contextlib.suppress(Stale):  # another process of this authority took the same bytes
        await context.store.record(Change(name="blob", puts=(row,)))


async def _copy(request: web.Request, writer: BlobWriter, length: int) -> None:
    """Copy the body in pieces, each in a thread; memory stays flat."""
    piece = bytearray()
    async for chunk in chunks(request):
        piece += chunk
        if writer.size_bytes + len(piece) > length:
            raise PeerFault(413, "too_large")
        if len(piece) >= _PIECE_BYTES:
            await asyncio.to_thread(writer.write, bytes(piece))
            piece.clear()
    await asyncio.to_thread(writer.write, bytes(piece))


def _count(text: str | None) -> int:
    if text is None or not text.isascii() or not text.isdigit() or len(text) > _COUNT_DIGITS:
        raise Malformed("Upload-Offset and Upload-Length are byte counts")
    return int(text)


def _elsewhere(code: str, offset: int) -> web.Response:
    """Refuse to write here now, and say where a writer would go on."""
    response = problem_response(PeerFault(409, code, members={"offset": offset}))
    response.headers["Upload-Offset"] = str(offset)
    return response


def _taken(size: int) -> web.Response:
    return web.Response(status=204, headers={"Upload-Offset": str(size)})
