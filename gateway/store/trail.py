"""What is asked of the audit log: entries, proofs, checkpoints."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from functools import cache
from typing import Any

import sqlalchemy as sa

from gateway.core.errors import Misuse
from gateway.core.ids import AuthorityId
from gateway.core.merkle import (
    Frontier,
    NodeGetter,
    consistency,
    consistency_nodes,
    inclusion,
    inclusion_nodes,
    peak_nodes,
    range_nodes,
)
from gateway.core.proof import Receipt, encode_proof
from gateway.core.strict import INTEGER_LIMIT
from gateway.ports import EntryFilter, Logged, SignedHead
from gateway.rows import CosignedRow, CoverRow, DetailRow, ReceiptRow
from gateway.store.database import Database
from gateway.store.ledger import NODES, node_getter
from gateway.store.statements import Statement, limited, named, steered
from gateway.store.tables import (
    KINDS,
    checkpoints,
    cosigned,
    covers,
    details,
    entries,
    head,
    listed,
    receipts,
)

_PAGE = 500
_COLUMNS = (entries.c.index, entries.c.leaf, entries.c.time_ms)
_INDEX = sa.bindparam("index", type_=sa.BigInteger)
_SIZE = sa.bindparam("size", type_=sa.BigInteger)

ENTRY = Statement(sa.select(*_COLUMNS).where(entries.c.index == _INDEX), brief=True)
LEAVES = Statement(
    sa.select(*_COLUMNS)
    .where(entries.c.index >= _INDEX, entries.c.index < sa.bindparam("end", type_=sa.BigInteger))
    .order_by(entries.c.index)
)
SIZE = Statement(sa.select(head.c.size))
NEWEST = Statement(
    sa.select(head.c.size, head.c.signed, checkpoints.c.text).join_from(
        head, checkpoints, checkpoints.c.size == head.c.signed, isouter=True
    ),
    brief=True,
)
PROVABLE = limited(
    sa.select(entries.c.leaf, checkpoints.c.size, checkpoints.c.text)
    .where(entries.c.index == _INDEX, checkpoints.c.size > entries.c.index)
    .order_by(checkpoints.c.size.desc())
)
_FILTERED = {"message_id": entries.c.message_id, "event": entries.c.event, "peer": entries.c.peer}
"""The fields of `EntryFilter` that are columns, the one first that the fewest entries share."""


_CURSOR = sa.bindparam("cursor", type_=sa.BigInteger)


def _at(time: str, *, first: bool) -> sa.ScalarSelect[int]:
    """Return the index of the *first* entry not before the parameter *time*, or of the last not after it.

    Times grow with the index, so that bounds in time are bounds in the log.
    """
    moment = sa.bindparam(time, type_=sa.BigInteger)
    order = (entries.c.time_ms, entries.c.index)
    found = (
        sa.select(entries.c.index).where(entries.c.time_ms >= moment).order_by(*order)
        if first
        else sa.select(entries.c.index)
        .where(entries.c.time_ms <= moment)
        .order_by(*(column.desc() for column in order))
    )
    return found.limit(sa.literal_column("1")).offset(sa.literal_column("0")).scalar_subquery()


def _behind(*, after: bool, paged: bool) -> Sequence[sa.ColumnElement[bool]]:
    """Return where the list begins: one bound, since SQLite follows no more than one."""
    if not after:
        return (entries.c.index > _CURSOR,) if paged else ()
    begin = _at("after_ms", first=True)
    if not paged:
        return (entries.c.index >= begin,)
    return (entries.c.index > sa.case((begin <= _CURSOR, _CURSOR), else_=begin - sa.literal_column("1")),)


def _ahead(*, before: bool, paged: bool) -> Sequence[sa.ColumnElement[bool]]:
    """Return where the list begins that goes back from the newest: one bound, as in `_behind`."""
    if not before:
        return (entries.c.index < _CURSOR,) if paged else ()
    end = _at("before_ms", first=False)
    if not paged:
        return (entries.c.index <= end,)
    return (entries.c.index < sa.case((end >= _CURSOR, _CURSOR), else_=end + sa.literal_column("1")),)


@cache
def list_of_entries(
    filtered: tuple[str, ...], *, after: bool, before: bool, paged: bool, newest_first: bool = False
) -> Statement:
    """Return the SELECT of entries by the fields *filtered*, the rarest first."""
    conditions = steered([_FILTERED[name] for name in filtered])
    found = sa.select(*_COLUMNS).where(listed(entries.c.time_ms), *conditions)
    if newest_first:
        found = found.where(*_ahead(before=before, paged=paged))
        if after:
            found = found.where(entries.c.index >= _at("after_ms", first=True))
        return limited(found.order_by(entries.c.index.desc()))
    found = found.where(*_behind(after=after, paged=paged))
    if before:
        found = found.where(entries.c.index <= _at("before_ms", first=False))
    return limited(found.order_by(entries.c.index))


CHECKPOINT_AT = Statement(sa.select(checkpoints.c.text).where(checkpoints.c.size == _SIZE), brief=True)
_EARLIEST = (
    sa.select(cosigned.c.witness, sa.func.min(cosigned.c.size).label("size"))
    .where(cosigned.c.size > _INDEX)
    .group_by(cosigned.c.witness)
    .subquery("earliest")
)
FIRST_COSIGNED = Statement(
    sa.select(cosigned)
    .join(
        _EARLIEST,
        sa.and_(cosigned.c.witness == _EARLIEST.c.witness, cosigned.c.size == _EARLIEST.c.size),
    )
    .order_by(cosigned.c.size, cosigned.c.witness)
)
COSIGNED_BETWEEN = Statement(
    sa.select(cosigned)
    .where(
        cosigned.c.size >= sa.bindparam("least", type_=sa.BigInteger),
        cosigned.c.size <= sa.bindparam("most", type_=sa.BigInteger),
    )
    .order_by(cosigned.c.size, cosigned.c.witness)
)
CHECKPOINTS = limited(
    sa.select(checkpoints.c.size, entries.c.time_ms)
    .join_from(checkpoints, entries, entries.c.index == checkpoints.c.size - sa.literal_column("1"))
    .where(checkpoints.c.size < _CURSOR)
    .order_by(checkpoints.c.size.desc())
)
NEWEST_COSIGNED = Statement(
    sa.select(cosigned)
    .where(cosigned.c.size == sa.select(sa.func.max(cosigned.c.size)).scalar_subquery())
    .order_by(cosigned.c.witness)
)

DETAILS = limited(
    sa.select(*details.c, *_COLUMNS)
    .join_from(details, entries, entries.c.index == details.c.entry)
    .where(details.c.entry > sa.bindparam("after", type_=sa.BigInteger))
    .order_by(details.c.entry)
)
RECEIPTS_AFTER = limited(
    sa.select(receipts)
    .where(
        listed(receipts.c.recorded_ms),
        named(receipts.c.peer),
        receipts.c.entry > sa.bindparam("entry", type_=sa.BigInteger),
    )
    .order_by(receipts.c.entry)
)
FIRST_COVER = limited(
    sa.select(covers).where(named(covers.c.origin), covers.c.size >= _SIZE).order_by(covers.c.size)
)


class TrailReads:
    """The reading half of `ports.Store` for the audit log."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def entries(
        self,
        where: EntryFilter,
        *,
        cursor: int | None = None,
        limit: int = 50,
        newest_first: bool = False,
    ) -> list[Logged]:
        """Return entries oldest first, or newest first, from behind index *cursor* in that order."""
        wanted = {name: getattr(where, name) for name in _FILTERED if getattr(where, name) is not None}
        statement = list_of_entries(
            tuple(wanted),
            after=where.after_ms is not None,
            before=where.before_ms is not None,
            paged=cursor is not None,
            newest_first=newest_first,
        )
        found = await self._database.fetch(
            statement,
            **wanted,
            after_ms=where.after_ms,
            before_ms=where.before_ms,
            cursor=cursor,
            limit=limit,
        )
        return [_logged(columns) for columns in found]

    async def entry(self, index: int) -> Logged | None:
        """Return one entry."""
        found = await self._database.fetch(ENTRY, index=index)
        return _logged(found[0]) if found else None

    async def leaves(self, start: int, end: int) -> AsyncIterator[Logged]:
        """Yield the entries from *start* up to, not with, *end*."""
        for page in range(start, end, _PAGE):
            for columns in await self._database.fetch(LEAVES, index=page, end=min(page + _PAGE, end)):
                yield _logged(columns)

    async def consistency(self, old: int, new: int) -> list[bytes]:
        """Return the RFC 6962 consistency proof between two sizes. Raises Misuse."""
        if new > (await self._database.fetch(SIZE))[0][0]:
            raise Misuse(400, "no_such_size", "the log is not that large")
        return consistency(old, new, await self._nodes(consistency_nodes(old, new)))

    async def inclusion(self, index: int, size: int) -> list[bytes]:
        """Return the inclusion proof of entry *index* in the tree of *size*. Raises Misuse."""
        if size > (await self._database.fetch(SIZE))[0][0]:
            raise Misuse(400, "no_such_size", "the log is not that large")
        return inclusion(index, size, await self._nodes(inclusion_nodes(index, size)))

    async def inclusions(self, indexes: Sequence[int], size: int) -> list[list[bytes]]:
        """Return the inclusion proof of each of *indexes*, which the tree of *size* has."""
        places = await asyncio.to_thread(_places, indexes, size)
        node = await self._nodes(places)
        return await asyncio.to_thread(lambda: [inclusion(index, size, node) for index in indexes])

    async def range_proof(self, start: int, end: int, size: int) -> tuple[list[bytes], list[bytes]]:
        """Return what proves the entries [start, end) in the tree of *size*. Raises Misuse."""
        left, right = range_nodes(start, end, size)
        node = await self._nodes([*left, *right])
        return [node(*place) for place in left], [node(*place) for place in right]

    async def details(self, *, after: int, limit: int) -> list[tuple[DetailRow, Logged]]:
        """Return details with the entries that commit to them, after entry *after*, oldest first."""
        kind = KINDS[DetailRow]
        found = await self._database.fetch(DETAILS, after=after, limit=limit)
        return [(kind.build(tuple(row)[:-3]), _logged(tuple(row)[-3:])) for row in found]

    async def root(self, size: int) -> bytes:
        """Return the root of the first *size* entries, from the tree that is stored. Raises Misuse."""
        if size > (await self._database.fetch(SIZE))[0][0]:
            raise Misuse(400, "no_such_size", "the log is not that large")
        node = await self._nodes(peak_nodes(size))
        return Frontier(size, tuple(node(level, index) for level, index in peak_nodes(size))).root()

    async def checkpoint_at(self, size: int) -> str | None:
        """Return the checkpoint that was signed at *size*, if one was."""
        found = await self._database.fetch(CHECKPOINT_AT, size=size)
        return found[0][0] if found else None

    async def checkpoints(self, *, cursor: int | None = None, limit: int) -> list[SignedHead]:
        """Return the signed checkpoints below size *cursor*, the largest first."""
        below = INTEGER_LIMIT if cursor is None else cursor
        found = await self._database.fetch(CHECKPOINTS, cursor=below, limit=limit)
        return [SignedHead(size, time_ms) for size, time_ms in found]

    async def cosigned_between(self, least: int, most: int) -> list[CosignedRow]:
        """Return the cosignatures under checkpoints of the sizes *least* to *most*, by size."""
        kind = KINDS[CosignedRow]
        found = await self._database.fetch(COSIGNED_BETWEEN, least=least, most=most)
        return [kind.build(tuple(row)) for row in found]

    async def first_cosigned(self, index: int) -> list[CosignedRow]:
        """Return of each witness the earliest cosignature that covers entry *index*, by size."""
        kind = KINDS[CosignedRow]
        return [kind.build(tuple(row)) for row in await self._database.fetch(FIRST_COSIGNED, index=index)]

    async def newest_cosigned(self) -> list[CosignedRow]:
        """Return the cosignatures at hand under the largest checkpoint that has any."""
        kind = KINDS[CosignedRow]
        return [kind.build(tuple(row)) for row in await self._database.fetch(NEWEST_COSIGNED)]

    async def receipts_after(self, peer: AuthorityId, entry: int, *, limit: int) -> list[ReceiptRow]:
        """Return receipts of *peer* that our entries after *entry* recorded, oldest first."""
        kind = KINDS[ReceiptRow]
        found = await self._database.fetch(RECEIPTS_AFTER, peer=peer, entry=entry, limit=limit)
        return [kind.build(tuple(row)) for row in found]

    async def first_cover(self, origin: str, size: int) -> CoverRow | None:
        """Return the smallest cosigned checkpoint of a peer's log, of *size* or more, that is held."""
        found = await self._database.fetch(FIRST_COVER, origin=origin, size=size, limit=1)
        return KINDS[CoverRow].build(tuple(found[0])) if found else None

    async def _proved(self, index: int) -> Receipt | None:
        """Return entry *index* with a proof, or None when no checkpoint covers it."""
        found = await self._database.fetch(PROVABLE, index=index, limit=1)
        if not found:
            return None
        leaf, size, text = found[0]
        node = await self._nodes(inclusion_nodes(index, size))
        return Receipt(bytes(leaf), encode_proof(index, inclusion(index, size, node), text))

    async def _nodes(self, places: list[tuple[int, int]]) -> NodeGetter:
        found = await self._database.find(NODES, places)
        return node_getter({(level, index): digest for level, index, digest in found})


def _places(indexes: Sequence[int], size: int) -> list[tuple[int, int]]:
    """Return the nodes of which the proofs of *indexes* are made, each once."""
    return list({place: None for index in indexes for place in inclusion_nodes(index, size)})


def _logged(columns: Any) -> Logged:  # noqa: ANN401 - a row of either driver
    index, leaf, time_ms = columns
    return Logged(index=index, leaf=leaf, time_ms=time_ms)
