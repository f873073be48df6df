"""Whether the process lives, and whether it can serve: for whoever starts and watches it."""

from http import HTTPStatus

from aiohttp import web

from gateway.web.context import CONTEXT
from gateway.web.documents import respond


async def livez(_request: web.Request) -> web.Response:
    """Answer: the event loop runs."""
    return web.Response(text="ok\n")


async def readyz(request: web.Request) -> web.Response:
    """Say whether the node can serve; with `?verbose`, part by part.

    Who cannot be reached, or how many wait, is no reason to send nobody here any more: such a check
    is told and does not count.
    """
    checks = await request.app[CONTEXT].check()
    ready = all(check.problem is None or not check.vital for check in checks)
    status = HTTPStatus.OK if ready else HTTPStatus.SERVICE_UNAVAILABLE
    if "verbose" not in request.query:
        return web.Response(status=status, text="ready\n" if ready else "not ready\n")
    found = {
        check.name: {"ok": check.problem is None, "problem": check.problem, "vital": check.vital}
        for check in checks
    }
    return respond({"ready": ready, "checks": found}, status=status)
