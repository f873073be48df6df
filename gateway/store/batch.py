"""What one transaction of the committer does, on either database.

    lock the head → judge each change → draw up entries and tree on a copy → begin to sign
    → write rows, entries, nodes → proofs → the signed checkpoint → move the head → commit

Outcomes are computed anew on each attempt; nothing here survives a rollback.
"""

from asyncio import Future as Waiter
from concurrent.futures import Executor, Future
from dataclasses import dataclass, replace
from itertools import chain

import sqlalchemy as sa

from gateway.core.entry import encode_entry
from gateway.core.errors import GatewayFault
from gateway.core.ids import AuthorityId
from gateway.core.merkle import inclusion, leaf_hash
from gateway.core.note import Checkpoint, LogIdentity, sign_checkpoint, verify_checkpoint
from gateway.core.proof import Receipt, encode_proof
from gateway.ports import Change, Clock, Logged, Probe, Recorded
from gateway.rows import Direction, MessageRow, NoticeRow, PeerRow, Row
from gateway.store.database import BadRow, Transaction
from gateway.store.ledger import (
    ADD_CHECKPOINT,
    ADD_ENTRIES,
    ADD_NODES,
    MOVE_HEAD,
    Growth,
    Head,
    grown,
    locked_head,
    node_getter,
)
from gateway.store.shelf import Shelf
from gateway.store.statements import Statement, named
from gateway.store.tables import checkpoints
from keys.signing import LogKeys

CHECKPOINT_AT = Statement(sa.select(checkpoints.c.text).where(named(checkpoints.c.size)))

Outcome = Recorded | Checkpoint | GatewayFault


@dataclass(frozen=True, slots=True, kw_only=True)
class Pen:
    """What it takes to write the log: whose it is, its keys, the time, and a thread to sign in.

    `before` is the origin that the log has so far, where writing begins a new epoch.
    """

    authority: AuthorityId
    origin: str
    signer: LogKeys
    clock: Clock
    probe: Probe
    signing: Executor
    before: str | None = None

    @property
    def continues(self) -> str:
        """The origin that the log has before anything is written."""
        return self.before or self.origin

    @property
    def identity(self) -> LogIdentity:
        """The log's public side."""
        return LogIdentity(self.origin, self.signer.ed.public, self.signer.lattice.public)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Waiting:
    """A change whose caller waits; `signs` stands for a checkpoint wanted for its own sake.

    Ids are drawn when it is handed in, so that an attempt repeats them.
    """

    change: Change
    entry_ids: tuple[str, ...] = ()
    signs: bool = False
    waiter: Waiter[Recorded | Checkpoint] | None = None


@dataclass(frozen=True, slots=True)
class Written:
    """What a transaction did: the head after it, and the outcome of each change in order."""

    head: Head
    outcomes: list[Outcome]
    outbox: bool


@dataclass(slots=True)
class _Judged:
    """The changes of a batch that hold, by position, and what could not be."""

    logged: dict[int, tuple[Logged, ...]]
    faults: dict[int, GatewayFault]
    rows: list[dict[str, object]]


async def write_batch(
    transaction: Transaction,
    pen: Pen,
    batch: list[Waiting],
    released: Head,
    *,
    trusted: bool,
    cautious: bool,
) -> Written:
    """Write what holds of *batch* into *transaction*; what does not has its fault as outcome.

    Unless *cautious*, a row at version 0 is not looked up: there seldom is one under its key.

    Raises:
        BadRow: the database refuses a row of one of the changes, or has it although it was to be new.
        LogStopped: the log in the database is not the one that was released.
    """
    if any(waiting.change.shreds for waiting in batch):
        await transaction.shred()
    old = await locked_head(transaction, released, pen.continues, trusted=trusted)
    time_ms = max(pen.clock.now_ms(), old.time_ms)
    rows = chain.from_iterable((*waiting.change.puts, *waiting.change.deletes) for waiting in batch)
    shelf = await Shelf.laid_out(transaction, [row for row in rows if row.version or cautious])
    judged = _judge(pen, batch, shelf, old.size, time_ms)
    leaves = [leaf_hash(entry.leaf) for entry in chain.from_iterable(judged.logged.values())]
    growth = grown(old, leaves, time_ms) if leaves else Growth(old, [], old.frontier)
    wanted = any(
        waiting.signs or (waiting.change.answers and position in judged.logged)
        for position, waiting in enumerate(batch)
    )
    signature = (
        _begin_signature(pen, growth.head) if wanted and growth.head.signed != growth.head.size else None
    )
    await shelf.write(transaction)
    await _write_entries(transaction, judged, growth)
    proofs = _proofs(batch, judged, growth)
    new, checkpoint = growth.head, None
    if signature is not None:
        checkpoint = await transaction.result(signature)
        await transaction.write(ADD_CHECKPOINT, [{"size": checkpoint.size, "text": checkpoint.text}])
        new = replace(new, signed=checkpoint.size)
    elif wanted:
        ((text,),) = await transaction.fetch(CHECKPOINT_AT, size=new.size)
        checkpoint = verify_checkpoint(text, pen.identity)
    if new is not old:
        moved = {
            "origin": pen.origin, "size": new.size, "root": new.root, "time_ms": new.time_ms,
            "signed": new.signed,
        }  # fmt: skip
        await transaction.write(MOVE_HEAD, [moved])
    outbox = any(_may_be_due(row) for position in judged.logged for row in batch[position].change.puts)
    if outbox:
        await transaction.outbox_touched()
    for position in judged.logged:
        pen.probe.reached(f"{batch[position].change.name}.before_commit")
    outcomes = [
        judged.faults.get(position) or _outcome(waiting, judged, position, proofs, checkpoint)
        for position, waiting in enumerate(batch)
    ]
    return Written(new, outcomes, outbox)


