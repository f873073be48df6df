"""What every request at the hook passes: an id, the log, problems, encodings, headers, the bearer."""

import time
from collections.abc import Awaitable, Callable
from http import HTTPStatus

import structlog
from aiohttp import hdrs, web

from gateway.core.errors import Misuse, PeerFault
from gateway.web.context import CONTEXT
from gateway.web.metrics import METRICS
from gateway.web.problems import problem_response
from gateway.web.tokens import Bearer, Scope, Tokens

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

BEARER = web.RequestKey("bearer", Bearer)
REQUEST_ID = web.RequestKey("request_id", str)
TOKENS: web.AppKey[Tokens] = web.AppKey("tokens", Tokens)

_SCHEME = "bearer"
_OTHER = "other"
_HEADERS = {
    hdrs.SERVER: "art18",
    hdrs.CACHE_CONTROL: "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_POLICY = "Content-Security-Policy"
_LOAD_NOTHING = "default-src 'none'; frame-ancestors 'none'"
_REQUEST_ID_HEADER = "X-Request-ID"

_log = structlog.get_logger(__name__)


@web.middleware
async def observed(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn every fault into a problem; count and log the request by its route, never its path."""
    started_s = time.perf_counter()
    request[REQUEST_ID] = request.app[CONTEXT].entropy.uuid4()
    try:
        response = await _unencoded(request, handler)
    except Exception as fault:  # noqa: BLE001 - what nobody foresaw is logged, and gets an incident id
        response = problem_response(fault, incident=request[REQUEST_ID])
    _note(request, response.status, time.perf_counter() - started_s)
    return response


def _note(request: web.Request, status: int, took_s: float) -> None:
    resource = request.match_info.route.resource
    method, route = (_OTHER, _OTHER) if resource is None else (request.method, resource.canonical)
    request.app[METRICS].observe(method, route, status, took_s)
    bearer = request.get(BEARER)
    _log.info(
        "request",
        request_id=request[REQUEST_ID],
        method=method,
        route=route,
        status=status,
        took_ms=round(took_s * 1000, 1),
        actor_ref=None if bearer is None else bearer.id,
    )


async def _unencoded(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuse Content-Encoding (protocol §1 rule 2): what is signed or hashed is what was sent."""
    if hdrs.CONTENT_ENCODING in request.headers:
        raise PeerFault(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type")
    return await handler(request)


async def secured(request: web.Request, response: web.StreamResponse) -> None:
    """Give an answer, streamed ones too, its request id and the headers that browsers heed.

    A browser loads nothing for it, unless it brings a policy of its own.
    """
    response.headers.update(_HEADERS)
    response.headers.setdefault(_POLICY, _LOAD_NOTHING)
    if REQUEST_ID in request:
        response.headers[_REQUEST_ID_HEADER] = request[REQUEST_ID]


def guarded(scope: Scope, handler: Handler) -> Handler:
    """Return *handler* behind a bearer token that has *scope*.

    The answer to a bad token says nothing about the path behind it.
    """

    async def guard(request: web.Request) -> web.StreamResponse:
        bearer = await request.app[TOKENS].recognise(_token(request))
        request[BEARER] = bearer
        if scope not in bearer.scopes:
            raise Misuse(
                HTTPStatus.FORBIDDEN,
                "wrong_scope",
                "the token lacks the scope",
                members={"scope": scope.value},
            )
        return await handler(request)

    return guard


def _token(request: web.Request) -> str:
    """Return the bearer token of a request, or an empty text, which is none."""
    scheme, _, token = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
    return token.strip() if scheme.lower() == _SCHEME else ""
