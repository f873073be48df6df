"""Telling one webhook: what is next, the attempt, and what came of it."""

import asyncio
import contextlib
import json
from collections.abc import Callable
from dataclasses import dataclass, replace

import structlog

from gateway.core import custody
from gateway.core.announcement import Answer, Progress, State, step
from gateway.core.entry import Draft
from gateway.core.errors import Stale, Unavailable
from gateway.core.event import FEED_TYPES, Event
from gateway.peering.alarms import alarm_entry
from gateway.peering.receivers import Receivers
from gateway.ports import Change, Clock, Entropy, Probe, Store
from gateway.rows import AlarmRow, AnnouncementRow, CursorRow, Row, WebhookRow
from keys.rest import Box, StorageKey
from keys.webhooks import sign_webhook

ALARM = "webhook_failing"
"""The alarm that an event was given up; it stands until one is taken."""

_POLL_S = 1.0
_PAGE = 50
_UNTOLD = 10_000
"""Entries without an event for the webhook after which its cursor is moved all the same."""
_TRIES = 16

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class HeraldParts:
    """The parts of a node that the herald works with."""

    store: Store
    receivers: Receivers
    storage: Callable[[], StorageKey]
    clock: Clock
    entropy: Entropy
    probe: Probe


class Announcer:
    """Tells one webhook, one event at a time, until it is disabled or removed."""

    def __init__(self, parts: HeraldParts, webhook: str, stopping: asyncio.Event) -> None:
        self._parts = parts
        self._store = parts.store
        self._webhook = webhook
        self._stopping = stopping
        self._wake = asyncio.Event()
        self._seen: int | None = None

    def wake(self) -> None:
        """Look again."""
        self._wake.set()

    async def run(self) -> None:
        """Go on in rounds until the node stops or the webhook is not enabled any more."""
        while not self._stopping.is_set():
            self._wake.clear()
            try:
                rest_s = await self.round()
            except Unavailable:
                _log.warning("herald.store_unavailable")
                rest_s = _POLL_S
            except Exception as error:  # noqa: BLE001 - one webhook must not end the others: logged, tried again
                _log.error("herald.failed", exc_info=error)
                rest_s = _POLL_S
            if rest_s is None:
                return
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(rest_s):
                    await self._wake.wait()

    async def round(self) -> float | None:
        """Tell what can be told now; return how long to rest, None if the webhook is not enabled."""
        if not await self._store.own_route(f"webhook {self._webhook}"):
            return _POLL_S
        while not self._stopping.is_set():
            webhook = await self._store.get(WebhookRow, self._webhook)
            if webhook is None or webhook.state != "enabled":
                return None
            due = await self._store.pending(self._webhook, limit=1)
            if due and due[0].next_ms > self._parts.clock.now_ms():
                return _POLL_S
            if due:
                event = await self._store.event(due[0].entry)
                if event is not None:
                    await self._tell(webhook, event, due[0])
                else:  # it was one under the table of events of an earlier version
                    await self._drop(due[0])
            elif not await self._tell_next(webhook):
                return _POLL_S
        return _POLL_S

    async def _drop(self, due: AnnouncementRow) -> None:
        now_ms = self._parts.clock.now_ms()
        with contextlib.suppress(Stale):
            await self._record(replace(due, state=State.DROPPED.value, changed_ms=now_ms))

    async def _tell_next(self, webhook: WebhookRow) -> bool:
        """Tell the next event of the log; return whether there is more to look at."""
        cursor = await self._store.get(CursorRow, self._webhook)
        if cursor is None:
            return False  # the webhook was removed in this moment
        after = max(cursor.entry, self._seen or 0)
        types = frozenset(webhook.types.split()) or FEED_TYPES
        limit = 1 if types == FEED_TYPES else _PAGE  # of a page the first that is wanted has its turn
        page = await self._store.events(after=after, limit=limit, types=types)
        now = await self._store.get(WebhookRow, self._webhook)
        if now is None or now.version != webhook.version:
            return True  # other types may count by now: what was passed over is looked at again
        if not page.events:
            self._seen = page.seen
            if page.seen - cursor.entry >= _UNTOLD:
                with contextlib.suppress(Stale):
                    await self._record(replace(cursor, entry=page.seen))
            return page.more
        await self._tell(webhook, page.events[0], None)
        return True

    async def _tell(self, webhook: WebhookRow, event: Event, due: AnnouncementRow | None) -> None:
        """Make one attempt, and record what came of it."""
        body = json.dumps(event.document(), separators=(",", ":"))
        self._parts.probe.reached("herald.before_post")
        answer = await self._parts.receivers.post(
            webhook.url, body.encode(), self._headers(webhook, event, body)
        )
        self._parts.probe.reached("herald.after_post")
        for _ in range(_TRIES):
            try:
                await self._settle(event, due, answer)
            except Stale:
                # Removed, made due again, or told by another process meanwhile: what stands now counts.
                due = await self._store.get(AnnouncementRow, self._webhook, event.index)
                if due is not None and due.state != State.PENDING:
                    return
            else:
                return
        raise Unavailable("others are changing the same webhook")

    def _headers(self, webhook: WebhookRow, event: Event, body: str) -> dict[str, str]:
        now_ms = self._parts.clock.now_ms()
        box = Box(webhook.wrapped_key, webhook.ciphertext)
        secrets = custody.open_webhook(self._parts.storage(), webhook.id, box)
        if webhook.old_until_ms is None or now_ms >= webhook.old_until_ms:
            secrets = secrets[:1]
        return {
            "webhook-id": event.entry_id,
            "webhook-timestamp": str(now_ms // 1000),
            "webhook-signature": sign_webhook(secrets, event.entry_id, now_ms // 1000, body),
        }

    async def _settle(self, event: Event, due: AnnouncementRow | None, answer: Answer) -> None:
        """Record an attempt: the announcement, how far the log was told, what an operator must know.

        Raises:
            Stale: something of it has moved; nothing was written.
        """
        now_ms = self._parts.clock.now_ms()
        before = due or AnnouncementRow(
            webhook=self._webhook, entry=event.index, version=0, type=event.type,
            state=State.PENDING, changed_ms=now_ms,
        )  # fmt: skip
        progress = Progress(State.PENDING, before.attempts, before.first_ms, before.next_ms)
        after = step(progress, answer, now_ms, self._parts.entropy.jitter())
        puts: list[Row] = [
            replace(
                before,
                state=after.state.value,
                changed_ms=now_ms,
                attempts=after.attempts,
                first_ms=after.first_ms,
                next_ms=after.next_ms,
                status=answer.status,
                problem=answer.problem,
                took_ms=answer.took_ms,
            )
        ]
        if due is None:
            cursor = await self._store.get(CursorRow, self._webhook)
            if cursor is None:
                return  # removed
            puts.append(replace(cursor, entry=max(cursor.entry, event.index)))
        entries, deletes = await self._consequences(after, answer, puts, now_ms)
        await self._record(*puts, entries=entries, deletes=deletes)
        if after.state is not State.DELIVERED:
            _log.warning(
                "herald.not_taken", index=event.index, status=answer.status, code=answer.problem,
                state=after.state.value, attempt=after.attempts,
            )  # fmt: skip

    async def _consequences(
        self, after: Progress, answer: Answer, puts: list[Row], now_ms: int
    ) -> tuple[tuple[Draft, ...], tuple[Row, ...]]:
        """Return the entries and deletions that come of an attempt; more rows are added to *puts*."""
        reference = (("webhook_ref", self._webhook),)
        alarm = await self._store.get(AlarmRow, ALARM, self._webhook)
        if after.state is State.DELIVERED:
            return (), (() if alarm is None else (alarm,))
        if after.state is not State.FAILED:
            return (), ()
        if answer.gone:
            webhook = await self._store.get(WebhookRow, self._webhook)
            if webhook is not None:
                puts.append(replace(webhook, state="disabled", problem="gone", changed_ms=now_ms))
            return (Draft(event="webhook.disabled", outcome="ok", extra=reference),), ()
        if alarm is not None:
            return (), ()
        detail = answer.problem or f"status {answer.status}"
        puts.append(AlarmRow(code=ALARM, subject=self._webhook, version=0, raised_ms=now_ms, detail=detail))
        return (alarm_entry(ALARM, extra=reference),), ()

    async def _record(
        self, *puts: Row, entries: tuple[Draft, ...] = (), deletes: tuple[Row, ...] = ()
    ) -> None:
        await self._store.record(Change(name="announce", entries=entries, puts=puts, deletes=deletes))
