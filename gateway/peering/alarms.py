"""Telling an operator of something about a peer, once."""

import contextlib

from gateway.core.entry import Draft
from gateway.core.errors import Stale
from gateway.core.ids import AuthorityId, MessageId
from gateway.ports import Change, Clock, Store
from gateway.rows import AlarmRow


async def raise_alarm(store: Store, clock: Clock, code: str, subject: AuthorityId, detail: str) -> None:
    """Raise the alarm *code* about the peer *subject*, unless it is raised already."""
    if await store.get(AlarmRow, code, subject) is not None:
        return
    row = AlarmRow(code=code, subject=subject, version=0, raised_ms=clock.now_ms(), detail=detail)
    with contextlib.suppress(Stale):  # another process raised it
        await store.record(Change(name="alarm", entries=(alarm_entry(code, peer=subject),), puts=(row,)))


def alarm_entry(
    code: str,
    *,
    peer: AuthorityId | None = None,
    message: MessageId | None = None,
    extra: tuple[tuple[str, str | int], ...] = (),
) -> Draft:
    """Return the entry that says that the alarm *code* was raised."""
    return Draft(
        event="alarm.raised", outcome="ok", peer=peer, message_id=message, extra=(("alarm", code), *extra)
    )
