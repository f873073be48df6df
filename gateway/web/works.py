"""Sealing an upload while it arrives: threads hash, seal, write and sync beside the event loop.

Hashing, sealing and writing release the interpreter's lock, so both cores work. One piece is worked on
while the next one arrives: a sender that is quicker waits, and memory stays flat.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any

from gateway.store.sealed import SealedUpload

_SYNC_BYTES = 16 << 20
"""So much is sealed before the disk is asked to take it: then little is left for the end."""


class Works:
    """What is being done for one upload, whose files are open."""

    def __init__(self, sealed: SealedUpload) -> None:
        self._sealed = sealed
        self._hashing: asyncio.Task[None] | None = None
        self._sealing: asyncio.Task[None] | None = None
        self._syncing: asyncio.Task[None] | None = None

    async def take(self, piece: bytes) -> None:
        """Take *piece* once the one before it is done. Raises what `SealedUpload.seal` and `sync` do."""
        sealed = self._sealed
        await _ended(self._hashing, self._sealing)
        if sealed.unsynced_bytes >= _SYNC_BYTES and (self._syncing is None or self._syncing.done()):
            await _ended(self._syncing)
            self._syncing = _begun(asyncio.to_thread(sealed.sync))
        self._hashing = _begun(asyncio.to_thread(sealed.hash_plain, piece))
        self._sealing = _begun(asyncio.to_thread(sealed.seal, piece))

    async def done(self) -> None:
        """Return once nothing works any more. Raises as `take`."""
        await _ended(self._hashing, self._sealing, self._syncing)


def _begun(work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    return asyncio.create_task(work)


async def _ended(*tasks: asyncio.Task[None] | None) -> None:
    """Wait for all of *tasks*, then raise what the first failure is."""
    running = [task for task in tasks if task is not None]
    if running:
        await asyncio.wait(running)
    for task in running:
        task.result()
