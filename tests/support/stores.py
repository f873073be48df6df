"""Stores for tests: real ones, over a file or a PostgreSQL database."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path

from gateway.core.ids import AuthorityId
from gateway.core.note import LogIdentity
from gateway.ports import Clock, Entropy, Probe, Unprobed
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


async def opened_store(
    data_dir: Path,
    *,
    url: str = SQLITE,
    authority: AuthorityId = AUTHORITY,
    origin: str = ORIGIN,
    signer: LogKeys | None = None,
    clock: Clock | None = None,
    entropy: Entropy | None = None,
    probe: Probe | None = None,
) -> SqlStore:
    """Return a store that the caller closes."""
    return await open_store(
        url,
        authority=authority,
        origin=origin,
        signer=signer or log_keys(),
        clock=clock or FixedClock(),
        entropy=entropy or FixedEntropy(),
        probe=probe or Unprobed(),
        data_dir=data_dir,
    )


@asynccontextmanager
async def make_store(
    data_dir: Path,
    *,
    url: str = SQLITE,
    authority: AuthorityId = AUTHORITY,
    origin: str = ORIGIN,
    signer: LogKeys | None = None,
    clock: Clock | None = None,
    entropy: Entropy | None = None,
    probe: Probe | None = None,
) -> AsyncIterator[SqlStore]:
    """Open a store for a block; by default SQLite under *data_dir*."""
    store = await opened_store(
        data_dir,
        url=url,
        authority=authority,
        origin=origin,
        signer=signer,
        clock=clock,
        entropy=entropy,
        probe=probe,
    )
    try:
        yield store
    finally:
        await store.close()
