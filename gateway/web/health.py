"""Whether the process lives, and whether it can serve: for whoever starts and watches it."""

from http import HTTPStatus

from aiohttp import web

from gateway.web.context import CONTEXT
from gateway.web.documents import respond


async def livez(_request: web.Request) -> web.Response:
    """Answer: the event loop runs."""
    return web.Response(text="ok\n")


async def readyz(request: web.Request) -> web.Response:
    """Say whether the node can serve; with `?verbose`, check by check."""
    checks = request.app[CONTEXT].checks()
    ready = all(problem is None for problem in checks.values())
    status = HTTPStatus.OK if ready else HTTPStatus.SERVICE_UNAVAILABLE
    if "verbose" not in request.query:
        return web.Response(status=status, text="ready\n" if ready else "not ready\n")
    return respond({"ready": ready, "checks": dict(checks)}, status=status)
