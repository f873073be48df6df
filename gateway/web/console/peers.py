"""Peers: how each can be reached, what its card and its profile say, which cards are not believed."""

from collections.abc import Mapping

from aiohttp import web

from gateway.core.card import Card, fingerprint
from gateway.core.strict import sha256
from gateway.peering.directory import PinnedPeer
from gateway.rows import NEVER_PINNED, CardRow, ForkRow, WitnessRow
from gateway.web.console.frame import PERSON, page, reader_language, see_other
from gateway.web.context import CONTEXT, Context
from gateway.web.peers import Dialled, dialled, pinned, set_active
from schemas.catalogues import DEFAULT


async def index(request: web.Request) -> web.Response:
    """List every peer that is pinned."""
    context = request.app[CONTEXT]
    cosigned = await _cosigned(context)
    now_ms = context.clock.now_ms()
    rows = [
        {
            "peer": peer,
            "name": _name(request, peer),
            "cosigned_ms": cosigned.get(peer.card.witness.name),
            "end_ms": _next_end(peer.card, now_ms),
        }
        for peer in sorted(context.directory.peers.values(), key=lambda peer: peer.row.authority)
    ]
    return page(request, "peers.html", rows=rows, depth=await context.store.queue_depth(), now_ms=now_ms)


async def show(request: web.Request) -> web.Response:
    """Show one peer."""
    return await _show(request, pinned(request.app[CONTEXT], request.match_info["id"]))


async def suspend(request: web.Request) -> web.Response:
    """Serve a peer no more, and send it nothing."""
    return await _set_active(request, active=False)


async def activate(request: web.Request) -> web.Response:
    """Serve a suspended peer again."""
    return await _set_active(request, active=True)


async def check(request: web.Request) -> web.Response:
    """Dial a peer, and show what is wrong if anything is."""
    context = request.app[CONTEXT]
    peer = pinned(context, request.match_info["id"])
    return await _show(request, peer, await dialled(context, peer))


async def _set_active(request: web.Request, *, active: bool) -> web.Response:
    context = request.app[CONTEXT]
    peer = pinned(context, request.match_info["id"])
    await set_active(context, peer, active=active, actor=request[PERSON].account.id)
    return see_other(f"/peers/{peer.row.authority}")


async def _show(request: web.Request, peer: PinnedPeer, found: Dialled | None = None) -> web.Response:
    context = request.app[CONTEXT]
    store, authority = context.store, peer.row.authority
    others = [
        row
        for row in await store.all(CardRow)
        if row.authority == authority and row.pinned_ms == NEVER_PINNED
    ]
    return page(
        request,
        "peer.html",
        peer=peer,
        found=found,
        name=_name(request, peer),
        fingerprint=fingerprint(peer.card),
        pins=[(sha256(one.der), one.window) for one in peer.card.tls],
        others=sorted(others, key=lambda row: (row.sequence, row.sha256)),
        contradicts=any(row.peer == authority for row in await store.all(ForkRow)),
        queued=(await store.queue_depth()).get(authority, 0),
        cosigned_ms=(await _cosigned(context)).get(peer.card.witness.name),
        now_ms=context.clock.now_ms(),
        profile=None if peer.profile is None else peer.profile.payload,
        issued_ms=None if peer.profile is None else peer.profile.issued_ms,
        requirements=_requirements(request, peer),
    )


async def _cosigned(context: Context) -> Mapping[str, int | None]:
    """Return when each witness last cosigned our log, which is when it last certainly was there."""
    return {row.name: row.cosigned_ms for row in await context.store.all(WitnessRow)}


def _next_end(card: Card, now_ms: int) -> int:
    """Return when the next key or certificate of *card*, or itself, ends; when it ended, if it has."""
    windows = [key.window for key in (*card.signing, *card.sealing)] + [one.window for one in card.tls]
    ahead = [one.until_ms for one in windows if one.until_ms > now_ms]
    return min([card.expires_ms, *ahead])


def _name(request: web.Request, peer: PinnedPeer) -> str | None:
    return None if peer.profile is None else _in_words(request, peer.profile.payload["names"])


def _requirements(request: web.Request, peer: PinnedPeer) -> list[dict[str, object]]:
    found = [] if peer.profile is None else peer.profile.payload.get("requirements", [])
    return [{**one, "said": _in_words(request, one["text"])} for one in found]


def _in_words(request: web.Request, by_language: Mapping[str, str]) -> str:
    """Return a text of a peer in the reader's language, if there is one."""
    for language in (reader_language(request), DEFAULT):
        if language in by_language:
            return by_language[language]
    return next(iter(by_language.values()))
