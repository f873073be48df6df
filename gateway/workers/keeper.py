"""Sweeps what nobody claimed: blobs and uploads that no message came for (protocol §7)."""

import asyncio
from pathlib import Path

import structlog

from gateway.core.errors import Stale, Unavailable
from gateway.ports import Change, Clock, Store
from gateway.rows import BlobRow, UploadRow
from gateway.store.blobs import BlobFolder

UNCLAIMED_MS = 7 * 24 * 3_600_000
"""How long a blob or upload waits for its message."""

_HOUR_S = 3600.0
_AT_ONCE = 100

_log = structlog.get_logger(__name__)


class Keeper:
    """Keeps the disk free of orphans, in a task of its own."""

    def __init__(self, *, store: Store, blobs: BlobFolder, clock: Clock) -> None:
        self._store = store
        self._blobs = blobs
        self._clock = clock

    async def run(self) -> None:
        """Sweep at start and every hour, until cancelled."""
        while True:
            try:
                await self.sweep()
            except Unavailable:
                _log.warning("keeper.store_unavailable")
            await asyncio.sleep(_HOUR_S)

    async def sweep(self) -> None:
        """Delete what has waited too long: the row first, so that no message can claim it any more."""
        before_ms = self._clock.now_ms() - UNCLAIMED_MS
        while orphans := await self._store.unclaimed_before(before_ms, limit=_AT_ONCE):
            for orphan in orphans:
                try:
                    await self._store.record(Change(name="sweep", deletes=(orphan,)))
                except Stale:
                    continue  # a message has just claimed it
                await asyncio.to_thread(self._blobs.delete, self._path(orphan))
                _log.info("keeper.swept", size_bytes=_size(orphan))

    def _path(self, orphan: BlobRow | UploadRow) -> Path:
        if isinstance(orphan, BlobRow):
            return self._blobs.incoming(orphan.peer, orphan.sha256)
        return self._blobs.outgoing(orphan.blob_sha256)


def _size(orphan: BlobRow | UploadRow) -> int:
    return orphan.size_bytes if isinstance(orphan, BlobRow) else orphan.blob_size_bytes
