"""An event on its way to a webhook: what an attempt comes to, and when the next one is.

5 s, doubling with jitter, at most 4 h, for three days from the first attempt. Then it has failed, and
the next event has its turn.
"""

from dataclasses import dataclass
from enum import StrEnum

FIRST_MS = 5_000
LONGEST_MS = 4 * 3_600_000
LASTS_MS = 3 * 24 * 3_600_000
"""How long it is tried, from the first attempt."""
KEPT_MS = 30 * 24 * 3_600_000
"""How long what became of it is kept."""
OVERLAP_MS = 24 * 3_600_000
"""How long the secret before signs too, after a new one was made."""

_DOUBLINGS = 16
_GONE = 410


class State(StrEnum):
    """Where it stands; `dropped` if its webhook was removed before."""

    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"
    DROPPED = "dropped"


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of an attempt: the receiver's status, or why there is none."""

    status: int | None
    problem: str | None
    took_ms: int

    @property
    def taken(self) -> bool:
        """Whether the receiver has taken the event."""
        return self.problem is None and self.status is not None and self.status // 100 == 2  # noqa: PLR2004 - 2xx

    @property
    def gone(self) -> bool:
        """Whether the receiver wants nothing more, ever."""
        return self.status == _GONE


@dataclass(frozen=True, slots=True)
class Progress:
    """The attempts so far: how many, when the first was, when the next is due."""

    state: State
    attempts: int
    first_ms: int | None
    next_ms: int


def wait_ms(attempt: int, jitter: float) -> int:
    """Return how long to wait after the *attempt*-th failure (from 1): at least half of the longest."""
    longest = min(LONGEST_MS, FIRST_MS << min(max(attempt, 1) - 1, _DOUBLINGS))
    return int(longest * (1 + jitter) / 2)


def step(progress: Progress, answer: Answer, now_ms: int, jitter: float) -> Progress:
    """Return *progress* after an attempt that ended now."""
    attempts = progress.attempts + 1
    first_ms = now_ms if progress.first_ms is None else progress.first_ms
    if answer.taken:
        return Progress(State.DELIVERED, attempts, first_ms, now_ms)
    if answer.gone or now_ms >= first_ms + LASTS_MS:
        return Progress(State.FAILED, attempts, first_ms, now_ms)
    next_ms = min(now_ms + wait_ms(attempts, jitter), first_ms + LASTS_MS)
    return Progress(State.PENDING, attempts, first_ms, next_ms)
