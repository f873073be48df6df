"""The clock and the dice of production."""

import os
import random
import time
from dataclasses import dataclass

_NS_PER_MS = 1_000_000
_BOOT = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
"""Where there is no such clock, sleep looks like a step, until the peers agree."""
_UUID_BITS = 128
_UUID_FIXED = ~(0xF << 76 | 0x3 << 62)
_UUID_4 = 4 << 76 | 2 << 62
"""Version 4, and the variant of RFC 9562, at their places."""


@dataclass(frozen=True, slots=True)
class SystemClock:
    """The clock of this machine."""

    def now_ms(self) -> int:
        """Return UTC in milliseconds since 1970."""
        return time.time_ns() // _NS_PER_MS


@dataclass(frozen=True, slots=True)
class BootClock:
    """The clock of this machine that counts on from its boot, asleep or not; nobody sets it."""

    def boot_ms(self) -> int:
        """Return the milliseconds since the machine was started."""
        return time.clock_gettime_ns(_BOOT) // _NS_PER_MS


@dataclass(frozen=True, slots=True)
class SystemEntropy:
    """The randomness of the operating system."""

    def uuid4(self) -> str:
        """Return a UUID version 4."""
        drawn = int.from_bytes(os.urandom(_UUID_BITS // 8)) & _UUID_FIXED | _UUID_4
        text = f"{drawn:032x}"
        return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"

    def jitter(self) -> float:
        """Return a number in [0, 1)."""
        return random.SystemRandom().random()
