"""Witnessing at the federation door: cosigning a peer's checkpoint, and showing those that are held.

C2SP tlog-witness, scoped by peer: whose log it is must be who asks for a cosignature. What is held may be
shown to every peer, since comparing it is how a log that is shown differently to two of them is found
(protocol §9).
"""

from http import HTTPStatus

from aiohttp import web

from gateway.core.errors import Malformed, PeerFault, Untrusted
from gateway.core.strict import sha256
from gateway.core.witness import MAX_BYTES, SIZE_TYPE, Contradicts, Elsewhere, Unconnected, parse_submission
from gateway.peering.directory import PinnedPeer
from gateway.peering.witness import UnknownLog, Witness
from gateway.ports import Store
from gateway.rows import WitnessedRow
from gateway.web.context import CONTEXT, Context
from gateway.web.limits import read_body

_SUBMISSION_TYPES = frozenset({"text/plain", "application/octet-stream"})
"""What clients call a submission, or nothing: tlog-witness names no type."""


def witness_routes(peer: web.RequestKey[PinnedPeer]) -> list[web.RouteDef]:
    """Return the routes; *peer* is where a request has who asks."""

    async def add_checkpoint(request: web.Request) -> web.Response:
        context = request.app[CONTEXT]
        if "Content-Encoding" in request.headers or request.content_type not in _SUBMISSION_TYPES:
            raise PeerFault(415, "unsupported_media_type")
        submission = parse_submission(await read_body(request, MAX_BYTES))
        try:
            found = await _witness(context).consider(request[peer], submission)
        except UnknownLog:
            context.cards_wanted(request[peer].row.authority)  # of a new epoch, perhaps
            raise PeerFault(404, "not_found") from None
        except Untrusted:
            raise PeerFault(403, "not_signed") from None
        match found:
            case str(lines):
                return web.Response(text=lines)
            case Contradicts(begun=True):
                raise PeerFault(422, "two_roots")
            case Elsewhere(size) | Contradicts(size):
                body = f"{size}\n".encode("ascii")
                headers = {"Content-Type": SIZE_TYPE}
                return web.Response(status=HTTPStatus.CONFLICT, body=body, headers=headers)
            case Unconnected():
                raise PeerFault(422, "not_consistent")
            case _:
                raise Malformed("no such verdict")

    return [
        web.post("/v1/witness/add-checkpoint", add_checkpoint),
        web.get("/v1/witness/{log}/checkpoint", _held, allow_head=False),
        web.get("/v1/log/checkpoint", _checkpoint, allow_head=False),
    ]


async def _held(request: web.Request) -> web.Response:
    """Give the newest checkpoint of a log that this node has cosigned, or had cosigned if it is its own."""
    context = request.app[CONTEXT]
    origin = _origins(context).get(request.match_info["log"])
    if origin == context.directory.own.log.origin:
        return web.Response(text=await newest_cosigned(context.store, origin))
    row = None if origin is None else await context.store.get(WitnessedRow, origin)
    if row is None:
        raise PeerFault(404, "not_found")
    return web.Response(text=row.text + row.cosignatures)


async def _checkpoint(request: web.Request) -> web.Response:
    """Give the own newest checkpoint, with the cosignatures at hand."""
    store = request.app[CONTEXT].store
    newest = await store.checkpoint()
    return web.Response(text=newest.text + await _lines(store, newest.size))


async def newest_cosigned(store: Store, origin: str) -> str:
    """Return the newest cosigned checkpoint of the own log *origin* as a note; the newest if none is."""
    cosigned = await store.newest_cosigned()
    text = await store.checkpoint_at(cosigned[0].size) if cosigned else None
    if text is None or not text.startswith(f"{origin}\n"):  # none yet, or none in this epoch
        return (await store.checkpoint()).text
    return text + "".join(row.lines for row in cosigned)


async def _lines(store: Store, size: int) -> str:
    return "".join(row.lines for row in await store.newest_cosigned() if row.size == size)


def _origins(context: Context) -> dict[str, str]:
    """Return every log that this node may speak of, by the digest of its origin."""
    origins = [context.directory.own.log.origin]
    for peer in context.directory.peers.values():
        origins += peer.logs
    return {sha256(origin.encode()): origin for origin in origins}


def _witness(context: Context) -> Witness:
    return Witness(context.store, context.directory, lambda: context.keyring().witness, context.clock)
