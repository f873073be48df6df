"""The route to one peer: its connection, its backoff, its rounds (protocol §8 "Sending").

Everything is a row: a round reads what is due, posts it, and hands what came of it to be recorded.
The next round begins while that commits, so that posting and committing overlap; what is under way
is left alone until it has been recorded. A crash repeats a post, which the peer answers as before.
"""

import asyncio
import contextlib
from collections.abc import Sequence
from functools import partial

import structlog

from gateway.core.errors import Unavailable
from gateway.core.ids import AuthorityId, Digest
from gateway.peering.client import MAX_BATCH, MAX_BATCH_BYTES, PeerClient
from gateway.peering.directory import PinnedPeer
from gateway.peering.reachability import is_open, obstruct, reopen
from gateway.peering.replies import PeerUnavailable, Reply
from gateway.ports import Outgoing
from gateway.rows import PeerRow, UploadRow
from gateway.workers.carriage import Carriage
from gateway.workers.outcomes import Outcomes
from gateway.workers.parts import Parts
from gateway.workers.recording import UnderWay
from gateway.workers.way import Obstructed, answer_of, check

_POLL_S = 1.0
_REST_S = 30.0
_LOOK_MS = 1_000
_MOST_UNDER_WAY = 2 * MAX_BATCH
_ABOUT_ONE = frozenset({421, 424, 425})
"""Unsigned answers that only an envelope can get, never a batch."""

_log = structlog.get_logger(__name__)


