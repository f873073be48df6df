"""The own log examined as it is stored: every row of entries, tree, checkpoints and head.

Up to the size that the head had when it began, nothing of a log ever changes: it may grow meanwhile.
Rows are read as any list is; what is computed of them is computed in a thread.
"""

import asyncio
from collections.abc import Iterable

import sqlalchemy as sa

from gateway.core.errors import Malformed, Untrusted
from gateway.core.ids import AuthorityId
from gateway.core.note import LogIdentity, verify_checkpoint
from gateway.core.soundness import PIECE, PIECE_LEVELS, Piece, Problem, Rows, Unsound
from gateway.ports import Examined
from gateway.store.database import Database
from gateway.store.ledger import HEAD_ID, NODES
from gateway.store.statements import Statement, limited
from gateway.store.tables import checkpoints, cosigned, entries, head, nodes

_MOST_LEVELS = 54
_SIGNATURES = 64
_INDEX = sa.bindparam("index", type_=sa.BigInteger)
_END = sa.bindparam("end", type_=sa.BigInteger)


def _levels(first: int, end: int) -> sa.CTE:
    """Return the numbers from *first* up to, not with, *end* as a table."""
    numbers = sa.values(sa.column("level", sa.Integer), name="numbers", literal_binds=True)
    return numbers.data([(level,) for level in range(first, end)]).cte("levels")


_LOW, _ALL = _levels(1, PIECE_LEVELS), _levels(0, _MOST_LEVELS)

_HEAD = Statement(
    sa.select(head.c.size, head.c.root, head.c.time_ms, head.c.signed).where(
        head.c.id == sa.literal_column(str(HEAD_ID))
    )
)
_ROWS = Statement(
    sa.select(
        entries.c.leaf,
        entries.c.entry_id,
        entries.c.event,
        entries.c.message_id,
        entries.c.peer,
        entries.c.time_ms,
    )
    .where(entries.c.index >= _INDEX, entries.c.index < _END)
    .order_by(entries.c.index)
)
_INDEXES = Statement(
    sa.select(entries.c.index)
    .where(entries.c.index >= _INDEX, entries.c.index < _END)
    .order_by(entries.c.index)
)
_LEAF_HASHES = Statement(
    sa.select(nodes.c.hash)
    .where(nodes.c.level == sa.literal_column("0"), nodes.c.index >= _INDEX, nodes.c.index < _END)
    .order_by(nodes.c.index)
)
_HIGHER_NODES = Statement(
    sa.select(nodes.c.hash)
    .join_from(_LOW, nodes, nodes.c.level == _LOW.c.level)
    .where(
        nodes.c.index >= _INDEX.bitwise_rshift(_LOW.c.level),
        nodes.c.index < _END.bitwise_rshift(_LOW.c.level),
    )
    .order_by(_LOW.c.level, nodes.c.index)
)
_CHECKPOINTS = Statement(
    sa.select(checkpoints.c.size, checkpoints.c.text)
    .where(checkpoints.c.size > _INDEX, checkpoints.c.size <= _END)
    .order_by(checkpoints.c.size)
)
_SOME_CHECKPOINTS = limited(
    sa.select(checkpoints.c.size, checkpoints.c.text)
    .where(checkpoints.c.size > _INDEX, checkpoints.c.size <= _END)
    .order_by(checkpoints.c.size)
)
_UNFOUNDED = limited(
    sa.select(cosigned.c.size)
    .where(~sa.exists().where(checkpoints.c.size == cosigned.c.size))
    .order_by(cosigned.c.size)
)
_BEYOND = Statement(
    sa.select(
        head.c.size,
        head.c.signed,
        sa.select(sa.func.max(entries.c.index) + sa.literal_column("1")).scalar_subquery(),
        sa.select(sa.func.max(checkpoints.c.size)).scalar_subquery(),
        sa.exists()
        .select_from(_ALL.join(nodes, nodes.c.level == _ALL.c.level))
        .where(nodes.c.index >= head.c.size.bitwise_rshift(_ALL.c.level)),
    ).where(head.c.id == sa.literal_column(str(HEAD_ID)))
)
"""What there is past the end of the log, all as of one moment."""


