"""The migrations make exactly the tables that the code knows."""

import sqlite3
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.ext.asyncio import create_async_engine

from gateway.core.errors import Misconfigured
from gateway.store import migrations
from gateway.store.migrations import REVISION, migrate
from gateway.store.postgres import migrated
from gateway.store.tables import metadata
from tests.contract.conftest import Place
from tests.support.databases import drop_database, new_database
from tests.support.stores import SQLITE


def differences(connection: sa.Connection) -> list[Any]:
    context = MigrationContext.configure(connection, opts={"compare_server_default": True})
    return compare_metadata(context, metadata)


def created(path: Path) -> dict[str, str]:
    """Return what a SQLite file says that its tables and indexes are."""
    with sqlite3.connect(path) as file:
        found = file.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL").fetchall()
    file.close()
    # SQLite quotes the name of a table that a migration made anew under another one first.
    plain = {name: sql.replace(f'TABLE "{name}"', f"TABLE {name}") for name, sql in found}
    return {name: " ".join(sql.split()) for name, sql in plain.items() if name != "alembic_version"}


def test_the_newest_migration_is_the_revision_of_the_code():
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))

    assert ScriptDirectory.from_config(config).get_heads() == [REVISION]


def test_migrations_make_the_tables_of_the_code_on_sqlite(tmp_path: Path):
    migrated_file, direct_file = tmp_path / "migrated.db", tmp_path / "direct.db"
    engine = sa.create_engine(f"sqlite:///{migrated_file}")
    with engine.begin() as connection:
        migrate(connection)
    with engine.connect() as connection:
        assert differences(connection) == []
    engine.dispose()
    direct = sa.create_engine(f"sqlite:///{direct_file}")
    metadata.create_all(direct)
    direct.dispose()

    assert created(migrated_file) == created(direct_file), "to the letter: conditions of indexes as well"


async def test_migrations_make_the_tables_of_the_code_on_postgres(server: str):
    migrated_dsn, direct_dsn = await new_database(server), await new_database(server)
    await migrated(migrated_dsn)

    assert await _on(migrated_dsn, differences) == []
    await _on(direct_dsn, metadata.create_all)
    assert await _indexes(migrated_dsn) == await _indexes(direct_dsn)
    await drop_database(server, migrated_dsn)
    await drop_database(server, direct_dsn)


async def _on(dsn: str, ask: Any) -> Any:
    engine = create_async_engine("postgresql+asyncpg://", async_creator=lambda: asyncpg.connect(dsn))
    async with engine.begin() as connection:
        found = await connection.run_sync(ask)
    await engine.dispose()
    return found


async def _indexes(dsn: str) -> list[str]:
    connection = await asyncpg.connect(dsn)
    found = await connection.fetch(
        "SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' AND tablename <> 'alembic_version'"
        " ORDER BY indexname"
    )
    await connection.close()
    return [row["indexdef"] for row in found]


async def test_a_database_of_a_newer_version_is_not_touched(place: Place):
    await place.open()
    await place.close()
    await place.tamper("UPDATE alembic_version SET version_num = '9999'")

    with pytest.raises(Misconfigured, match="newer version"):
        await place.open()


async def test_the_files_of_a_database_are_for_its_owner(tmp_path: Path):
    place = Place(SQLITE, tmp_path)
    await place.open()

    modes = {path.name: path.stat().st_mode & 0o777 for path in list_folder(tmp_path)}
    assert modes == {f"gateway.db{ending}": 0o600 for ending in ("", "-wal", "-shm", ".lock")}
    await place.close()


def list_folder(folder: Path) -> list[Path]:
    return list(folder.iterdir())
