"""The courier: brings what is queued to the peers, one route for each (protocol §8 "Sending").

Everything is a row: a round reads what is due, posts it, and records what came of it before it
reads again. A crash repeats a post, which the peer answers as before. Each peer has one backoff,
one kept-alive connection and a task of its own, so that no peer waits for another.
"""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import structlog

from gateway.core import custody, delivery
from gateway.core.backoff import backoff_ms
from gateway.core.envelope import Content, Header, build_envelope, encode_content, parse_envelope
from gateway.core.errors import Malformed, NotProved, Stale, Unavailable
from gateway.core.ids import AuthorityId
from gateway.core.message import verify_message
from gateway.core.proof import Receipt
from gateway.peering.client import MAX_BATCH, MAX_BATCH_BYTES, PeerClient, PeerUnavailable, Reply
from gateway.peering.directory import Directory, PinnedPeer
from gateway.peering.settlement import Settlement
from gateway.ports import (
    AlarmRow,
    Change,
    Clock,
    ContentRow,
    Direction,
    Entropy,
    EnvelopeRow,
    MessageRow,
    NoticeRow,
    Outgoing,
    PeerRow,
    Probe,
    Store,
)
from gateway.store.blobs import BlobFolder
from keys.rest import Box
from keys.vault import Keyring

_POLL_S = 1.0
_ROUND_LIMIT = 16
_PAUSE_S = 1.0
_PEER_CODES = frozenset({429, 503})

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What the courier works with.

    Attributes:
        dial: a client for one peer, to be closed by the caller.
        cards_wanted: told of a peer whose newest card is needed (421).
    """

    store: Store
    blobs: BlobFolder
    directory: Directory
    keyring: Callable[[], Keyring]
    dial: Callable[[PinnedPeer], PeerClient]
    cards_wanted: Callable[[AuthorityId], None]
    clock: Clock
    entropy: Entropy
    probe: Probe


class Courier:
    """Keeps a route to each active peer."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._changed = asyncio.Event()
        self._routes: dict[AuthorityId, asyncio.Task[None]] = {}
        self._stopping = asyncio.Event()
        parts.directory.on_change(self._changed.set)

    async def run(self) -> None:
        """Deliver until `stop`."""
        while not self._stopping.is_set():
            self._changed.clear()
            for authority in self._parts.directory.peers:
                task = self._routes.get(authority)
                if task is None or task.done():
                    route = Route(self._parts, authority, self._stopping)
                    self._routes[authority] = asyncio.create_task(route.run(), name=f"courier {authority}")
            await self._changed.wait()
        if self._routes:
            await asyncio.gather(*self._routes.values())

    def stop(self) -> None:
        """Post nothing more; `run` returns once what is under way has been recorded."""
        self._stopping.set()
        self._changed.set()


