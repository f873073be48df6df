"""What every request at the hook passes: the log, problems, encodings, headers, the bearer, limits."""

import time
from collections.abc import Awaitable, Callable
from http import HTTPStatus

import structlog
from aiohttp import hdrs, web

from gateway.core.errors import Misuse, PeerFault
from gateway.web.counting import REQUEST_ID, REQUEST_ID_HEADER, place
from gateway.web.limits import CallerLimits
from gateway.web.local import local_bearer
from gateway.web.problems import problem_response
from gateway.web.tokens import Bearer, Scope, Tokens

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

BEARER = web.RequestKey("bearer", Bearer)
TOKENS: web.AppKey[Tokens] = web.AppKey("tokens", Tokens)
LIMITS: web.AppKey[CallerLimits] = web.AppKey("hook_limits", CallerLimits)

_SCHEME = "bearer"
_HEADERS = {
    hdrs.SERVER: "art18",
    hdrs.CACHE_CONTROL: "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_POLICY = "Content-Security-Policy"
_LOAD_NOTHING = "default-src 'none'; frame-ancestors 'none'"

_log = structlog.get_logger(__name__)


@web.middleware
async def observed(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn every fault into a problem; log the request by its route, never its path."""
    started_s = time.perf_counter()
    try:
        response = await _unencoded(request, handler)
    except Exception as fault:  # noqa: BLE001 - what nobody foresaw is logged, and gets an incident id
        response = problem_response(fault, incident=request[REQUEST_ID])
    _note(request, response.status, time.perf_counter() - started_s)
    return response


def _note(request: web.Request, status: int, took_s: float) -> None:
    method, route = place(request)
    bearer = request.get(BEARER)
    _log.info(
        "request",
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
        response.headers[REQUEST_ID_HEADER] = request[REQUEST_ID]


def guarded(scope: Scope, handler: Handler) -> Handler:
    """Return *handler* behind a bearer token that has *scope*, or the Unix socket, within the limits.

    The answer to a bad token says nothing about the path behind it. A token counts on the socket too.
    """

    async def guard(request: web.Request) -> web.StreamResponse:
        local = None if hdrs.AUTHORIZATION in request.headers else local_bearer(request)
        bearer = local or await request.app[TOKENS].recognise(_token(request))
        request[BEARER] = bearer
        async with request.app[LIMITS].admit(bearer.id):
            if scope not in bearer.scopes:
                raise Misuse(
                    HTTPStatus.FORBIDDEN,
                    "wrong_scope",
                    "the socket lacks the scope" if local else "the token lacks the scope",
                    members={"scope": scope.value},
                )
            return await handler(request)

    return guard


def _token(request: web.Request) -> str:
    """Return the bearer token of a request, or an empty text, which is none."""
    scheme, _, token = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
    return token.strip() if scheme.lower() == _SCHEME else ""
