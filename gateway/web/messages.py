"""Messages at the hook: lists, states and timelines, content, and what the authority does with them."""

from http import HTTPStatus

from aiohttp import web

from gateway.core import delivery
from gateway.core.errors import Malformed, Misuse
from gateway.core.findings import in_language
from gateway.core.ids import AuthorityId, parse_authority, parse_case_id, parse_message_id
from gateway.core.proof import parse_receipt
from gateway.core.strict import as_list, as_object, parse_json, time_text
from gateway.peering.reachability import reopen
from gateway.ports import MessageFilter
from gateway.rows import Direction, MessageRow
from gateway.web import idempotency
from gateway.web.content import log_reading, message_of, stored_content
from gateway.web.context import CONTEXT
from gateway.web.documents import Page, flag, query, read_json_bytes, respond, respond_bytes, respond_page
from gateway.web.idempotency import IN_FLIGHT, Keyed
from gateway.web.languages import language_of
from gateway.web.middleware import BEARER
from gateway.web.release import release as let_go
from gateway.web.submission import Submission
from gateway.web.timeline import timeline

_WHICH = ("peer", "direction")
_STATES = frozenset({*delivery.State, "available"})
_WAITING = frozenset({delivery.State.QUEUED, delivery.State.UNDETERMINED})


async def submit(request: web.Request) -> web.Response:
    """Take a draft; answer once the message is durable (or, dry, with its findings alone)."""
    dry_run = flag(query(request, "dry_run").get("dry_run"), what="dry_run")
    raw, actor = await read_json_bytes(request), request[BEARER].id
    submission = Submission(request.app[CONTEXT], actor, language_of(request))
    key = request.headers.get(idempotency.HEADER)
    keyed = None if key is None else Keyed.of(actor, key, raw)
    if dry_run:
        return respond(await submission.dry_run(raw))
    with request.app[IN_FLIGHT].hold(keyed):
        answer = await submission.submit(raw, keyed)
    headers = {"Location": answer.location}
    if answer.replayed:
        headers[idempotency.REPLAYED] = "true"
    return respond_bytes(answer.body, status=answer.status, headers=headers)


async def index(request: web.Request) -> web.Response:
    """List messages, newest first."""
    page = Page.of(request, "direction", "peer", "kind", "case", "state")
    asked = page.filters
    where = MessageFilter(
        direction=_direction(asked.get("direction")),
        peer=_authority(asked.get("peer")),
        kind=asked.get("kind"),
        case=parse_case_id(asked["case"]) if "case" in asked else None,
        state=_state(asked.get("state")),
    )
    rows = await request.app[CONTEXT].store.messages(where, cursor=page.after, limit=page.limit)
    return respond_page(request, page, [summary(row) for row in rows], rows[-1].entry if rows else None)


async def show(request: web.Request) -> web.Response:
    """Say all that may be said of a message without opening it."""
    row = await find(request)
    store = request.app[CONTEXT].store
    receipts = await store.receipts(row.peer, row.id) if row.direction is Direction.OUT else []
    findings = in_language(map(as_object, as_list(parse_json(row.findings.encode()))), language_of(request))
    return respond(
        {
            **summary(row),
            "findings": findings,
            "receipts": len(receipts),
            "timeline": await timeline(request.app[CONTEXT], row),
        }
    )


async def receipts(request: web.Request) -> web.Response:
    """Give the peer's receipts about an outgoing message, each as it came."""
    row = await find(request)
    if row.direction is not Direction.OUT:
        raise Misuse(HTTPStatus.CONFLICT, "wrong_direction", "the sender of a message holds its receipts")
    found = await request.app[CONTEXT].store.receipts(row.peer, row.id)
    held = [parse_receipt(one.body) for one in found]
    return respond({"items": [{"entry": one.entry.decode("ascii"), "proof": one.proof} for one in held]})


async def content(request: web.Request) -> web.Response:
    """Give the message as it was signed; the reading is logged before a byte leaves."""
    row = await find(request)
    _, stored = await stored_content(request.app[CONTEXT], row)
    message = message_of(stored)
    await log_reading(request, row)
    return respond_bytes(message.raw, status=HTTPStatus.OK)


