"""Uploads: attachments on their way into the gateway, by tus 1.0.0 with five of its extensions.

They are sealed as they arrive, and taken up where they end after whatever broke them off
(`bringing`, `gateway.store.sealed`). `Upload-Metadata` is ignored: what a file is called and what it
holds is case content, which the draft says, sealed like the rest of the message.
"""

from collections.abc import AsyncIterator, Mapping
from http import HTTPStatus

from aiohttp import web

from gateway.core.ids import parse_message_id
from gateway.web import tus
from gateway.web.bringing import Standing, Uploads
from gateway.web.context import CONTEXT
from gateway.web.middleware import Handler

UPLOADS: web.AppKey[Uploads] = web.AppKey("uploads", Uploads)


async def uploads_under_way(app: web.Application) -> AsyncIterator[None]:
    """Keep the uploads of *app*."""
    app[UPLOADS] = Uploads(app[CONTEXT])
    yield
    await app[UPLOADS].close()


async def collection(request: web.Request) -> web.StreamResponse:
    """Serve `/uploads`."""
    return await _dispatch(request, {"OPTIONS": _options, "POST": _create})


async def single(request: web.Request) -> web.StreamResponse:
    """Serve `/uploads/{id}`, by POST too when its X-HTTP-Method-Override says what is meant."""
    served = {"OPTIONS": _options, "HEAD": _head, "PATCH": _patch, "DELETE": _delete}
    return await _dispatch(request, served)


async def _dispatch(request: web.Request, served: Mapping[str, Handler]) -> web.StreamResponse:
    method = tus.method(request)
    if method not in served:
        raise web.HTTPMethodNotAllowed(method, sorted(served))
    if method != "OPTIONS":
        tus.check_version(request)
    return await served[method](request)


async def _options(_request: web.Request) -> web.Response:
    """Say what this server does of tus."""
    return web.Response(status=HTTPStatus.NO_CONTENT)


async def _create(request: web.Request) -> web.Response:
    """Begin an upload; take as much of it as comes with the request."""
    length = tus.length(request)
    if request.body_exists:
        tus.check_media_type(request)
    begun = await request.app[UPLOADS].begin(request, length, tus.checksum(request))
    headers = {"Location": f"/v1/uploads/{begun.row.id}", **_headers(begun)}
    return web.Response(status=HTTPStatus.CREATED, headers=headers)


async def _patch(request: web.Request) -> web.Response:
    """Take more of an upload, from where it ends."""
    tus.check_media_type(request)
    offset, checksum = tus.offset(request), tus.checksum(request)
    brought = await request.app[UPLOADS].bring(request, _id(request), offset, checksum)
    return web.Response(status=HTTPStatus.NO_CONTENT, headers=_headers(brought))


async def _head(request: web.Request) -> web.Response:
    """Say how much of an upload is here."""
    standing = await request.app[UPLOADS].look(_id(request))
    headers = {"Upload-Length": str(standing.row.size_bytes), **_headers(standing)}
    return web.Response(headers=headers)


async def _delete(request: web.Request) -> web.Response:
    """Forget an upload that no message carries."""
    await request.app[UPLOADS].end(_id(request))
    return web.Response(status=HTTPStatus.NO_CONTENT)


def _headers(standing: Standing) -> dict[str, str]:
    """Return what is said of an upload: where it ends, when it goes, and what it is once it is whole."""
    headers = {"Upload-Offset": str(standing.offset)}
    if standing.row.claimed_by is None:
        headers |= tus.expires(standing.row.expires_ms)
    if standing.plain_sha256 is not None:
        headers |= tus.repr_digest(standing.plain_sha256)
    return headers


def _id(request: web.Request) -> str:
    return parse_message_id(request.match_info["id"])  # the same form