def _judge(pen: Pen, batch: list[Waiting], shelf: Shelf, size: int, time_ms: int) -> _Judged:
    """Decide which changes hold, one after the other, and draw up their entries from *size* on."""
    judged = _Judged({}, {}, [])
    for position, waiting in enumerate(batch):
        change = waiting.change
        try:
            logged = _entries(pen, waiting, size, time_ms)
            shelf.move(change.puts, change.deletes, size if logged else None)
        except GatewayFault as fault:
            judged.faults[position] = fault
            continue
        judged.logged[position] = logged
        for entry_id, draft, entry in zip(waiting.entry_ids, change.entries, logged, strict=True):
            judged.rows.append(
                {
                    "index": entry.index,
                    "leaf": entry.leaf,
                    "entry_id": entry_id,
                    "event": draft.event,
                    "peer": draft.peer,
                    "message_id": draft.message_id,
                    "time_ms": time_ms,
                }
            )
        size += len(logged)
    return judged


def _entries(pen: Pen, waiting: Waiting, size: int, time_ms: int) -> tuple[Logged, ...]:
    change = waiting.change
    if not change.entries and change.answers:
        raise BadRow("a change without an entry answers nothing")
    return tuple(
        Logged(
            index=size + offset,
            leaf=encode_entry(draft, authority=pen.authority, entry_id=entry_id, time_ms=time_ms),
            time_ms=time_ms,
        )
        for offset, (entry_id, draft) in enumerate(zip(waiting.entry_ids, change.entries, strict=True))
    )


def _begin_signature(pen: Pen, head: Head) -> Future[Checkpoint]:
    return pen.signing.submit(sign_checkpoint, pen.origin, head.size, head.root, head.time_ms, pen.signer)


async def _write_entries(transaction: Transaction, judged: _Judged, growth: Growth) -> None:
    if judged.rows:
        await transaction.write(ADD_ENTRIES, judged.rows)
        await transaction.write(
            ADD_NODES, [{"level": level, "index": index, "hash": node} for level, index, node in growth.made]
        )


def _proofs(batch: list[Waiting], judged: _Judged, growth: Growth) -> dict[int, list[bytes]]:
    """Return the inclusion proof of the first entry of each change that answers, by position."""
    answers = [position for position in judged.logged if batch[position].change.answers]
    if not answers:
        return {}
    node = node_getter(growth.known())
    return {
        position: inclusion(judged.logged[position][0].index, growth.head.size, node) for position in answers
    }


def _outcome(
    waiting: Waiting,
    judged: _Judged,
    position: int,
    proofs: dict[int, list[bytes]],
    checkpoint: Checkpoint | None,
) -> Recorded | Checkpoint:
    entries = judged.logged[position]
    if checkpoint is not None and waiting.signs:
        return checkpoint
    if checkpoint is None or position not in proofs:
        return Recorded(entries=entries)
    first = entries[0]
    proof = encode_proof(first.index, proofs[position], checkpoint.text)
    return Recorded(entries=entries, receipt=Receipt(first.leaf, proof))


def _may_be_due(row: Row) -> bool:
    if isinstance(row, MessageRow):
        return row.direction is Direction.OUT
    return isinstance(row, NoticeRow | PeerRow)