class Examiner:
    """Examines the log of *authority* in *database*, which the keys of *logs*, of each epoch, have signed."""

    def __init__(self, database: Database, authority: AuthorityId, logs: Iterable[LogIdentity]) -> None:
        self._database = database
        self._logs = {log.origin: log for log in logs}
        self._rows = Rows(authority, self._logs.keys())

    async def examine(self, *, every_signature: bool) -> Examined:
        """Examine all of it; see `ports.Store.examine`."""
        ((size, root, time_ms, signed),) = await self._database.fetch(_HEAD)
        found = await self._database.fetch(_CHECKPOINTS, index=(signed or 0) - 1, end=signed or 0)
        text = found[0][1] if found else ""
        try:
            await self._examine_rows(size, root, time_ms)
            if signed is not None:
                await asyncio.to_thread(self._verify, text, signed, self._rows.held)
            if every_signature:
                await self._verify_up_to(size)
            await self._look_beyond()
        except Unsound as fault:
            return Examined(checkpoint=text, size=signed or 0, fault=await self._judged(fault, size))
        return Examined(checkpoint=text, size=signed or 0, fault=None)

    async def _examine_rows(self, size: int, root: bytes, time_ms: int) -> None:
        for begin in range(0, size, PIECE):
            span = {"index": begin, "end": min(begin + PIECE, size)}
            piece = await self._piece(**span)
            try:
                await asyncio.to_thread(self._rows.take, piece)
            except Unsound as fault:
                if fault.problem is not Problem.TREE:
                    raise
                raise self._rows.located(await self._nodes(**span)) from None
        await self._compare_upper()
        self._rows.end(root, time_ms)

    async def _piece(self, index: int, end: int) -> Piece:
        rows = await self._database.fetch(_ROWS, index=index, end=end)
        if len(rows) < end - index:
            there = await self._database.fetch(_INDEXES, index=index, end=end)
            rows = rows[: next((at for at, (one,) in enumerate(there) if one != index + at), len(there))]
        found = await self._database.fetch(_LEAF_HASHES, index=index, end=end)
        found += await self._database.fetch(_HIGHER_NODES, index=index, end=end)
        texts = await self._database.fetch(_CHECKPOINTS, index=index, end=end)
        return Piece(rows, end - index, [node for (node,) in found], dict(texts))

    async def _nodes(self, index: int, end: int) -> dict[tuple[int, int], bytes]:
        places = [(level, at) for level in range(PIECE_LEVELS) for at in range(index >> level, end >> level)]
        return {(level, at): node for level, at, node in await self._database.find(NODES, places)}

    async def _compare_upper(self) -> None:
        """Compare the stored nodes above the pieces. Raises Unsound."""
        made = self._rows.upper
        found = {(level, at): node for level, at, node in await self._database.find(NODES, list(made))}
        for (level, at), node in sorted(made.items()):
            if found.get((level, at)) != node:
                raise Unsound(Problem.TREE, at << level, (at + 1) << level)

    async def _look_beyond(self) -> None:
        """Look for rows past the end, and for cosigned checkpoints that are gone. Raises Unsound."""
        ((size, signed, entries_end, newest, surplus),) = await self._database.fetch(_BEYOND)
        if (entries_end or 0) > size or (newest or 0) > size or surplus:
            raise Unsound(Problem.SURPLUS, size)
        if newest != signed:
            raise Unsound(Problem.HEAD)
        for (unfounded,) in await self._database.fetch(_UNFOUNDED, limit=1):
            raise Unsound(Problem.UNCOVERED, unfounded - 1)

    async def _judged(self, fault: Unsound, size: int) -> Unsound:
        """Return *fault*, or what is behind it: where a root differs, a checkpoint may be the altered one."""
        if fault.problem in {Problem.ROOT, Problem.CHECKPOINT, Problem.SIGNATURE}:
            try:
                await self._verify_up_to(fault.until or size)
            except Unsound as first:
                return first
        return fault

    async def _verify_up_to(self, end: int) -> None:
        """Verify the signatures of every checkpoint of at most *end* entries. Raises Unsound."""
        held = 0
        while some := await self._database.fetch(_SOME_CHECKPOINTS, index=held, end=end, limit=_SIGNATURES):
            for size, text in some:
                await asyncio.to_thread(self._verify, text, size, held)
                held = size

    def _verify(self, text: str, size: int, held: int) -> None:
        """Verify the signatures of the checkpoint of *size*; the one of *held* entries holds. Blocks."""
        if not text:
            raise Unsound(Problem.UNCOVERED, size - 1)
        try:
            checkpoint = verify_checkpoint(text, self._logs[text.partition("\n")[0]])
        except (KeyError, Malformed, Untrusted):
            raise Unsound(Problem.SIGNATURE, min(held, size - 1), size) from None
        if checkpoint.size != size:
            raise Unsound(Problem.CHECKPOINT, min(held, size - 1), size)
