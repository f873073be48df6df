"""Taking what arrives: threads hash, seal, write and sync beside the event loop.

Hashing, sealing and writing release the interpreter's lock, so both cores work. One piece is worked on
while the next one arrives: a sender that is quicker waits, and memory stays flat.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any, Protocol

_SYNC_BYTES = 16 << 20
"""So much is written before the disk is asked to take it: then little is left for the end."""


class Growing(Protocol):
    """What grows by pieces; `hash` may run beside `write`, and `sync` beside both. All of them block."""

    @property
    def unsynced_bytes(self) -> int:
        """How much was written that a `sync` would have to bring to the disk."""

    def hash(self, piece: bytes) -> None:
        """Count *piece* into a digest."""

    def write(self, piece: bytes) -> None:
        """Append *piece*."""

    def sync(self) -> None:
        """Make durable what was written."""


class Works:
    """What is being done for one file that grows."""

    def __init__(self, growing: Growing) -> None:
        self._growing = growing
        self._hashing: asyncio.Task[None] | None = None
        self._writing: asyncio.Task[None] | None = None
        self._syncing: asyncio.Task[None] | None = None

    async def take(self, piece: bytes) -> None:
        """Take *piece* once the one before it is done. Raises what `write` and `sync` do."""
        growing = self._growing
        await _ended(self._hashing, self._writing)
        if growing.unsynced_bytes >= _SYNC_BYTES and (self._syncing is None or self._syncing.done()):
            await _ended(self._syncing)
            self._syncing = _begun(asyncio.to_thread(growing.sync))
        self._hashing = _begun(asyncio.to_thread(growing.hash, piece))
        self._writing = _begun(asyncio.to_thread(growing.write, piece))

    async def done(self) -> None:
        """Return once nothing works any more. Raises as `take`."""
        await _ended(self._hashing, self._writing, self._syncing)


def _begun(work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    return asyncio.create_task(work)


async def _ended(*tasks: asyncio.Task[None] | None) -> None:
    """Wait for all of *tasks*, then raise what the first failure is."""
    running = [task for task in tasks if task is not None]
    if running:
        await asyncio.wait(running)
    for task in running:
        task.result()
