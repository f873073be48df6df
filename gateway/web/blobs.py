"""Blobs of peers at the federation door: HEAD and PATCH, taken up where they end (protocol §7).

A blob lies in its place from the first byte on, and a row says how long it will be; it is whole once a
row says that too, after its digest was compared. Each peer has its own. What was announced counts
against quota and disk from the start, so that many at once cannot overrun them.

What came stays, whatever becomes of the connection.
"""

import asyncio
import contextlib
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

from aiohttp import web

from gateway.core.errors import Malformed, PeerFault, Stale
from gateway.core.ids import AuthorityId, Digest, parse_digest
from gateway.peering.client import BLOB_TYPE
from gateway.peering.directory import PinnedPeer
from gateway.ports import Change
from gateway.rows import BlobRow
from gateway.store.arrivals import ArrivingBlob
from gateway.web.bodies import Body, pieces
from gateway.web.context import CONTEXT, Context
from gateway.web.limits import check_media_type
from gateway.web.problems import problem_response
from gateway.web.room import check_blob_room, disk_fault
from gateway.web.turns import Turns
from gateway.web.works import Works

_COUNT_DIGITS = 15
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_MOST_REMEMBERED = 64
_AT_ONCE, _AT_ONCE_OF_PEER = 12, 4
_BUSY_S = 2

_Place = tuple[AuthorityId, Digest]


def blob_routes(peer_key: web.RequestKey[PinnedPeer]) -> Sequence[web.RouteDef]:
    """Return the routes; *peer_key* is where the door's middleware puts the peer."""
    door = _BlobDoor(peer_key)
    path = "/v1/blobs/{sha256}"
    return [web.head(path, door.head), web.patch(path, door.patch, expect_handler=_not_yet)]


async def _not_yet(_request: web.Request) -> None:
    """Leave it to the handler to ask for the body, once it knows that it wants it."""


class _Elsewhere(Exception):
    """The body does not go on where the blob ends, or another one is bringing it."""

    def __init__(self, code: str, offset: int) -> None:
        super().__init__(code)
        self.code, self.offset = code, offset


