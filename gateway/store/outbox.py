"""The hint that something may have become due."""

import asyncio
import math
from contextlib import suppress


class OutboxSignal:
    """Counts the changes of the outbox and wakes who waits for the next.

    Args:
        poll_s: the longest wait, where a change may go unheard.
    """

    def __init__(self, poll_s: float = math.inf) -> None:
        self._poll_s = poll_s
        self._count = 0
        self._changed = asyncio.Event()

    def notify(self) -> None:
        """Note a change."""
        self._count += 1
        self._changed.set()
        self._changed = asyncio.Event()

    async def wait(self, timeout_s: float, seen: int | None) -> int:
        """Return the count once it is past *seen* (None: as it stands now), or after *timeout_s*."""
        if seen is None or seen == self._count:
            with suppress(TimeoutError):
                async with asyncio.timeout(min(timeout_s, self._poll_s)):
                    await self._changed.wait()
        return self._count
