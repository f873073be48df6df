"""Asking peers how far they know the own log to be (protocol §9 "Start-up")."""

import asyncio
from collections.abc import Coroutine, Iterable
from enum import Enum, auto
from typing import Any, TypeVar

import structlog

from gateway.core.ids import AuthorityId
from gateway.core.note import Checkpoint, LogIdentity
from gateway.core.standing import OLD_COPY, Contradiction, contradiction, known
from gateway.peering.client import PeerClient
from gateway.peering.directory import Directory, PinnedPeer
from gateway.peering.replies import PeerUnavailable
from gateway.ports import Store

ANSWER_S = 10.0
"""How long all peers together are waited for."""

_T = TypeVar("_T")
_log = structlog.get_logger(__name__)


class Seen(Enum):
    """What a peer said about the own log."""

    SILENT = auto()
    """Nothing: it was not reached."""
    NOTHING = auto()
    """It holds no checkpoint of it."""
    AGREES = auto()
    """It holds one, and the own log leads to it or on from it."""
    CONTRADICTS = auto()
    """It holds one that the own log does not know."""


class Standing:
    """What is known of where this node stands: asked at start-up, and of whom was silent then, later.

    A peer that shows that this node is an old copy, or runs twice, stops the store for good.

    Attributes:
        found: the contradiction that did, None while there is none.
    """

    def __init__(self, store: Store, directory: Directory) -> None:
        self._store = store
        self._directory = directory
        self._seen: dict[AuthorityId, Seen] = {}
        self.found: Contradiction | None = None

    def is_silent(self, peer: AuthorityId) -> bool:
        """Return whether *peer* has not been heard about the own log since the start."""
        return self._seen.get(peer, Seen.SILENT) is Seen.SILENT

    @property
    def agrees(self) -> bool:
        """Whether a peer holds a checkpoint that the own log leads to, or on from."""
        return Seen.AGREES in self._seen.values()

    async def look(self, client: PeerClient, peer: AuthorityId) -> Seen:
        """Ask *peer* for the newest checkpoint of the own log that it holds, and judge it.

        Raises:
            Unavailable: the own log cannot be read.
        """
        log = self._directory.own.log
        try:
            text = await client.held_checkpoint(log.origin)
        except PeerUnavailable as fault:
            _log.info("standing.silent", peer=peer, code=fault.code)
            return self._seen.setdefault(peer, Seen.SILENT)
        return await self.judge(text, peer, log)

    async def met(self, peer: PinnedPeer, client: PeerClient) -> None:
        """Ask a *peer* that has been silent until now, over an open *client*."""
        if self.is_silent(peer.row.authority):
            await self.look(client, peer.row.authority)

    async def doubt(self, peer: PinnedPeer, client: PeerClient) -> None:
        """Ask a *peer* whose witness has seen another log than ours, over an open *client*."""
        await self.look(client, peer.row.authority)

    async def judge(self, text: str | None, peer: AuthorityId, log: LogIdentity) -> Seen:
        """Judge the checkpoint *text* of *log*, the own one, that *peer* holds; None if it holds none."""
        checkpoint = None if text is None else known(text, log)
        if checkpoint is None:
            self._seen[peer] = Seen.NOTHING
        else:
            self._seen[peer] = await self._compared(checkpoint, peer)
        return self._seen[peer]

    async def _compared(self, checkpoint: Checkpoint, peer: AuthorityId) -> Seen:
        # Read only now: other processes of this authority may have written what the peer has seen.
        size = await self._store.log_size()
        root = await self._store.root(checkpoint.size) if checkpoint.size <= size else None
        found = contradiction(peer, checkpoint, size, root)
        if found is None:
            return Seen.AGREES
        _log.critical("standing.contradicted", peer=peer, index=checkpoint.size)
        self.found = self.found or found
        self._store.stop(OLD_COPY)
        return Seen.CONTRADICTS


async def held(client: PeerClient, log: LogIdentity) -> Checkpoint | None:
    """Return the newest checkpoint of the own *log* that a peer holds, None if it holds none that counts.

    Raises:
        PeerUnavailable: the peer cannot be reached.
    """
    text = await client.held_checkpoint(log.origin)
    return None if text is None else known(text, log)


async def in_time(calls: Iterable[Coroutine[Any, Any, _T]]) -> list[_T]:
    """Return what came of those *calls* that ended within 10 seconds, all made at once."""
    tasks = [asyncio.create_task(call) for call in calls]
    if not tasks:
        return []
    try:
        done, late = await asyncio.wait(tasks, timeout=ANSWER_S)
    finally:
        for task in tasks:
            task.cancel()
    await asyncio.gather(*late, return_exceptions=True)
    return [task.result() for task in tasks if task in done]