class _BlobDoor:
    def __init__(self, peer_key: web.RequestKey[PinnedPeer]) -> None:
        self._peer_key = peer_key
        self._turns = Turns()
        self._remembered: OrderedDict[_Place, ArrivingBlob] = OrderedDict()
        self._running: Counter[AuthorityId] = Counter()
        self._beginning = asyncio.Lock()

    async def head(self, request: web.Request) -> web.Response:
        """Say how much of a blob is here, and durable."""
        context, place = request.app[CONTEXT], self._place(request)
        row = await context.store.get(BlobRow, *place)
        here = await self._here(context, row)
        length = {} if row is None else {"Upload-Length": str(row.size_bytes)}
        return web.Response(headers={"Upload-Offset": str(here), "Cache-Control": "no-store", **length})

    async def patch(self, request: web.Request) -> web.Response:
        """Take a blob from where it ends."""
        check_media_type(request, BLOB_TYPE)
        place = self._place(request)
        offset, length = (_count(request.headers.get(name)) for name in ("Upload-Offset", "Upload-Length"))
        if offset + (request.content_length or 0) > length:
            raise PeerFault(413, "too_large")
        try:
            async with self._admitted(place[0]), self._turn(request.app[CONTEXT], place):
                here = await self._take(request, place, offset, length)
        except _Elsewhere as fault:
            response = problem_response(PeerFault(409, fault.code, members={"offset": fault.offset}))
            response.headers["Upload-Offset"] = str(fault.offset)
            return response
        return web.Response(status=204, headers={"Upload-Offset": str(here)})

    async def _take(self, request: web.Request, place: _Place, offset: int, length: int) -> int:
        """Take the body of *request*; return where the blob ends then."""
        context = request.app[CONTEXT]
        row = await context.store.get(BlobRow, *place)
        if row is not None and row.whole_ms is not None:
            if offset != row.size_bytes:
                raise _Elsewhere("wrong_offset", row.size_bytes)
            return row.size_bytes
        if row is not None and row.size_bytes != length:
            raise PeerFault(409, "wrong_length")
        if row is None and offset:
            raise _Elsewhere("wrong_offset", 0)
        try:
            row = row or await self._announced(context, place, length)
            async with self._open(context, place) as blob:
                if offset != blob.offset:
                    raise _Elsewhere("wrong_offset", blob.offset)
                await self._pour(request, row, blob)
                return blob.offset
        except OSError as error:
            raise disk_fault(error) from None

    async def _announced(self, context: Context, place: _Place, length: int) -> BlobRow:
        """Record that a blob of *length* bytes is to come, if there is room for it. Raises PeerFault."""
        peer, digest = place
        now_ms = context.clock.now_ms()
        row = BlobRow(peer=peer, sha256=digest, version=0, size_bytes=length, received_ms=now_ms)
        async with self._beginning:
            await check_blob_room(context, peer, length)
            try:
                await context.store.record(Change(name="blob", puts=(row,)))
            except Stale:  # through another process of this authority
                raise _Elsewhere("blob_busy", 0) from None
        return replace(row, version=1)

    @contextlib.asynccontextmanager
    async def _open(self, context: Context, place: _Place) -> AsyncIterator[ArrivingBlob]:
        """Keep the file of a blob to the block among all processes."""
        path = context.blobs.incoming(*place)
        blob = self._remembered.pop(place, None) or ArrivingBlob(context.blobs, path)
        try:
            await asyncio.to_thread(blob.open)
        except BlockingIOError:
            raise _Elsewhere("blob_busy", await asyncio.to_thread(context.blobs.synced_bytes, path)) from None
        try:
            yield blob
        finally:
            await asyncio.to_thread(blob.close)
            self._remembered[place] = blob
            if len(self._remembered) > _MOST_REMEMBERED:
                self._remembered.popitem(last=False)

    async def _pour(self, request: web.Request, row: BlobRow, blob: ArrivingBlob) -> None:
        """Take the body; record the blob as whole if it is.

        Raises:
            PeerFault: 413 `too_large`, 460 `wrong_digest`: what came is deleted.
            Unavailable: the body broke off; what came stays.
            OSError: no room, say; what came stays.
        """
        context, body, works = request.app[CONTEXT], Body(request, row.size_bytes - blob.offset), Works(blob)
        if blob.offset < row.size_bytes:
            await _ask_for_body(request)
            try:
                async with (
                    body.read(None, context.blobs) as came,
                    contextlib.aclosing(pieces(came, blob.offset)) as coming,
                ):
                    try:
                        async for piece in coming:
                            await works.take(piece)
                    finally:
                        await works.done()
            except PeerFault:
                await self._delete(context, row)
                raise
            await asyncio.to_thread(blob.sync)
        if blob.offset == row.size_bytes:
            if blob.sha256 != row.sha256:
                await self._delete(context, row)
                raise PeerFault(460, "wrong_digest")
            whole = replace(row, whole_ms=context.clock.now_ms())
            try:
                await context.store.record(Change(name="blob", puts=(whole,)))
            except Stale:  # it was swept meanwhile
                raise _Elsewhere("wrong_offset", 0) from None
        body.check()

    async def _delete(self, context: Context, row: BlobRow) -> None:
        """Delete a blob that is not what was announced: the row first."""
        with contextlib.suppress(Stale):
            await context.store.record(Change(name="blob", deletes=(row,)))
        await asyncio.to_thread(context.blobs.delete, context.blobs.incoming(row.peer, row.sha256))

    async def _here(self, context: Context, row: BlobRow | None) -> int:
        """Return how much of a blob is here and durable."""
        if row is None:
            return 0
        if row.whole_ms is not None:
            return row.size_bytes
        path = context.blobs.incoming(row.peer, row.sha256)
        return await asyncio.to_thread(context.blobs.synced_bytes, path)

    @contextlib.asynccontextmanager
    async def _turn(self, context: Context, place: _Place) -> AsyncIterator[None]:
        """Keep the blob to the block within this process. Raises _Elsewhere."""
        async with contextlib.AsyncExitStack() as held:
            try:
                await held.enter_async_context(self._turns.turn(place))
            except TimeoutError:
                row = await context.store.get(BlobRow, *place)
                raise _Elsewhere("blob_busy", await self._here(context, row)) from None
            yield

    @contextlib.asynccontextmanager
    async def _admitted(self, peer: AuthorityId) -> AsyncIterator[None]:
        """Let one more blob of *peer* come. Raises PeerFault: 429 `rate_limited`."""
        if self._running[peer] >= _AT_ONCE_OF_PEER or self._running.total() >= _AT_ONCE:
            raise PeerFault(429, "rate_limited", retry_after_s=_BUSY_S)
        self._running[peer] += 1
        try:
            yield
        finally:
            self._running[peer] -= 1

    def _place(self, request: web.Request) -> _Place:
        return request[self._peer_key].row.authority, parse_digest(request.match_info["sha256"])


async def _ask_for_body(request: web.Request) -> None:
    if request.headers.get("Expect", "").lower() == "100-continue" and request.transport is not None:
        request.transport.write(_CONTINUE)


def _count(text: str | None) -> int:
    if text is None or not text.isascii() or not text.isdigit() or len(text) > _COUNT_DIGITS:
        raise Malformed("Upload-Offset and Upload-Length are byte counts")
    return int(text)
