"""The clock of this machine at the hook: confirmed by an operator when peers or the boot clock doubt it."""

from http import HTTPStatus

from aiohttp import web

from gateway.core import custody
from gateway.core.entry import Draft
from gateway.core.errors import Malformed, Misuse, Unavailable
from gateway.core.strict import as_text
from gateway.ports import Change
from gateway.rows import DetailRow
from gateway.web.context import CONTEXT
from gateway.web.documents import read_document, respond
from gateway.web.middleware import BEARER

_MAX_NAME = 100


async def confirm(request: web.Request) -> web.Response:
    """Believe the clock, as the person in `by` says; put it on record."""
    found = await read_document(request, required=("by",))
    by = as_text(found["by"])
    if not by.strip() or len(by) > _MAX_NAME or not by.isprintable():
        raise Malformed(f"a name has 1 to {_MAX_NAME} printable characters")
    context = request.app[CONTEXT]
    sentry = context.sentry
    if sentry is None or not sentry.confirm():
        raise Misuse(HTTPStatus.CONFLICT, "clock_agrees", "nothing is wrong with the clock")
    detail = custody.box_detail(context.keyring().storage, by.encode())
    entry = Draft(
        event="clock.confirmed", outcome="ok", actor_ref=request[BEARER].id, commitment=detail.commitment
    )
    try:
        recorded = await context.store.record(
            Change(name="clock", entries=(entry,), puts=(DetailRow.of(detail),))
        )
    except Unavailable:
        sentry.withdraw()  # what is not on record was not confirmed
        raise
    return respond({"entry": recorded.entries[0].index})
