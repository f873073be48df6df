"""Uploads: attachments on their way into the gateway, by tus 1.0.0 (creation-with-upload, termination).

The bytes are sealed as they arrive and nothing plain touches the disk; memory stays flat. An
upload that is not whole yet lives in this process, with its key: after a restart it is gone,
and the client, told 404, begins anew. So no key ever seals two plaintexts under one counter
(protocol §7). A whole one is synced to disk and then recorded.
"""

import asyncio
import contextlib
import errno
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from aiohttp import web

from gateway.core import custody
from gateway.core.errors import Misuse, PeerFault, Stale
from gateway.core.ids import Digest, parse_message_id
from gateway.ports import Change
from gateway.rows import UploadRow
from gateway.store.blobs import BlobWriter
from gateway.web.context import CONTEXT, Context
from gateway.web.documents import number
from keys.stream import StreamSealer, new_stream_key, sealed_size

VERSION = "1.0.0"
MEDIA_TYPE = "application/offset+octet-stream"

_PIECE_BYTES = 1 << 20
_MOST_AT_ONCE = 64
_IDLE_MS = 60 * 60 * 1000
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_HEADERS = {
    "Tus-Resumable": VERSION,
    "Tus-Version": VERSION,
    "Tus-Extension": "creation,creation-with-upload,termination",
}


@dataclass(slots=True)
class _Partial:
    """An upload that is not whole yet: its key is here, its sealed chunks are in a file."""

    id: str
    length: int
    key: bytes
    sealer: StreamSealer
    writer: BlobWriter
    file: contextlib.ExitStack
    touched_ms: int
    busy: bool = False

    @property
    def offset(self) -> int:
        return self.sealer.plain_size

    def seal(self, data: bytes) -> None:
        """Take more plaintext; blocks."""
        self.writer.write(self.sealer.update(data))


@dataclass(slots=True)
class Uploads:
    """The uploads that are under way in this process."""

    context: Context
    _partial: dict[str, _Partial] = field(default_factory=dict)

    async def begin(self, length: int) -> _Partial:
        """Return a new upload of *length* bytes.

        Raises:
            PeerFault: 507 `storage_full`.
            Misuse: 429 `too_many_uploads`.
        """
        now_ms, limits = self.context.clock.now_ms(), self.context.settings.limits
        for partial in list(self._partial.values()):
            if not partial.busy and now_ms - partial.touched_ms > _IDLE_MS:
                self.forget(partial)
        if len(self._partial) >= _MOST_AT_ONCE:
            raise Misuse(429, "too_many_uploads", "other uploads have to end first")
        coming = sum(sealed_size(one.length) - one.writer.size_bytes for one in self._partial.values())
        free_bytes = await asyncio.to_thread(self.context.blobs.free_bytes)
        if free_bytes - coming - sealed_size(length) < limits.free_disk_bytes:
            raise PeerFault(507, "storage_full")
        file, key = contextlib.ExitStack(), new_stream_key()
        writer = file.enter_context(self.context.blobs.writer())
        id_ = self.context.entropy.uuid4()
        begun = _Partial(id_, length, key, StreamSealer(key), writer, file, now_ms)
        self._partial[id_] = begun
        return begun

    def under_way(self, id_: str) -> _Partial | None:
        """Return the upload, if it is not whole yet."""
        return self._partial.get(id_)

    async def take(self, partial: _Partial, request: web.Request) -> None:
        """Take the body of *request* into *partial*; record the upload if that makes it whole.

        Raises:
            Misuse: 409 `upload_busy`, 413 `too_large`: more than the length that was announced.
            PeerFault: 507 `storage_full`.
        """
        if partial.busy:
            raise Misuse(409, "upload_busy", "another request is bringing this upload")
        if (request.content_length or 0) > partial.length - partial.offset:
            raise PeerFault(413, "too_large")
        partial.busy = True
        try:
            await self._copy(partial, request)
            if partial.offset == partial.length:
                await self._keep(partial)
        except OSError as error:
            self.forget(partial)
            if error.errno in _FULL:
                raise PeerFault(507, "storage_full") from None
            raise
        finally:
            partial.busy = False
            partial.touched_ms = self.context.clock.now_ms()

    def forget(self, partial: _Partial) -> None:
        """Delete what there is of an upload that is not whole."""
        self._partial.pop(partial.id, None)
        partial.file.close()

    def close(self) -> None:
        """Delete whatever is not whole."""
        for partial in list(self._partial.values()):
            self.forget(partial)

    async def _copy(self, partial: _Partial, request: web.Request) -> None:
        piece = bytearray()
        async for chunk in request.content.iter_any():
            piece += chunk
            if len(piece) > partial.length - partial.offset:
                self.forget(partial)
                raise PeerFault(413, "too_large")
            if len(piece) >= _PIECE_BYTES:
                await asyncio.to_thread(partial.seal, bytes(piece))
                piece.clear()
        await asyncio.to_thread(partial.seal, bytes(piece))

    async def _keep(self, partial: _Partial) -> None:
        """Seal the last chunk, sync the file with its folder, then record it."""
        context, sealer = self.context, partial.sealer

        def end() -> None:
            partial.writer.write(sealer.finish())
            partial.writer.keep(context.blobs.outgoing(Digest(sealer.blob_sha256)))

        try:
            await asyncio.to_thread(end)
        finally:
            self.forget(partial)
        box = custody.box_upload(
            context.keyring().storage, partial.id, partial.key, Digest(sealer.plain_sha256)
        )
        row = UploadRow(
            id=partial.id,
            version=0,
            size_bytes=sealer.plain_size,
            blob_sha256=Digest(sealer.blob_sha256),
            blob_size_bytes=sealer.blob_size,
            stored_ms=context.clock.now_ms(),
            wrapped_key=box.wrapped_key,
            ciphertext=box.ciphertext,
        )
        await context.store.record(Change(name="upload", puts=(row,)))


