"""The one backoff of the way to a peer, and what ends it (protocol §8 "Sending")."""

import contextlib
from dataclasses import replace

from gateway.core.errors import Stale
from gateway.core.ids import AuthorityId
from gateway.ports import Change, PeerRow, Store


async def reopen(store: Store, peer: AuthorityId) -> None:
    """End our backoff towards *peer*, if there is one: it was heard of, or an operator says so."""
    row = await store.get(PeerRow, peer)
    if row is not None and row.attempt:
        moved = replace(row, attempt=0, next_ms=0, problem=None)
        with contextlib.suppress(Stale):  # the courier has just been there itself
            await store.record(Change(name="route", puts=(moved,)))
