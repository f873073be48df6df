"""Messages: a list whose filters stand in its address, and one message with what happened to it.

Nothing here opens content: what is shown is what lists may show, and the log.
"""

from collections.abc import Mapping

from aiohttp import web

from gateway.core.errors import Malformed
from gateway.core.ids import parse_authority, parse_message_id
from gateway.core.strict import as_text, parse_time
from gateway.ports import MessageFilter
from gateway.rows import Direction, MessageRow
from gateway.web.console.frame import page
from gateway.web.console.words import STATES
from gateway.web.context import CONTEXT
from gateway.web.documents import number, query
from gateway.web.timeline import timeline

_ROWS = 50
_FILTERS = ("direction", "state", "peer")


async def index(request: web.Request) -> web.Response:
    """List messages, the newest first."""
    asked = {name: value for name, value in query(request, "cursor", *_FILTERS).items() if value}
    cursor = number(asked.pop("cursor"), what="the cursor") if "cursor" in asked else None
    context = request.app[CONTEXT]
    rows = await context.store.messages(_filter(asked), cursor=cursor, limit=_ROWS + 1)
    older = None
    if len(rows) > _ROWS:
        rows = rows[:_ROWS]
        older = str(request.rel_url.with_query({**asked, "cursor": str(rows[-1].entry)}))
    return page(
        request,
        "messages.html",
        rows=rows,
        older=older,
        asked=asked,
        peers=sorted(context.directory.peers),
    )


async def show(request: web.Request) -> web.Response:
    """Show one message, and each moment with the entry that proves it."""
    row = await find(request)
    moments = [
        {**moment, "time_ms": parse_time(as_text(moment["time"]))}
        for moment in await timeline(request.app[CONTEXT], row)
    ]
    return page(request, "message.html", row=row, moments=moments)


async def find(request: web.Request) -> MessageRow:
    """Return the message that the path names, or raise 404."""
    named = request.match_info
    if named["direction"] not in set(Direction):
        raise web.HTTPNotFound
    key = (named["direction"], parse_authority(named["peer"]), parse_message_id(named["id"]))
    row = await request.app[CONTEXT].store.get(MessageRow, *key)
    if row is None:
        raise web.HTTPNotFound
    return row


def _filter(asked: Mapping[str, str]) -> MessageFilter:
    direction, state, peer = (asked.get(name) for name in _FILTERS)
    if direction is not None and direction not in set(Direction):
        raise Malformed("a direction is in or out")
    if state is not None and state not in STATES:
        raise Malformed("a state is one of those of messages")
    return MessageFilter(
        direction=None if direction is None else Direction(direction),
        state=state,
        peer=None if peer is None else parse_authority(peer),
    )
