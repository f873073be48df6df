"""Which process delivers to which peer, and the word that passes between processes.

Both live on one connection that does nothing else: the right to deliver to a peer is a
session-level advisory lock, and ends with the session (docs/decisions/0004).
"""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import asyncpg  # type: ignore[import-untyped]  # it has no types of its own

from gateway.store.outbox import OutboxSignal

CHANNEL = "outbox"
CHECK_S = 5.0
"""How long the connection may take to answer before it is given up, and its routes with it."""

TROUBLE = (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError, EOFError)
"""How the driver says that the database does not do it now."""


class Routes:
    """The routes that this process holds, and its ear for the changes of others.

    Args:
        connect: opens a connection.
        sender: how this process signs its own notifications, which it need not hear.
        outbox: told of those of others.
    """

    def __init__(self, connect: Callable[[], Awaitable[Any]], sender: str, outbox: OutboxSignal) -> None:
        self._connect = connect
        self._sender = sender
        self._outbox = outbox
        self._connection: Any = None
        self._held: set[str] = set()
        self._asking = asyncio.Lock()

    async def listen(self) -> None:
        """Open the connection; when that fails, the next question tries again."""
        async with self._asking:
            with suppress(*TROUBLE):
                await self._session()

    async def own(self, peer: str) -> bool:
        """Return whether this process holds the route to *peer*, taking it where it is free."""
        async with self._asking:
            try:
                session = await self._session()
                if peer in self._held:
                    await session.fetchval("SELECT 1", timeout=CHECK_S)
                elif await session.fetchval(
                    "SELECT pg_try_advisory_lock($1)", _lock_number(peer), timeout=CHECK_S
                ):
                    self._held.add(peer)
            except TROUBLE:
                self._give_up()
            return peer in self._held

    async def close(self) -> None:
        """Let go of every route."""
        async with self._asking:
            if self._connection is not None and not self._connection.is_closed():
                await self._connection.close()
            self._held.clear()

    async def _session(self) -> Any:  # noqa: ANN401 - asyncpg is untyped
        if self._connection is None or self._connection.is_closed():
            self._held.clear()
            self._connection = await self._connect()
            await self._connection.add_listener(CHANNEL, self._heard)
        return self._connection

    def _give_up(self) -> None:
        self._held.clear()
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None

    def _heard(self, _connection: object, _pid: int, _channel: str, sender: str) -> None:
        if sender != self._sender:
            self._outbox.notify()


def _lock_number(peer: str) -> int:
    """Return the number of the advisory lock for *peer*: 64 bits of a digest."""
    return int.from_bytes(hashlib.sha256(b"route " + peer.encode()).digest()[:8], "big", signed=True)
