"""The federation door: what peers may ask of this node (protocol §8).

Who asks is the pinned certificate of the connection and nothing else. Handlers get the peer from
the middleware; whatever they look up is scoped by it.
"""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import NoReturn

from aiohttp import web

import gateway
from gateway.core.entry import LATER, Entry, parse_entry
from gateway.core.envelope import MAX_BYTES, MEDIA_TYPE
from gateway.core.errors import Malformed, Misuse, NotProved, PeerFault, Unavailable
from gateway.core.ids import AuthorityId, Digest, parse_digest, parse_message_id
from gateway.core.proof import MAX_RECEIPT_BYTES, encode_hashes, parse_receipt
from gateway.core.standing import names_later_epoch
from gateway.core.strict import members, parse_json, time_text
from gateway.peering.alarms import raise_alarm
from gateway.peering.client import BATCH_TYPE, MAX_BATCH, MAX_BATCH_BYTES
from gateway.peering.directory import PinnedPeer
from gateway.peering.reachability import reopen
from gateway.ports import EntryFilter
from gateway.rows import AnswerRow, Direction, MessageRow
from gateway.web.answers import Answer
from gateway.web.blobs import blob_routes
from gateway.web.context import CONTEXT, Context
from gateway.web.counting import REQUEST_ID, counted
from gateway.web.epochs import epoch_routes
from gateway.web.limits import CallerLimits, check_media_type, read_body
from gateway.web.problems import problem_of, problem_response
from gateway.web.reception import Reception
from gateway.web.witnessing import witness_routes

PEER = web.RequestKey("peer", PinnedPeer)

_RECEPTION: web.AppKey[Reception] = web.AppKey("reception", Reception)
_LIMITS: web.AppKey[CallerLimits] = web.AppKey("limits", CallerLimits)
_SEEN: web.AppKey["_Seen"] = web.AppKey("seen")
_UNKNOWN_LOGS: web.AppKey[dict[tuple[AuthorityId, Digest], int]] = web.AppKey("unknown_logs")
"""Since when a peer brings receipts of a log that none of its cards up to the pinned one names."""
_SEEN_MS = 1000
_MAX_CLOSE_BYTES = 1024
_UNKNOWN_LOG_S = 30

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def federation_app(context: Context) -> web.Application:
    """Return the application of the federation door."""
    limits = context.settings.limits
    app = web.Application(middlewares=[counted("federation"), _peers_only], client_max_size=MAX_BATCH_BYTES)
    app[CONTEXT] = context
    app[_UNKNOWN_LOGS] = {}
    app[_RECEPTION] = Reception(context)
    app[_SEEN] = _Seen(context)
    app[_LIMITS] = CallerLimits(at_once=limits.peer_requests_at_once, per_s=limits.peer_requests_per_s)
    app.add_routes(
        [
            web.post("/v1/envelopes", _post_envelope),
            web.post("/v1/envelopes/batch", _post_batch),
            web.get("/v1/envelopes/{id}/receipt", _get_receipt, allow_head=False),
            web.post("/v1/envelopes/{id}/close", _close),
            web.post("/v1/receipts", _post_receipt),
            web.get("/v1/log/consistency", _consistency, allow_head=False),
            web.get("/v1/card", _card, allow_head=False),
            web.get("/v1/cards/{sequence}", _card_by_sequence, allow_head=False),
            web.get("/v1/profile", _profile, allow_head=False),
            web.get("/v1/ping", _ping, allow_head=False),
            *blob_routes(PEER),
            *epoch_routes(),
            *witness_routes(PEER),
        ]
    )
    return app


