"""PostgreSQL, for several processes of one authority.

The plan is that of SQLite, awaited in the committer's task on a connection of its own. The row
lock on the log's head orders the writers of all processes: whoever waited for it reads, after
it, all that the one before wrote (each statement of READ COMMITTED sees anew).
"""

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any, NoReturn, TypeVar

import asyncpg  # type: ignore[import-untyped]  # it has no types of its own
from sqlalchemy import URL
from sqlalchemy.dialects.postgresql import asyncpg as asyncpg_dialect

from gateway.core.errors import Misconfigured, Unavailable
from gateway.store.database import BadRow, CommitUnknown, Transaction, chunks
from gateway.store.migrations import REVISION, migrate
from gateway.store.outbox import OutboxSignal
from gateway.store.routes import CHANNEL, TROUBLE, Routes
from gateway.store.statements import Lookup, Statement, Texts

T = TypeVar("T")

READERS = 4
STATEMENT_S = 30.0
"""For one statement, so that a dead connection is noticed."""
_SETTINGS = {
    "application_name": "article18-gateway",
    "synchronous_commit": "on",  # a receipt follows the commit
    "lock_timeout": "10s",  # another process keeps the head: the callers are told to come again
    "idle_in_transaction_session_timeout": "30s",  # a process that stands still lets go of the head
}
POLL_S = 1.0
"""How often the outbox is looked at all the same: a notification can get lost."""
_MIGRATING = 0x18A5
_REFUSED = (asyncpg.DataError, asyncpg.IntegrityConstraintViolationError, ValueError)
"""A constraint, or a value that the driver cannot encode."""


class _OpenTransaction:
    """A transaction on the writing connection."""

    def __init__(self, connection: Any, texts: Texts, sender: str) -> None:  # noqa: ANN401 - asyncpg is untyped
        self._connection = connection
        self._texts = texts
        self._sender = sender

    async def fetch(self, statement: Statement, **values: object) -> list[Any]:
        text = self._texts.of(statement)
        return list(await self._connection.fetch(text.sql, *text.arguments(values)))

    async def find(self, lookup: Lookup, keys: Sequence[tuple[object, ...]]) -> list[Any]:
        return await _find(self._connection, self._texts, lookup, keys)

    async def write(self, statement: Statement, rows: Sequence[Mapping[str, object]]) -> None:
        text = self._texts.of(statement)
        try:
            await self._connection.executemany(text.sql, [text.arguments(row) for row in rows])
        except _REFUSED as error:
            raise BadRow(f"the database refuses a row: {type(error).__name__}") from None

    async def result(self, future: Future[T]) -> T:
        return await asyncio.wrap_future(future)

    async def shred(self) -> None:
        """Nothing to ask for: what is deleted goes with the next VACUUM."""

    async def outbox_touched(self) -> None:
        await self._connection.execute("SELECT pg_notify($1, $2)", CHANNEL, self._sender)


