"""Holding an upload: by one request at a time, in this process and among all of the authority's.

A second request waits for a moment (`turns`), then is told that the upload is busy. What is known of an
upload that is not whole is remembered: else its files are read again.
"""

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import AsyncIterator

from gateway.core import custody
from gateway.core.errors import Misuse
from gateway.rows import UploadRow
from gateway.store.sealed import SealedUpload
from gateway.web.context import Context
from gateway.web.room import disk_fault
from gateway.web.turns import Turns
from keys.rest import Box

_MOST_REMEMBERED = 64


class Holding:
    """Who holds which upload in this process."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self.turns = Turns()
        self._remembered: OrderedDict[str, SealedUpload] = OrderedDict()

    @contextlib.asynccontextmanager
    async def held(self, upload: str) -> AsyncIterator[UploadRow]:
        """Keep the upload to the block within this process. Raises Misuse: 404, 410, 423."""
        async with contextlib.AsyncExitStack() as held:
            try:
                await held.enter_async_context(self.turns.turn(upload))
            except TimeoutError:
                raise _busy() from None
            yield await self._row(upload)

    @contextlib.asynccontextmanager
    async def opened(self, row: UploadRow) -> AsyncIterator[SealedUpload]:
        """Keep the files of an upload to the block among all processes.

        Raises:
            Misuse: 423 `upload_busy`, 404 `not_found`: another process has it, or had it a moment ago.
            PeerFault: 507 `storage_full`.
        """
        sealed = self._remembered.pop(row.id, None) or self._fresh(row)
        try:
            await asyncio.to_thread(sealed.open)
        except BlockingIOError:
            raise _busy() from None
        except OSError as error:
            raise disk_fault(error) from None
        try:
            here = await self._context.store.get(UploadRow, row.id)
            if here is None:
                await self.delete_files(row)
                raise not_found()
            if here != row:
                raise _busy()
            yield sealed
        except OSError as error:
            raise disk_fault(error) from None
        finally:
            await asyncio.to_thread(sealed.close)
            self._remember(row, sealed)

    def _remember(self, row: UploadRow, sealed: SealedUpload) -> None:
        """Keep what is known of an upload that is not whole: else its files are read again."""
        if not sealed.is_whole:
            self._remembered[row.id] = sealed
            if len(self._remembered) > _MOST_REMEMBERED:
                self._remembered.popitem(last=False)

    def _fresh(self, row: UploadRow) -> SealedUpload:
        box = Box(row.wrapped_key, row.ciphertext)
        keys = custody.open_unfinished(self._context.keyring().storage, row.id, box)
        return SealedUpload(self._context.blobs, row.id, row.size_bytes, keys)

    async def _row(self, upload: str) -> UploadRow:
        row = await self._context.store.get(UploadRow, upload)
        if row is None:
            raise not_found()
        if row.claimed_by is None and row.expires_ms <= self._context.clock.now_ms():
            raise Misuse(410, "upload_expired", "nothing came of this upload in time: begin it anew")
        return row

    async def delete_files(self, row: UploadRow) -> None:
        """Delete what lies on disk of an upload whose row is gone."""
        blobs = self._context.blobs
        for path in (blobs.outgoing(row.id), blobs.tail(row.id)):
            await asyncio.to_thread(blobs.delete, path)


def not_found() -> Misuse:
    """Return what is said of an upload that is not here."""
    return Misuse(404, "not_found", "there is no such upload here")


def _busy() -> Misuse:
    return Misuse(423, "upload_busy", "another request is bringing this upload")
