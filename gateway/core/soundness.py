"""The examination of a log: from its leaves alone, or row by row as a database keeps it.

From the leaves: each is an entry of the authority in the one form, times never go back, and together
they lead to a root (`Leaves`). Row by row (`Rows`) also: the columns say what the leaves say, the stored
tree is the one that the leaves make, and so is the root of each stored checkpoint. What is found is the
first entry with which something is wrong, and what.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from gateway.core.entry import ANSWERING
from gateway.core.errors import Malformed, NotProved
from gateway.core.forms import Forms, WrongAuthority
from gateway.core.ids import AuthorityId
from gateway.core.merkle import Frontier, cover, leaf_hash, levels, node_hash
from gateway.core.strict import b64, parse_time

PIECE = 4096
"""Rows that are examined together: a complete subtree."""
PIECE_LEVELS = PIECE.bit_length()
"""Levels of the tree over a piece, the leaves among them."""


class Problem(StrEnum):
    """What can be wrong, in short."""

    MISSING = "entries_missing"
    MALFORMED = "malformed_entry"
    AUTHORITY = "wrong_authority"
    TIME = "time_goes_back"
    COLUMNS = "columns_differ"
    """What stands beside the leaf says something else."""
    ALTERED = "entry_altered"
    """The leaf is not the one whose hash is stored."""
    HASH = "hash_altered"
    """The leaf leads to the stored tree above it, and the hash stored for it does not."""
    TREE = "tree_altered"
    """A stored node is not the hash of the two below it."""
    ROOT = "root_differs"
    """The entries do not lead to the root of a signed checkpoint."""
    SIGNATURE = "checkpoint_not_signed"
    CHECKPOINT = "checkpoint_altered"
    """A stored checkpoint is not of this log and size."""
    UNCOVERED = "checkpoint_missing"
    """A checkpoint that must be there is not."""
    HEAD = "head_altered"
    """The row of the head says something else than the entries."""
    SURPLUS = "entries_surplus"
    """There is more than the log has: entries, nodes or checkpoints beyond its end."""
    COUNT = "count_differs"
    """An exported file was cut short, or has more than it says."""
    ORDER = "wrong_order"
    """An exported entry does not stand where its index says, or outside of what was asked for."""
    COSIGNATURE = "cosignature_wrong"
    """A known witness did not sign what it is said to have signed."""
    PROOF = "not_included"
    """A proof does not lead from an entry to the checkpoint."""


class Unsound(NotProved):
    """Something is wrong with a log.

    Attributes:
        problem: what.
        entry: the first entry it is about, None if it is about no entry.
        until: the entry after the last that it may be about.
    """

    def __init__(self, problem: Problem, entry: int | None = None, until: int | None = None) -> None:
        self.problem = problem
        self.entry = entry
        self.until = until if until is not None or entry is None else entry + 1
        super().__init__(f"{problem.value}{self._place()}")

    def _place(self) -> str:
        if self.entry is None or self.until is None:
            return ""
        if self.until <= self.entry + 1:
            return f": entry {self.entry}"
        return f": one of the entries {self.entry} to {self.until - 1}"


class Leaves:
    """A log of *authority*, or a run of it, from its leaves alone; `frontier` is the tree so far."""

    def __init__(self, authority: AuthorityId, frontier: Frontier | None = None) -> None:
        self._forms = Forms(authority)
        self._time = ""
        self.frontier = frontier or Frontier()

    def take(self, leaves: Sequence[bytes]) -> None:
        """Take the leaves that follow. Raises Unsound."""
        self.read(leaves, self.frontier.size)
        self.frontier = self.frontier.extended([leaf_hash(leaf) for leaf in leaves])

    def read(self, leaves: Sequence[bytes], first: int) -> None:
        """Look at the form of *leaves*, and at their times; the tree is not touched. Raises Unsound."""
        found = self._forms.read(leaves)
        for index, time in enumerate(found.times, first):
            if time != self._time:
                self._time = _later(time, self._time, index)
        if found.fault is not None:
            raise Unsound(_said(found.fault), first + len(found.times))


@dataclass(frozen=True, slots=True)
class Piece:
    """What is stored of PIECE entries, or of the last ones.

    Attributes:
        rows: (leaf, entry_id, event, message_id, peer, time_ms) of each entry in its order, up to the
            first that is missing.
        count: how many there should be.
        nodes: the hashes of the complete nodes over them, level by level, in each from left to right.
        checkpoints: the texts of the checkpoints at the sizes that end within.
    """

    rows: Sequence[Sequence[Any]]
    count: int
    nodes: Sequence[bytes]
    checkpoints: Mapping[int, str]


class Rows:
    """The log of *authority*, row by row; its epochs have *origins*. `frontier` is the tree so far.

    Attributes:
        held: the size of the last checkpoint whose root was that of the entries.
        upper: the complete nodes of whole pieces and above, as the entries make them.
        time_ms: the time of the last entry.
    """

    def __init__(self, authority: AuthorityId, origins: Collection[str]) -> None:
        self._forms = Forms(authority)
        self._origins = origins
        self._time = ""
        self._owed: int | None = None
        self._levels: list[list[bytes]] = []
        self._fault: Unsound | None = None
        self.frontier = Frontier()
        self.held = 0
        self.upper: dict[tuple[int, int], bytes] = {}
        self.time_ms = -1

    def take(self, piece: Piece) -> None:
        """Take the entries that follow.

        Raises:
            Unsound: about one entry, or few; TREE about the whole piece, if the stored nodes are others
                than the entries make: `located` says more.
        """
        first = self.frontier.size
        self._fault = self._read(piece, first) if piece.rows else None
        if self._fault is None and len(piece.rows) < piece.count:
            self._fault = Unsound(Problem.MISSING, first + len(piece.rows))
        self._levels = levels([leaf_hash(_bytes(row[0])) for row in piece.rows])
        if [node for level in self._levels for node in level] != list(piece.nodes):
            raise Unsound(Problem.TREE, first, first + piece.count)
        uncovered = self._fault if self._fault and self._fault.problem is Problem.UNCOVERED else None
        if self._fault is not None and not uncovered:
            raise self._fault
        before = self.frontier
        for size in sorted(piece.checkpoints):  # a root that differs says more than a checkpoint that lacks
            self._compare(piece.checkpoints[size], size, self._grown(before, size - first))
        if uncovered:
            raise uncovered
        self.frontier = self._grown(before, piece.count)
        self._note_upper(first)

    def located(self, nodes: Mapping[tuple[int, int], bytes]) -> Unsound:
        """Return what is wrong with the piece that was not taken, of which these are the stored *nodes*."""
        first = self.frontier.size
        return _first(self._fault, self._differing(nodes, first)) or Unsound(Problem.TREE, first)

    def end(self, root: bytes, time_ms: int) -> None:
        """Compare the row of the head with the entries, all of which were taken. Raises Unsound."""
        if self._owed is not None and self.held <= self._owed:
            raise Unsound(Problem.UNCOVERED, self._owed)
        if root != self.frontier.root() or (self.frontier.size and time_ms != self.time_ms):
            raise Unsound(Problem.HEAD)

    def _read(self, piece: Piece, first: int) -> Unsound | None:
        """Return the first row that is not as it should be."""
        leaves, entry_ids, events, message_ids, peers, times_ms = zip(*piece.rows, strict=True)
        found = self._forms.read(leaves)
        fault = None if found.fault is None else Unsound(_said(found.fault), first + len(found.times))
        pairs = (
            (found.entry_ids, entry_ids),
            (found.events, events),
            (found.message_ids, message_ids),
            (found.peers, peers),
        )
        for said, stored in pairs:
            fault = _first(fault, _unlike(said, stored, first))
        sizes = sorted(piece.checkpoints)
        try:
            for index, time, time_ms, event in zip(
                range(first, first + len(found.times)), found.times, times_ms, found.events, strict=False
            ):
                if time != self._time:
                    self._begin(time, index, sizes)
                if time_ms != self.time_ms:
                    return _first(fault, Unsound(Problem.COLUMNS, index))
                if event in ANSWERING:
                    self._owed = index
        except Unsound as other:
            fault = _first(fault, other)
        return fault

    def _begin(self, time: str, index: int, sizes: Sequence[int]) -> None:
        """Go on to a later *time*, which begins at entry *index*. Raises Unsound."""
        self._time = _later(time, self._time, index)
        self.time_ms = parse_time(time)
        if self._owed is not None and not self._paid(sizes, index):
            raise Unsound(Problem.UNCOVERED, self._owed)
        self._owed = None

    def _paid(self, sizes: Sequence[int], index: int) -> bool:
        """Return whether the last entry that answers has the checkpoint that was signed with it.

        Entries of one transaction have one time, and a checkpoint ends it: one stands before *index*.
        """
        assert self._owed is not None  # noqa: S101 - asked by callers that owe
        return self.held > self._owed or any(self._owed < size <= index for size in sizes)

    def _compare(self, text: str, size: int, tree: Frontier) -> None:
        """Compare a stored checkpoint with the entries. Raises Unsound."""
        origin, _, rest = text.partition("\n")
        if origin not in self._origins or not rest.startswith(f"{size}\n{b64(tree.root())}\n\n"):
            same = origin in self._origins and rest.startswith(f"{size}\n")
            raise Unsound(Problem.ROOT if same else Problem.CHECKPOINT, self.held, size)
        self.held = size

    def _differing(self, nodes: Mapping[tuple[int, int], bytes], first: int) -> Unsound | None:
        """Return the first entry that the stored *nodes* are not of, or the lowest node that is none."""
        for level, made in enumerate(self._levels):
            for index, node in enumerate(made, first >> level):
                if nodes.get((level, index)) != node:
                    if level:
                        return Unsound(Problem.TREE, index << level, (index + 1) << level)
                    problem = Problem.HASH if self._leads_on(index, nodes, first) else Problem.ALTERED
                    return Unsound(problem, index)
        return None

    def _leads_on(self, index: int, nodes: Mapping[tuple[int, int], bytes], first: int) -> bool:
        """Return whether the leaf *index* leads to the largest stored node above it."""
        top = max(
            level
            for level, made in enumerate(self._levels)
            if (index >> level) - (first >> level) < len(made)
        )
        above = self._levels[top][(index >> top) - (first >> top)]
        return bool(top) and nodes.get((top, index >> top)) == above

    def _grown(self, before: Frontier, count: int) -> Frontier:
        """Return *before* with the first *count* entries of the piece added."""
        for level, index in cover(0, count):
            before = before.grafted(level, self._levels[level][index])
        return before

    def _note_upper(self, first: int) -> None:
        """Note the nodes that the piece has made above itself; its own root is one to build on."""
        if self.frontier.size % PIECE == 0 and self.frontier.size > first:
            level, index = PIECE_LEVELS - 1, first // PIECE
            self.upper[level, index] = self._levels[-1][0]
            while index & 1:
                node = node_hash(self.upper[level, index - 1], self.upper[level, index])
                level, index = level + 1, index >> 1
                self.upper[level, index] = node


def _later(time: str, than: str, index: int) -> str:
    """Return *time*, one of the calendar and not before *than*. Raises Unsound."""
    try:
        parse_time(time)
    except Malformed:
        raise Unsound(Problem.MALFORMED, index) from None
    if time < than:
        raise Unsound(Problem.TIME, index)
    return time


def _unlike(said: Sequence[object], stored: Sequence[object], first: int) -> Unsound | None:
    """Return the first row whose leaf says something else than what is stored beside it."""
    if said == stored[: len(said)]:
        return None
    return next(
        (
            Unsound(Problem.COLUMNS, first + at)
            for at, (one, other) in enumerate(zip(said, stored, strict=False))
            if one != other
        ),
        None,
    )


def _first(one: Unsound | None, other: Unsound | None) -> Unsound | None:
    """Return which is about the earlier entry; *one* if both are about the same."""
    found = [fault for fault in (one, other) if fault is not None]
    return min(found, key=lambda fault: fault.entry or 0, default=None)


def _bytes(leaf: object) -> bytes:
    return leaf if isinstance(leaf, bytes) else b""


def _said(fault: Exception) -> Problem:
    return Problem.AUTHORITY if isinstance(fault, WrongAuthority) else Problem.MALFORMED
