"""Telling an operator of something about a peer, once."""

import contextlib

from gateway.core.errors import Stale
from gateway.ports import Change, Clock, Store
from gateway.rows import AlarmRow


async def raise_alarm(store: Store, clock: Clock, code: str, subject: str, detail: str) -> None:
    """Raise the alarm *code* about *subject*, unless it is raised already."""
    if await store.get(AlarmRow, code, subject) is not None:
        return
    row = AlarmRow(code=code, subject=subject, version=0, raised_ms=clock.now_ms(), detail=detail)
    with contextlib.suppress(Stale):  # another process raised it
        await store.record(Change(name="alarm", puts=(row,)))