@web.middleware
async def _peers_only(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Serve active peers within their limits; turn every fault into a problem."""
    try:
        peer = _identify(request)
        request[PEER] = peer
        async with request.app[_LIMITS].admit(peer.row.authority):
            await request.app[_SEEN].note(peer.row.authority)
            return await handler(request)
    except ConnectionError:
        raise  # the peer went away: there is nobody to answer
    except Exception as fault:  # noqa: BLE001 - problem_response logs it and gives an incident id
        return problem_response(fault, incident=request[REQUEST_ID])


def _identify(request: web.Request) -> PinnedPeer:
    """Return the peer whose pinned certificate the connection shows (protocol §4).

    Raises:
        PeerFault: 403 `wrong_sender` for one that is pinned no more, `suspended`.
    """
    connection = request.get_extra_info("ssl_object")
    certificate = connection and connection.getpeercert(binary_form=True)
    peer = certificate and request.app[CONTEXT].directory.by_certificate(certificate)
    if not peer:
        raise PeerFault(403, "wrong_sender")
    if not peer.active:
        raise PeerFault(403, "suspended")
    found: PinnedPeer = peer
    return found


class _Seen:
    """An authenticated request shows that a peer can be reached: our backoff towards it ends."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._looked_ms: dict[AuthorityId, int] = {}

    async def note(self, peer: AuthorityId) -> None:
        """End the backoff towards *peer*, if there is one; looked up at most once a second."""
        now_ms = self._context.clock.now_ms()
        if now_ms - self._looked_ms.get(peer, 0) < _SEEN_MS:
            return
        self._looked_ms[peer] = now_ms
        with suppress(Unavailable):  # what cannot be recorded now keeps nobody from being answered
            await reopen(self._context.store, peer)


async def _post_envelope(request: web.Request) -> web.Response:
    check_media_type(request, MEDIA_TYPE)
    raw = await read_body(request, MAX_BYTES)
    (answer,) = await request.app[_RECEPTION].receive(request[PEER], [raw])
    if isinstance(answer, Exception):
        raise answer
    return _signed(answer)


async def _post_batch(request: web.Request) -> web.Response:
    check_media_type(request, BATCH_TYPE)
    raw = await read_body(request, MAX_BATCH_BYTES)
    lines = raw.split(b"\n")
    if lines.pop() or not 0 < len(lines) <= MAX_BATCH:
        raise PeerFault(400, "malformed")
    answers = await request.app[_RECEPTION].receive(request[PEER], lines)
    return web.json_response(_batch(answers))


def _batch(answers: Sequence[Answer | Exception]) -> dict[str, object]:
    """Return the answers of a batch, each checkpoint once."""
    checkpoints: dict[str, int] = {}
    items: list[dict[str, object]] = []
    for answer in answers:
        if isinstance(answer, Exception):
            problem = problem_of(answer)
            document = problem.document()
            if problem.retry_after_s is not None:
                document["retry_after"] = problem.retry_after_s
            items.append({"status": problem.status, "problem": document})
        else:
            proof, checkpoint = answer.receipt.split_proof()
            number = checkpoints.setdefault(checkpoint, len(checkpoints))
            entry = answer.receipt.entry.decode("ascii")
            items.append({"status": answer.status, "entry": entry, "proof": proof, "checkpoint": number})
    return {"checkpoints": list(checkpoints), "answers": items}


async def _get_receipt(request: web.Request) -> web.Response:
    """Give the newest statement about a message of this peer; write nothing.

    That is the answer to it or what came of it later, not the refusal of another one under its id.
    """
    store, peer = request.app[CONTEXT].store, request[PEER].row.authority
    message = parse_message_id(request.match_info["id"])
    answer = await store.get(AnswerRow, peer, message)
    if answer is None:
        raise PeerFault(404, "not_found")
    newest = answer.entry
    for event in LATER:
        where = EntryFilter(peer=peer, message_id=message, event=event)
        newest = max([newest, *(logged.index for logged in await store.entries(where))])
    return _receipt(200, (await store.receipt(newest)).encode())


async def _close(request: web.Request) -> web.Response:
    check_media_type(request, "application/json")
    found = members(parse_json(await read_body(request, _MAX_CLOSE_BYTES)), required=("envelope_sha256",))
    message = parse_message_id(request.match_info["id"])
    digest = parse_digest(found["envelope_sha256"])
    return _signed(await request.app[_RECEPTION].close(request[PEER], message, digest))


async def _post_receipt(request: web.Request) -> web.Response:
    """Take a later receipt about a message that we sent (protocol §9)."""
    check_media_type(request, "application/json")
    context, peer = request.app[CONTEXT], request[PEER]
    receipt = parse_receipt(await read_body(request, MAX_RECEIPT_BYTES))
    settlement = context.settlement()
    try:
        message = await _sent(context, peer, parse_entry(receipt.entry))
        envelopes = await context.store.envelopes(message.id)
        statement = settlement.verify(receipt, message, envelopes, peer.logs)
        await settlement.prove(message, statement, receipt)
    except (NotProved, Malformed, Misuse):  # Misuse: a message in a state in which none was posted
        if names_later_epoch(receipt, peer.logs):
            await _unknown_log(request.app, peer)
        await _alarm(context, peer)
        raise PeerFault(422, "not_proved") from None
    return web.Response(status=204)


async def _sent(context: Context, peer: PinnedPeer, entry: Entry) -> MessageRow:
    """Return our message that a later *entry* of the peer speaks of."""
    if entry.event not in LATER or entry.message_id is None:
        raise NotProved("not a later statement about a message")
    message = await context.store.get(MessageRow, Direction.OUT, peer.row.authority, entry.message_id)
    if message is None:
        raise NotProved("a statement about a message that was not sent")
    return message


async def _alarm(context: Context, peer: PinnedPeer) -> None:
    """Tell an operator that *peer* sent a receipt that does not hold (protocol §9)."""
    await raise_alarm(context.store, context.clock, "receipt_not_proved", peer.row.authority, "later receipt")


async def _unknown_log(app: web.Application, peer: PinnedPeer) -> NoReturn:
    """Have *peer* come again with a receipt of a later epoch than any pinned card of it names.

    Its newest card may name it. If that has been looked at and does not, an operator is told.

    Raises:
        PeerFault: 425 `unknown_log`.
    """
    context, authority, since = app[CONTEXT], peer.row.authority, app[_UNKNOWN_LOGS]
    now_ms = context.clock.now_ms()
    context.cards_wanted(authority)
    if now_ms - since.setdefault((authority, peer.card.sha256), now_ms) >= 1000 * _UNKNOWN_LOG_S:
        await _alarm(context, peer)
    raise PeerFault(425, "unknown_log", retry_after_s=_UNKNOWN_LOG_S)


async def _consistency(request: web.Request) -> web.Response:
    old, new = (_number(request.query.get(name)) for name in ("from", "to"))
    try:
        proof = await request.app[CONTEXT].store.consistency(old, new)
    except Misuse:
        raise PeerFault(400, "malformed") from None
    return web.Response(text=encode_hashes(proof))


async def _card(request: web.Request) -> web.Response:
    return _card_response(request.app[CONTEXT].directory.own.raw)


async def _card_by_sequence(request: web.Request) -> web.Response:
    card = request.app[CONTEXT].directory.own_card(_number(request.match_info["sequence"]))
    if card is None:
        raise PeerFault(404, "not_found")
    return _card_response(card.raw)


async def _profile(request: web.Request) -> web.Response:
    profile = request.app[CONTEXT].directory.own_profile
    if profile is None:
        raise PeerFault(404, "not_found")
    return web.Response(body=profile.jws.encode(), content_type="application/jose")


async def _ping(request: web.Request) -> web.Response:
    context = request.app[CONTEXT]
    return web.json_response(
        {
            "authority": context.directory.own.authority,
            "time": time_text(context.clock.now_ms()),
            "version": gateway.__version__,
        }
    )


def _card_response(raw: bytes) -> web.Response:
    return web.Response(body=raw, content_type="application/jose+json")


def _signed(answer: Answer) -> web.Response:
    return _receipt(answer.status, answer.receipt.encode())


def _receipt(status: int, body: bytes) -> web.Response:
    return web.Response(status=status, body=body, content_type="application/json")


def _number(text: str | None) -> int:
    """Return a count in a URL: digits in their shortest form."""
    if text is None or not text.isascii() or not text.isdigit() or str(int(text[:16])) != text:
        raise Malformed("a number is digits in their shortest form")
    return int(text)
