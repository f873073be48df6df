"""What every request passes at either door: an id, which each line of the log has, and a count."""

import re
import time
from collections.abc import Awaitable, Callable

from aiohttp import web
from aiohttp.typedefs import Middleware
from structlog.contextvars import bound_contextvars

from gateway.web.context import CONTEXT

REQUEST_ID = web.RequestKey("request_id", str)
REQUEST_ID_HEADER = "X-Request-ID"
OTHER = "other"

_UUID = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_NO_ANSWER = 0
_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def counted(door: str, *, takes_ids: bool = False) -> Middleware:
    """Return what gives each request at *door* an id, and counts it by its route, never its path.

    With *takes_ids* the id is that of the caller, so that its log and ours can be read together. It
    must be a UUID: a text of another form may hold anything, and logs reach many eyes.
    """

    @web.middleware
    async def count(request: web.Request, handler: _Handler) -> web.StreamResponse:
        figures, started_s, status = request.app[CONTEXT].figures, time.perf_counter(), _NO_ANSWER
        given = request.headers.get(REQUEST_ID_HEADER, "") if takes_ids else ""
        request[REQUEST_ID] = given if _UUID.fullmatch(given) else request.app[CONTEXT].entropy.uuid4()
        figures.begun(door)
        try:
            with bound_contextvars(request_id=request[REQUEST_ID]):
                response = await handler(request)
                status = response.status
                return response
        finally:
            figures.answered(door, *place(request), status, time.perf_counter() - started_s)

    return count


def place(request: web.Request) -> tuple[str, str]:
    """Return method and route of *request*, if there is such a route: both are of a closed list."""
    resource = request.match_info.route.resource
    return (OTHER, OTHER) if resource is None else (request.method, resource.canonical)
