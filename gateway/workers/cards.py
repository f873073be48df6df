"""Keeps pinned cards and profiles current: at start, every hour, and when somebody asks (protocol §4)."""

import asyncio
import contextlib
import math
from collections.abc import Awaitable, Callable

import structlog

from gateway.core.errors import Unavailable
from gateway.core.ids import AuthorityId
from gateway.peering.client import PeerClient
from gateway.peering.directory import Directory, PinnedPeer
from gateway.peering.profiles import follow_profile
from gateway.peering.successors import follow
from gateway.ports import Clock, Store

HOUR_S = 3600.0
_SHORTEST_S = 10.0
"""Between two looks at one peer, however often it is asked for; who asks sooner is served then."""
_AFTER_FAILURE_S = 1.0
"""After a look that found nobody: a peer that has just pinned us is there at the next."""
_AT_ONCE = 8

_log = structlog.get_logger(__name__)


class CardKeeper:
    """Looks for successors of the pinned cards, and for newer profiles, in a task of its own."""

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
        self._again_s: dict[AuthorityId, float] = {}
        self._looks: list[Callable[[PeerClient, AuthorityId], Awaitable[None]]] = []
        self._slots = asyncio.Semaphore(_AT_ONCE)

    def also(self, look: Callable[[PeerClient, AuthorityId], Awaitable[None]]) -> None:
        """Have *look* called with each peer that is looked at, after its cards; again if it fails."""
        self._looks.append(look)

    def wanted(self, peer: AuthorityId) -> None:
        """Look at *peer* soon."""
        self._wanted.add(peer)
        self._wake.set()

    async def run(self) -> None:
        """Look until cancelled."""
        time, round_s = asyncio.get_running_loop().time, 0.0
        async with asyncio.TaskGroup() as looks:
            while True:
                if time() >= round_s:
                    self._wanted |= set(self._directory.peers)
                    round_s = time() + HOUR_S
                for peer in [peer for peer in self._wanted if time() >= self._again_s.get(peer, 0)]:
                    self._wanted.discard(peer)
                    self._again_s[peer] = math.inf
                    looks.create_task(self._look(peer))
                next_s = min([round_s, *(self._again_s[peer] for peer in self._wanted)])
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout_at(next_s):
                        await self._wake.wait()
                self._wake.clear()

    async def _look(self, authority: AuthorityId) -> None:
        """Follow one peer's cards and profiles; whatever goes wrong is this peer's alone."""
        rest_s = _SHORTEST_S
        try:
            async with self._slots:
                await self._follow(authority)
        except Unavailable:
            rest_s = _AFTER_FAILURE_S
            _log.info("cards.peer_unavailable", peer=authority)
        except Exception as error:  # noqa: BLE001 - one peer's card must not end the watch over others
            _log.error("cards.failed", peer=authority, exc_info=error)
        finally:
            self._again_s[authority] = asyncio.get_running_loop().time() + rest_s
            self._wake.set()

    async def _follow(self, authority: AuthorityId) -> None:
        peer = self._directory.peers.get(authority)
        if peer is None or not peer.active:
            return
        store, directory, clock = self._store, self._directory, self._clock
        async with self._dial(peer) as client:
            await follow(client, peer.card, store=store, directory=directory, clock=clock)
            # After the card, since the profile may be under a key that only the new one has.
            await follow_profile(client, authority, store=store, directory=directory, clock=clock)
            for look in self._looks:
                try:
                    await look(client, authority)
                except Unavailable:
                    self._wanted.add(authority)  # it was there, and something is left to do
                    raise
