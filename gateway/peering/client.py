"""Calls to one peer over pinned mutual TLS (protocol §8): one kept-alive connection, no redirects.

Only the endpoints of the pinned card are dialled, each in turn until one answers. Answers are
read up to a bound and parsed strictly; what they prove is for the caller to verify.
"""

import asyncio
import io
import json
import os
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from http import HTTPStatus
from pathlib import Path
from types import TracebackType
from typing import Self

import aiohttp
import structlog

from gateway.core.card import MAX_BYTES as MAX_CARD_BYTES
from gateway.core.card import Card
from gateway.core.envelope import MEDIA_TYPE
from gateway.core.errors import Malformed
from gateway.core.ids import Digest, MessageId
from gateway.core.profile import MAX_BYTES as MAX_PROFILE_BYTES
from gateway.core.proof import MAX_RECEIPT_BYTES, Receipt, parse_hashes, parse_receipt
from gateway.core.strict import parse_object, sha256
from gateway.peering.replies import (
    PeerUnavailable,
    Raw,
    Reply,
    WitnessReply,
    batch_of,
    offset_of,
    reply_of,
    text_of,
    witness_reply_of,
)
from gateway.peering.tls import client_context
from keys.certificates import TlsKey

BATCH_TYPE = "application/vnd.art18.envelopes+jsonl"
BLOB_TYPE = "application/offset+octet-stream"
MAX_BATCH = 64
MAX_BATCH_BYTES = 8 * 1024 * 1024

_MAX_ANSWER_BYTES = 16 * 1024 * 1024
_MAX_NOTE_BYTES = 256 * 1024
_TIMEOUT = aiohttp.ClientTimeout(total=60, sock_connect=10)
_BLOB_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=10)
STALL_S = 60.0
"""How long a peer may take nothing of a blob."""
_LAST_S = 300.0
"""How long it may take for its answer after the last byte: it may have to read the whole again."""
_KEEPALIVE_S = 60
_PIECE_BYTES = 1 << 20

_log = structlog.get_logger(__name__)


class _BrokeOff(PeerUnavailable):
    """The connection ended instead of an answer."""


