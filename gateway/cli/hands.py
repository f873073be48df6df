"""Other processes that look at the pieces of a log: hashing and reading forms is work for every core."""

import multiprocessing
import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor

from gateway.core.ids import AuthorityId
from gateway.core.soundness import Run, run_of

MOST_HANDS = 8
FEW = 500_000
"""Entries below which starting processes takes longer than the work."""


def hands_for(entries: int) -> int:
    """Return how many processes are to look at so many entries; 1 is this one alone."""
    return 1 if entries < FEW else min(os.cpu_count() or 1, MOST_HANDS)


def runs(authority: AuthorityId, start: int, pieces: Iterator[Sequence[bytes]], hands: int) -> Iterator[Run]:
    """Yield what *pieces* of the log of *authority*, from the entry *start* on, come to; in their order.

    Raises:
        Unsound: something is wrong with one of them: told once all before it are yielded.
    """
    if hands == 1:
        for piece in pieces:
            yield run_of(authority, start, piece)
            start += len(piece)
        return
    waiting: deque[Future[Run]] = deque()
    pool = ProcessPoolExecutor(hands, mp_context=multiprocessing.get_context("spawn"))
    try:
        for piece in pieces:
            waiting.append(pool.submit(run_of, authority, start, piece))
            start += len(piece)
            if len(waiting) > 2 * hands:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
