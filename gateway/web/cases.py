"""Cases at the hook: their state, their clocks and messages, and what each side may send next."""

from collections.abc import Iterable
from http import HTTPStatus

from aiohttp import web

from gateway.core import case as cases
from gateway.core import clocks
from gateway.core.clocks import CLOCKS, Clock, parse_keys
from gateway.core.delivery import AWAITING
from gateway.core.errors import Misuse
from gateway.core.ids import AuthorityId, parse_authority, parse_case_id
from gateway.core.strict import time_text
from gateway.peering.settlement import open_case
from gateway.ports import MessageFilter
from gateway.rows import CaseRow, Direction, MessageRow
from gateway.web.context import CONTEXT, Context
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
    """Show a case: its clocks, its messages, newest first, and the kinds that each side may send now."""
    return respond(await describe(request.app[CONTEXT], await _find(request)))


async def describe(context: Context, row: CaseRow) -> dict[str, object]:
    """Return what there is to say of a case without opening a message."""
    history = open_case(context.keyring().storage, row)
    outcome = cases.replay(history)
    running = clocks.running(history, outcome, context.settings.clocks.periods_ms)
    messages = await context.store.messages(MessageFilter(peer=row.peer, case=row.id), limit=_MESSAGES)
    allowed = cases.allowed(history, [context.directory.own.authority, row.peer])
    return {
        **_summary(row),
        "requesting": outcome.requesting,
        "allowed": {party: list(kinds) for party, kinds in allowed.items()},
        "clocks": _clocks(context, row.peer, running, messages),
        "messages": [
            {**summary(message), "crossed": message.message_sha256 in outcome.crossed} for message in messages
        ],
    }


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


def _clocks(
    context: Context, peer: AuthorityId, running: Iterable[Clock], messages: Iterable[MessageRow]
) -> list[dict[str, object]]:
    """Return the clocks of a case and of its messages that wait for a receipt, the earliest due first."""
    own, now_ms = context.directory.own.authority, context.clock.now_ms()
    receipt_ms = context.settings.clocks.periods_ms[CLOCKS.after]
    found = [(one.definition, one.started.id, one.started.by, one.due_ms) for one in running]
    found += [
        (CLOCKS.delivery, message.id, own, message.created_ms + receipt_ms)
        for message in messages
        if message.direction is Direction.OUT and message.state in AWAITING
    ]
    return [
        {
            "name": clock.name,
            "title": clock.title,
            "description": clock.description,
            "article": clock.article,
            "due": time_text(due_ms),
            "started_by": message,
            "side": clock.side(sender, peer if sender == own else own),
            "expired": due_ms <= now_ms,
        }
        for clock, message, sender, due_ms in sorted(found, key=lambda one: (one[3], one[0].name))
    ]


def _summary(row: CaseRow) -> dict[str, object]:
    return {
        "id": row.id,
        "peer": row.peer,
        "state": row.state,
        "opened": time_text(row.opened_ms),
        "changed": time_text(row.changed_ms),
        "due": time_text(row.clock_ms) if row.clock_ms else None,
        "overdue": sorted({name for name, _ in parse_keys(row.overdue)}),
    }
