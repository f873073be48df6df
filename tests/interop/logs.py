"""A log and a witness of ours, for the code of others to look at."""

from collections.abc import Callable

from gateway.core import merkle, note
from keys.signing import LogKeys

ORIGIN = "moj.qm.example/audit/1"
WITNESS = "moj.qn.example/witness"
TIME_MS = 1795442709123
KEYS, WITNESS_KEYS = LogKeys.generate(), LogKeys.generate()
LOG = note.LogIdentity(ORIGIN, KEYS.ed.public, KEYS.lattice.public)
COSIGNER = note.WitnessIdentity(WITNESS, WITNESS_KEYS.ed.public, WITNESS_KEYS.lattice.public)
LEAVES = [b'{"entry":%d}' % number for number in range(70)]


def log_of(size: int) -> tuple[merkle.Frontier, Callable[[int, int], bytes]]:
    """Return the tree of the first *size* leaves, and its nodes by level and index."""
    frontier, made = merkle.Frontier().append(map(merkle.leaf_hash, LEAVES[:size]))
    nodes = {(level, index): digest for level, index, digest in made}
    return frontier, lambda level, index: nodes[level, index]
