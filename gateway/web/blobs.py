"""Blobs of peers at the federation door: HEAD and PATCH in one piece (protocol §7).

A blob is written beside its place, hashed on the way, synced with its folder and only then
recorded: a digest under which something can be found is whole. Each peer has its own.
"""

import asyncio
from collections.abc import Sequence

from aiohttp import web

from gateway.core.errors import Malformed, PeerFault, Stale
from gateway.core.ids import AuthorityId, Digest, parse_digest
from gateway.peering.client import BLOB_TYPE
from gateway.peering.directory import PinnedPeer
from gateway.ports import BlobRow, Change
from gateway.store.blobs import BlobWriter
from gateway.web.context import CONTEXT, Context
from gateway.web.limits import check_media_type

_PIECE_BYTES = 1 << 20


def blob_routes(peer_key: web.RequestKey[PinnedPeer]) -> Sequence[web.RouteDef]:
    """Return the routes; *peer_key* is where the door's middleware puts the peer."""
    door = _BlobDoor(peer_key)
    return [web.head("/v1/blobs/{sha256}", door.head), web.patch("/v1/blobs/{sha256}", door.patch)]


class _BlobDoor:
    def __init__(self, peer_key: web.RequestKey[PinnedPeer]) -> None:
        self._peer_key = peer_key
        self._writing: set[tuple[AuthorityId, Digest]] = set()

    async def head(self, request: web.Request) -> web.Response:
        """Say how much of a blob is here: all of it, or nothing."""
        row = await request.app[CONTEXT].store.get(BlobRow, *self._place(request))
        if row is None:
            raise PeerFault(404, "not_found")
        size = str(row.size_bytes)
        return web.Response(headers={"Upload-Offset": size, "Upload-Length": size})

    async def patch(self, request: web.Request) -> web.Response:
        """Take a blob as a whole."""
        check_media_type(request, BLOB_TYPE)
        context, place = request.app[CONTEXT], self._place(request)
        offset, length = (_count(request.headers.get(name)) for name in ("Upload-Offset", "Upload-Length"))
        row = await context.store.get(BlobRow, *place)
        here = 0 if row is None else row.size_bytes
        if offset != here:
            raise PeerFault(409, "wrong_offset", members={"offset": here})
        if row is not None:
            return _taken(here)
        await _check_room(context, place[0], length)
        if place in self._writing:
            raise PeerFault(409, "blob_busy", members={"offset": 0})
        self._writing.add(place)
        try:
            await _write(request, context, place, length)
        finally:
            self._writing.discard(place)
        return _taken(length)

    def _place(self, request: web.Request) -> tuple[AuthorityId, Digest]:
        return request[self._peer_key].row.authority, parse_digest(request.match_info["sha256"])


async def _check_room(context: Context, peer: AuthorityId, length: int) -> None:
    limits = context.settings.limits
    if await context.store.unclaimed_bytes(peer) + length > limits.peer_unclaimed_bytes:
        raise PeerFault(413, "quota")
    if await asyncio.to_thread(context.blobs.free_bytes) - length < limits.free_disk_bytes:
        raise PeerFault(507, "storage_full")


async def _write(
    request: web.Request, context: Context, place: tuple[AuthorityId, Digest], length: int
) -> None:
    peer, digest = place
    with context.blobs.writer() as writer:
        await _copy(request, writer, length)
        if writer.size_bytes != length:
            raise PeerFault(400, "malformed")
        if writer.sha256 != digest:
            raise PeerFault(460, "wrong_digest")
        await asyncio.to_thread(writer.keep, context.blobs.incoming(peer, digest))
    row = BlobRow(peer=peer, sha256=digest, version=0, size_bytes=length, received_ms=context.clock.now_ms())
    try:
        await context.store.record(Change(name="blob", puts=(row,)))
    except Stale:
        return  # another process of this authority took the same blob: the same bytes


async def _copy(request: web.Request, writer: BlobWriter, length: int) -> None:
    """Copy the body in pieces, each in a thread; memory stays flat."""
    piece = bytearray()
    async for chunk in request.content.iter_any():
        piece += chunk
        if writer.size_bytes + len(piece) > length:
            raise PeerFault(413, "too_large")
        if len(piece) >= _PIECE_BYTES:
            await asyncio.to_thread(writer.write, bytes(piece))
            piece.clear()
    await asyncio.to_thread(writer.write, bytes(piece))


def _count(text: str | None) -> int:
    if text is None or not text.isascii() or not text.isdigit() or len(text) > 15:  # noqa: PLR2004 - 2^53
        raise Malformed("Upload-Offset and Upload-Length are byte counts")
    return int(text)


def _taken(size: int) -> web.Response:
    return web.Response(status=204, headers={"Upload-Offset": str(size)})
