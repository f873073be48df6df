"""The courier: brings what is queued to the peers, each over a route of its own (protocol §8 "Sending").

No peer waits for another: each has one backoff, one kept-alive connection and one task.
"""

import asyncio

from gateway.core.ids import AuthorityId
from gateway.workers.parts import Parts
from gateway.workers.route import Route

__all__ = ["Courier", "Parts"]


class Courier:
    """Keeps a route to each pinned peer."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._routes: dict[AuthorityId, Route] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._stopping = asyncio.Event()
        self._changed = asyncio.Event()
        parts.directory.on_change(self._changed.set)
        parts.store.on_outbox_change(self.wake)

    async def run(self) -> None:
        """Deliver until `stop`; then return once what is under way has been recorded.

        Cancelling breaks off what is under way: it is posted again after the next start.
        """
        try:
            while not self._stopping.is_set():
                self._changed.clear()
                for authority in self._parts.directory.peers:
                    self._begin(authority)
                self.wake()
                await self._changed.wait()
            await asyncio.gather(*self._tasks)
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def _begin(self, authority: AuthorityId) -> None:
        if authority not in self._routes:
            route = self._routes[authority] = Route(self._parts, authority, self._stopping)
            self._tasks.append(asyncio.create_task(route.run(), name=f"courier: {authority}"))

    def wake(self) -> None:
        """Have every route look again."""
        for route in self._routes.values():
            route.wake()

    def stop(self) -> None:
        """Post nothing more; `run` returns soon."""
        self._stopping.set()
        self._changed.set()
        self.wake()
