"""The timekeeper: tells an operator, once, of every clock that has run out (core.clocks).

Entry, alarm and the row that remembers them are one change, judged on the version of that row: a crash
repeats nothing, and of several processes of one authority one is first and the others find its row moved.
A row also says when somebody is to look at it again, so that nothing is opened before its time.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace

import structlog

from gateway.core import case as cases
from gateway.core import clocks
from gateway.core.clocks import CLOCKS, Clock, Definition
from gateway.core.entry import Draft
from gateway.core.errors import Stale, Unavailable
from gateway.core.ids import AuthorityId, CaseId, MessageId
from gateway.peering.settlement import open_case
from gateway.ports import Change, Store
from gateway.ports import Clock as Time
from gateway.rows import AlarmRow, CaseRow, MessageRow
from keys.rest import StorageKey

_LONGEST_S = 10.0
"""Between two rounds: the longest that an alarm stands after its clock was stopped."""
_SHORTEST_S = 1.0
_AT_ONCE = 100

_log = structlog.get_logger(__name__)


class Timekeeper:
    """Judges the clocks of cases and of outgoing messages, in a task of its own."""

    def __init__(
        self,
        *,
        store: Store,
        storage: Callable[[], StorageKey],
        periods: Mapping[str, int],
        clock: Time,
    ) -> None:
        self._store = store
        self._storage = storage
        self._periods = periods
        self._clock = clock
        self._receipts_ms = 0

    async def run(self) -> None:
        """Judge until cancelled: at start every case in which a clock runs, then what is due."""
        reviewed = False
        while True:
            wait_s = _LONGEST_S
            try:
                if not reviewed:
                    await self.review()
                    reviewed = True
                wait_s = self._wait_s(await self.round())
            except Unavailable:
                _log.warning("timekeeper.store_unavailable")
            await asyncio.sleep(wait_s)

    async def review(self) -> None:
        """Judge every case in which a clock runs: the settings may be others than before the start."""
        cursor: CaseId | None = None
        while page := await self._store.cases(ticking=True, cursor=cursor, limit=_AT_ONCE):
            await asyncio.gather(*(self._judge(row) for row in page))
            cursor = page[-1].id

    async def round(self) -> int | None:
        """Judge what is due now; return when something will be next, None if nothing is known."""
        found = [await self._cases(), await self._receipts()]
        return min((next_ms for next_ms in found if next_ms is not None), default=None)

    def _wait_s(self, next_ms: int | None) -> float:
        if next_ms is None:
            return _LONGEST_S
        return min(max((next_ms - self._clock.now_ms()) / 1000, _SHORTEST_S), _LONGEST_S)

    # -- cases

    async def _cases(self) -> int | None:
        while True:
            page = await self._store.ticking(limit=_AT_ONCE)
            now_ms = self._clock.now_ms()
            due = [row for row in page if row.clock_ms is not None and row.clock_ms <= now_ms]
            judged = await asyncio.gather(*(self._judge(row) for row in due))
            if len(due) < _AT_ONCE or not any(judged):
                return page[len(due)].clock_ms if all(judged) and len(page) > len(due) else None

    async def _judge(self, row: CaseRow) -> bool:
        """Record what ran out in a case, or runs on after all. False: it is to be looked at again.

        Raises:
            Unavailable: it cannot be recorded now; nothing was.
        """
        try:
            change = await self._verdict(row)
            if change is not None:
                await self._store.record(change)
        except Stale:
            return False  # the case has moved, or another process was first
        except Unavailable:
            raise
        except Exception as error:  # noqa: BLE001 - a case that cannot be read must not stop other clocks
            _log.error("timekeeper.case_failed", peer=row.peer, case=row.id, exc_info=error)
            return False
        return True

    async def _verdict(self, row: CaseRow) -> Change | None:
        """Return what is to be recorded of the clocks of a case; None if its row says it all."""
        history, now_ms = open_case(self._storage(), row), self._clock.now_ms()
        running = clocks.running(history, cases.replay(history), self._periods)
        known = clocks.parse_keys(row.overdue)
        expired = {clock.key: clock for clock in running if clock.due_ms <= now_ms}
        moved = replace(
            row,
            overdue=clocks.encode_keys(expired),
            clock_ms=clocks.next_look_ms(running, expired, now_ms),
        )
        if moved == row:
            return None
        new = {clock.definition.code: clock for key, clock in expired.items() if key not in known}
        stopped = {clocks.code_of(name) for name, _ in known - expired.keys()} - new.keys()
        raised = await self._raised(row, [*new, *stopped])
        return Change(
            name="clock",
            entries=tuple(
                _entry(one.definition, row.peer, one.started.id, (("case", row.id),)) for one in new.values()
            ),
            puts=(moved, *(_alarm(row, clock, raised.get(code), now_ms) for code, clock in new.items())),
            deletes=tuple(raised[code] for code in stopped if code in raised),
        )

    async def _raised(self, row: CaseRow, codes: list[str]) -> dict[str, AlarmRow]:
        """Return the alarms among *codes* that stand about a case."""
        if not codes:
            return {}
        found = await self._store.get_many(AlarmRow, [(code, _subject(row)) for code in codes])
        return {alarm.code: alarm for alarm in found.values()}

    # -- outgoing messages

    async def _receipts(self) -> int | None:
        """Judge the messages that wait for a receipt, not oftener than one can become due."""
        if self._clock.now_ms() < self._receipts_ms:
            return self._receipts_ms
        period_ms = self._periods[CLOCKS.after]
        while True:
            page = await self._store.unreceipted(CLOCKS.delivery.code, limit=_AT_ONCE)
            now_ms = self._clock.now_ms()
            late = [row for row in page if row.created_ms + period_ms <= now_ms]
            told = await asyncio.gather(*(self._tell(row, now_ms) for row in late))
            if not all(told):
                return None
            if len(late) < _AT_ONCE:
                waiting_ms = [row.created_ms + period_ms for row in page[len(late) :]]
                self._receipts_ms = min([*waiting_ms[:1], now_ms + period_ms])
                return self._receipts_ms

    async def _tell(self, message: MessageRow, now_ms: int) -> bool:
        """Record that no receipt has come for *message*. False: it has moved meanwhile."""
        definition = CLOCKS.delivery
        alarm = AlarmRow(
            code=definition.code, subject=message.id, version=0, raised_ms=now_ms, detail=message.peer
        )
        entry = _entry(definition, message.peer, message.id)
        try:
            # The message is written as it was: if its receipt comes in this moment, one of the two is stale.
            await self._store.record(Change(name="clock", entries=(entry,), puts=(message, alarm)))
        except Stale:
            return False
        return True


def _alarm(row: CaseRow, clock: Clock, raised: AlarmRow | None, now_ms: int) -> AlarmRow:
    """Return the alarm of *clock*, in place of the one that its forerunner *raised*."""
    return AlarmRow(
        code=clock.definition.code,
        subject=_subject(row),
        version=0 if raised is None else raised.version,
        raised_ms=now_ms,
        detail=clock.started.id,
    )


def _subject(row: CaseRow) -> str:
    """Return what an alarm about a case names: peers choose the ids of cases, so that two can be alike."""
    return f"{row.peer}/{row.id}"


def _entry(
    definition: Definition,
    peer: AuthorityId,
    message: MessageId,
    extra: tuple[tuple[str, str], ...] = (),
) -> Draft:
    return Draft(
        event="clock.expired",
        outcome="ok",
        peer=peer,
        message_id=message,
        extra=(("clock", definition.name), *extra),
    )
