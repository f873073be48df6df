"""The door of qm.moj, open on loopback, and the peers that call there."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.peering.client import PeerClient
from tests.support.authorities import (
    Party,
    make_authority,
)
from tests.support.doors import Caller, Door, calling, open_door


@pytest.fixture
def peer() -> Party:
    return make_authority("qn.justice")


@pytest.fixture
def third() -> Party:
    return make_authority("qo.justice")


@pytest.fixture
async def door(tmp_path: Path, peer: Party) -> AsyncIterator[Door]:
    """The door of qm.moj, which has pinned the peer."""
    async with open_door(tmp_path / "qm", make_authority("qm.moj")) as door:
        await door.pin(peer)
        yield door


@pytest.fixture
async def call(door: Door, peer: Party) -> AsyncIterator[Caller]:
    """What the peer says to the door, byte for byte."""
    async with calling(door, peer.keyring.tls[0]) as caller:
        yield caller


@pytest.fixture
async def client(door: Door, peer: Party) -> AsyncIterator[PeerClient]:
    """The peer's own client of the door."""
    async with PeerClient(door.party.card, peer.keyring.tls[0]) as client:
        yield client
