"""What the committer and the reads need of a database, whichever it is.

A transaction's work is a coroutine function. On PostgreSQL it is awaited in the committer's
task; on SQLite the writer thread runs it to its end in one go, since there nothing waits.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any, Protocol, TypeVar

from gateway.core.errors import GatewayFault
from gateway.store.statements import Lookup, Statement

T = TypeVar("T")

LOOKUP_KEYS = 1024
"""The most keys that one statement looks for: databases limit their parameters."""


class BadRow(GatewayFault):
    """The database refuses a row of this node's own making: trying again changes nothing.

    The database's own words are left out: they can repeat the row.
    """


class CommitUnknown(GatewayFault):
    """COMMIT failed: nobody knows whether the transaction is durable."""


class Transaction(Protocol):
    """One write transaction, open since before the work began."""

    async def fetch(self, statement: Statement, **values: object) -> list[Any]:
        """Return the rows that *statement* selects."""
        ...

    async def find(self, lookup: Lookup, keys: Sequence[tuple[object, ...]]) -> list[Any]:
        """Return the rows under *keys*."""
        ...

    async def write(self, statement: Statement, rows: Sequence[Mapping[str, object]]) -> None:
        """Execute *statement* once for each of *rows*.

        Raises:
            BadRow: the database refuses one of them.
        """
        ...

    async def result(self, future: Future[T]) -> T:
        """Return what another thread computes meanwhile."""
        ...

    async def shred(self) -> None:
        """Leave nothing of what is deleted in this transaction where it was, as far as the database can."""
        ...

    async def outbox_touched(self) -> None:
        """Let other processes know, at the commit, that something may have become due."""
        ...


class Database(Protocol):
    """One of the two databases, opened."""

    async def fetch(self, statement: Statement, **values: object) -> list[Any]:
        """Return what *statement* selects of what is committed. Raises Unavailable."""
        ...

    async def find(self, lookup: Lookup, keys: Sequence[tuple[object, ...]]) -> list[Any]:
        """Return the rows under *keys* of what is committed. Raises Unavailable."""
        ...

    async def transact(self, work: Callable[[Transaction], Awaitable[T]]) -> T:
        """Run *work* in a write transaction and commit it.

        Raises:
            BadRow: a row was refused; nothing was written.
            Unavailable: the database cannot write now; nothing was written.
            CommitUnknown: nobody knows.
        """
        ...

    async def own_route(self, peer: str) -> bool:
        """As in `ports.Store`."""
        ...

    async def close(self) -> None:
        """Close every connection; nothing is running any more."""
        ...


def chunks(keys: Sequence[tuple[object, ...]]) -> list[Sequence[tuple[object, ...]]]:
    """Return *keys*, each once, in runs of at most LOOKUP_KEYS."""
    different = list(dict.fromkeys(keys))
    return [different[start : start + LOOKUP_KEYS] for start in range(0, len(different), LOOKUP_KEYS)]
