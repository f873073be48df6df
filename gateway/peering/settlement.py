"""What becomes of an outgoing message: one event, its effects, one transaction (protocol §8).

Receipts reach us as answers to the courier and as later receipts at the federation door; both end
here. `core.delivery` decides; this turns its effects into rows, and decides again when one of them
has moved meanwhile.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from gateway.core import case as cases
from gateway.core import custody, delivery
from gateway.core.case import History
from gateway.core.entry import Draft
from gateway.core.errors import Stale, Unavailable
from gateway.core.ids import AuthorityId, Digest
from gateway.core.note import LogIdentity
from gateway.core.proof import Receipt, SentEnvelope, Statement, verify_receipt
from gateway.ports import (
    THIS_ENTRY,
    AlarmRow,
    CaseRow,
    Change,
    Clock,
    Direction,
    Entropy,
    EnvelopeRow,
    MessageRow,
    ReceiptRow,
    Row,
    Store,
)
from keys.rest import Box, StorageKey

_TRIES = 16


@dataclass(frozen=True, slots=True)
class Settlement:
    """Applies events to outgoing messages of *authority*, in the store."""

    store: Store
    authority: AuthorityId
    storage: StorageKey
    clock: Clock
    entropy: Entropy

    def verify(
        self,
        receipt: Receipt,
        message: MessageRow,
        envelopes: Iterable[EnvelopeRow],
        logs: Mapping[str, LogIdentity],
    ) -> Statement:
        """Return what *receipt* proves about *message*. Raises NotProved or Malformed."""
        sent = SentEnvelope(
            message_id=message.id,
            sender=self.authority,
            recipient=message.peer,
            message_sha256=message.message_sha256,
            envelopes=frozenset(envelope.sha256 for envelope in envelopes),
        )
        return verify_receipt(receipt, sent, logs)

    async def prove(
        self,
        message: MessageRow,
        statement: Statement,
        receipt: Receipt,
        envelopes: Sequence[EnvelopeRow] | None = None,
    ) -> MessageRow:
        """Record a *receipt* that holds; return the message as it is now."""
        if await self.store.get(ReceiptRow, statement.entry_sha256) is not None:
            return message
        kept = ReceiptRow(
            entry_sha256=statement.entry_sha256,
            version=0,
            peer=message.peer,
            id=message.id,
            event=statement.event,
            body=receipt.encode(),
            recorded_ms=self.clock.now_ms(),
            entry=THIS_ENTRY,
        )
        return await self.settle(message, delivery.Proved(statement), receipt=kept, envelopes=envelopes)

    async def settle(
        self,
        message: MessageRow,
        event: delivery.Event,
        *,
        receipt: ReceiptRow | None = None,
        envelopes: Sequence[EnvelopeRow] | None = None,
        actor_ref: str | None = None,
    ) -> MessageRow:
        """Apply *event*; return the message as it is now.

        *envelopes* are all that were made for it, where the caller has them at hand.

        Raises:
            Misuse: the message's state has no such event.
            Unavailable: it cannot be recorded now; nothing was.
        """
        for _ in range(_TRIES):
            change, settled = await self._plan(message, event, receipt, envelopes, actor_ref)
            if change is None:
                return settled
            try:
                await self.store.record(change)
            except Stale:
                envelopes = None
                if receipt is not None and await self.store.get(ReceiptRow, receipt.entry_sha256) is not None:
                    return await self._again(message)
                message = await self._again(message)
            else:
                return replace(settled, version=settled.version + 1)
        raise Unavailable("the message is being changed by others")

    async def _again(self, message: MessageRow) -> MessageRow:
        found = await self.store.get(MessageRow, Direction.OUT, message.peer, message.id)
        if found is None:
            raise Unavailable("the message is gone")
        return found

    async def _plan(
        self,
        message: MessageRow,
        event: delivery.Event,
        receipt: ReceiptRow | None,
        envelopes: Sequence[EnvelopeRow] | None,
        actor_ref: str | None,
    ) -> tuple[Change | None, MessageRow]:
        now_ms = self.clock.now_ms()
        before = delivery_of(message)
        after, effects = delivery.step(before, event, now_ms, self.entropy.jitter())
        if not effects and after == before:
            return None, message
        settled = _with_delivery(message, after)
        plan = _Plan()
        plan.entries += [
            _entry(message, effect, actor_ref) for effect in effects if isinstance(effect, delivery.Log)
        ]
        plan.puts.append(settled)
        if receipt is not None and plan.entries:
            plan.puts.append(receipt)
        if any(isinstance(effect, delivery.DropEnvelopes) for effect in effects):
            known = envelopes if envelopes is not None else await self.store.envelopes(message.id)
            plan.puts += [replace(one, body=None) for one in known if one.body is not None]
        for effect in effects:
            if isinstance(effect, delivery.Alarm):
                await self._alarm(plan, effect.code, message, now_ms)
        await self._case(plan, message, effects, now_ms)
        name = "settle" if plan.entries else "defer"
        return Change(
            name=name, entries=tuple(plan.entries), puts=tuple(plan.puts), deletes=tuple(plan.deletes)
        ), settled

    async def _alarm(self, plan: "_Plan", code: str, message: MessageRow, now_ms: int) -> None:
        if await self.store.get(AlarmRow, code, message.id) is None:
            plan.puts.append(
                AlarmRow(code=code, subject=message.id, version=0, raised_ms=now_ms, detail=message.peer)
            )

    async def _case(
        self, plan: "_Plan", message: MessageRow, effects: Sequence[delivery.Effect], now_ms: int
    ) -> None:
        """Move the case: whether the message counts in it, and what is held behind it."""
        counts = [effect.counts for effect in effects if isinstance(effect, delivery.Count)]
        hold = any(isinstance(effect, delivery.HoldFollowers) for effect in effects)
        if not counts and not hold:
            return
        row = await self.store.get(CaseRow, message.peer, message.case)
        if row is None:
            return
        history = open_case(self.storage, row)
        for value in counts:
            history = cases.set_counts(history, message.message_sha256, value)
        if hold:
            for follower in await self.store.queued_behind(message.peer, message.case, message.entry):
                history = await self._hold(plan, follower, history, now_ms)
        plan.puts.append(move_case(self.storage, row, history, now_ms))

    async def _hold(self, plan: "_Plan", follower: MessageRow, history: History, now_ms: int) -> History:
        after, effects = delivery.step(delivery_of(follower), delivery.Block(), now_ms, 0)
        if not effects:
            return history
        plan.entries += [
            _entry(follower, effect, None) for effect in effects if isinstance(effect, delivery.Log)
        ]
        plan.puts.append(replace(_with_delivery(follower, after), envelope_sha256=None))
        plan.deletes += await self.store.envelopes(follower.id)  # never posted: no receipt can name them
        return cases.set_counts(history, follower.message_sha256, counts=False)


@dataclass(slots=True)
class _Plan:
    entries: list[Draft] = field(default_factory=list)
    puts: list[Row] = field(default_factory=list)
    deletes: list[Row] = field(default_factory=list)


def delivery_of(message: MessageRow) -> delivery.Delivery:
    """Return what `core.delivery` decides on."""
    return delivery.Delivery(
        state=delivery.State(message.state),
        expires_ms=message.expires_ms,
        attempt=message.attempt,
        next_ms=message.next_ms,
        problem=message.problem,
    )


def open_case(storage: StorageKey, row: CaseRow) -> History:
    """Return the history in *row*."""
    return History.decode(custody.open_history(storage, row.peer, row.id, Box(row.wrapped_key, row.history)))


def move_case(storage: StorageKey, row: CaseRow, history: History, now_ms: int) -> CaseRow:
    """Return *row* with *history*, and the state that its replay gives."""
    box = custody.box_history(storage, row.peer, row.id, history.encode())
    return replace(
        row,
        state=cases.replay(history).state,
        changed_ms=now_ms,
        wrapped_key=box.wrapped_key,
        history=box.ciphertext,
    )


def _with_delivery(message: MessageRow, after: delivery.Delivery) -> MessageRow:
    return replace(
        message,
        state=after.state.value,
        expires_ms=after.expires_ms,
        attempt=after.attempt,
        next_ms=after.next_ms,
        problem=after.problem,
    )


def _entry(message: MessageRow, log: delivery.Log, actor_ref: str | None) -> Draft:
    return Draft(
        event=log.event,
        outcome=log.outcome,
        reason=log.reason,
        peer=message.peer,
        message_id=message.id,
        envelope_sha256=message.envelope_sha256,
        message_sha256=message.message_sha256,
        actor_ref=actor_ref,
    )


def newest_links(
    history: History, own: AuthorityId, peer: AuthorityId
) -> tuple[Digest | None, Digest | None]:
    """Return `previous` and `case_head` of the next message of *own* to *peer* (protocol §5)."""
    return cases.newest(history, own), cases.newest(history, peer)
