"""The console's door: its routes and who may take them, and what every request passes.

`ROUTES` is the whole of what it serves. A request that changes something comes from a page of this door
itself: the cookie is SameSite=Strict, and the browser's own word on where the request comes from is asked for
as well.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus

import structlog
from aiohttp import hdrs, web

from gateway.core.account import Role
from gateway.core.errors import Misuse
from gateway.web.accounts import Accounts
from gateway.web.console import (
    alarms,
    casework,
    checkpoints,
    correspondence,
    entrance,
    log,
    overview,
    peers,
    people,
    reading,
    words,
)
from gateway.web.console.entrance import SESSIONS, cookie_name
from gateway.web.console.frame import PAGES, PERSON, STATIC, Static, environment, framed, page, see_other
from gateway.web.context import CONTEXT, Context
from gateway.web.counting import REQUEST_ID, counted, place
from gateway.web.passphrases import Passphrases
from gateway.web.problems import problem_of
from gateway.web.sessions import Sessions
from keys.passwords import PERSONAL, Strength

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

EVERYBODY = frozenset(Role)
READERS = frozenset({Role.VIEWER, Role.OFFICER})
OFFICERS = frozenset({Role.OFFICER})
ADMINS = frozenset({Role.ADMIN})
AUDITORS = frozenset({Role.AUDITOR, Role.ADMIN})

_SAFE = frozenset({hdrs.METH_GET, hdrs.METH_HEAD})
_MOST_BYTES = 1 << 16
_SITE = "Sec-Fetch-Site"

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Route:
    """One request that the console answers, and the roles that may ask it; None: whoever comes."""

    method: str
    path: str
    roles: frozenset[Role] | None
    handler: Handler


async def _static(request: web.Request) -> web.StreamResponse:
    return await request.app[STATIC].serve(request)


ROUTES: tuple[Route, ...] = (
    Route("GET", "/static/{file}", None, _static),
    Route("GET", "/sign-in", None, entrance.sign_in_page),
    Route("POST", "/sign-in", None, entrance.sign_in),
    Route("GET", "/welcome/{link}", None, entrance.welcome_page),
    Route("POST", "/welcome/{link}", None, entrance.welcome),
    Route("POST", "/sign-out", EVERYBODY, entrance.sign_out),
    Route("GET", "/", EVERYBODY, overview.overview),
    Route("GET", "/account", EVERYBODY, people.own),
    Route("POST", "/account/language", EVERYBODY, people.choose_language),
    Route("POST", "/account/sessions/{sha256}/end", EVERYBODY, people.end_session),
    Route("POST", "/account/sessions/end", EVERYBODY, people.end_every_session),
    Route("GET", "/messages", READERS, correspondence.index),
    Route("GET", "/messages/{direction}/{peer}/{id}", READERS, correspondence.show),
    Route("POST", "/messages/{direction}/{peer}/{id}/open", OFFICERS, reading.open_content),
    Route("GET", "/cases/{peer}/{id}", READERS, casework.show),
    Route("GET", "/peers", EVERYBODY, peers.index),
    Route("GET", "/peers/{id}", EVERYBODY, peers.show),
    Route("POST", "/peers/{id}/check", ADMINS, peers.check),
    Route("POST", "/peers/{id}/suspend", ADMINS, peers.suspend),
    Route("POST", "/peers/{id}/activate", ADMINS, peers.activate),
    Route("GET", "/alarms", EVERYBODY, alarms.index),
    Route("GET", "/log", AUDITORS, log.index),
    Route("GET", "/log/{n}", AUDITORS, log.show),
    Route("GET", "/log/{n}/proof", AUDITORS, log.proof),
    Route("GET", "/checkpoints", AUDITORS, checkpoints.index),
    Route("POST", "/checkpoints/verify", AUDITORS, checkpoints.verify),
    Route("GET", "/accounts", ADMINS, people.index),
    Route("POST", "/accounts", ADMINS, people.create),
    Route("POST", "/accounts/{name}/reset", ADMINS, people.reset),
    Route("POST", "/accounts/{name}/disable", ADMINS, people.disable),
)


def console_app(context: Context, strength: Strength = PERSONAL) -> web.Application:
    """Return the application of the console. *strength* is what a guess at a passphrase costs."""
    app = web.Application(middlewares=[counted("console"), observed, same_site], client_max_size=_MOST_BYTES)
    app[CONTEXT] = context
    app[SESSIONS] = Sessions(context, Accounts(context, Passphrases(strength)))
    app[STATIC] = Static()
    app[PAGES] = environment()
    app.on_response_prepare.append(framed)
    for route in ROUTES:
        handler = route.handler if route.roles is None else guarded(route.roles, route.handler)
        app.router.add_route(route.method, route.path, handler)
    return app


def guarded(roles: frozenset[Role], handler: Handler) -> Handler:
    """Return *handler* for those who are signed in and have one of *roles*; others are asked to sign in."""

    async def guard(request: web.Request) -> web.StreamResponse:
        person = await request.app[SESSIONS].recognise(request.cookies.get(cookie_name(request), ""))
        if person is None:
            return see_other("/sign-in")
        request[PERSON] = person
        if not roles & person.roles:
            raise Misuse(HTTPStatus.FORBIDDEN, "wrong_role", "the account lacks the role")
        return await handler(request)

    return guard


@web.middleware
async def observed(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn every fault into a page; log the request by its route, never its path, which may hold a link."""
    try:
        response = await handler(request)
    except Exception as fault:  # noqa: BLE001 - what nobody foresaw is logged, and gets an incident id
        response = _problem(request, fault)
    method, route = place(request)
    person = request.get(PERSON)
    actor = None if person is None else person.account.id
    _log.info("request", method=method, route=route, status=response.status, actor_ref=actor)
    return response


@web.middleware
async def same_site(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuse what would change something unless it comes from a page of this door."""
    if request.method not in _SAFE:
        site = request.headers.get(_SITE)
        own = {request.app[CONTEXT].settings.console.address, f"{request.scheme}://{request.host}"}
        if site != "same-origin" if site is not None else request.headers.get(hdrs.ORIGIN) not in own:
            raise Misuse(HTTPStatus.FORBIDDEN, "cross_site", "the request came from another site")
    return await handler(request)


def _problem(request: web.Request, fault: Exception) -> web.StreamResponse:
    problem = problem_of(fault, incident=request[REQUEST_ID])
    known = words.PROBLEMS.get(problem.code)
    answer = page(
        request,
        "problem.html",
        status=problem.status,
        text=known or words.OTHERWISE,
        incident=None if known else request[REQUEST_ID],
    )
    answer.headers.update(problem.headers)
    if problem.retry_after_s is not None:
        answer.headers[hdrs.RETRY_AFTER] = str(problem.retry_after_s)
    return answer
