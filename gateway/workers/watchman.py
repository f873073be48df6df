"""The watchman: visits every peer for the time that it has, and for how far it knows our log to be.

At start-up before anything is recorded or signed, and every few minutes (protocol §9 "Start-up",
"Clock"). What it finds wrong, the guard of the store and the store itself act on.
"""

import asyncio
import contextlib
from collections.abc import Callable

import structlog

from gateway.core.drift import offset_ms
from gateway.core.errors import Malformed, Stale, Unavailable
from gateway.core.strict import parse_time
from gateway.peering.alarms import alarm_entry
from gateway.peering.client import PeerClient
from gateway.peering.directory import Directory, PinnedPeer
from gateway.peering.replies import PeerUnavailable
from gateway.peering.sentry import Sentry
from gateway.peering.standing import Standing, in_time
from gateway.ports import Change, Clock, Store
from gateway.rows import AlarmRow

ALARM = "clock_doubted"
"""The alarm that nothing was signed for a while, as the clock was off; it stands while peers disagree."""
_ROUND_S = 180.0
_LOOK_S = 10.0
"""How soon a clock that has jumped is noticed, and one that is doubted is compared again."""

_log = structlog.get_logger(__name__)


class Watchman:
    """Compares clock and log with what peers have, in a task of its own."""

    def __init__(
        self,
        *,
        store: Store,
        directory: Directory,
        dial: Callable[[PinnedPeer], PeerClient],
        standing: Standing,
        sentry: Sentry,
        clock: Clock,
    ) -> None:
        self._store = store
        self._directory = directory
        self._dial = dial
        self._standing = standing
        self._sentry = sentry
        self._clock = clock

    async def run(self) -> None:
        """Go round until cancelled; the round at start-up is for whoever starts the node."""
        time = asyncio.get_running_loop().time
        next_s = time() + _ROUND_S
        while True:
            await asyncio.sleep(_LOOK_S)
            if time() >= next_s or self._sentry.doubt() is not None:
                next_s = time() + _ROUND_S
                with contextlib.suppress(Unavailable):
                    await self.round()
            with contextlib.suppress(Unavailable, Stale):
                await self.tell()

    async def round(self) -> None:
        """Visit every active peer, all at once, for 10 seconds in all."""
        peers = self._directory.peers.values()
        offsets = await in_time(self._visit(peer) for peer in peers if peer.active)
        self._sentry.heard([offset for offset in offsets if offset is not None])

    async def _visit(self, peer: PinnedPeer) -> int | None:
        """Return how far the clock of *peer* is ahead of ours; None if it does not say."""
        async with self._dial(peer) as client:
            await self._standing.look(client, peer.row.authority)
            asked_ms = self._clock.now_ms()
            try:
                answer = await client.ping()
                return offset_ms(parse_time(answer.get("time")), asked_ms, self._clock.now_ms())
            except (PeerUnavailable, Malformed):
                return None

    async def tell(self) -> None:
        """Tell an operator of a doubt, once it can be written; end the alarm when the peers agree.

        Raises:
            Unavailable, Stale: it could not be; the next time, then.
        """
        if self._sentry.objection() is not None:
            return
        own, apart = self._directory.own.authority, self._sentry.apart
        row = await self._store.get(AlarmRow, ALARM, own)
        if self._sentry.objected:
            _log.warning("clock.doubted", authority=own)
            raised = AlarmRow(
                code=ALARM, subject=own, version=0, raised_ms=self._clock.now_ms(), detail="confirmed"
            )
            puts = (raised,) if apart and row is None else ()
            await self._store.record(Change(name="alarm", entries=(alarm_entry(ALARM),), puts=puts))
            self._sentry.told()
        elif row is not None and not apart:
            await self._store.record(Change(name="alarm", deletes=(row,)))
