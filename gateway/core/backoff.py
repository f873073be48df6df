"""How long to wait after a failure, and the way to a peer that all its messages share.

30 s, doubling with full jitter, at most 30 min (protocol §8 "Sending").
"""

from dataclasses import dataclass

FIRST_MS = 30_000
LONGEST_MS = 30 * 60_000

_SHORTEST_MS = 1_000
_DOUBLINGS = 16


def backoff_ms(attempt: int, jitter: float) -> int:
    """Return how long to wait after the *attempt*-th failure in a row (from 1).

    *jitter*, in [0, 1), is the share that is waited; never under a second, so that no jitter makes
    a loop run hot.
    """
    longest = min(LONGEST_MS, FIRST_MS << min(max(attempt, 1) - 1, _DOUBLINGS))
    return max(_SHORTEST_MS, int(longest * jitter))


def wait_ms(attempt: int, jitter: float, retry_after_s: int | None) -> int:
    """Return the backoff, or as long as the peer asks for if that is longer, within the cap."""
    return max(backoff_ms(attempt, jitter), min(1000 * (retry_after_s or 0), LONGEST_MS))


@dataclass(frozen=True, slots=True)
class Way:
    """The way to one peer: failures in a row, when to try again, and the code of the last one."""

    attempt: int = 0
    next_ms: int = 0
    problem: str | None = None

    def is_open(self, now_ms: int) -> bool:
        """Return whether something may be posted now."""
        return self.next_ms <= now_ms


OPEN = Way()
"""After any answer, the peer's next authenticated request, or an operator's retry."""


def obstructed(way: Way, code: str, now_ms: int, jitter: float, *, retry_after_s: int | None = None) -> Way:
    """Return *way* after no connection, a 429 or a 503: these back off the peer."""
    attempt = way.attempt + 1
    return Way(attempt, now_ms + wait_ms(attempt, jitter, retry_after_s), code)
