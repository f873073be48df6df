"""The one task that writes: it gathers changes and commits them together.

It commits at once when it is idle; while a commit runs, the next batch gathers. A change
that is stale fails alone, and so does one with a row that the database refuses, which is
found by halving the batch. When a COMMIT fails, or the log in the database is not what this
process released, it is broken: nothing is written or signed until the process starts anew.
While the guard objects, nothing is either, and callers are told to come again.
"""

import asyncio

import structlog

from gateway.core.errors import GatewayFault, Unavailable
from gateway.core.note import Checkpoint
from gateway.ports import Change, Entropy, Guard, Recorded, Unguarded
from gateway.store.batch import Outcome, Pen, Waiting, Written, write_batch
from gateway.store.database import BadRow, CommitUnknown, Database
from gateway.store.ledger import Head, LogStopped
from gateway.store.outbox import OutboxSignal

BATCH_CHANGES = 256
"""The most changes of one transaction."""
SIGN_AFTER_S = 0.5
"""A head that nothing leaves with is signed after this, well within the second of protocol §1."""

_SIGN = Change(name="checkpoint")

log = structlog.get_logger(__name__)


class Committer:
    """Writes changes in batches, in the order in which they came.

    Args:
        database: where to.
        pen: what it takes to write the log.
        entropy: the ids of entries.
        outbox: told of each commit after which something may be due.
        head: the log as it stood when the database was opened.
        guard: asked before each batch whether there may be one.
        sign_after_s: how long a head may stay unsigned.
    """

    def __init__(
        self,
        database: Database,
        pen: Pen,
        *,
        entropy: Entropy,
        outbox: OutboxSignal,
        head: Head,
        guard: Guard | None = None,
        sign_after_s: float = SIGN_AFTER_S,
    ) -> None:
        self._database = database
        self._pen = pen
        self._entropy = entropy
        self._outbox = outbox
        self._head = head
        self._guard = guard or Unguarded()
        self._sign_after_s = sign_after_s
        self._trusted = True
        self._pending: list[Waiting] = []
        self._wake = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._closing = False
        self.broken: str | None = None
        self._task = asyncio.create_task(self._run(), name="committer")
        self._sign_in_time()

    async def record(self, change: Change) -> Recorded:
        """Return once *change* is durable; see `ports.Store.record`."""
        outcome = await self._wait_for(
            Waiting(
                change=change,
                entry_ids=tuple(self._entropy.uuid4() for _ in change.entries),
                waiter=asyncio.get_running_loop().create_future(),
            )
        )
        assert isinstance(outcome, Recorded)  # noqa: S101 - only a Waiting that signs has another outcome
        return outcome

    async def checkpoint(self) -> Checkpoint:
        """Return a checkpoint of the log as it stands, signed now unless one is there."""
        waiter = asyncio.get_running_loop().create_future()
        outcome = await self._wait_for(Waiting(change=_SIGN, signs=True, waiter=waiter))
        assert isinstance(outcome, Checkpoint)  # noqa: S101 - that is the outcome of a Waiting that signs
        return outcome

    async def close(self) -> None:
        """Write what was handed in, sign the head, and end."""
        self._closing = True
        if self._timer is not None:
            self._timer.cancel()
        if self.broken is None and (self._pending or self._head.unsigned):
            self._pending.append(Waiting(change=_SIGN, signs=True))
        self._wake.set()
        await self._task

    async def _wait_for(self, waiting: Waiting) -> Recorded | Checkpoint:
        if self.broken is not None or self._closing:
            raise Unavailable(self.broken or "this node is stopping")
        self._pending.append(waiting)
        self._wake.set()
        assert waiting.waiter is not None  # noqa: S101 - both callers give one
        return await waiting.waiter  # cancelling drops the waiter, not the rows

    async def _run(self) -> None:
        while self._pending or not self._closing:
            await self._wake.wait()
            self._wake.clear()
            while self._pending:
                batch = self._pending[:BATCH_CHANGES]
                del self._pending[:BATCH_CHANGES]
                try:
                    await self._settle(batch)
                except BaseException:
                    self._break("the committer has ended")
                    self._fail([*batch, *self._pending], Unavailable("the committer has ended"))
                    raise
                self._sign_in_time()

    async def _settle(self, batch: list[Waiting], *, cautious: bool = False) -> None:
        """Commit *batch*, or find out which of it can be committed.

        New rows are taken to be new, and are looked up (*cautious*) only if one of them is not.
        """
        objection = self.broken or self._guard.objection()
        if objection is not None:
            self._fail(batch, Unavailable(objection))
            return
        try:
            written = await self._database.transact(
                lambda transaction: write_batch(
                    transaction, self._pen, batch, self._head, trusted=self._trusted, cautious=cautious
                )
            )
        except (CommitUnknown, LogStopped) as fault:
            self._break(str(fault))
            self._fail(batch, Unavailable(str(fault)))
        except Unavailable as fault:
            self._trusted = False
            self._fail(batch, fault)
        except Exception as fault:  # noqa: BLE001 - whatever it is, it goes to the one caller whose row it is
            self._trusted = False
            if isinstance(fault, BadRow) and not cautious:
                await self._settle(batch, cautious=True)
            elif len(batch) == 1:
                self._fail(batch, fault)
            else:
                half = len(batch) // 2
                await self._settle(batch[:half], cautious=cautious)
                await self._settle(batch[half:], cautious=cautious)
        else:
            await self._release(batch, written)

    async def _release(self, batch: list[Waiting], written: Written) -> None:
        """Take over the new head and answer the callers."""
        self._head, self._trusted = written.head, True
        if written.outbox:
            self._outbox.notify()
            await asyncio.sleep(0)  # posting begins first, and goes on while the callers answer
        for waiting, outcome in zip(batch, written.outcomes, strict=True):
            if not isinstance(outcome, GatewayFault):
                self._pen.probe.reached(f"{waiting.change.name}.after_commit")
            _resolve(waiting, outcome)

    def _fail(self, batch: list[Waiting], fault: Exception) -> None:
        for waiting in batch:
            _resolve(waiting, fault if len(batch) == 1 else Unavailable(str(fault)))

    def stop(self, why: str) -> None:
        """Write and sign nothing more: this node is not what it takes itself for."""
        if self.broken is None:
            self._break(why)

    def _break(self, why: str) -> None:
        self.broken = why
        log.critical("committer_stopped", reason=why)

    def _sign_in_time(self) -> None:
        if self._head.unsigned and self.broken is None and self._timer is None and not self._closing:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(self._sign_after_s, self._sign_now)

    def _sign_now(self) -> None:
        self._timer = None
        if self._head.unsigned and self.broken is None:
            self._pending.append(Waiting(change=_SIGN, signs=True))
            self._wake.set()


def _resolve(waiting: Waiting, outcome: Outcome | Exception) -> None:
    if waiting.waiter is None or waiting.waiter.done():
        return
    if isinstance(outcome, Exception):
        waiting.waiter.set_exception(outcome)
    else:
        waiting.waiter.set_result(outcome)
