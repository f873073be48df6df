"""Sweeps what nobody claimed: blobs and uploads that no message came for (protocol §7).

What did not become whole goes by the same rule. A file that belongs to no row that needs it is the trace of
a process that ended between the row and the file.
"""

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import structlog

from gateway.core.errors import Stale, Unavailable
from gateway.ports import Change, Clock, Store
from gateway.rows import UNCLAIMED_MS, BlobRow, UploadRow
from gateway.store.blobs import BlobFolder

_STRAY_MS = 24 * 3_600_000
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
                    continue  # a message has just claimed it, or more of it has come
                for path in self._paths(orphan):
                    await asyncio.to_thread(self._blobs.delete, path)
                _log.info("keeper.swept", size_bytes=_size(orphan))
        before_s = (self._clock.now_ms() - _STRAY_MS) / 1000
        await self._sweep_strays(UploadRow, await asyncio.to_thread(self._blobs.idle_uploads, before_s))
        await self._sweep_strays(BlobRow, await asyncio.to_thread(self._blobs.idle_blobs, before_s))

    async def _sweep_strays(
        self, kind: type[BlobRow | UploadRow], idle: Mapping[tuple[str, ...], Sequence[Path]]
    ) -> None:
        """Delete files that no row needs, unless somebody is writing them."""
        for keys in _batched(idle):
            found = await self._store.get_many(kind, keys)
            needed = {path for row in found.values() for path in self._needed(row)}
            for path in (path for key in keys for path in idle[key] if path not in needed):
                if await asyncio.to_thread(self._blobs.delete_idle, path):
                    _log.info("keeper.stray_swept")

    def _paths(self, row: BlobRow | UploadRow) -> tuple[Path, ...]:
        """Return every file that there may be of *row*."""
        if isinstance(row, BlobRow):
            return (self._blobs.incoming(row.peer, row.sha256),)
        return self._blobs.outgoing(row.id), self._blobs.tail(row.id)

    def _needed(self, row: BlobRow | UploadRow) -> tuple[Path, ...]:
        """Return the files that *row* needs: a whole upload has no tail any more."""
        paths = self._paths(row)
        return paths[:1] if isinstance(row, UploadRow) and row.blob_sha256 is not None else paths


def _batched(keys: Iterable[tuple[str, ...]]) -> Iterator[Sequence[tuple[str, ...]]]:
    """Yield *keys*, so many at a time as one question takes."""
    left = list(keys)
    for begin in range(0, len(left), _AT_ONCE):
        yield left[begin : begin + _AT_ONCE]


def _size(orphan: BlobRow | UploadRow) -> int:
    return orphan.size_bytes if isinstance(orphan, BlobRow) else orphan.blob_size_bytes
