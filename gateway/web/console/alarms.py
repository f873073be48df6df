"""Alarms: what stands, since when, about what, and what to do next."""

from aiohttp import web

from gateway.web.alarms import standing
from gateway.web.console.frame import page
from gateway.web.context import CONTEXT


async def index(request: web.Request) -> web.Response:
    """List every alarm that stands, the newest first."""
    context = request.app[CONTEXT]
    rows = await standing(context.store)
    return page(request, "alarms.html", rows=rows, peers=frozenset(context.directory.peers))
