"""The audit log as the committer holds it: its head, checked against what it released."""

from dataclasses import dataclass, replace
from typing import Any

import sqlalchemy as sa

from gateway.core.errors import GatewayFault
from gateway.core.merkle import Frontier, NodeGetter, peak_nodes
from gateway.store.database import Database, Transaction
from gateway.store.statements import Lookup, Statement, insert
from gateway.store.tables import checkpoints, entries, head, nodes

HEAD_ID = 1

HEAD = Statement(sa.select(head).where(head.c.id == sa.literal_column(str(HEAD_ID))))
LOCKED_HEAD = Statement(
    sa.select(head.c.origin, head.c.size, head.c.root, head.c.time_ms, head.c.signed)
    .where(head.c.id == sa.literal_column(str(HEAD_ID)))
    .with_for_update()
)
MOVE_HEAD = Statement(
    sa.update(head).where(head.c.id == sa.literal_column(str(HEAD_ID))),
    ("origin", "size", "root", "time_ms", "signed"),
)
NODES = Lookup((nodes.c.level, nodes.c.index, nodes.c.hash), (nodes.c.level, nodes.c.index))
ADD_HEAD, ADD_ENTRIES, ADD_NODES = insert(head), insert(entries), insert(nodes)
ADD_CHECKPOINT = insert(checkpoints)


class LogStopped(GatewayFault):
    """The log in the database does not go on from what this process released of it.

    It was put back to an older state, or something else writes to it: nothing may be signed.
    """


@dataclass(frozen=True, slots=True)
class Head:
    """The log up to some size: the right edge of its tree, its root and its last time.

    `signed` is the size of the newest checkpoint, None before the first.
    """

    frontier: Frontier
    root: bytes
    time_ms: int
    signed: int | None

    @property
    def size(self) -> int:
        """How many entries there are."""
        return self.frontier.size

    @property
    def unsigned(self) -> bool:
        """Whether there are entries that no checkpoint covers."""
        return self.size > (self.signed or 0)


def node_getter(found: dict[tuple[int, int], bytes]) -> NodeGetter:
    """Return how the merkle functions ask for a node that is among *found*."""
    return lambda level, index: found[level, index]


async def locked_head(transaction: Transaction, released: Head, origin: str, *, trusted: bool) -> Head:
    """Return the head, whose row is locked from now on to the end of the transaction.

    Args:
        transaction: the write transaction.
        released: what this process knows, and may have told others.
        origin: the epoch of the log that this process writes.
        trusted: the tree in memory is the one of *released*; not so after an error.

    Raises:
        LogStopped: the head is below *released*, not a continuation of it, or of another epoch.
    """
    ((found_origin, size, root, time_ms, signed),) = await transaction.fetch(LOCKED_HEAD)
    if found_origin != origin:
        raise LogStopped(f"the audit log is {found_origin} now: another process opened a new epoch")
    if size < released.size or (size == released.size and root != released.root):
        raise LogStopped("the audit log in the database was put back behind what was released")
    if trusted and size == released.size:
        return replace(released, time_ms=time_ms, signed=signed)
    wanted = [*peak_nodes(size), *peak_nodes(released.size)]
    found = {(level, index): node for level, index, node in await transaction.find(NODES, wanted)}
    if any(found.get(place) != peak for place, peak in _peaks(released.frontier)):
        raise LogStopped("the audit log in the database is another one than was released")
    return _head(found, size, root, time_ms, signed)


async def opened_head(database: Database) -> Head:
    """Return the head as it stands at start-up. Raises LogStopped."""
    row: Any = (await database.fetch(HEAD))[0]
    _, _, _, size, root, time_ms, signed = row
    found = {(level, index): node for level, index, node in await database.find(NODES, peak_nodes(size))}
    return _head(found, size, root, time_ms, signed)


def _peaks(frontier: Frontier) -> list[tuple[tuple[int, int], bytes]]:
    return list(zip(peak_nodes(frontier.size), frontier.peaks, strict=True))


def _head(
    found: dict[tuple[int, int], bytes], size: int, root: bytes, time_ms: int, signed: int | None
) -> Head:
    frontier = Frontier(size, tuple(found.get(place, b"") for place in peak_nodes(size)))
    if frontier.root() != root:
        raise LogStopped("the tree of the audit log in the database does not lead to its root")
    return Head(frontier, root, time_ms, signed)


@dataclass(frozen=True, slots=True)
class Growth:
    """A head with entries added to it, and the complete nodes that this made."""

    head: Head
    made: list[tuple[int, int, bytes]]
    base: Frontier

    def known(self) -> dict[tuple[int, int], bytes]:
        """Return every node that proofs of the new entries are made of: old peaks and new nodes."""
        known = dict(_peaks(self.base))
        known.update({(level, index): node for level, index, node in self.made})
        return known


def grown(old: Head, leaf_hashes: list[bytes], time_ms: int) -> Growth:
    """Return *old* with entries of *time_ms* added."""
    frontier, made = old.frontier.append(leaf_hashes)
    return Growth(Head(frontier, frontier.root(), time_ms, old.signed), made, old.frontier)
