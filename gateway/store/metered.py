"""A database whose transactions are measured, for the operator's figures."""

import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from gateway.core.errors import Unavailable
from gateway.ports import Meter
from gateway.store.database import CommitUnknown, Database, Transaction
from gateway.store.statements import Lookup, Statement

T = TypeVar("T")


class MeteredDatabase:
    """*database*, each of whose transactions is told to *meter*."""

    def __init__(self, database: Database, meter: Meter) -> None:
        self._database = database
        self._meter = meter

    async def transact(self, work: Callable[[Transaction], Awaitable[T]]) -> T:
        """Run *work* in a write transaction and commit it; see `Database.transact`."""
        started_s, outcome = time.perf_counter(), "refused"
        try:
            found = await self._database.transact(work)
            outcome = "ok"
        except Unavailable:
            outcome = "failed"
            raise
        except CommitUnknown:
            outcome = "unknown"
            raise
        else:
            return found
        finally:
            self._meter.committed(outcome, time.perf_counter() - started_s)

    async def fetch(self, statement: Statement, **values: object) -> list[Any]:
        """Return what *statement* selects of what is committed. Raises Unavailable."""
        return await self._database.fetch(statement, **values)

    async def find(self, lookup: Lookup, keys: Sequence[tuple[object, ...]]) -> list[Any]:
        """Return the rows under *keys* of what is committed. Raises Unavailable."""
        return await self._database.find(lookup, keys)

    async def own_route(self, peer: str) -> bool:
        """As in `ports.Store`."""
        return await self._database.own_route(peer)

    async def close(self) -> None:
        """Close every connection."""
        await self._database.close()
