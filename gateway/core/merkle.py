"""The Merkle tree of the audit log: hashes, proofs, and their verification (RFC 6962, RFC 9162).

A *complete* node (level, index) covers the leaves from index·2^level up to, not with,
(index + 1)·2^level, and never changes once all of them exist: these are what a store keeps.
A proof hash may cover an incomplete run at the right edge; it is folded from complete nodes.
"""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from gateway.core.errors import Malformed, Misuse, NotIncluded

HASH_BYTES = 32
EMPTY_ROOT = hashlib.sha256(b"").digest()
"""The root of a tree without leaves (RFC 6962 §2.1)."""

NodeGetter = Callable[[int, int], bytes]
"""The hash of the complete node (level, index)."""


def leaf_hash(leaf: bytes) -> bytes:
    """Return the hash of a leaf; the prefix 00 keeps leaves and nodes apart."""
    return hashlib.sha256(b"\x00" + leaf).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of an inner node; prefix 01."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def root(leaf_hashes: Iterable[bytes]) -> bytes:
    """Return the root over *leaf_hashes*."""
    frontier, _ = Frontier().append(leaf_hashes)
    return frontier.root()


@dataclass(frozen=True, slots=True)
class Frontier:
    """The right edge of a tree: all that appending needs.

    `peaks` are the roots of its largest complete subtrees, left to right: one for each bit
    that is set in `size`.
    """

    size: int = 0
    peaks: tuple[bytes, ...] = ()

    def __post_init__(self) -> None:
        if len(self.peaks) != self.size.bit_count():
            raise Malformed("a frontier has one peak for each bit that is set in its size")

    def append(self, leaf_hashes: Iterable[bytes]) -> tuple["Frontier", list[tuple[int, int, bytes]]]:
        """Return the frontier with *leaf_hashes* added, and the complete nodes that this made.

        Each made node is (level, index, hash), the leaves among them at level 0.
        """
        size, peaks = self.size, list(self.peaks)
        made: list[tuple[int, int, bytes]] = []
        for digest in leaf_hashes:
            level, index, node = 0, size, digest
            made.append((level, index, node))
            while index & 1:
                node = node_hash(peaks.pop(), node)
                level, index = level + 1, index >> 1
                made.append((level, index, node))
            peaks.append(node)
            size += 1
        return Frontier(size, tuple(peaks)), made

    def extended(self, leaf_hashes: Sequence[bytes]) -> "Frontier":
        """Return the frontier with *leaf_hashes* added: as `append`, in less time, without what it makes."""
        frontier = self
        for level, index in cover(self.size, self.size + len(leaf_hashes)):
            begin = (index << level) - self.size
            frontier = frontier.grafted(level, levels(leaf_hashes[begin : begin + (1 << level)])[level][0])
        return frontier

    def grafted(self, level: int, digest: bytes) -> "Frontier":
        """Return the frontier with the complete subtree *digest* of 2^level leaves added.

        Raises:
            Misuse: no complete node of that level begins where this tree ends.
        """
        if self.size & ((1 << level) - 1):
            raise Misuse(400, "no_such_node", "no complete node of this level begins here")
        peaks, index = list(self.peaks), self.size >> level
        while index & 1:
            digest, index = node_hash(peaks.pop(), digest), index >> 1
        return Frontier(self.size + (1 << level), (*peaks, digest))

    def root(self) -> bytes:
        """Return the root of the tree."""
        return _fold(self.peaks) if self.peaks else EMPTY_ROOT


def levels(leaf_hashes: Sequence[bytes]) -> list[list[bytes]]:
    """Return the complete nodes over *leaf_hashes*, level by level: the leaves at 0.

    Their run begins at a multiple of the largest power of two that it contains.
    """
    found = [list(leaf_hashes)]
    sha256 = hashlib.sha256
    while len(found[-1]) > 1:
        below = iter(found[-1])
        pairs = zip(below, below, strict=False)  # what is left over is no complete node
        found.append([sha256(b"\x01" + left + right).digest() for left, right in pairs])
    return found


