"""Forgets the answers that were kept for keyed requests, once nobody repeats them any more."""

import asyncio
from contextlib import suppress

import structlog

from gateway.core.errors import Stale, Unavailable
from gateway.ports import Change, Clock, Store

KEPT_MS = 48 * 3_600_000
"""How long a case system may repeat a request under its Idempotency-Key."""

_HOUR_S = 3600.0
_AT_ONCE = 500

_log = structlog.get_logger(__name__)


class Forgetting:
    """Deletes old answers, in a task of its own."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def run(self) -> None:
        """Sweep at start and every hour, until cancelled."""
        while True:
            try:
                await self.sweep()
            except Unavailable:
                _log.warning("forgetting.store_unavailable")
            await asyncio.sleep(_HOUR_S)

    async def sweep(self) -> None:
        """Delete the answers that are older than KEPT_MS. Raises Unavailable."""
        before_ms, count = self._clock.now_ms() - KEPT_MS, 0
        with suppress(Stale):  # another process of the authority sweeps
            while old := await self._store.answers_before(before_ms, limit=_AT_ONCE):
                await self._store.record(Change(name="forget", deletes=tuple(old)))
                count += len(old)
        if count:
            _log.info("forgetting.swept", count=count)
