"""What becomes of an outgoing message: one event, its effects, one transaction (protocol §8).

Receipts reach us as answers to the courier and as later receipts at the federation door; both end
here. `core.delivery` decides; this turns its effects into rows, and decides again when one of them
has moved meanwhile.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from gateway.core import case as cases
from gateway.core import clocks, custody, delivery
from gateway.core.card import PublicKey
from gateway.core.case import History
from gateway.core.entry import Draft
from gateway.core.envelope import Header, build_envelope, encode_content, parse_envelope
from gateway.core.errors import Stale, Unavailable
from gateway.core.ids import AuthorityId, Digest
from gateway.core.note import LogIdentity
from gateway.core.proof import Receipt, SentEnvelope, Statement, verify_receipt
from gateway.peering.alarms import alarm_entry
from gateway.ports import Change, Clock, Entropy, Store
from gateway.rows import (
    THIS_ENTRY,
    AlarmRow,
    CaseRow,
    ContentRow,
    Direction,
    EnvelopeRow,
    MessageRow,
    ReceiptRow,
    Row,
)
from keys.rest import Box, StorageKey

_TRIES = 16


def _no_key(_peer: AuthorityId) -> PublicKey | None:
    """Know no sealing key of any peer."""
    return None


def _nothing(_peer: AuthorityId) -> None:
    """Nobody fetches cards."""


@dataclass(frozen=True, slots=True)
class Settlement:
    """Applies events to outgoing messages of *authority*, in the store.

    Attributes:
        periods: how long each clock runs, in milliseconds by its setting.
        sealing: the sealing key to use now, by the pinned card of a peer.
        cards_wanted: told of a peer that knows our sealing key for it no more, and whose pinned
            card has no other.
    """

    store: Store
    authority: AuthorityId
    storage: StorageKey
    clock: Clock
    entropy: Entropy
    periods: Mapping[str, int]
    sealing: Callable[[AuthorityId], PublicKey | None] = _no_key
    cards_wanted: Callable[[AuthorityId], None] = _nothing

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
        """Record a *receipt* that holds, once by its entry; return the message as it is now."""
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
            plan = await self._plan(message, event, receipt, envelopes, actor_ref)
            if plan is None:
                return message
            try:
                await self.store.record(plan.change)
            except Stale:
                envelopes = None
                message = await self._again(message)
                if receipt is not None and await self.store.get(ReceiptRow, receipt.entry_sha256) is not None:
                    if message.state not in delivery.AWAITING:
                        return message
                    receipt = None  # of before the peer was taken to have lost it: it has not
            else:
                if plan.wants_card:
                    self.cards_wanted(message.peer)
                return replace(plan.message, version=plan.message.version + 1)
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
    ) -> "_Plan | None":
        """Return all that *event* writes; None if it moves nothing."""
        now_ms = self.clock.now_ms()
        before = delivery_of(message)
        after, effects = delivery.step(before, event, now_ms, self.entropy.jitter())
        if not effects and after == before:
            return None
        plan = _Plan(_with_delivery(message, after))
        plan.entries += _entries(message, effects, actor_ref, _stated(event))
        if receipt is not None:
            plan.puts.append(receipt)
        for effect in effects:
            match effect:
                case delivery.DropEnvelopes():
                    known = await self._envelopes(message, envelopes)
                    plan.puts += [replace(one, body=None) for one in known if one.body is not None]
                case delivery.Reseal():
                    await self._reseal(plan, await self._envelopes(message, envelopes), now_ms)
                case delivery.SealAgain():
                    await self._seal(plan, self.sealing(message.peer))
                case delivery.Alarm(code):
                    await self._alarm(plan, code, now_ms)
                case delivery.Calm(code):
                    raised = await self.store.get(AlarmRow, code, message.id)
                    plan.deletes += [] if raised is None else [raised]
                case delivery.Log() | delivery.Count() | delivery.HoldFollowers():
                    pass  # above, and together in `_case`
        plan.deletes += await self._receipt_alarm(before, after, message, now_ms)
        await self._case(plan, effects, now_ms)
        return plan

    async def _envelopes(
        self, message: MessageRow, known: Sequence[EnvelopeRow] | None
    ) -> Sequence[EnvelopeRow]:
        return known if known is not None else await self.store.envelopes(message.id)

    async def _reseal(self, plan: "_Plan", envelopes: Sequence[EnvelopeRow], now_ms: int) -> None:
        """Seal the same JWS again to the key of the peer's card, if that is another one by now.

        The envelopes before it stay: a receipt for any of them counts.
        """
        message = plan.message
        key = self.sealing(message.peer)
        last = next((one.body for one in envelopes if one.sha256 == message.envelope_sha256), None)
        if key is None or last is None or parse_envelope(last).header.key == key.kid:
            plan.wants_card = True
            return
        after, _ = delivery.step(delivery_of(message), delivery.Resealed(), now_ms, 0)
        plan.message = _with_delivery(message, after)
        await self._seal(plan, key)

    async def _seal(self, plan: "_Plan", key: PublicKey | None) -> None:
        """Seal the JWS of the message to *key*, under the same id; that envelope is posted from now on."""
        message = plan.message
        row = await self.store.get(ContentRow, Direction.OUT, message.peer, message.id)
        if row is None or key is None:
            raise Unavailable("the content of a queued message is gone, or nobody's key is known for it")
        box = Box(row.wrapped_key, row.ciphertext)
        content = custody.open_content(self.storage, Direction.OUT, message.peer, message.id, box)
        header = Header(message.id, self.authority, message.peer, key.kid)
        sealed = build_envelope(header, encode_content(content.jws, content.blob_keys), key.public)
        plan.message = replace(message, envelope_sha256=sealed.sha256)
        plan.puts.append(EnvelopeRow(message_id=message.id, sha256=sealed.sha256, version=0, body=sealed.raw))

    async def _alarm(self, plan: "_Plan", code: str, now_ms: int) -> None:
        subject, detail = plan.message.id, plan.message.peer
        if await self.store.get(AlarmRow, code, subject) is None:
            row = AlarmRow(code=code, subject=subject, version=0, raised_ms=now_ms, detail=detail)
            plan.puts.append(row)
            plan.entries.append(alarm_entry(code, peer=plan.message.peer, message=plan.message.id))

    async def _case(self, plan: "_Plan", effects: Sequence[delivery.Effect], now_ms: int) -> None:
        """Move the case: whether the message counts in it, and what is held behind it."""
        message = plan.message
        counts = [effect.counts for effect in effects if isinstance(effect, delivery.Count)]
        hold = delivery.HoldFollowers() in effects
        if not counts and not hold:
            return
        row = await self.store.get(CaseRow, message.peer, message.case)
        if row is None:
            raise Unavailable("the case of a message is gone")
        history = open_case(self.storage, row)
        for value in counts:
            history = cases.set_counts(history, message.message_sha256, value)
        if hold:
            for follower in await self.store.queued_behind(message.peer, message.case, message.entry):
                history = await self._hold(plan, follower, history, now_ms)
        plan.puts.append(move_case(self.storage, row, history, now_ms, self.periods))

    async def _receipt_alarm(
        self, before: delivery.Delivery, after: delivery.Delivery, message: MessageRow, now_ms: int
    ) -> list[Row]:
        """Return the alarm that no receipt came, when *message* stops waiting for one.

        A young message has none: nothing is read for it.
        """
        stops = before.state in delivery.AWAITING and after.state not in delivery.AWAITING
        if not stops or now_ms - message.created_ms < clocks.SHORTEST_MS:
            return []
        raised = await self.store.get(AlarmRow, clocks.CLOCKS.delivery.code, message.id)
        return [] if raised is None else [raised]

    async def _hold(self, plan: "_Plan", follower: MessageRow, history: History, now_ms: int) -> History:
        after, effects = delivery.step(delivery_of(follower), delivery.Block(), now_ms, 0)
        if not effects:
            return history
        plan.entries += _entries(follower, effects, None)
        plan.puts.append(replace(_with_delivery(follower, after), envelope_sha256=None))
        plan.deletes += await self.store.envelopes(follower.id)  # never posted: no receipt can name them
        plan.deletes += await self._receipt_alarm(delivery_of(follower), after, follower, now_ms)
        return cases.set_counts(history, follower.message_sha256, counts=False)


@dataclass(slots=True)
class _Plan:
    """The change in the making; `message` is the row as it will stand."""

    message: MessageRow
    entries: list[Draft] = field(default_factory=list)
    puts: list[Row] = field(default_factory=list)
    deletes: list[Row] = field(default_factory=list)
    wants_card: bool = False

    @property
    def change(self) -> Change:
        """Return what is to be recorded; a mere backoff has no entry."""
        return Change(
            name="settle" if self.entries else "defer",
            entries=tuple(self.entries),
            puts=(self.message, *self.puts),
            deletes=tuple(self.deletes),
        )


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


def move_case(
    storage: StorageKey, row: CaseRow, history: History, now_ms: int, periods: Mapping[str, int]
) -> CaseRow:
    """Return *row* with *history*, the state that its replay gives, and when to look at its clocks."""
    box = custody.box_history(storage, row.peer, row.id, history.encode())
    outcome = cases.replay(history)
    running = clocks.running(history, outcome, periods)
    return replace(
        row,
        state=outcome.state,
        clock_ms=clocks.next_look_ms(running, clocks.parse_keys(row.overdue), now_ms),
        changed_ms=now_ms,
        wrapped_key=box.wrapped_key,
        history=box.ciphertext,
    )


def newest_links(
    history: History, own: AuthorityId, peer: AuthorityId
) -> tuple[Digest | None, Digest | None]:
    """Return `previous` and `case_head` of the next message of *own* to *peer* (protocol §5)."""
    return cases.newest(history, own), cases.newest(history, peer)


def _with_delivery(message: MessageRow, after: delivery.Delivery) -> MessageRow:
    return replace(
        message,
        state=after.state.value,
        expires_ms=after.expires_ms,
        attempt=after.attempt,
        next_ms=after.next_ms,
        problem=after.problem,
    )


def _stated(event: delivery.Event) -> tuple[tuple[str, str], ...]:
    """Return what the entry of a receipt says of it: the event that the peer's entry states."""
    return (("stated", event.statement.event),) if isinstance(event, delivery.Proved) else ()


def _entries(
    message: MessageRow,
    effects: Iterable[delivery.Effect],
    actor_ref: str | None,
    stated: tuple[tuple[str, str], ...] = (),
) -> list[Draft]:
    return [
        Draft(
            event=effect.event,
            outcome=effect.outcome,
            reason=effect.reason,
            peer=message.peer,
            message_id=message.id,
            envelope_sha256=message.envelope_sha256,
            message_sha256=message.message_sha256,
            actor_ref=actor_ref,
            extra=stated if effect.event == "receipt.recorded" else (),
        )
        for effect in effects
        if isinstance(effect, delivery.Log)
    ]
