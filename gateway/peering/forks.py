"""Keeping what shows that a peer's log contradicts itself (protocol §9 "Witnessing").

Both checkpoints are kept, an operator is told once, and the peer is marked by that it has such rows. Whether
it is still trusted with messages is the operator's to decide.
"""

import contextlib
from enum import StrEnum

from gateway.core.errors import Stale
from gateway.core.ids import AuthorityId
from gateway.core.note import Checkpoint
from gateway.peering.alarms import alarm_entry
from gateway.ports import Change, Clock, Store
from gateway.rows import AlarmRow, ForkRow, Row


class Fork(StrEnum):
    """How two checkpoints of one log contradict each other."""

    TWO_ROOTS = "two_roots"
    """Two signed roots for one size: that is proof of misbehaviour to anybody."""
    INCONSISTENT = "inconsistent"
    """No proof leads from one to the other: the log could have given one."""


async def keep_fork(
    store: Store, clock: Clock, peer: AuthorityId, code: Fork, pair: tuple[Checkpoint, Checkpoint]
) -> None:
    """Keep a *pair* of checkpoints of a log of *peer* that contradict each other, once for each size."""
    first, second = sorted(pair, key=lambda checkpoint: checkpoint.size)
    if await store.get(ForkRow, first.origin, first.size, code) is not None:
        return
    now_ms = clock.now_ms()
    puts: list[Row] = [
        ForkRow(
            origin=first.origin,
            size=first.size,
            code=code,
            version=0,
            peer=peer,
            first=first.text,
            second=second.text,
            found_ms=now_ms,
        )
    ]
    alarm = f"log_{code}"
    if await store.get(AlarmRow, alarm, peer) is None:
        puts.append(AlarmRow(code=alarm, subject=peer, version=0, raised_ms=now_ms, detail=first.origin))
    entry = alarm_entry(alarm, peer=peer, extra=(("log_size", first.size), ("log_origin", first.origin)))
    with contextlib.suppress(Stale):  # found by another request or process meanwhile
        await store.record(Change(name="fork", entries=(entry,), puts=tuple(puts)))