async def jws(request: web.Request) -> web.Response:
    """Give the compact JWS; the reading is logged before a byte leaves."""
    row = await find(request)
    _, stored = await stored_content(request.app[CONTEXT], row)
    await log_reading(request, row)
    return web.Response(body=stored.jws.encode("ascii"), content_type="application/jose")


async def retry(request: web.Request) -> web.Response:
    """Make the next attempt due now, and end the backoff of the peer."""
    row = await _step(request, delivery.Retry())
    await reopen(request.app[CONTEXT].store, row.peer)
    return respond(summary(row), status=HTTPStatus.ACCEPTED)


async def cancel(request: web.Request) -> web.Response:
    """Give a held message up."""
    return respond(summary(await _step(request, delivery.Cancel())), status=HTTPStatus.ACCEPTED)


async def release(request: web.Request) -> web.Response:
    """Let a held message go, signed anew for where its case stands now."""
    row = await _outgoing(request)
    released = await let_go(request.app[CONTEXT], row, request[BEARER].id, language_of(request))
    return respond(summary(released), status=HTTPStatus.ACCEPTED)


async def find(request: web.Request) -> MessageRow:
    """Return the message that path and query name.

    Raises:
        Misuse: 404; 409 `ambiguous` when two peers share the id and `peer` does not tell.
    """
    asked = query(request, *_WHICH)
    peer, direction = _authority(asked.get("peer")), _direction(asked.get("direction"))
    message = parse_message_id(request.match_info["id"])
    rows = [
        row
        for row in await request.app[CONTEXT].store.messages_with_id(message)
        if peer in {None, row.peer} and direction in {None, row.direction}
    ]
    if not rows:
        raise Misuse(HTTPStatus.NOT_FOUND, "not_found", "there is no such message here")
    if len(rows) > 1:
        raise Misuse(
            HTTPStatus.CONFLICT,
            "ambiguous",
            "more than one message has this id: say which with peer (and direction)",
            members={"candidates": [{"peer": row.peer, "direction": row.direction} for row in rows]},
        )
    return rows[0]


def summary(row: MessageRow) -> dict[str, object]:
    """Return what lists show of a message."""
    waits = row.direction is Direction.OUT and row.state in _WAITING and row.next_ms
    return {
        "id": row.id,
        "case": row.case,
        "direction": row.direction,
        "peer": row.peer,
        "kind": row.kind,
        "state": row.state,
        "created": time_text(row.created_ms),
        "expires": time_text(row.expires_ms),
        "recorded": time_text(row.recorded_ms),
        "in_reply_to": row.in_reply_to,
        "message_sha256": row.message_sha256,
        "attempt": row.attempt,
        "next_attempt": time_text(row.next_ms) if waits else None,
        "problem": row.problem,
        "erased": None if row.erased_ms is None else time_text(row.erased_ms),
    }


async def _outgoing(request: web.Request) -> MessageRow:
    row = await find(request)
    if row.direction is not Direction.OUT:
        raise Misuse(HTTPStatus.CONFLICT, "wrong_direction", "only what goes out is delivered from here")
    return row


async def _step(request: web.Request, event: delivery.Retry | delivery.Cancel) -> MessageRow:
    """Apply an operator's *event* to an outgoing message. Raises Misuse."""
    context, row = request.app[CONTEXT], await _outgoing(request)
    settlement = context.settlement()
    return await settlement.settle(row, event, actor_ref=request[BEARER].id)


def _authority(text: str | None) -> AuthorityId | None:
    return None if text is None else parse_authority(text)


def _direction(text: str | None) -> Direction | None:
    if text is None:
        return None
    try:
        return Direction(text)
    except ValueError:
        raise Malformed("direction is in or out") from None


def _state(text: str | None) -> str | None:
    if text is not None and text not in _STATES:
        raise Malformed("not a state that a message can be in")
    return text
