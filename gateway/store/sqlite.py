"""SQLite: one process, one writer thread, and two ways to read.

What an index finds at once is read where it is asked for, on the event loop's own thread; lists and
scans are aiosqlite's (docs/decisions/0013). Readers never wait for the writer (WAL); each commit is
on disk before it returns (`synchronous=FULL`). A lock on a file beside the database keeps a second
process out.
"""

import asyncio
import contextlib
import fcntl
import os
import sqlite3
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

import aiosqlite
import sqlalchemy as sa
from sqlalchemy import create_engine
from sqlalchemy.dialects.sqlite import pysqlite
from sqlalchemy.pool import NullPool

from gateway.core.errors import Misconfigured, Unavailable
from gateway.store.database import BadRow, CommitUnknown, Transaction, chunks
from gateway.store.migrations import REVISION, migrate
from gateway.store.near import AT_ONCE_KEYS, NearReader
from gateway.store.statements import Lookup, Statement, Texts

T = TypeVar("T")

_PRAGMAS = (
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=FULL",
    "PRAGMA foreign_keys=ON",
    "PRAGMA busy_timeout=10000",
    "PRAGMA trusted_schema=OFF",
    "PRAGMA secure_delete=FAST",
    "PRAGMA cache_size=-1024",  # KiB; what is more lies in the cache of the system, for all connections
)
_READING = ("PRAGMA query_only=ON", "PRAGMA cache_size=-256")
"""Of a reading connection. It keeps few KiB: what was just written, the system has at hand."""
_INSERTED = 8
"""The most rows of one INSERT."""
_REFUSED = (
    sqlite3.IntegrityError,
    sqlite3.DataError,
    sqlite3.InterfaceError,
    sqlite3.ProgrammingError,
    OverflowError,
    UnicodeError,
)
"""How the driver says that it is the row: a constraint, or a value that it cannot bind."""


class FileLock:
    """The hold of one process on a database file, given up with the process."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._file)
            raise Misconfigured(
                "store.url: another process has this database open; SQLite serves one, PostgreSQL several"
            ) from None

    def release(self) -> None:
        """Let the next process in."""
        os.close(self._file)


class _WriterTransaction:
    """A transaction in the writer thread: every step is done when it returns."""

    def __init__(self, connection: sqlite3.Connection, texts: Texts) -> None:
        self._connection = connection
        self._texts = texts
        self.shreds = False

    async def fetch(self, statement: Statement, **values: object) -> list[Any]:
        text = self._texts.of(statement)
        return self._connection.execute(text.sql, text.arguments(values)).fetchall()

    async def find(self, lookup: Lookup, keys: Sequence[tuple[object, ...]]) -> list[Any]:
        found: list[Any] = []
        for some in chunks(keys):
            found += self._connection.execute(*self._texts.lookup(lookup, some)).fetchall()
        return found

    async def write(self, statement: Statement, rows: Sequence[Mapping[str, object]]) -> None:
        text = self._texts.of(statement)
        arguments = [text.arguments(row) for row in rows]
        try:
            if isinstance(statement.clause, sa.Insert):
                for some in _runs(arguments):
                    self._connection.execute(text.of_rows(len(some)), tuple(chain.from_iterable(some)))
            elif self._connection.executemany(text.sql, arguments).rowcount != len(rows):
                raise BadRow("a row was not where its version had been read")
        except _REFUSED as error:
            raise BadRow(f"the database refuses a row: {type(error).__name__}") from None

    async def result(self, future: Future[T]) -> T:
        return future.result()

    async def shred(self) -> None:
        self._connection.execute("PRAGMA secure_delete=ON")
        self.shreds = True

    async def outbox_touched(self) -> None:
        """Nothing to tell: there is no other process."""


class SqliteDatabase:
    """A database file, opened for this process alone."""

    def __init__(
        self,
        lock: FileLock,
        writer: sqlite3.Connection,
        near: NearReader,
        reader: aiosqlite.Connection,
    ) -> None:
        self._lock = lock
        self._writer = writer
        self._near = near
        self._reader = reader
        self._texts = Texts(pysqlite.dialect(paramstyle="qmark"))
        self._thread = ThreadPoolExecutor(1, "store-writer")

    @classmethod
    async def opened(cls, path: Path) -> "SqliteDatabase":
        """Return the database at *path*, brought up to date.

        Raises:
            Misconfigured: another process has it open, or it cannot be opened.
        """
        try:
            lock = FileLock(path.with_name(f"{path.name}.lock"))
        except OSError as error:
            raise Misconfigured(f"store.url: {error.strerror}") from None
        try:
            writer = await asyncio.to_thread(_opened_writer, path)
            near = NearReader(_opened_near(path))
            reader = await _opened_reader(path)
        except (sqlite3.Error, OSError) as error:
            lock.release()
            raise Misconfigured(f"store.url: the database cannot be opened: {error}") from None
        except BaseException:
            lock.release()
            raise
        return cls(lock, writer, near, reader)

    async def fetch(self, statement: Statement, **values: object) -> list[Any]:
        """Return what *statement* selects of what is committed. Raises Unavailable."""
        text = self._texts.of(statement)
        return await self._read(text.sql, text.arguments(values), at_once=statement.brief)

    async def find(self, lookup: Lookup, keys: Sequence[tuple[object, ...]]) -> list[Any]:
        """Return the rows under *keys* of what is committed. Raises Unavailable."""
        found: list[Any] = []
        for some in chunks(keys):
            found += await self._read(*self._texts.lookup(lookup, some), at_once=len(keys) <= AT_ONCE_KEYS)
        return found

    async def _read(self, sql: str, arguments: tuple[Any, ...], *, at_once: bool = False) -> list[Any]:
        found = self._near.read(sql, arguments) if at_once else None
        if found is not None:
            return found
        try:
            return list(await self._reader.execute_fetchall(sql, arguments))
        except sqlite3.OperationalError as error:
            raise Unavailable("the database cannot be read") from error

    async def transact(self, work: Callable[[Transaction], Awaitable[T]]) -> T:
        """Run *work* in a transaction in the writer thread; see `Database.transact`."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._commit, work)

    def _commit(self, work: Callable[[Transaction], Awaitable[T]]) -> T:
        transaction = _WriterTransaction(self._writer, self._texts)
        try:
            self._writer.execute("BEGIN IMMEDIATE")
            outcome = _run(work(transaction))
        except sqlite3.Error as error:
            self._roll_back()
            raise Unavailable("the database cannot be written") from error
        except BaseException:
            self._roll_back()
            raise
        try:
            self._writer.execute("COMMIT")
        except sqlite3.Error as error:
            # A full disk is noticed before the commit's frame is in the WAL: rolled back, it never was.
            if error.sqlite_errorcode == sqlite3.SQLITE_FULL and self._writer.in_transaction:
                self._roll_back()
                raise Unavailable("the disk of the database is full") from error
            raise CommitUnknown("a commit failed, and nobody knows whether it is on disk") from error
        if transaction.shreds:
            self._shred()
        return outcome

    def _shred(self) -> None:
        """Bring what was overwritten with zeroes from the WAL to the database, and empty the WAL.

        A reader that is in the way lets it stand until the next time: the database itself checkpoints too.
        """
        with contextlib.suppress(sqlite3.Error):
            self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            self._writer.execute("PRAGMA secure_delete=FAST")

    def _roll_back(self) -> None:
        if self._writer.in_transaction:  # some errors have ended it already
            self._writer.execute("ROLLBACK")

    async def own_route(self, _peer: str) -> bool:
        """Return True: there is no other process."""
        return True

    async def close(self) -> None:
        """Close every connection and let the next process in."""
        self._near.close()
        await self._reader.close()
        await asyncio.get_running_loop().run_in_executor(self._thread, self._writer.close)
        self._thread.shutdown()
        self._lock.release()


