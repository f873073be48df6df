"""Whether the clock of this machine can be believed (protocol §9 "Clock"). Times are in milliseconds."""

from collections.abc import Sequence

APART_MS = 5 * 60 * 1000
"""How far a clock may be from others, or step, before nothing is signed by it."""


def offset_ms(theirs_ms: int, asked_ms: int, answered_ms: int) -> int:
    """Return how far a peer's clock is ahead of ours, which said so before and after we asked."""
    return theirs_ms - (asked_ms + answered_ms) // 2


def is_apart(offsets_ms: Sequence[int]) -> bool:
    """Return whether most of the peers that were reached have another time than we."""
    return 2 * sum(abs(offset) > APART_MS for offset in offsets_ms) > len(offsets_ms)


def has_jumped(ahead_ms: int, now_ms: int, boot_ms: int) -> bool:
    """Return whether the clock has stepped, against one that counts from the boot of the machine.

    *ahead_ms* is how far it was ahead of that one when it could be believed.
    """
    return abs(now_ms - boot_ms - ahead_ms) > APART_MS
