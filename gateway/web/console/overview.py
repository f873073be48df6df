"""The first page: what came in, what waits, what is late, who can be reached, who saw the log."""

from aiohttp import web

from gateway.rows import WitnessRow
from gateway.web.alarms import standing
from gateway.web.console.frame import page
from gateway.web.context import CONTEXT

_MOST = 8


async def overview(request: web.Request) -> web.Response:
    """Show where things stand."""
    context = request.app[CONTEXT]
    store = context.store
    alarms = await standing(store)
    peers = sorted((peer.row for peer in context.directory.peers.values()), key=lambda row: row.authority)
    witnesses = sorted(await store.all(WitnessRow), key=lambda row: (-row.size, row.name))
    return page(
        request,
        "overview.html",
        counts=await store.message_counts(),
        ticking=await store.ticking(limit=_MOST),
        now_ms=context.clock.now_ms(),
        alarms=alarms[:_MOST],
        alarms_count=len(alarms),
        peers=peers,
        depth=await store.queue_depth(),
        log_size=await store.log_size(),
        cosigned=await store.newest_cosigned(),
        witnesses=witnesses,
    )
