"""What is stated later of a message that came in: its system took it over, a person opened it (protocol §9).

Each is an entry that travels, so that it names no account, and a notice on its way to the sender, in one
change. Said again, it changes nothing.
"""

from dataclasses import replace
from http import HTTPStatus

from aiohttp import web

from gateway.core.entry import Draft
from gateway.core.errors import Misuse, Stale, Unavailable
from gateway.ports import Change, EntryFilter, Store
from gateway.rows import THIS_ENTRY, Direction, MessageRow, NoticeRow
from gateway.web.content import reading
from gateway.web.context import CONTEXT
from gateway.web.messages import find

_TRIES = 16
_HANDED_OVER = "handed_over"
_OPENED = "content.opened"
_BUSY = "others are changing the same message"


async def acknowledge(request: web.Request) -> web.Response:
    """Note that the case system took the content over; the sender gets a receipt of it."""
    return await _state(request, "content.handed_over")


async def opened(request: web.Request) -> web.Response:
    """Note that a person of ours has opened the content for the first time; the sender gets a receipt of it.

    Who it was is not told. Later openings are readings, for our own log alone.
    """
    return await _state(request, _OPENED)


async def open_for(store: Store, row: MessageRow, actor_ref: str) -> None:
    """Record that the person *actor_ref* reads the message *row*; the first time, the sender is told as well.

    Raises:
        Unavailable: it cannot be logged now, so that nothing may be read.
    """
    read = reading(row, actor_ref)
    for _ in range(_TRIES):
        change = Change(name="read", entries=(read,))
        if row.direction is Direction.IN and not await _stated(store, row, _OPENED):
            told = _statement(row, _OPENED)
            change = replace(told, entries=(*told.entries, read))
        try:
            await store.record(change)
        except Stale:
            row = await store.get(MessageRow, row.direction, row.peer, row.id) or row
            continue
        return
    raise Unavailable(_BUSY)


async def _state(request: web.Request, event: str) -> web.Response:
    store = request.app[CONTEXT].store
    for _ in range(_TRIES):
        row = await find(request)
        if row.direction is not Direction.IN:
            text = "only what came in can be taken over or opened"
            raise Misuse(HTTPStatus.CONFLICT, "wrong_direction", text)
        if not await _stated(store, row, event):
            try:
                await store.record(_statement(row, event))
            except Stale:
                continue
        return web.Response(status=HTTPStatus.NO_CONTENT)
    raise Unavailable(_BUSY)


async def _stated(store: Store, row: MessageRow, event: str) -> bool:
    if event == "content.handed_over":
        return row.state == _HANDED_OVER
    where = EntryFilter(peer=row.peer, message_id=row.id, event=event)
    return bool(await store.entries(where, limit=1))


def _statement(row: MessageRow, event: str) -> Change:
    """Return the change; it moves the row, so that of two at once one finds the other's."""
    moved = replace(row, state=_HANDED_OVER) if event == "content.handed_over" else row
    notice = NoticeRow(entry=THIS_ENTRY, version=0, peer=row.peer, id=row.id, state="queued")
    entry = Draft(
        event=event,
        outcome="ok",
        peer=row.peer,
        message_id=row.id,
        envelope_sha256=row.envelope_sha256,
        message_sha256=row.message_sha256,
    )
    return Change(name="hand_over", entries=(entry,), puts=(moved, notice), answers=True)
