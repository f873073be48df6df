"""Cases at the hook: their state, their messages, and what each side may send next."""

from http import HTTPStatus

from aiohttp import web

from gateway.core import case as cases
from gateway.core.errors import Misuse
from gateway.core.ids import parse_authority, parse_case_id
from gateway.core.strict import time_text
from gateway.peering.settlement import open_case
from gateway.ports import MessageFilter
from gateway.rows import CaseRow
from gateway.web.context import CONTEXT
from gateway.web.documents import Page, query, respond, respond_page
from gateway.web.messages import summary

_MESSAGES = 500


async def index(request: web.Request) -> web.Response:
    """List cases by id."""
    page = Page.of(request, "peer")
    peer = parse_authority(page.filters["peer"]) if "peer" in page.filters else None
    cursor = None if page.cursor is None else parse_case_id(page.cursor)
    rows = await request.app[CONTEXT].store.cases(peer=peer, cursor=cursor, limit=page.limit)
    return respond_page(request, page, [_summary(row) for row in rows], rows[-1].id if rows else None)


async def show(request: web.Request) -> web.Response:
    """Show a case: its messages, newest first, and the kinds that each side may send now."""
    context, row = request.app[CONTEXT], await _find(request)
    history = open_case(context.keyring().storage, row)
    outcome = cases.replay(history)
    messages = await context.store.messages(MessageFilter(peer=row.peer, case=row.id), limit=_MESSAGES)
    allowed = cases.allowed(history, [context.directory.own.authority, row.peer])
    found = {
        **_summary(row),
        "requesting": outcome.requesting,
        "allowed": {party: list(kinds) for party, kinds in allowed.items()},
        "messages": [
            {**summary(message), "crossed": message.message_sha256 in outcome.crossed} for message in messages
        ],
    }
    return respond(found)


async def _find(request: web.Request) -> CaseRow:
    """Return the case that path and query name.

    Raises:
        Misuse: 404; 409 `ambiguous` when two peers share the id and `peer` does not tell.
    """
    asked = query(request, "peer")
    context, case = request.app[CONTEXT], parse_case_id(request.match_info["id"])
    peers = [parse_authority(asked["peer"])] if "peer" in asked else list(context.directory.peers)
    found = await context.store.get_many(CaseRow, [(peer, case) for peer in peers]) if peers else {}
    if not found:
        raise Misuse(HTTPStatus.NOT_FOUND, "not_found", "there is no such case here")
    if len(found) > 1:
        candidates = [{"peer": row.peer} for row in found.values()]
        raise Misuse(
            HTTPStatus.CONFLICT,
            "ambiguous",
            "more than one peer has a case with this id: say which with peer",
            members={"candidates": candidates},
        )
    return next(iter(found.values()))


def _summary(row: CaseRow) -> dict[str, object]:
    return {
        "id": row.id,
        "peer": row.peer,
        "state": row.state,
        "opened": time_text(row.opened_ms),
        "changed": time_text(row.changed_ms),
    }
