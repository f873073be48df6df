"""One suite, two databases: every test of the store runs on both."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from sqlalchemy import make_url

from gateway.store import SqlStore
from gateway.store.postgres import migrated
from tests.support.authorities import FixedClock
from tests.support.databases import drop_database, new_database, postgres_server
from tests.support.stores import SQLITE, opened_store


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    with postgres_server() as dsn:
        yield dsn


@pytest.fixture(scope="session")
def template(server: str) -> Iterator[str]:
    """A database with the tables: copying it is quicker than migrating each time."""
    dsn = asyncio.run(new_database(server))
    asyncio.run(migrated(dsn))
    yield str(make_url(dsn).database)
    asyncio.run(drop_database(server, dsn))


@dataclass
class Place:
    """A database, and the stores that a test opened on it."""

    url: str
    folder: Path
    clock: FixedClock = field(default_factory=FixedClock)
    stores: list[SqlStore] = field(default_factory=list)

    @property
    def on_postgres(self) -> bool:
        return self.url.startswith("postgresql")

    async def open(self, **parts: Any) -> SqlStore:
        store = await opened_store(self.folder, url=self.url, **({"clock": self.clock} | parts))
        self.stores.append(store)
        return store

    async def reopen(self, **parts: Any) -> SqlStore:
        """Close every store, as a restart would, and open another."""
        await self.close()
        return await self.open(**parts)

    async def close(self) -> None:
        while self.stores:
            await self.stores.pop().close()

    async def tamper(self, sql: str) -> None:
        """Change the database behind the back of the stores."""
        if self.on_postgres:
            connection = await asyncpg.connect(self.url)
            await connection.execute(sql)
            await connection.close()
        else:
            with sqlite3.connect(self.folder / "gateway.db") as file:
                file.execute(sql)
            file.close()


@pytest.fixture(params=["sqlite", "postgres"])
def copied(request: pytest.FixtureRequest) -> tuple[str, str] | None:
    """Server and template of the test's database; None for a file."""
    if request.param == "sqlite":
        return None
    return request.getfixturevalue("server"), request.getfixturevalue("template")


@pytest.fixture
async def place(copied: tuple[str, str] | None, tmp_path: Path) -> AsyncIterator[Place]:
    if copied is None:
        place = Place(SQLITE, tmp_path)
        yield place
        await place.close()
        return
    server, template = copied
    place = Place(await new_database(server, template=template), tmp_path)
    yield place
    await place.close()
    await drop_database(server, place.url)


@pytest.fixture
async def postgres(server: str, template: str, tmp_path: Path) -> AsyncIterator[Place]:
    place = Place(await new_database(server, template=template), tmp_path)
    yield place
    await place.close()
    await drop_database(server, place.url)


@pytest.fixture
def clock(place: Place) -> FixedClock:
    return place.clock


@pytest.fixture
async def store(place: Place) -> SqlStore:
    return await place.open()


class Unplugged:
    """A connection whose COMMIT fails; everything else goes through."""

    def __init__(self, connection: Any, error: Exception) -> None:
        self._connection, self._error = connection, error

    def execute(self, sql: str, *arguments: Any) -> Any:
        if sql == "COMMIT":
            raise self._error
        return self._connection.execute(sql, *arguments)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)


def unplug(store: SqlStore, error: Exception) -> None:
    """Let every COMMIT of *store* fail with *error* from now on."""
    database: Any = store._database
    database._writer = Unplugged(database._writer, error)
