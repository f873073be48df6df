"""The clock and the dice of production."""

import random
import time
import uuid
from dataclasses import dataclass

_NS_PER_MS = 1_000_000


@dataclass(frozen=True, slots=True)
class SystemClock:
    """The clock of this machine."""

    def now_ms(self) -> int:
        """Return UTC in milliseconds since 1970."""
        return time.time_ns() // _NS_PER_MS


@dataclass(frozen=True, slots=True)
class SystemEntropy:
    """The randomness of the operating system."""

    def uuid4(self) -> str:
        """Return a UUID version 4."""
        return str(uuid.uuid4())

    def jitter(self) -> float:
        """Return a number in [0, 1)."""
        return random.SystemRandom().random()
