"""Keeps the pinned cards current: at start, every hour, and whenever somebody asks (protocol §4)."""

import asyncio
import contextlib
from collections.abc import Callable

import structlog

from gateway.core.errors import Unavailable
from gateway.core.ids import AuthorityId
from gateway.peering.client import PeerClient
from gateway.peering.directory import Directory, PinnedPeer
from gateway.peering.successors import follow
from gateway.ports import Clock, Store

HOUR_S = 3600.0
_SHORTEST_S = 10.0
"""Between two looks at one peer, however often it is asked for."""

_log = structlog.get_logger(__name__)


class CardKeeper:
    """Looks for successors of the pinned cards, in a task of its own."""

    def __init__(
        self,
        *,
        store: Store,
        directory: Directory,
        dial: Callable[[PinnedPeer], PeerClient],
        clock: Clock,
    ) -> None:
        self._store = store
        self._directory = directory
        self._dial = dial
        self._clock = clock
        self._wanted: set[AuthorityId] = set()
        self._wake = asyncio.Event()
        self._looked_s: dict[AuthorityId, float] = {}

    def wanted(self, peer: AuthorityId) -> None:
        """Look at *peer* soon."""
        self._wanted.add(peer)
        self._wake.set()

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            self._wanted |= set(self._directory.peers)
            await self._look_at_wanted()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(HOUR_S):
                    while True:
                        await self._wake.wait()
                        self._wake.clear()
                        await self._look_at_wanted()

    async def _look_at_wanted(self) -> None:
        wanted, self._wanted = self._wanted, set()
        await asyncio.gather(*(self._look(peer) for peer in wanted))

    async def _look(self, authority: AuthorityId) -> None:
        now_s = asyncio.get_running_loop().time()
        peer = self._directory.peers.get(authority)
        if peer is None or not peer.active or now_s < self._looked_s.get(authority, 0) + _SHORTEST_S:
            return
        self._looked_s[authority] = now_s
        try:
            async with self._dial(peer) as client:
                await follow(
                    client, peer.card, store=self._store, directory=self._directory, clock=self._clock
                )
        except Unavailable:
            _log.info("cards.peer_unavailable", peer=authority)
        except Exception as error:  # noqa: BLE001 - one peer's card must not end the watch over others
            _log.error("cards.failed", peer=authority, error=type(error).__name__)