class PostgresDatabase:
    """A PostgreSQL database that other processes of the authority use as well."""

    def __init__(
        self,
        dsn: str,
        readers: Any,  # noqa: ANN401 - asyncpg is untyped
        routes: Routes,
        sender: str,
        polling: asyncio.Task[NoReturn],
    ) -> None:
        self._dsn = dsn
        self._polling = polling
        self._readers = readers
        self._routes = routes
        self._sender = sender
        self._writer: Any = None
        self._texts = Texts(asyncpg_dialect.dialect())  # type: ignore[no-untyped-call]  # of SQLAlchemy

    @classmethod
    async def opened(cls, url: URL, outbox: OutboxSignal) -> "PostgresDatabase":
        """Return the database at *url*, brought up to date.

        Raises:
            Misconfigured: it does not let us in, or cannot be brought up to date.
        """
        dsn = url.set(drivername="postgresql").render_as_string(hide_password=False)
        sender = secrets.token_hex(8)
        try:
            await migrated(dsn)
            readers = await asyncpg.create_pool(
                dsn, min_size=1, max_size=READERS, reset=_as_it_is, **_connection_settings()
            )
        except TROUBLE as error:
            raise Misconfigured(f"store.url: the database does not let us in: {_name(error)}") from None
        routes = Routes(lambda: _connect(dsn), sender, outbox)
        await routes.listen()
        return cls(dsn, readers, routes, sender, asyncio.create_task(_poll(outbox), name="outbox poll"))

    async def fetch(self, statement: Statement, **values: object) -> list[Any]:
        """Return what *statement* selects of what is committed. Raises Unavailable."""
        text = self._texts.of(statement)
        return list(await self._read(lambda reader: reader.fetch(text.sql, *text.arguments(values))))

    async def find(self, lookup: Lookup, keys: Sequence[tuple[object, ...]]) -> list[Any]:
        """Return the rows under *keys* of what is committed. Raises Unavailable."""
        return await self._read(lambda reader: _find(reader, self._texts, lookup, keys))

    async def _read(self, ask: Callable[[Any], Awaitable[list[Any]]]) -> list[Any]:
        try:
            async with self._readers.acquire() as reader:
                return await ask(reader)
        except TROUBLE as error:
            raise Unavailable("the database cannot be read") from error

    async def transact(self, work: Callable[[Transaction], Awaitable[T]]) -> T:
        """Run *work* in a transaction of the writing connection; see `Database.transact`."""
        connection = await self._writing()
        try:
            await connection.execute("BEGIN")
            outcome = await work(_OpenTransaction(connection, self._texts, self._sender))
        except TROUBLE as error:
            await self._roll_back(connection)
            raise Unavailable("the database cannot be written") from error
        except BaseException:
            await self._roll_back(connection)
            raise
        try:
            await connection.execute("COMMIT")
        except TROUBLE as error:
            connection.terminate()
            raise CommitUnknown("a commit failed, and nobody knows whether it is durable") from error
        return outcome

    async def _writing(self) -> Any:  # noqa: ANN401 - asyncpg is untyped
        if self._writer is None or self._writer.is_closed():
            try:
                self._writer = await _connect(self._dsn)
            except TROUBLE as error:
                raise Unavailable("the database does not answer") from error
        return self._writer

    async def _roll_back(self, connection: Any) -> None:  # noqa: ANN401 - asyncpg is untyped
        try:
            await connection.execute("ROLLBACK")
        except TROUBLE:
            connection.terminate()  # the server rolls back what loses its connection

    async def own_route(self, peer: str) -> bool:
        """Return whether this process holds the route to *peer*."""
        return await self._routes.own(peer)

    async def close(self) -> None:
        """Close every connection; the routes are free for other processes."""
        self._polling.cancel()
        await self._routes.close()
        if self._writer is not None:
            await self._writer.close()
        await self._readers.close()


async def _find(
    connection: Any,  # noqa: ANN401 - asyncpg is untyped
    texts: Texts,
    lookup: Lookup,
    keys: Sequence[tuple[object, ...]],
) -> list[Any]:
    found: list[Any] = []
    for some in chunks(keys):
        sql, arguments = texts.lookup(lookup, some)
        found += await connection.fetch(sql, *arguments)
    return found


async def _poll(outbox: OutboxSignal) -> NoReturn:
    while True:
        await asyncio.sleep(POLL_S)
        outbox.notify()


def _connection_settings() -> dict[str, Any]:
    return {"server_settings": _SETTINGS, "command_timeout": STATEMENT_S, "statement_cache_size": 256}


async def _connect(dsn: str) -> Any:  # noqa: ANN401 - asyncpg is untyped
    return await asyncpg.connect(dsn, timeout=STATEMENT_S, **_connection_settings())


async def _as_it_is(_connection: Any) -> None:  # noqa: ANN401 - asyncpg is untyped
    """Give a reading connection back to the pool: no read leaves anything behind."""


async def migrated(dsn: str) -> None:
    """Bring the tables of a database up to date."""
    connection = await _connect(dsn)
    try:
        known = await connection.fetchval("SELECT to_regclass('alembic_version') IS NOT NULL")
        revision = await connection.fetchval("SELECT version_num FROM alembic_version") if known else None
    finally:
        await connection.close()
    if revision != REVISION:
        await _migrate(dsn)


async def _migrate(dsn: str) -> None:
    # SQLAlchemy's engine is needed here alone, and so is greenlet, which it runs on.
    from sqlalchemy.ext.asyncio import create_async_engine  # noqa: PLC0415 - see above
    from sqlalchemy.pool import NullPool  # noqa: PLC0415 - see above

    engine = create_async_engine(
        "postgresql+asyncpg://", poolclass=NullPool, async_creator=lambda: asyncpg.connect(dsn)
    )
    async with engine.begin() as connection:
        # One process migrates; the others wait here and then find it done.
        await connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_MIGRATING})")
        await connection.run_sync(migrate)
    await engine.dispose()


def _name(error: BaseException) -> str:
    """Return what is wrong without the DSN, which can hold a password."""
    return getattr(error, "strerror", None) or type(error).__name__
