"""Whether this node may record and sign now (protocol §9 "Start-up", "Clock")."""

from collections.abc import Sequence

from gateway.core.drift import has_jumped, is_apart
from gateway.ports import Clock, Steady

_ASKING = "the node is starting: it asks its peers how far they know its log to be"
_WAY_OUT = "set it, or confirm it with art18 audit confirm-clock; until then nothing is recorded or signed"
_JUMPED = f"the clock of this machine has jumped by more than five minutes: {_WAY_OUT}"
_APART = f"the clock of this machine is more than five minutes off most peers: {_WAY_OUT}"


class Sentry:
    """The guard of the store: it objects until the standing was looked at, and while the clock is doubted.

    The clock is doubted if most peers that could be reached have another time, or if it has stepped
    against the one that counts from the boot. It is believed again when it agrees with most of them, when
    it has stepped back, or when an operator confirms it: that holds until it agrees, or steps again.

    Attributes:
        objected: the clock was doubted since `told` was last called.
    """

    def __init__(self, clock: Clock, steady: Steady) -> None:
        self._clock = clock
        self._steady = steady
        self._asking = True
        self._apart = False
        self._confirmed = False
        self._ahead_ms = self._now_ahead_ms()
        self.objected = False

    def objection(self) -> str | None:
        """Return why nothing may be recorded or signed now; None if it may."""
        return _ASKING if self._asking else self.doubt()

    def doubt(self) -> str | None:
        """Return why the clock is not believed now; None if it is."""
        found = None
        if has_jumped(self._ahead_ms, self._clock.now_ms(), self._steady.boot_ms()):
            found = _JUMPED
        elif self._apart and not self._confirmed:
            found = _APART
        self.objected |= found is not None
        return found

    @property
    def apart(self) -> bool:
        """Whether most peers have another time, confirmed or not."""
        return self._apart

    def admit(self) -> None:
        """Note that the standing was looked at."""
        self._asking = False

    def heard(self, offsets_ms: Sequence[int]) -> None:
        """Note how far the clocks of the peers that were reached just now are ahead of this one."""
        if not offsets_ms:
            return  # nobody says anything: as before
        self._apart = is_apart(offsets_ms)
        if not self._apart:
            self._confirmed = False
            self._ahead_ms = self._now_ahead_ms()

    def confirm(self) -> bool:
        """Believe the clock on an operator's word; return whether it was doubted."""
        if self.doubt() is None:
            return False
        self._confirmed, self._ahead_ms = True, self._now_ahead_ms()
        return True

    def withdraw(self) -> None:
        """Take back a confirmation that could not be recorded: the clock is doubted until it agrees."""
        self._confirmed, self._apart = False, True

    def told(self) -> None:
        """Note that an operator was told of the doubt."""
        self.objected = False

    def _now_ahead_ms(self) -> int:
        return self._clock.now_ms() - self._steady.boot_ms()
