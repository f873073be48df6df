"""Turns: one request at a time for each thing that grows, within this process."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Hashable
from weakref import WeakValueDictionary

PATIENCE_S = 2.0


class Turns:
    """Whose turn it is, by what is held.

    A second request waits for a moment, since the first may be a connection that has just broken.

    Attributes:
        patience_s: how long it waits.
    """

    def __init__(self) -> None:
        self.patience_s = PATIENCE_S
        self._locks: WeakValueDictionary[Hashable, asyncio.Lock] = WeakValueDictionary()

    @contextlib.asynccontextmanager
    async def turn(self, key: Hashable) -> AsyncIterator[None]:
        """Keep *key* to the block. Raises TimeoutError: somebody else keeps it."""
        lock = self._locks.setdefault(key, asyncio.Lock())
        async with asyncio.timeout(self.patience_s):
            await lock.acquire()
        try:
            yield
        finally:
            lock.release()
