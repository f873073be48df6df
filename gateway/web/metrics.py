"""The figures at the hook: what the monitoring is answered (web.figures)."""

from aiohttp import web
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from gateway.web.context import CONTEXT


async def metrics(request: web.Request) -> web.Response:
    """Answer the monitoring."""
    context = request.app[CONTEXT]
    backlog = await context.store.backlog()
    body = context.figures.exposition(backlog, context.clock.now_ms(), **context.standing())
    return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})