def _runs(rows: list[tuple[object, ...]]) -> Iterator[list[tuple[object, ...]]]:
    """Yield *rows* in runs of _INSERTED or of smaller powers of two: there are few different statements.

    Each execution lets another thread have the interpreter, and may wait long to get it back.
    """
    start, length = 0, _INSERTED
    while start < len(rows):
        while length > len(rows) - start:
            length //= 2
        yield rows[start : start + length]
        start += length


def _run(work: Awaitable[T]) -> T:
    """Return the outcome of a coroutine whose every step is done at once."""
    assert isinstance(work, Coroutine)  # noqa: S101 - work is always a coroutine function
    try:
        work.send(None)
    except StopIteration as done:
        outcome: T = done.value
        return outcome
    work.close()
    raise RuntimeError("a transaction waited for something in the writer thread")


def _opened_writer(path: Path) -> sqlite3.Connection:
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))  # its WAL gets the same mode
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, cached_statements=256)
    try:
        for pragma in _PRAGMAS:
            connection.execute(pragma)
        if _revision(connection) != REVISION:
            _migrate(path)
    except BaseException:
        connection.close()
        raise
    return connection


def _revision(connection: sqlite3.Connection) -> str | None:
    if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'").fetchone():
        return None
    found = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    return str(found[0]) if found else None


def _migrate(path: Path) -> None:
    engine = create_engine(
        "sqlite://", poolclass=NullPool, creator=lambda: sqlite3.connect(path, isolation_level=None)
    )
    try:
        with engine.connect() as connection:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            migrate(connection)
            connection.exec_driver_sql("COMMIT")
    finally:
        engine.dispose()


def _opened_near(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, cached_statements=256)
    for pragma in (*_PRAGMAS, *_READING):
        connection.execute(pragma)
    return connection


async def _opened_reader(path: Path) -> aiosqlite.Connection:
    connection = await aiosqlite.connect(path, isolation_level=None, cached_statements=256)
    for pragma in (*_PRAGMAS, *_READING):
        await connection.execute_fetchall(pragma)
    return connection
