"""A sender with the real store, and two peers that it knows."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from gateway.core.ids import AuthorityId
from gateway.peering.directory import PinnedPeer
from gateway.ports import Unprobed
from gateway.store import SqlStore
from gateway.store.blobs import BlobFolder
from gateway.workers.lanes import Lanes
from gateway.workers.parts import Parts
from gateway.workers.route import Route
from tests.support.authorities import PERIODS_MS, FixedClock, FixedEntropy, make_authority
from tests.support.memory import MemoryStore
from tests.support.stations import SimulatedPeer, Station
from tests.support.stores import make_store

SENDER, PEER, OTHER = AuthorityId("qm.moj"), AuthorityId("qn.moj"), AuthorityId("qp.moj")


@dataclass
class Bench:
    """The sender, its peers, and the parts of a courier between them."""

    clock: FixedClock
    sender: Station
    store: SqlStore
    peers: dict[AuthorityId, SimulatedPeer]
    parts: Parts
    reached: list[str]

    @property
    def peer(self) -> SimulatedPeer:
        return self.peers[PEER]

    @property
    def there(self) -> Station:
        return self.peer.there

    def route(self, authority: AuthorityId = PEER) -> Route:
        """Return a route as after a start of the node."""
        return Route(self.parts, authority, asyncio.Event())

    async def work_off(self, route: Route | None = None) -> None:
        """Do rounds until nothing is to be done at this time."""
        route = route or self.route()
        while True:
            route._wake.clear()
            rest_s = await route._guarded_round()
            busy = len(route._under_way)
            await route._under_way.finish()
            if rest_s and not busy and not route._wake.is_set():
                return

    def pass_by(self, ms: int) -> None:
        """Let time go by."""
        self.clock.time_ms += ms


def folder_of(path: Path) -> BlobFolder:
    path.mkdir(exist_ok=True)
    folder = BlobFolder(path / "blobs")
    folder.prepare()
    return folder


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    clock, party = FixedClock(), make_authority(SENDER)
    folder = folder_of(tmp_path / "sender")
    async with make_store(
        tmp_path / "sender", authority=SENDER, origin=party.origin, signer=party.keyring.log, clock=clock
    ) as store:
        sender = Station(party, store, clock, folder)
        peers = {}
        for id_ in (PEER, OTHER):
            other = make_authority(id_)
            memory = MemoryStore(other, clock, FixedEntropy())
            there = Station(other, memory, clock, folder_of(tmp_path / id_))
            await there.pin(party)
            peers[id_] = SimulatedPeer(there, SENDER)
        await sender.pin(*(make_authority(id_) for id_ in peers))
        reached: list[str] = []

        class Probe(Unprobed):
            def reached(self, point: str) -> None:
                reached.append(point)

        def dial(peer: PinnedPeer) -> SimulatedPeer:
            return peers[peer.row.authority].dial(peer)

        parts = Parts(
            store=store,
            blobs=folder,
            directory=sender.directory,
            keyring=lambda: sender.party.keyring,
            dial=dial,  # type: ignore[arg-type]  # the simulated peer is a client in all but its class
            lanes=Lanes(),
            cards_wanted=sender.cards_wanted.append,
            clock=clock,
            periods=PERIODS_MS,
            entropy=sender.entropy,
            probe=Probe(),
        )
        yield Bench(clock, sender, store, peers, parts, reached)
