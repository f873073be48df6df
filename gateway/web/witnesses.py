"""Witnessing at the hook: who has cosigned the own log how far, and logs that contradict themselves."""

from http import HTTPStatus

from aiohttp import web

from gateway.core.strict import time_text
from gateway.peering.directory import Directory
from gateway.rows import ForkRow, WitnessRow
from gateway.web.context import CONTEXT, Context
from gateway.web.documents import query, respond_part


async def index(request: web.Request) -> web.Response:
    """List the witnesses of the own log: every active peer, and those that the settings name."""
    context = request.app[CONTEXT]
    rows = {row.name: row for row in await context.store.all(WitnessRow)}
    named = _named(context)
    return respond_part(
        request,
        [
            _view(rows.get(name) or WitnessRow(name=name, version=0), authority)
            for name, authority in sorted(named.items())
        ],
    )


async def witness(request: web.Request) -> web.Response:
    """Have the log cosigned now, and not at the next round; what comes of it the list shows."""
    query(request)
    request.app[CONTEXT].witness_now()
    return web.Response(status=HTTPStatus.ACCEPTED)


async def forks(request: web.Request) -> web.Response:
    """List pairs of checkpoints that contradict each other, with the cards that say whose log it is.

    That is all that somebody else needs to check them.
    """
    context = request.app[CONTEXT]
    rows = await context.store.all(ForkRow)
    rows.sort(key=lambda row: (row.peer, row.origin, row.size, row.code))
    return respond_part(request, [_fork(row, context.directory) for row in rows])


def _named(context: Context) -> dict[str, str | None]:
    """Return the witnesses that count now, by name, with the authority that each belongs to, if any."""
    named: dict[str, str | None] = {one.name: None for one in context.settings.audit.witnesses}
    for peer in context.directory.peers.values():
        if peer.active:
            named[peer.card.witness.name] = peer.row.authority
    return named


def _view(row: WitnessRow, authority: str | None) -> dict[str, object]:
    return {
        "name": row.name,
        "peer": authority,
        "size": row.size,
        "cosigned": None if row.cosigned_ms is None else time_text(row.cosigned_ms),
        "problem": row.problem,
    }


def _fork(row: ForkRow, directory: Directory) -> dict[str, object]:
    peer = directory.peers.get(row.peer)
    return {
        "peer": row.peer,
        "code": row.code,
        "origin": row.origin,
        "size": row.size,
        "found": time_text(row.found_ms),
        "first": row.first,
        "second": row.second,
        "cards": [card.raw.decode() for card in peer.cards] if peer is not None else [],
    }
