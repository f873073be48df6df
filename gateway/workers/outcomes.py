"""What is recorded of a peer's answers: to envelopes, to `close`, to later receipts (protocol §8)."""

import contextlib
from collections.abc import Sequence
from dataclasses import replace

from gateway.core import delivery
from gateway.core.backoff import wait_ms
from gateway.core.errors import Malformed, NotProved, Stale
from gateway.core.ids import AuthorityId, MessageId
from gateway.core.standing import names_later_epoch
from gateway.peering.alarms import raise_alarm
from gateway.peering.directory import PinnedPeer
from gateway.peering.replies import Reply
from gateway.ports import Change, Outgoing
from gateway.rows import EnvelopeRow, MessageRow, NoticeRow
from gateway.workers.parts import Parts

_NOT_PROVED = "receipt_not_proved"
_UNKNOWN_LOG = "unknown_log"
_CARDS_S = 30
"""After this the cards of a peer whose receipt names an unknown log have been looked at."""
_NOTICE_TAKEN, _NOTICE_REFUSED = 204, 422


class Outcomes:
    """Records answers; each method writes one change, or decides again when a row has moved."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._store = parts.store

    async def posted(self, peer: PinnedPeer, one: Outgoing, reply: Reply) -> None:
        """Record what *peer* answered to an envelope."""
        # Only a message that was deferred before can have been sealed more than once.
        envelopes = [one.envelope] if one.message.attempt == 0 else None
        if await self._proved(peer, one.message, reply, envelopes):
            return
        code = _code(peer, reply)
        after_s = _CARDS_S if code == _UNKNOWN_LOG else reply.retry_after_s
        event = delivery.Deferred(code, after_s)
        await self._parts.settlement().settle(one.message, event, envelopes=envelopes)

    async def deferred(self, message: MessageRow, code: str) -> None:
        """Back off *message* alone."""
        await self._parts.settlement().settle(message, delivery.Deferred(code))

    async def asked(self, peer: PinnedPeer, message: MessageRow, reply: Reply) -> None:
        """Record what *peer* answered to `close`."""
        if await self._proved(peer, message, reply, None):
            return
        if reply.code == "not_expired" and message.state == delivery.State.QUEUED:
            await self.deferred(message, reply.code)  # by the peer's clock it has not; the fate is open
        else:
            await self.silent(message, _code(peer, reply), reply.retry_after_s)

    async def silent(self, message: MessageRow, code: str | None, retry_after_s: int | None = None) -> None:
        """Record that nobody said what became of an expired message."""
        await self._parts.settlement().settle(message, delivery.Silent(code, retry_after_s))

    async def brought(self, notice: NoticeRow, reply: Reply) -> None:
        """Record what the sender of a message answered to a later receipt about it."""
        if reply.status == _NOTICE_TAKEN:
            moved = replace(notice, state="delivered", problem=None)
        elif reply.status == _NOTICE_REFUSED:
            await self._alarm("notice_refused", notice.peer, notice.id)
            moved = replace(notice, state="dropped", problem=reply.code or "bad_answer")
        else:
            attempt = notice.attempt + 1
            wait = wait_ms(attempt, self._parts.entropy.jitter(), reply.retry_after_s)
            next_ms = self._parts.clock.now_ms() + wait
            moved = replace(notice, attempt=attempt, next_ms=next_ms, problem=reply.code or "bad_answer")
        with contextlib.suppress(Stale):  # another process brought it meanwhile
            await self._store.record(Change(name="notice", puts=(moved,)))

    async def _proved(
        self, peer: PinnedPeer, message: MessageRow, reply: Reply, envelopes: Sequence[EnvelopeRow] | None
    ) -> bool:
        """Record the receipt in *reply*; False if there is none, or it does not hold.

        One of a later epoch than any pinned card names is no reason for an alarm yet: the peer's cards are
        looked at first.
        """
        if reply.receipt is None:
            return False
        settlement = self._parts.settlement()
        known = envelopes if envelopes is not None else await self._store.envelopes(message.id)
        try:
            statement = settlement.verify(reply.receipt, message, known, peer.logs)
        except (NotProved, Malformed):
            if _code(peer, reply) == _UNKNOWN_LOG:
                self._parts.cards_wanted(message.peer)
            if _code(peer, reply) != _UNKNOWN_LOG or message.problem == _UNKNOWN_LOG:
                await self._alarm(_NOT_PROVED, message.peer, message.id)
            return False
        await settlement.prove(message, statement, reply.receipt, known)
        return True

    async def _alarm(self, code: str, peer: AuthorityId, message: MessageId) -> None:
        """Tell an operator, once."""
        await raise_alarm(self._store, self._parts.clock, code, peer, peer, message=message)


def _code(peer: PinnedPeer, reply: Reply) -> str:
    """Return what is wrong with an answer of *peer* that proves nothing."""
    if reply.receipt is None:
        return reply.code or "bad_answer"
    return _UNKNOWN_LOG if names_later_epoch(reply.receipt, peer.logs) else _NOT_PROVED
