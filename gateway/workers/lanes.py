"""Lanes: how many messages have their blobs brought at once, by one peer and by all (protocol §7).

An attachment can take hours, and another one can be urgent. So a peer has several lanes, the last of
which is for small ones alone; and one that has lanes already leaves some to those that have none.
"""

from collections import Counter
from collections.abc import Callable

from gateway.core.ids import AuthorityId

SMALL_BYTES = 8 << 20
"""What the attachments of one message may have together, so that it counts as small."""

LANES, LANES_OF_PEER = 8, 3
_FOR_SMALL = 2
"""Lanes that large ones leave free."""


def admits(size_bytes: int, *, of_peer: int, in_all: int) -> bool:
    """Return whether a message with *size_bytes* of attachments may begin.

    Args:
        size_bytes: of its attachments together.
        of_peer: lanes that its peer has.
        in_all: lanes that all peers have.
    """
    if size_bytes <= SMALL_BYTES:
        return of_peer < LANES_OF_PEER and in_all < LANES
    # The second lane of a peer is not begun while another peer might still want its first.
    return of_peer < LANES_OF_PEER - 1 and in_all + of_peer < LANES - _FOR_SMALL


class Lanes:
    """The lanes of a node: whoever was not admitted is told when one is free again."""

    def __init__(self) -> None:
        self._taken: Counter[AuthorityId] = Counter()
        self._waiting: dict[AuthorityId, Callable[[], None]] = {}

    def enter(self, peer: AuthorityId, size_bytes: int, free: Callable[[], None]) -> bool:
        """Take a lane to *peer*, to be left with `leave`; if there is none, have *free* called once."""
        if not admits(size_bytes, of_peer=self._taken[peer], in_all=self._taken.total()):
            self._waiting[peer] = free
            return False
        self._taken[peer] += 1
        return True

    def leave(self, peer: AuthorityId) -> None:
        """Give back a lane to *peer*."""
        self._taken[peer] -= 1
        waiting, self._waiting = self._waiting, {}
        for free in waiting.values():
            free()