class Route:
    """Delivers to one peer, in a task of its own."""

    def __init__(self, parts: Parts, authority: AuthorityId, stopping: asyncio.Event) -> None:
        self._parts = parts
        self._store = parts.store
        self._authority = authority
        self._stopping = stopping
        self._outcomes = Outcomes(parts)
        self._carriage = Carriage(parts)
        self._wake = asyncio.Event()
        self._under_way = UnderWay(authority, self._recorded)
        self._passed_over = False  # something that is due was left for another round
        self._look_ms = 0
        self._clear: PeerRow | None = None
        self._client: PeerClient | None = None
        self._dialled: tuple[Digest, Digest] | None = None

    def wake(self) -> None:
        """Look again: something may have become due, or the node stops."""
        self._wake.set()

    def _recorded(self) -> None:
        """Look again if something that was due was left alone until now."""
        if self._passed_over or self._under_way.troubled:
            self.wake()

    async def run(self) -> None:
        """Go on in rounds until the node stops; whatever fails backs off, and ends nothing."""
        try:
            while not self._stopping.is_set():
                self._wake.clear()
                rest_s = await self._guarded_round()
                if rest_s:
                    await _within(self._wake, rest_s)
            for message in tuple(self._carriage.under_way):  # taken up after the next start
                await self._under_way.break_off(message)
            await self._under_way.finish()
        finally:
            await self._under_way.break_off()
            await self._hang_up()

    async def _guarded_round(self) -> float:
        """Do a round; return how many seconds to rest unless woken."""
        try:
            if self._under_way.troubled:
                self._under_way.troubled = False
                await _within(self._stopping, _POLL_S)
            return await self._round()
        except Unavailable:
            _log.warning("courier.store_unavailable", peer=self._authority)
            self._under_way.troubled = True
        except Exception as error:  # noqa: BLE001 - one peer must not end the others: logged, and backed off
            await self._recover(error)
        return 0

    async def _recover(self, error: Exception) -> None:
        """Begin anew after what nobody foresaw: with another connection, after a while."""
        _log.error("courier.failed", peer=self._authority, error=type(error).__name__)
        try:
            await self._hang_up()
            await self._back_off(Obstructed("internal"))
        except Exception as another:  # noqa: BLE001 - logged, and the next round waits before it tries again
            _log.error("courier.failed", peer=self._authority, error=type(another).__name__)
            self._under_way.troubled = True

    async def _round(self) -> float:
        peer = self._parts.directory.peers.get(self._authority)
        row = await self._way_of(peer)
        if peer is None or row is None or not await self._store.own_route(self._authority):
            return _POLL_S
        now_ms = self._parts.clock.now_ms()
        if not is_open(row, now_ms):
            await self._give_up_on_expired(row, now_ms)
            return _POLL_S
        try:
            done = await self._post_due(peer, row.attempt, now_ms)
            if done and row.attempt:
                await reopen(self._store, self._authority)
            if (done or self._under_way) and now_ms < self._look_ms:
                # What is under way wakes this route as it commits.
                return 0 if done and self._passed_over else _POLL_S
            self._look_ms = now_ms + _LOOK_MS
            next_ms = await self._store.next_due_ms(self._authority)
            if next_ms is not None and next_ms <= now_ms:
                done |= await self._ask_for_outcomes(peer, now_ms)
                done |= await self._bring_notices(peer, now_ms)
        except Obstructed as fault:
            await self._back_off(fault)
            return _POLL_S
        if done and row.attempt:
            await reopen(self._store, self._authority)
        return 0 if done else _rest_s(next_ms, now_ms)

    async def _way_of(self, peer: PinnedPeer | None) -> PeerRow | None:
        """Return the row of the peer: read once while there is no backoff, which only this route begins."""
        if self._clear is None or peer is None or not peer.active:
            row = await self._store.get(PeerRow, self._authority)
            self._clear = row if row is not None and not row.attempt and row.state == "active" else None
            return row
        return self._clear

    # -- envelopes

    async def _post_due(self, peer: PinnedPeer, attempt: int, now_ms: int) -> bool:
        """Post what is due in one batch; return whether there was something."""
        ready = await self._ready(peer, now_ms)
        if attempt and ready:
            # After a failure one envelope tries the way, another one each time: were it an envelope
            # itself that the connection breaks at, it could not keep the others for ever.
            ready = [ready[attempt % len(ready)]]
        batch = _one_batch(ready)
        if not batch:
            return False
        self._passed_over |= len(batch) < len(ready)
        client = await self._connected(peer)
        if len(batch) == 1:
            await self._post_singly(client, peer, batch)
            return True
        replies = await self._post_together(client, batch)
        if _is_about_all(replies):
            check(replies[0])
            await self._post_singly(client, peer, batch)
            return True
        for one, reply in zip(batch, replies, strict=True):
            self._take(peer, one, reply)
        await self._under_way.fewer_than(_MOST_UNDER_WAY)
        return True

    async def _post_together(self, client: PeerClient, batch: Sequence[Outgoing]) -> list[Reply]:
        self._parts.probe.reached("courier.before_post")
        try:
            replies = await client.post_batch([one.envelope.body or b"" for one in batch])
        except PeerUnavailable as fault:
            raise Obstructed(fault.code) from None
        self._parts.probe.reached("courier.after_post")
        return replies

    async def _post_singly(self, client: PeerClient, peer: PinnedPeer, batch: Sequence[Outgoing]) -> None:
        for one in batch:
            if self._stopping.is_set():
                return
            self._parts.probe.reached("courier.before_post")
            reply = check(await answer_of(client.post_envelope(one.envelope.body or b"")))
            self._parts.probe.reached("courier.after_post")
            self._take(peer, one, reply)

    def _take(self, peer: PinnedPeer, one: Outgoing, reply: Reply) -> None:
        """Have the answer to one envelope recorded."""
        self._under_way.start(
            one.message.id,
            partial(self._outcomes.posted, peer, one, reply),
            partial(self._outcomes.deferred, one.message, "internal"),
        )

    async def _ready(self, peer: PinnedPeer, now_ms: int) -> list[Outgoing]:
        """Return what may be posted now: due and not under way. What has attachments begins to be brought."""
        limit = MAX_BATCH + len(self._under_way)
        while True:
            due = await self._store.due(self._authority, now_ms, limit=limit)
            ready, waiting = [], []
            self._passed_over = len(due) == limit
            for one in due:
                if one.message.expires_ms <= now_ms:
                    continue
                if one.message.id in self._under_way:
                    self._passed_over = True
                elif one.message.attachments:
                    self._passed_over = True
                    waiting.append(one)
                else:
                    ready.append(one)
            for one, uploads in await self._carriage.admitted(waiting, self.wake):
                self._under_way.start(
                    one.message.id,
                    partial(self._bring, peer, one, uploads),
                    partial(self._outcomes.deferred, one.message, "internal"),
                )
            if ready or len(due) < limit:
                return ready
            limit *= 2  # the oldest all have attachments: look behind them

    async def _bring(self, peer: PinnedPeer, one: Outgoing, uploads: Sequence[UploadRow]) -> None:
        """Bring a message with its attachments, and have the answer to it recorded."""
        reply = await self._carriage.bring(peer, one, uploads)
        await self._outcomes.posted(peer, one, reply)
        if reply.receipt is not None and self._clear is None:
            await reopen(self._store, self._authority)

    # -- the outcome of expired messages, and later receipts

    async def _give_up_on_expired(self, row: PeerRow, now_ms: int) -> None:
        """Nobody can be asked now: what has expired is undetermined all the same."""
        expired = await self._store.overdue(self._authority, now_ms, limit=MAX_BATCH)
        idle = [message for message in expired if message.id not in self._under_way]
        code = row.problem or row.state
        await asyncio.gather(*(self._outcomes.silent(message, code) for message in idle))

    async def _ask_for_outcomes(self, peer: PinnedPeer, now_ms: int) -> bool:
        """Ask what became of expired messages: only the peer's signed answer says so."""
        expired = await self._store.overdue(self._authority, now_ms, limit=MAX_BATCH)
        expired += await self._store.unresolved(self._authority, now_ms, limit=MAX_BATCH)
        idle = [message for message in expired if message.id not in self._under_way]
        for message in idle:
            if message.envelope_sha256 is None or self._stopping.is_set():
                continue
            client = await self._connected(peer)
            reply = await answer_of(client.close_message(message.id, message.envelope_sha256))
            self._under_way.start(
                message.id,
                partial(self._outcomes.asked, peer, message, reply),
                partial(self._outcomes.silent, message, "internal"),
            )
            check(reply)
        return bool(idle)

    async def _bring_notices(self, peer: PinnedPeer, now_ms: int) -> bool:
        """Bring later receipts to the senders of the messages that they are about."""
        due = await self._store.notices_due(self._authority, now_ms, limit=MAX_BATCH + len(self._under_way))
        idle = [notice for notice in due if notice.entry not in self._under_way]
        for notice in idle:
            if self._stopping.is_set():
                break
            receipt = await self._store.receipt(notice.entry)
            client = await self._connected(peer)
            reply = check(await answer_of(client.post_receipt(receipt)))
            self._under_way.start(
                notice.entry,
                partial(self._outcomes.brought, notice, reply),
                partial(self._outcomes.brought, notice, Reply(0, code="internal")),
            )
        return bool(idle)

    # -- the way and the connection

    async def _back_off(self, fault: Obstructed) -> None:
        """Leave the peer alone for a while."""
        self._clear = None
        now_ms, jitter = self._parts.clock.now_ms(), self._parts.entropy.jitter()
        after_s = fault.retry_after_s
        try:
            attempt = await obstruct(
                self._store, self._authority, fault.code, now_ms, jitter, retry_after_s=after_s
            )
        except Unavailable:
            self._under_way.troubled = True
        else:
            _log.warning("courier.obstructed", peer=self._authority, code=fault.code, attempt=attempt)

    async def _connected(self, peer: PinnedPeer) -> PeerClient:
        """Return the client for both cards as they are now."""
        cards = (peer.card.sha256, self._parts.directory.own.sha256)
        if self._client is not None and self._dialled != cards:
            await self._hang_up()
        if self._client is None:
            self._client, self._dialled = self._parts.dial(peer), cards
        return self._client

    async def _hang_up(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.close()


def _rest_s(next_ms: int | None, now_ms: int) -> float:
    """Return how long to rest when the next message is due at *next_ms*."""
    if next_ms is None:
        return _REST_S
    return min(max((next_ms - now_ms) / 1000, _POLL_S), _REST_S)


def _is_about_all(replies: Sequence[Reply]) -> bool:
    """Return whether a batch was answered as a whole: which envelope it is shows one by one then."""
    first = replies[0]
    return first.status not in _ABOUT_ONE and all(
        reply.receipt is None and (reply.status, reply.code) == (first.status, first.code)
        for reply in replies
    )


async def _within(event: asyncio.Event, seconds: float) -> None:
    """Wait for *event*, at most so long."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()


def _one_batch(ready: Sequence[Outgoing]) -> list[Outgoing]:
    """Return as many of *ready* as one batch takes: 64, and 8 MiB with a line end each."""
    batch: list[Outgoing] = []
    size = 0
    for one in ready[:MAX_BATCH]:
        size += len(one.envelope.body or b"") + 1
        if batch and size > MAX_BATCH_BYTES:
            break
        batch.append(one)
    return batch
