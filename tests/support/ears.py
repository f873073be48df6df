"""Waiting for what a store tells of its outbox."""

import asyncio

from gateway.ports import Store


class Ear:
    """Counts the changes of the outbox of *store* from now on."""

    def __init__(self, store: Store) -> None:
        self.count = 0
        self._changed = asyncio.Event()
        store.on_outbox_change(self._hear)

    def _hear(self) -> None:
        self.count += 1
        self._changed.set()

    async def past(self, count: int, *, within_s: float = 20.0) -> int:
        """Return the count once it is larger than *count*."""
        async with asyncio.timeout(within_s):
            while self.count <= count:
                self._changed.clear()
                await self._changed.wait()
        return self.count