def cover(start: int, end: int) -> list[tuple[int, int]]:
    """Return the fewest complete nodes (level, index) that cover the leaves [start, end), left to right."""
    nodes = []
    while start < end:
        level = (end - start).bit_length() - 1
        if start:
            level = min(level, (start & -start).bit_length() - 1)
        nodes.append((level, start >> level))
        start += 1 << level
    return nodes


def range_nodes(start: int, end: int, size: int) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """Return what proves the leaves [start, end) of a tree of *size*: the nodes left and right of them.

    Raises:
        Misuse: not 0 ≤ start ≤ end ≤ size.
    """
    if not 0 <= start <= end <= size:
        raise Misuse(400, "no_such_range", "a range lies within the log, its end not before its beginning")
    return cover(0, start), cover(end, size)


def range_frontier(start: int, left: Sequence[bytes]) -> Frontier:
    """Return the tree of the first *start* leaves, of which the hashes of `range_nodes` are given.

    Raises:
        NotIncluded: they are not as many.
    """
    if len(left) != start.bit_count():
        raise NotIncluded("the proof of the range has another length")
    return Frontier(start, tuple(left))


def verify_range(before: Frontier, size: int, right: Sequence[bytes], expected: bytes) -> None:
    """Check that *before*, the tree up to the end of a range, leads with *right* to the root *expected*.

    *before* is `range_frontier` with the hashes of the range's leaves added to it: who made it so knows
    that just these leaves are in the tree, at their places.

    Raises:
        NotIncluded: it does not.
    """
    nodes = cover(before.size, size)
    if before.size > size or len(right) != len(nodes):
        raise NotIncluded("the proof of the range has another length")
    for (level, _), digest in zip(nodes, right, strict=True):
        before = before.grafted(level, digest)
    if before.root() != expected:
        raise NotIncluded("the range does not lead to the root")


def peak_nodes(size: int) -> list[tuple[int, int]]:
    """Return the complete nodes (level, index) whose hashes are the peaks of a tree of *size*."""
    return _complete(0, size)


def inclusion_nodes(index: int, size: int) -> list[tuple[int, int]]:
    """Return the complete nodes that the inclusion proof of leaf *index* is made of."""
    return [node for run in _inclusion_runs(index, size) for node in _complete(*run)]


def consistency_nodes(old: int, new: int) -> list[tuple[int, int]]:
    """Return the complete nodes that the consistency proof between two sizes is made of."""
    return [node for run in _consistency_runs(old, new) for node in _complete(*run)]


def inclusion(index: int, size: int, node: NodeGetter) -> list[bytes]:
    """Return the inclusion proof of leaf *index* in the tree of *size* (RFC 6962 §2.1.1).

    Raises:
        Misuse: there is no such leaf.
    """
    return [_run_hash(run, node) for run in _inclusion_runs(index, size)]


def consistency(old: int, new: int, node: NodeGetter) -> list[bytes]:
    """Return the consistency proof from size *old* to *new* (RFC 6962 §2.1.2).

    From size 0, and between equal sizes, it is empty.

    Raises:
        Misuse: not 0 ≤ old ≤ new.
    """
    return [_run_hash(run, node) for run in _consistency_runs(old, new)]


def verify_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], expected: bytes) -> None:
    """Check that *proof* leads from the leaf hash *leaf* at *index* to the root *expected*.

    The algorithm of RFC 9162 §2.1.3.2.

    Raises:
        NotIncluded: it does not.
    """
    if not 0 <= index < size:
        raise NotIncluded("the tree has no such leaf")
    position, last, digest = index, size - 1, leaf
    for step in proof:
        if last == 0:
            raise NotIncluded("the inclusion proof is too long")
        if position & 1 or position == last:
            digest = node_hash(step, digest)
            position, last = _skip_left_edge(position, last)
        else:
            digest = node_hash(digest, step)
        position, last = position >> 1, last >> 1
    if last or digest != expected:
        raise NotIncluded("the inclusion proof does not lead to the root")


