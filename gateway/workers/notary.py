"""The notary: has our log cosigned by peers and outside witnesses, and compares what peers show of theirs.

Every 10 s, for each peer: our newest checkpoint to its witness if our log has grown, and its receipts with
its log; every ten minutes what it holds of the logs of other peers (protocol §9 "Witnessing"). Nothing here
writes an entry, but for alarms: two nodes would otherwise feed each other for ever.
"""

import asyncio
import contextlib
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import structlog

from gateway.core.errors import Stale, Unavailable
from gateway.core.ids import AuthorityId, Digest
from gateway.peering.alarms import alarm_entry
from gateway.peering.client import PeerClient
from gateway.peering.comparing import Comparison, Contradicted
from gateway.peering.cosigning import CONFLICTS, Cosigner, be_cosigned
from gateway.peering.directory import PinnedPeer
from gateway.peering.replies import PeerUnavailable
from gateway.peering.witness import Witness
from gateway.ports import Change
from gateway.rows import AlarmRow

ROUND_S = 10.0
GOSSIP_S = 600.0
CONFLICT = "witness_conflict"
"""The alarm that a witness has seen another log than ours under our name."""

_LOOK_S = 1.0
_AFTER_FAILURE_S = 30.0
_AT_ONCE = 8

_log = structlog.get_logger(__name__)


async def _nothing(_peer: PinnedPeer, _client: PeerClient) -> None:
    """Nothing is made of it."""


@dataclass(slots=True)
class _Line:
    """The connection to one peer between rounds, and when it was last asked about others."""

    client: PeerClient
    cards: tuple[Digest, Digest]
    gossip_s: float = -math.inf


class Notary:
    """Visits every peer and every outside witness, in a task of its own.

    Args:
        witness: ours, with store, directory and clock.
        dial: a client for one peer.
        outside: the witnesses that are no peers.
        met: told, over an open client, of each peer that is visited, before it is asked for anything.
        doubt: told, over an open client, of a peer whose witness has seen another log than ours.
    """

    def __init__(
        self,
        witness: Witness,
        dial: Callable[[PinnedPeer], PeerClient],
        *,
        outside: Sequence[Cosigner] = (),
        met: Callable[[PinnedPeer, PeerClient], Awaitable[None]] = _nothing,
        doubt: Callable[[PinnedPeer, PeerClient], Awaitable[None]] = _nothing,
    ) -> None:
        self._witness = witness
        self._store = witness.store
        self._directory = witness.directory
        self._dial = dial
        self._outside = outside
        self._met = met
        self._doubt = doubt
        self._lines: dict[AuthorityId, _Line] = {}
        self._again_s: dict[str, float] = {}
        self._slots = asyncio.Semaphore(_AT_ONCE)
        self._wake = asyncio.Event()

    def now(self) -> None:
        """Visit everybody now; who is being visited has a turn again within the round."""
        self._again_s = {name: again_s for name, again_s in self._again_s.items() if again_s == math.inf}
        self._wake.set()

    async def run(self) -> None:
        """Go round until cancelled; whoever cannot be reached is asked again later, and holds up nobody."""
        time = asyncio.get_running_loop().time
        try:
            async with asyncio.TaskGroup() as visits:
                while True:
                    self._wake.clear()
                    for name, visit in self._visits().items():
                        if time() >= self._again_s.get(name, 0):
                            self._again_s[name] = math.inf
                            visits.create_task(self._guarded(name, visit))
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(_LOOK_S):
                            await self._wake.wait()
        finally:
            await self.close()

    async def close(self) -> None:
        """Hang up on everybody."""
        for authority in tuple(self._lines):
            await self._hang_up(authority)

    async def visit(self, authority: AuthorityId) -> None:
        """Have our log cosigned by a peer, and compare what it shows.

        Raises:
            PeerUnavailable: it cannot be reached.
            Contradicted: its log contradicts itself; that is kept.
            Unavailable: something cannot be recorded now.
        """
        peer = self._directory.peers.get(authority)
        if peer is None or not peer.active or not await self._store.own_route(authority):
            await self._hang_up(authority)
            return
        line = await self._connected(peer)
        await self._met(peer, line.client)
        witness = peer.card.witness
        cosigner = Cosigner(witness.name, witness.verifiers, line.client.add_checkpoint)
        if await self._cosigned(cosigner) in CONFLICTS:
            await self._doubt(peer, line.client)
        comparison = Comparison(self._witness, peer, line.client)
        while await comparison.receipts():
            pass
        now_s = asyncio.get_running_loop().time()
        if now_s - line.gossip_s >= GOSSIP_S:
            line.gossip_s = now_s
            await self._gossip(comparison)

    async def _gossip(self, comparison: Comparison) -> None:
        """Compare what a peer holds of every other peer's log; who is not there now has a turn again."""
        for other in list(self._directory.peers.values()):
            if other.active and other.row.authority != comparison.peer.row.authority:
                line = await self._connected(other)
                with contextlib.suppress(PeerUnavailable, Contradicted):
                    await comparison.held(other, line.client)

    async def _cosigned(self, cosigner: Cosigner) -> str | None:
        problem = await be_cosigned(self._store, self._witness.clock, cosigner)
        if problem in CONFLICTS and await self._store.get(AlarmRow, CONFLICT, cosigner.name) is None:
            now_ms = self._witness.clock.now_ms()
            row = AlarmRow(
                code=CONFLICT, subject=cosigner.name, version=0, raised_ms=now_ms, detail=problem or ""
            )
            with contextlib.suppress(Stale):
                await self._store.record(Change(name="alarm", entries=(alarm_entry(CONFLICT),), puts=(row,)))
        return problem

    async def _visit_outside(self, cosigner: Cosigner) -> None:
        if await self._store.own_route(f"witness {cosigner.name}"):
            await self._cosigned(cosigner)

    def _visits(self) -> Mapping[str, Callable[[], Awaitable[None]]]:
        """Return whom to visit, and how, by name."""
        found: dict[str, Callable[[], Awaitable[None]]] = {
            f"witness {one.name}": partial(self._visit_outside, one) for one in self._outside
        }
        return found | {authority: partial(self.visit, authority) for authority in self._directory.peers}

    async def _guarded(self, name: str, visit: Callable[[], Awaitable[None]]) -> None:
        """Make one visit; whatever goes wrong is this one's alone."""
        rest_s = _AFTER_FAILURE_S
        try:
            async with self._slots:
                await visit()
            rest_s = ROUND_S
        except Unavailable:
            _log.info("notary.unavailable", peer=name)
        except Contradicted as fault:
            _log.error("notary.contradicted", peer=name, code=str(fault))
        except Exception as error:  # noqa: BLE001 - one peer must not end the watch over others
            _log.error("notary.failed", peer=name, exc_info=error)
        finally:
            self._again_s[name] = asyncio.get_running_loop().time() + rest_s

    async def _connected(self, peer: PinnedPeer) -> _Line:
        """Return the line to a peer, dialled anew once either card is another one."""
        authority, cards = peer.row.authority, (peer.card.sha256, self._directory.own.sha256)
        line = self._lines.get(authority)
        if line is not None and line.cards != cards:
            await self._hang_up(authority)
            line = None
        if line is None:
            line = self._lines[authority] = _Line(self._dial(peer), cards)
        return line

    async def _hang_up(self, authority: AuthorityId) -> None:
        line = self._lines.pop(authority, None)
        if line is not None:
            await line.client.close()