UPLOADS: web.AppKey[Uploads] = web.AppKey("uploads", Uploads)


async def uploads_under_way(app: web.Application) -> AsyncIterator[None]:
    """Keep the uploads of *app*, and delete what is not whole when it ends."""
    app[UPLOADS] = Uploads(app[CONTEXT])
    yield
    app[UPLOADS].close()


async def stamped(request: web.Request, response: web.StreamResponse) -> None:
    """Give every answer about uploads the headers of tus, problems too."""
    if request.path.startswith("/v1/uploads"):
        response.headers.update(_HEADERS)


async def options(_request: web.Request) -> web.Response:
    """Say what this server does of tus."""
    return web.Response(status=204)


async def create(request: web.Request) -> web.Response:
    """Begin an upload; take as much of it as comes with the request."""
    _check_version(request)
    length = number(request.headers.get("Upload-Length", ""), what="Upload-Length")
    if request.body_exists:
        _check_media_type(request)
    uploads = request.app[UPLOADS]
    partial = await uploads.begin(length)
    await uploads.take(partial, request)
    headers = {"Location": f"/v1/uploads/{partial.id}", "Upload-Offset": str(partial.offset)}
    return web.Response(status=201, headers=headers)


async def patch(request: web.Request) -> web.Response:
    """Take more of an upload, from where it ends."""
    _check_version(request)
    _check_media_type(request)
    offset = number(request.headers.get("Upload-Offset", ""), what="Upload-Offset")
    partial = request.app[UPLOADS].under_way(_id(request))
    here = (await _stored(request)).size_bytes if partial is None else partial.offset
    if offset != here:
        raise Misuse(409, "wrong_offset", "the upload ends elsewhere", members={"offset": here})
    if partial is not None:
        await request.app[UPLOADS].take(partial, request)
        here = partial.offset
    elif request.content_length:
        raise PeerFault(413, "too_large")
    return web.Response(status=204, headers={"Upload-Offset": str(here)})


async def head(request: web.Request) -> web.Response:
    """Say how much of an upload is here."""
    _check_version(request)
    partial = request.app[UPLOADS].under_way(_id(request))
    if partial is not None:
        offset, length = partial.offset, partial.length
    else:
        offset = length = (await _stored(request)).size_bytes
    return web.Response(headers={"Upload-Offset": str(offset), "Upload-Length": str(length)})


async def delete(request: web.Request) -> web.Response:
    """Forget an upload that no message carries."""
    _check_version(request)
    context = request.app[CONTEXT]
    partial = request.app[UPLOADS].under_way(_id(request))
    if partial is not None:
        if partial.busy:
            raise Misuse(409, "upload_busy", "another request is bringing this upload")
        request.app[UPLOADS].forget(partial)
        return web.Response(status=204)
    row = await _stored(request)
    if row.claimed_by is not None:
        raise _claimed()
    try:
        await context.store.record(Change(name="upload", deletes=(row,)))
    except Stale:
        raise _claimed() from None
    await asyncio.to_thread(context.blobs.delete, context.blobs.outgoing(row.blob_sha256))
    return web.Response(status=204)


def _id(request: web.Request) -> str:
    return parse_message_id(request.match_info["id"])  # the same form


async def _stored(request: web.Request) -> UploadRow:
    """Return the upload of the path, which is whole. Raises Misuse: 404."""
    row = await request.app[CONTEXT].store.get(UploadRow, _id(request))
    if row is None:
        raise Misuse(404, "not_found", "there is no such upload here")
    return row


def _claimed() -> Misuse:
    return Misuse(409, "upload_claimed", "a message carries this upload")


def _check_version(request: web.Request) -> None:
    if request.headers.get("Tus-Resumable") != VERSION:
        raise Misuse(412, "tus_version", f"uploads speak tus {VERSION}: say so in Tus-Resumable")


def _check_media_type(request: web.Request) -> None:
    if request.content_type != MEDIA_TYPE:
        raise PeerFault(415, "unsupported_media_type")
