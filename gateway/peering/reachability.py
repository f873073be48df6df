"""The one backoff of the way to a peer: what begins it, and what ends it (protocol §8 "Sending")."""

import contextlib
from dataclasses import replace

from gateway.core.backoff import OPEN, Way, obstructed
from gateway.core.errors import Stale
from gateway.core.ids import AuthorityId
from gateway.ports import Change, Store
from gateway.rows import PeerRow


def is_open(row: PeerRow, now_ms: int) -> bool:
    """Return whether something may be sent to the peer now."""
    return row.state == "active" and _way(row).is_open(now_ms)


async def obstruct(
    store: Store,
    peer: AuthorityId,
    code: str,
    now_ms: int,
    jitter: float,
    *,
    retry_after_s: int | None = None,
) -> int:
    """Leave *peer* alone for a while; return how many failures in a row this makes."""
    row = await store.get(PeerRow, peer)
    if row is None:
        return 0
    way = obstructed(_way(row), code, now_ms, jitter, retry_after_s=retry_after_s)
    await _write(store, row, way)
    return way.attempt


async def reopen(store: Store, peer: AuthorityId) -> None:
    """End our backoff towards *peer*, if there is one: it was heard of, or an operator says so."""
    row = await store.get(PeerRow, peer)
    if row is not None and row.attempt:
        await _write(store, row, OPEN)


def _way(row: PeerRow) -> Way:
    return Way(row.attempt, row.next_ms, row.problem)


async def _write(store: Store, row: PeerRow, way: Way) -> None:
    moved = replace(row, attempt=way.attempt, next_ms=way.next_ms, problem=way.problem)
    with contextlib.suppress(Stale):  # the other side of this has just written it
        await store.record(Change(name="route", puts=(moved,)))
