"""Epochs of the own log at the federation door: the entry with which one begins (protocol §9 "Epochs")."""

from aiohttp import web

from gateway.core.entry import parse_entry
from gateway.core.errors import PeerFault
from gateway.core.standing import EVENT, epoch_of
from gateway.ports import EntryFilter
from gateway.web.context import CONTEXT
from gateway.web.documents import number

_PAGE = 50


def epoch_routes() -> list[web.RouteDef]:
    """Return the routes."""
    return [
        web.get("/v1/log/epoch", _present, allow_head=False),
        web.get("/v1/log/epochs/{number}", _by_number, allow_head=False),
    ]


async def _present(request: web.Request) -> web.Response:
    return await _first_entry(request, epoch_of(request.app[CONTEXT].directory.own.log.origin))


async def _by_number(request: web.Request) -> web.Response:
    return await _first_entry(request, number(request.match_info["number"], what="an epoch"))


async def _first_entry(request: web.Request, epoch: int) -> web.Response:
    """Give the first entry of an epoch, proved; the first epoch has none."""
    store, after = request.app[CONTEXT].store, None
    while page := await store.entries(EntryFilter(event=EVENT), cursor=after, limit=_PAGE):
        for logged in page:
            if dict(parse_entry(logged.leaf).extra).get("epoch") == epoch:
                body = (await store.receipt(logged.index)).encode()
                return web.Response(body=body, content_type="application/json")
        after = page[-1].index
    raise PeerFault(404, "not_found")
