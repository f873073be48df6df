"""The herald: tells the webhooks what happens, each in the order of the log.

Each webhook has a task of its own and one event in flight, so that none waits for another. What became of
an attempt is a row, written together with how far the log was told; the event itself is an entry that
is committed already. A crash in between repeats an attempt, under the same id, and loses none.
"""

import asyncio
import contextlib

import structlog

from gateway.core.announcement import KEPT_MS
from gateway.core.errors import Stale, Unavailable
from gateway.ports import Change
from gateway.rows import WebhookRow
from gateway.workers.announcer import Announcer, HeraldParts

_POLL_S = 1.0
_SWEEP_S = 3600.0
_AT_ONCE = 100

_log = structlog.get_logger(__name__)


class Herald:
    """Keeps a task for each webhook, and sweeps what was told long ago."""

    def __init__(self, parts: HeraldParts) -> None:
        self._parts = parts
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._announcers: dict[str, Announcer] = {}
        self._stopping = asyncio.Event()
        parts.store.on_growth(self.wake)

    async def run(self) -> None:
        """Tell until `stop`; then return once what is under way has been recorded.

        Cancelling breaks off what is under way: it is told again after the next start.
        """
        sweep_s = 0.0
        loop = asyncio.get_running_loop()
        try:
            while not self._stopping.is_set():
                try:
                    await self.follow()
                    if loop.time() >= sweep_s:
                        sweep_s = loop.time() + _SWEEP_S
                        await self.sweep()
                except Unavailable:
                    _log.warning("herald.store_unavailable")
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_POLL_S):
                        await self._stopping.wait()
            await asyncio.gather(*self._tasks.values())
        finally:
            for task in self._tasks.values():
                task.cancel()
            await asyncio.gather(*self._tasks.values(), return_exceptions=True)
            await self._parts.receivers.close()

    async def follow(self) -> None:
        """Have a task for each webhook that is enabled, and none for others. Raises Unavailable."""
        rows = await self._parts.store.all(WebhookRow)
        enabled = {row.id for row in rows if row.state == "enabled"}
        for webhook in [*self._tasks]:
            if self._tasks[webhook].done():
                del self._tasks[webhook], self._announcers[webhook]
        for webhook in enabled - self._tasks.keys():
            announcer = self._announcers[webhook] = Announcer(self._parts, webhook, self._stopping)
            self._tasks[webhook] = asyncio.create_task(announcer.run(), name=f"herald: {webhook}")

    async def sweep(self) -> None:
        """Forget what became of events that were told long ago. Raises Unavailable."""
        store, before_ms = self._parts.store, self._parts.clock.now_ms() - KEPT_MS
        while old := await store.announced_before(before_ms, limit=_AT_ONCE):
            try:
                await store.record(Change(name="sweep", deletes=tuple(old)))
            except Stale:
                continue  # one of them was made due again
            _log.info("herald.swept", count=len(old))

    def wake(self) -> None:
        """Have every task look again."""
        for announcer in self._announcers.values():
            announcer.wake()

    def stop(self) -> None:
        """Begin no more attempts; `run` returns soon."""
        self._stopping.set()
        self.wake()