def verify_consistency(old: int, new: int, old_root: bytes, new_root: bytes, proof: Sequence[bytes]) -> None:
    """Check that the tree of size *old* is the beginning of that of size *new*.

    The algorithm of RFC 9162 §2.1.4.2; for what it leaves out (from size 0, and equal sizes)
    the proof is empty and the old root is compared with the only one there is.

    Raises:
        NotIncluded: the proof does not show it.
    """
    if not 0 <= old <= new:
        raise NotIncluded("the newer tree is smaller")
    if old in {0, new}:
        empty, same = old == 0 and old_root != EMPTY_ROOT, old == new and old_root != new_root
        if proof or empty or same:
            raise NotIncluded("the roots differ, or a proof where none belongs")
        return
    if not proof:
        raise NotIncluded("the consistency proof is missing")
    steps = [old_root, *proof] if old & (old - 1) == 0 else proof
    position, last = old - 1, new - 1
    while position & 1:
        position, last = position >> 1, last >> 1
    older = newer = steps[0]
    for step in steps[1:]:
        if last == 0:
            raise NotIncluded("the consistency proof is too long")
        if position & 1 or position == last:
            older, newer = node_hash(step, older), node_hash(step, newer)
            position, last = _skip_left_edge(position, last)
        else:
            newer = node_hash(newer, step)
        position, last = position >> 1, last >> 1
    if last or older != old_root or newer != new_root:
        raise NotIncluded("the consistency proof does not lead to both roots")


def _skip_left_edge(position: int, last: int) -> tuple[int, int]:
    """Go up to where *position* is a right child, or to the root: no sibling stands between."""
    while position and not position & 1:
        position, last = position >> 1, last >> 1
    return position, last


def _fold(peaks: Sequence[bytes]) -> bytes:
    digest = peaks[-1]
    for peak in reversed(peaks[:-1]):
        digest = node_hash(peak, digest)
    return digest


def _run_hash(run: tuple[int, int], node: NodeGetter) -> bytes:
    return _fold([node(level, index) for level, index in _complete(*run)])


def _complete(start: int, end: int) -> list[tuple[int, int]]:
    """Return the complete nodes that cover the leaves [start, end), left to right.

    *start* is a multiple of the largest power of two below the run's length, as it is for
    every run in a proof.
    """
    nodes = []
    while start < end:
        level = (end - start).bit_length() - 1
        nodes.append((level, start >> level))
        start += 1 << level
    return nodes


def _inclusion_runs(index: int, size: int) -> list[tuple[int, int]]:
    """PATH(m, D[n]) of RFC 6962 §2.1.1 as runs of leaves, from the leaf's sibling to the root."""
    if not 0 <= index < size:
        raise Misuse(404, "no_such_entry", "the log has no entry with this index")
    start, end = 0, size
    runs: list[tuple[int, int]] = []
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            runs.append((middle, end))
            end = middle
        else:
            runs.append((start, middle))
            start = middle
    return runs[::-1]


def _consistency_runs(old: int, new: int) -> list[tuple[int, int]]:
    """PROOF(m, D[n]) of RFC 6962 §2.1.2 as runs of leaves."""
    if not 0 <= old <= new:
        raise Misuse(400, "no_such_size", "sizes are in order, and no larger than the log")
    if old in {0, new}:
        return []
    start, end, whole = 0, new, True  # whole: [start, old) is the old tree from its first leaf
    runs: list[tuple[int, int]] = []
    while end != old:
        middle = start + _split(end - start)
        if old <= middle:
            runs.append((middle, end))
            end = middle
        else:
            runs.append((start, middle))
            start, whole = middle, False
    if not whole:
        runs.append((start, end))
    return runs[::-1]


def _split(size: int) -> int:
    """Return the largest power of two below *size* (the k of RFC 6962)."""
    return 1 << ((size - 1).bit_length() - 1)