class Route:
    """The way to one peer: its connection, its backoff, its rounds."""

    def __init__(self, parts: Parts, authority: AuthorityId, stopping: asyncio.Event) -> None:
        self._parts = parts
        self._store = parts.store
        self._authority = authority
        self._stopping = stopping
        self._client: PeerClient | None = None
        self._card_sha256: str | None = None
        self._seen = 0

    async def run(self) -> None:
        """Go on in rounds; whatever fails backs off this peer, and ends nothing."""
        try:
            while not self._stopping.is_set():
                # Counted before the round reads: what is queued meanwhile is not slept over.
                self._seen = await self._store.outbox_changed(0)
                if not await self._guarded_round():
                    await self._rest()
        finally:
            await self._hang_up()

    async def _guarded_round(self) -> bool:
        """Do a round; return whether something was done, so that more may be due."""
        try:
            return await self._round()
        except PeerUnavailable as fault:
            await self._back_off(fault.code, None)
        except Unavailable:
            await self._pause()
        except Exception as error:  # noqa: BLE001 - one peer must not end the others: backed off, logged
            _log.error("courier.failed", peer=self._authority, error=type(error).__name__)
            await self._hang_up()
            await self._back_off("internal", None)
        return False

    async def _round(self) -> bool:
        peer, now_ms = self._parts.directory.peers.get(self._authority), self._parts.clock.now_ms()
        if peer is None or not peer.active or not await self._store.own_route(self._authority):
            return False
        row = await self._store.get(PeerRow, self._authority)
        if row is None or row.next_ms > now_ms:
            return False
        due = await self._store.due(self._authority, now_ms, limit=MAX_BATCH)
        expired = [one.message for one in due if one.message.expires_ms <= now_ms]
        fresh = _one_batch([one for one in due if one.message.expires_ms > now_ms])
        if fresh:
            await self._post(peer, fresh)
        expired += await self._store.unresolved(self._authority, now_ms, limit=_ROUND_LIMIT)
        for message in expired[:_ROUND_LIMIT]:
            await self._ask_outcome(peer, message)
        notices = await self._store.notices_due(self._authority, now_ms, limit=_ROUND_LIMIT)
        for notice in notices:
            await self._bring(peer, notice)
        if (fresh or expired or notices) and row.attempt:
            await self._write_route(attempt=0, next_ms=0, problem=None)
        return bool(fresh or expired or notices)

    async def _rest(self) -> None:
        """Wait until something may be due, or the node stops."""
        waits = [
            asyncio.ensure_future(self._store.outbox_changed(_POLL_S, self._seen)),
            asyncio.ensure_future(self._stopping.wait()),
        ]
        _, unfinished = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for task in unfinished:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def _pause(self) -> None:
        """Wait a moment after our own store could not serve."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), _PAUSE_S)

    # -- posting

    async def _post(self, peer: PinnedPeer, batch: Sequence[Outgoing]) -> None:
        """Bring the blobs, then the envelopes; record all that came of it at once."""
        client = await self._connected(peer)
        for one in batch:
            if one.message.attachments:
                await self._bring_blobs(client, one.message)
        bodies = [one.envelope.body or b"" for one in batch]
        self._parts.probe.reached("courier.before_post")
        if len(bodies) == 1:
            replies = [await client.post_envelope(bodies[0])]
        else:
            replies = await client.post_batch(bodies)
        self._parts.probe.reached("courier.after_post")
        outcomes = await asyncio.gather(
            *(self._record(peer, one, reply) for one, reply in zip(batch, replies, strict=True)),
            return_exceptions=True,
        )
        failed = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
        if failed:
            raise failed[0]
        busy = next((reply for reply in replies if reply.status in _PEER_CODES), None)
        if busy is not None:
            await self._back_off(busy.code or "busy", busy.retry_after_s)

    async def _record(self, peer: PinnedPeer, one: Outgoing, reply: Reply) -> None:
        """Record what the peer answered to one envelope."""
        if reply.status in _PEER_CODES:
            return  # the peer as a whole: see _post
        envelopes = [one.envelope] if one.message.attempt == 0 else None
        if reply.receipt is not None:
            await self._prove(peer, one.message, reply.receipt, envelopes)
            return
        event = delivery.Deferred(reply.code or "bad_answer", reply.retry_after_s)
        if event.code == "unknown_sealing_key" and await self._reseal(peer, one.message, one.envelope):
            return
        await self._settlement().settle(one.message, event, envelopes=envelopes)

    async def _prove(
        self,
        peer: PinnedPeer,
        message: MessageRow,
        receipt: Receipt,
        envelopes: Sequence[EnvelopeRow] | None,
    ) -> None:
        """Record a receipt that holds; one that does not is no answer, and an alarm (protocol §9)."""
        settlement = self._settlement()
        known = envelopes if envelopes is not None else await self._store.envelopes(message.id)
        try:
            statement = settlement.verify(receipt, message, known, peer.logs)
        except (NotProved, Malformed):
            await self._alarm("receipt_not_proved", message.id)
            await settlement.settle(message, delivery.Deferred("receipt_not_proved"))
            return
        await settlement.prove(message, statement, receipt, known)

    async def _reseal(self, peer: PinnedPeer, message: MessageRow, last: EnvelopeRow) -> bool:
        """Seal the same JWS to the peer's newer key; False while its card has none (421)."""
        self._parts.cards_wanted(self._authority)
        newest = self._parts.directory.peers.get(self._authority, peer)
        key = newest.card.sealing_key(self._parts.clock.now_ms())
        if last.body is None or parse_envelope(last.body).header.key == key.kid:
            return False
        content = await self._content(message)
        header = Header(message.id, self._parts.directory.own.authority, self._authority, key.kid)
        envelope = build_envelope(header, encode_content(content.jws, content.blob_keys), key.public)
        row = EnvelopeRow(message_id=message.id, sha256=envelope.sha256, version=0, body=envelope.raw)
        # `attempt` says that there is more than one envelope to drop at the end.
        moved = replace(message, envelope_sha256=envelope.sha256, attempt=message.attempt + 1, problem=None)
        with contextlib.suppress(Stale):
            await self._store.record(Change(name="reseal", puts=(row, moved)))
        return True

    async def _bring_blobs(self, client: PeerClient, message: MessageRow) -> None:
        """Bring what the peer does not have yet: the envelope follows its blobs (protocol §7)."""
        content = await self._content(message)
        signers = self._parts.directory.own.signing_keys()
        attachments = verify_message(content.jws, signers).message.attachments
        for one in attachments:
            path = self._parts.blobs.outgoing(one.blob_sha256)
            reply = await client.put_blob(one.blob_sha256, one.blob_size, path)
            if reply.status in _PEER_CODES:
                raise PeerUnavailable(reply.code or "busy")

    # -- outcomes and notices

    async def _ask_outcome(self, peer: PinnedPeer, message: MessageRow) -> None:
        """Ask what became of an expired message; only the peer's signed answer says so."""
        client = await self._connected(peer)
        if message.envelope_sha256 is None:
            return
        try:
            reply = await client.close_message(message.id, message.envelope_sha256)
        except PeerUnavailable:
            await self._settlement().settle(message, delivery.Silent())
            raise
        if reply.receipt is not None:
            await self._prove(peer, message, reply.receipt, None)
        else:
            await self._settlement().settle(message, delivery.Silent())

    async def _bring(self, peer: PinnedPeer, notice: NoticeRow) -> None:
        """Bring a later receipt to the sender of a message."""
        client = await self._connected(peer)
        reply = await client.post_receipt(await self._store.receipt(notice.entry))
        if reply.status in _PEER_CODES:
            raise PeerUnavailable(reply.code or "busy")
        if reply.status == 204:  # noqa: PLR2004 - HTTP
            moved = replace(notice, state="delivered", problem=None)
        else:
            attempt = notice.attempt + 1
            wait_ms = backoff_ms(attempt, self._parts.entropy.jitter())
            next_ms = self._parts.clock.now_ms() + wait_ms
            moved = replace(notice, attempt=attempt, next_ms=next_ms, problem=reply.code)
        with contextlib.suppress(Stale):
            await self._store.record(Change(name="notice", puts=(moved,)))

    # -- the route itself

    async def _back_off(self, code: str, retry_after_s: int | None) -> None:
        """Leave the peer alone for a while (no connection, 429, 503)."""
        row = await self._store.get(PeerRow, self._authority)
        attempt = 1 if row is None else row.attempt + 1
        wait_ms = backoff_ms(attempt, self._parts.entropy.jitter())
        next_ms = self._parts.clock.now_ms() + max(wait_ms, 1000 * (retry_after_s or 0))
        _log.warning("courier.peer_unavailable", peer=self._authority, code=code, attempt=attempt)
        try:
            await self._write_route(attempt=attempt, next_ms=next_ms, problem=code)
        except Unavailable:
            await self._pause()

    async def _write_route(self, *, attempt: int, next_ms: int, problem: str | None) -> None:
        row = await self._store.get(PeerRow, self._authority)
        if row is not None and (row.attempt, row.problem) != (attempt, problem):
            moved = replace(row, attempt=attempt, next_ms=next_ms, problem=problem)
            with contextlib.suppress(Stale):
                await self._store.record(Change(name="route", puts=(moved,)))

    async def _alarm(self, code: str, subject: str) -> None:
        if await self._store.get(AlarmRow, code, subject) is None:
            row = AlarmRow(
                code=code,
                subject=subject,
                version=0,
                raised_ms=self._parts.clock.now_ms(),
                detail=self._authority,
            )
            with contextlib.suppress(Stale):
                await self._store.record(Change(name="alarm", puts=(row,)))

    async def _connected(self, peer: PinnedPeer) -> PeerClient:
        """Return the client for the pinned card as it is now."""
        if self._client is not None and self._card_sha256 != peer.card.sha256:
            await self._hang_up()
        if self._client is None:
            self._client, self._card_sha256 = self._parts.dial(peer), peer.card.sha256
        return self._client

    async def _hang_up(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    async def _content(self, message: MessageRow) -> Content:
        row = await self._store.get(ContentRow, Direction.OUT, self._authority, message.id)
        if row is None:
            raise Unavailable("the content of a queued message is gone")
        box = Box(row.wrapped_key, row.ciphertext)
        storage = self._parts.keyring().storage
        return custody.open_content(storage, Direction.OUT, self._authority, message.id, box)

    def _settlement(self) -> Settlement:
        parts = self._parts
        return Settlement(
            parts.store,
            parts.directory.own.authority,
            parts.keyring().storage,
            parts.clock,
            parts.entropy,
        )


def _one_batch(due: Sequence[Outgoing]) -> list[Outgoing]:
    """Return as many of *due* as one batch takes: 64, and 8 MiB with a line end each."""
    batch: list[Outgoing] = []
    size = 0
    for one in due:
        size += len(one.envelope.body or b"") + 1
        if batch and (len(batch) == MAX_BATCH or size > MAX_BATCH_BYTES):
            break
        batch.append(one)
    return batch
