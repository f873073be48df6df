"""Bringing uploads: how far each has come, and the row that it becomes when it is whole.

Whatever is done with an upload runs in a task of its own to its end, since threads work on its files: a
request that is gone leaves what came.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Coroutine
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import structlog
from aiohttp import web

from gateway.core import custody
from gateway.core.custody import UploadKeys
from gateway.core.errors import GatewayFault, Misuse, PeerFault, Stale
from gateway.core.ids import Digest
from gateway.ports import Change
from gateway.rows import UploadRow
from gateway.store.sealed import SealedUpload
from gateway.web.bodies import Body, pieces
from gateway.web.context import Context
from gateway.web.holding import Holding, not_found
from gateway.web.room import check_upload_room
from gateway.web.tus import Checksum
from gateway.web.works import Works
from keys.rest import Box
from keys.stream import new_stream_key, sealed_size
from keys.tail import new_tail_key

_Outcome = TypeVar("_Outcome")

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Standing:
    """How far an upload has come; `plain_sha256` is what it is once it is whole."""

    row: UploadRow
    offset: int
    plain_sha256: Digest | None = None


class Uploads:
    """The uploads that come in through this process."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._holding = Holding(context)
        self._beginning = asyncio.Lock()
        self._tasks: set[asyncio.Task[Any]] = set()

    async def begin(self, request: web.Request, length: int, checksum: Checksum | None) -> Standing:
        """Return a new upload of *length* bytes, of which the body of *request* is the beginning.

        One that fails is not begun: nobody was told of it.

        Raises:
            Misuse, PeerFault: no room, or as `bring`.
        """
        return await self._ended(self._begin(request, length, checksum))

    async def bring(
        self, request: web.Request, upload: str, offset: int, checksum: Checksum | None
    ) -> Standing:
        """Take the body of *request*, which begins at *offset*; what came stays, however it ends.

        Raises:
            Misuse: 404 `not_found`, 409 `wrong_offset`, 410 `upload_expired` or `other_content`, 423
                `upload_busy`, 460 `checksum_mismatch`.
            PeerFault: 413 `too_large`: more than was announced; 507 `storage_full`.
        """
        return await self._ended(self._bring(request, upload, offset, checksum))

    async def look(self, upload: str) -> Standing:
        """Return how far an upload has come. Raises Misuse: 404, 410 or 423, as `bring`."""
        return await self._ended(self._look(upload))

    async def end(self, upload: str) -> None:
        """Delete an upload that no message carries.

        Raises:
            Misuse: 404 `not_found`, 409 `upload_claimed`, 423 `upload_busy`.
        """
        await self._ended(self._end(upload))

    async def close(self) -> None:
        """Wait for what is under way: its connections are gone."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def _ended(self, doing: Coroutine[Any, Any, _Outcome]) -> _Outcome:
        """Return the outcome of *doing*, which goes on when the caller is cancelled."""
        task = asyncio.create_task(doing)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            task.add_done_callback(_unheard)
            raise

    # -- the four acts

    async def _begin(self, request: web.Request, length: int, checksum: Checksum | None) -> Standing:
        context, size_bytes = self._context, sealed_size(length)
        upload, keys = context.entropy.uuid4(), UploadKeys(new_stream_key(), new_tail_key())
        box = custody.box_unfinished(context.keyring().storage, upload, keys)
        row = UploadRow(
            id=upload,
            version=0,
            size_bytes=length,
            blob_sha256=None,
            blob_size_bytes=size_bytes,
            stored_ms=context.clock.now_ms(),
            wrapped_key=box.wrapped_key,
            ciphertext=box.ciphertext,
        )
        async with self._beginning:
            await check_upload_room(context, size_bytes)
            await context.store.record(Change(name="upload", puts=(row,)))
        try:
            return await self._bring(request, upload, 0, checksum)
        except BaseException:
            with contextlib.suppress(Misuse):
                await self._end(upload)
            raise

    async def _bring(
        self, request: web.Request, upload: str, offset: int, checksum: Checksum | None
    ) -> Standing:
        async with self._holding.held(upload) as row:
            if row.blob_sha256 is not None:
                standing = self._whole(row)
                _check(request, offset, standing)
                return standing
            async with self._holding.opened(row) as sealed:
                _check(request, offset, Standing(row, sealed.offset))
                if not sealed.is_whole:
                    body = Body(request, row.size_bytes - offset)
                    async with body.read(checksum, self._context.blobs) as came:
                        await self._pour(row, sealed, pieces(came, offset))
                    standing = await self._settled(row, sealed)
                    body.check()
                    return standing
                return await self._settled(row, sealed)

    async def _look(self, upload: str) -> Standing:
        async with self._holding.held(upload) as row:
            if row.blob_sha256 is not None:
                return self._whole(row)
            async with self._holding.opened(row) as sealed:
                return await self._settled(row, sealed)

    async def _end(self, upload: str) -> None:
        async with self._holding.held(upload) as row:
            if row.claimed_by is not None:
                raise _claimed()
            await self._delete(row)

    def _whole(self, row: UploadRow) -> Standing:
        box = Box(row.wrapped_key, row.ciphertext)
        secrets = custody.open_upload(self._context.keyring().storage, row.id, box)
        return Standing(row, row.size_bytes, secrets.plain_sha256)

    # -- taking

    async def _pour(self, row: UploadRow, sealed: SealedUpload, coming: AsyncGenerator[bytes]) -> None:
        """Take the pieces that are *coming*. If they are not what was announced, nothing is kept for good.

        Raises:
            Misuse: 410 `other_content`.
            PeerFault: 413 `too_large`.
        """
        works = Works(sealed)
        try:
            async with contextlib.aclosing(coming):
                try:
                    async for piece in coming:
                        await works.take(piece)
                finally:
                    await works.done()
        except (Misuse, PeerFault):
            await self._delete(row)
            raise

    async def _settled(self, row: UploadRow, sealed: SealedUpload) -> Standing:
        """Make durable what came; record the upload as whole if it is."""
        await asyncio.to_thread(sealed.settle)
        if not sealed.is_whole:
            return Standing(row, sealed.offset)
        context, plain_sha256 = self._context, sealed.plain_sha256
        box = custody.box_upload(context.keyring().storage, row.id, sealed.stream_key, plain_sha256)
        whole = replace(
            row,
            blob_sha256=sealed.blob_sha256,
            stored_ms=context.clock.now_ms(),
            wrapped_key=box.wrapped_key,
            ciphertext=box.ciphertext,
        )
        try:
            await context.store.record(Change(name="upload", puts=(whole,)))
        except Stale:
            raise not_found() from None  # it was swept meanwhile
        await asyncio.to_thread(context.blobs.delete, context.blobs.tail(row.id))
        return Standing(whole, sealed.offset, plain_sha256)

    async def _delete(self, row: UploadRow) -> None:
        """Delete an upload: the row first, so that no message can claim it any more.

        Another process that has its files open writes into what has no name any more.
        """
        try:
            await self._context.store.record(Change(name="upload", deletes=(row,)))
        except Stale:
            raise _claimed() from None
        await self._holding.delete_files(row)


def _unheard(task: asyncio.Task[Any]) -> None:
    """Log what nobody foresaw and nobody else hears of: the caller has gone."""
    fault = None if task.cancelled() else task.exception()
    if fault is not None and not isinstance(fault, GatewayFault):
        _log.error("uploads.unheard", error=type(fault).__qualname__)


def _check(request: web.Request, offset: int, standing: Standing) -> None:
    """Raise Misuse or PeerFault unless the body of *request* begins where the upload ends, and fits."""
    if offset != standing.offset:
        members = {"offset": standing.offset}
        raise Misuse(409, "wrong_offset", "the upload ends elsewhere", members=members)
    if (request.content_length or 0) > standing.row.size_bytes - offset:
        raise PeerFault(413, "too_large")


def _claimed() -> Misuse:
    return Misuse(409, "upload_claimed", "a message carries this upload")
