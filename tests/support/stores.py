"""Stores for tests: real ones, over a file or a PostgreSQL database."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from typing import Any

from gateway.core.ids import AuthorityId
from gateway.core.note import LogIdentity
from gateway.ports import Unprobed
from gateway.store import SqlStore, open_store
from keys.signing import LogKeys
from tests.support.authorities import FixedClock, FixedEntropy

SQLITE = "sqlite:///gateway.db"
AUTHORITY = AuthorityId("qm.moj")
ORIGIN = "qm-moj.example/audit/1"


@cache
def log_keys() -> LogKeys:
    """Return the log keys of AUTHORITY, the same for a whole session."""
    return LogKeys.generate()


@cache
def log_identity() -> LogIdentity:
    """Return who signs the log of AUTHORITY."""
    return LogIdentity(ORIGIN, log_keys().ed.public, log_keys().lattice.public)


async def opened_store(data_dir: Path, *, url: str = SQLITE, **parts: Any) -> SqlStore:
    """Return a store that the caller closes; *parts* are those of `open_store` that matter."""
    usual: dict[str, Any] = {
        "authority": AUTHORITY,
        "origin": ORIGIN,
        "signer": log_keys(),
        "clock": FixedClock(),
        "entropy": FixedEntropy(),
        "probe": Unprobed(),
    }
    return await open_store(url, data_dir=data_dir, **(usual | parts))


@asynccontextmanager
async def make_store(data_dir: Path, *, url: str = SQLITE, **parts: Any) -> AsyncIterator[SqlStore]:
    """Open a store for a block; by default SQLite under *data_dir*."""
    store = await opened_store(data_dir, url=url, **parts)
    try:
        yield store
    finally:
        await store.close()
