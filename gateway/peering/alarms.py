"""Telling an operator of something about a peer, once."""

import contextlib

from gateway.core.entry import Draft
from gateway.core.errors import Stale
from gateway.core.ids import AuthorityId, MessageId
from gateway.ports import Change, Clock, Store
from gateway.rows import AlarmRow


async def raise_alarm(
    store: Store, clock: Clock, code: str, peer: AuthorityId, detail: str, *, message: MessageId | None = None
) -> None:
    """Raise the alarm *code* about *peer*, or a *message* to it, unless it is raised already."""
    subject = peer if message is None else message
    if await store.get(AlarmRow, code, subject) is not None:
        return
    row = AlarmRow(code=code, subject=subject, version=0, raised_ms=clock.now_ms(), detail=detail)
    entry = alarm_entry(code, peer=peer, message=message)
    with contextlib.suppress(Stale):  # raised by another request or process meanwhile
        await store.record(Change(name="alarm", entries=(entry,), puts=(row,)))


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