class PeerClient:
    """A client of the federation door of the peer with *card*; close it after use."""

    def __init__(self, card: Card, tls: TlsKey, *, stall_s: float = STALL_S) -> None:
        context = client_context(tls, [one.der for one in card.tls])
        connector = aiohttp.TCPConnector(ssl=context, limit=1, keepalive_timeout=_KEEPALIVE_S)
        self._session = aiohttp.ClientSession(
            connector=connector,
            timeout=_TIMEOUT,
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"Accept-Encoding": "identity"},
        )
        self._endpoints = card.endpoints
        self._preferred = 0
        self._stall_s = stall_s

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._session.close()

    async def post_envelope(self, raw: bytes) -> Reply:
        """Post one envelope; return the peer's answer. Raises PeerUnavailable."""
        return reply_of(await self._call("POST", "/v1/envelopes", raw, MEDIA_TYPE))

    async def post_batch(self, envelopes: Sequence[bytes]) -> list[Reply]:
        """Post up to 64 envelopes and 8 MiB; return one answer for each, in order.

        An answer to the batch as a whole (429, say) is the answer to each. Raises PeerUnavailable.
        """
        raw = await self._call(
            "POST", "/v1/envelopes/batch", b"".join(e + b"\n" for e in envelopes), BATCH_TYPE
        )
        if raw.status != HTTPStatus.OK:
            return [reply_of(raw)] * len(envelopes)
        try:
            replies = batch_of(raw.body)
        except Malformed:
            raise PeerUnavailable("bad_answer") from None
        if len(replies) != len(envelopes):
            raise PeerUnavailable("bad_answer")
        return replies

    async def receipt(self, message: MessageId) -> Reply:
        """Ask for the newest receipt of a message. Raises PeerUnavailable."""
        return reply_of(await self._call("GET", f"/v1/envelopes/{message}/receipt"))

    async def close_message(self, message: MessageId, envelope: Digest) -> Reply:
        """Ask for the outcome of an expired message, once for all. Raises PeerUnavailable."""
        body = json.dumps({"envelope_sha256": envelope}).encode("ascii")
        return reply_of(await self._call("POST", f"/v1/envelopes/{message}/close", body))

    async def post_receipt(self, receipt: Receipt) -> Reply:
        """Bring a later receipt to the sender of a message. Raises PeerUnavailable."""
        return reply_of(await self._call("POST", "/v1/receipts", receipt.encode()))

    async def put_blob(self, digest: Digest, size: int, path: Path) -> Reply:
        """Bring what the peer has not of the blob in the file *path* of *size* bytes.

        Where the connection breaks, or the peer says that its bytes end elsewhere, the peer is asked how
        far it has come, and the rest follows, as long as it has come further in between. A peer that has
        every byte is sent none, and asked all the same: it may have ended before the blob was recorded.

        Raises:
            PeerUnavailable: no connection, or none over which anything arrived.
            OSError: the file cannot be read.
        """
        here = f"/v1/blobs/{digest}"
        furthest = -1
        fault = PeerUnavailable("bad_answer")
        with path.open("rb") as file:
            while True:
                known = await self._call("HEAD", here)
                offset = offset_of(known, size)
                if offset is None:
                    return reply_of(known)
                if offset <= furthest:
                    raise fault
                if 0 < offset < size:
                    _log.info("blob_resumed", offset_bytes=offset, size_bytes=size)
                furthest = offset
                try:
                    raw = await self._patch(here, file.fileno(), offset, size)
                except PeerUnavailable as found:
                    fault = found
                    continue
                if raw.status == HTTPStatus.NO_CONTENT and raw.headers.get("Upload-Offset") == str(size):
                    return Reply(204)
                elsewhere = raw.headers.get("Upload-Offset", str(offset)) != str(offset)
                if raw.status != HTTPStatus.NO_CONTENT and not (
                    raw.status == HTTPStatus.CONFLICT and elsewhere
                ):
                    return reply_of(raw)

    async def checkpoint(self) -> str:
        """Return the newest checkpoint of the peer's log, as text. Raises PeerUnavailable."""
        return text_of(await self._call("GET", "/v1/log/checkpoint", limit=_MAX_NOTE_BYTES))

    async def consistency(self, old: int, new: int) -> tuple[bytes, ...]:
        """Return the peer's proof that its log of size *old* is the beginning of that of *new*."""
        text = text_of(await self._call("GET", f"/v1/log/consistency?from={old}&to={new}"))
        try:
            return parse_hashes(text)
        except Malformed:
            raise PeerUnavailable("bad_answer") from None

    async def add_checkpoint(self, submission: bytes) -> WitnessReply:
        """Ask the peer's witness to cosign a checkpoint of our log. Raises PeerUnavailable."""
        raw = await self._call("POST", "/v1/witness/add-checkpoint", submission, "text/plain")
        return witness_reply_of(raw)

    async def held_checkpoint(self, origin: str) -> str | None:
        """Return the newest checkpoint of the log *origin* that the peer holds; None if it holds none.

        It is a signed note with every cosignature that the peer has at hand. Raises PeerUnavailable.
        """
        path = f"/v1/witness/{sha256(origin.encode())}/checkpoint"
        raw = await self._call("GET", path, limit=_MAX_NOTE_BYTES)
        return None if raw.status == HTTPStatus.NOT_FOUND else text_of(raw)

    async def epoch(self, number: int | None = None) -> Receipt | None:
        """Return the first entry of the current epoch of the peer's log, or of epoch *number*, proved.

        None if there is none: the first epoch begins without one, and a later one can be lost with the
        entries in which it began. Raises PeerUnavailable.
        """
        path = "/v1/log/epoch" if number is None else f"/v1/log/epochs/{number}"
        raw = await self._call("GET", path, limit=MAX_RECEIPT_BYTES)
        if raw.status == HTTPStatus.NOT_FOUND:
            return None
        if raw.status != HTTPStatus.OK:
            raise PeerUnavailable(reply_of(raw).code or "bad_answer")
        try:
            return parse_receipt(raw.body)
        except Malformed:
            raise PeerUnavailable("bad_answer") from None

    async def card(self, sequence: int | None = None) -> bytes | None:
        """Return the peer's newest card, or that with *sequence*; None if there is none."""
        path = "/v1/card" if sequence is None else f"/v1/cards/{sequence}"
        raw = await self._call("GET", path, limit=MAX_CARD_BYTES)
        return raw.body if raw.status == HTTPStatus.OK else None

    async def profile(self) -> bytes | None:
        """Return the peer's newest profile; None if it has published none. Raises PeerUnavailable."""
        raw = await self._call("GET", "/v1/profile", limit=MAX_PROFILE_BYTES)
        if raw.status == HTTPStatus.NOT_FOUND:
            return None
        if raw.status != HTTPStatus.OK:
            raise PeerUnavailable(reply_of(raw).code or "bad_answer")
        return raw.body

    async def ping(self) -> Mapping[str, object]:
        """Return what the peer says of itself: authority, time, version."""
        raw = await self._call("GET", "/v1/ping")
        if raw.status != HTTPStatus.OK:
            raise PeerUnavailable(reply_of(raw).code or "bad_answer")
        try:
            return parse_object(raw.body)
        except Malformed:
            raise PeerUnavailable("bad_answer") from None

    async def _call(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        media_type: str = "application/json",
        *,
        limit: int = _MAX_ANSWER_BYTES,
    ) -> Raw:
        """Ask the endpoints in turn, that which answered last first.

        Where a connection breaks off, the same endpoint is asked once more: a peer may end what
        idled too long, and every request of the protocol can be repeated.
        """
        sent = {"Content-Type": media_type} if body is not None else {}
        count = len(self._endpoints)
        fault: PeerUnavailable = PeerUnavailable("unreachable")
        for turn in range(count):
            number = (self._preferred + turn) % count
            for _ in range(2):
                try:
                    answer = await self._ask(method, self._endpoints[number] + path, body, sent, limit)
                except _BrokeOff as found:
                    fault = found
                except PeerUnavailable as found:
                    fault = found
                    break
                else:
                    self._preferred = number
                    return answer
        raise fault

    async def _patch(self, path: str, handle: int, offset: int, size: int) -> Raw:
        """Send the bytes of a blob from *offset* on to the endpoint that answered last.

        Raises:
            PeerUnavailable: it broke off, or stalled: nothing was taken for _STALL_S.
        """
        url = self._endpoints[self._preferred] + path
        headers = {
            "Content-Type": BLOB_TYPE,
            "Content-Length": str(size - offset),
            "Upload-Offset": str(offset),
            "Upload-Length": str(size),
        }
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._stall_s) as stalled:

                async def pieces() -> AsyncIterator[bytes]:
                    for begin in range(offset, size, _PIECE_BYTES):
                        stalled.reschedule(loop.time() + self._stall_s)
                        yield await asyncio.to_thread(
                            os.pread, handle, min(_PIECE_BYTES, size - begin), begin
                        )
                    stalled.reschedule(loop.time() + _LAST_S)

                # A refusal comes before gigabytes have gone: expect100.
                return await self._ask(
                    "PATCH", url, pieces(), headers, _MAX_ANSWER_BYTES, expect100=True, timeout=_BLOB_TIMEOUT
                )
        except TimeoutError:
            raise PeerUnavailable("timeout") from None

    async def _ask(
        self,
        method: str,
        url: str,
        body: bytes | AsyncIterator[bytes] | None,
        headers: Mapping[str, str],
        limit: int,
        *,
        expect100: bool = False,
        timeout: aiohttp.ClientTimeout | None = None,  # noqa: ASYNC109 - aiohttp's own
    ) -> Raw:
        sent: object = body
        if isinstance(body, bytes) and len(body) > _PIECE_BYTES:
            sent = io.BytesIO(body)  # written in pieces, so that other tasks have their turn
        try:
            async with self._session.request(
                method,
                url,
                data=sent,
                headers=headers,
                allow_redirects=False,
                expect100=expect100,
                timeout=timeout or _TIMEOUT,
            ) as answer:
                return Raw(answer.status, await _read(answer, limit), answer.headers)
        except TimeoutError:
            raise PeerUnavailable("timeout") from None
        except (ssl.SSLError, aiohttp.ClientSSLError):
            raise PeerUnavailable("tls") from None
        except aiohttp.ClientConnectorError:
            raise PeerUnavailable("unreachable") from None
        except (aiohttp.ClientError, OSError, RuntimeError):
            # uvloop's way to say that the connection closed while this was about to write to it is a
            # RuntimeError.
            raise _BrokeOff("unreachable") from None


async def _read(answer: aiohttp.ClientResponse, limit: int) -> bytes:
    body = bytearray()
    async for chunk in answer.content.iter_any():
        body += chunk
        if len(body) > limit:
            raise PeerUnavailable("too_large_answer")
    return bytes(body)
