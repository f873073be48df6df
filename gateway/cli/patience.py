"""How long a command tries again what broke off: as long as something comes of it, and a minute more."""

import time
from collections.abc import Callable

from gateway.cli.hook import BrokenOff, Refused, Unreachable

PATIENCE_S = 60.0

_FIRST_S = 0.25
_LONGEST_S = 3.0
_PASSING = frozenset({"upload_busy", "wrong_offset", "too_many_uploads"})
_UNAVAILABLE = 503


def passes(fault: Refused) -> bool:
    """Say whether the node may answer otherwise in a moment."""
    return fault.status == _UNAVAILABLE or fault.code in _PASSING


class Patience:
    """Waits between attempts, and ends them once nothing has come of them for *patience_s* seconds."""

    def __init__(
        self,
        patience_s: float = PATIENCE_S,
        *,
        now: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._patience_s, self._now, self._sleep = patience_s, now, sleep
        self._since: float | None = None
        self._pause_s = _FIRST_S

    def progressed(self) -> None:
        """Begin anew: something came of the last attempt."""
        self._since, self._pause_s = None, _FIRST_S

    def wait(self, fault: Unreachable | BrokenOff | Refused) -> None:
        """Wait for the next attempt after *fault*.

        Raises:
            Unreachable: nothing has come of it for too long.
        """
        now = self._now()
        self._since = now if self._since is None else self._since
        if now - self._since >= self._patience_s:
            raise Unreachable(f"{fault} The same command goes on where this one ended.") from None
        self._sleep(self._pause_s)
        self._pause_s = min(self._pause_s * 2, _LONGEST_S)
