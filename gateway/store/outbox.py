"""Hints to those who wait in this process: something may have become due, the log has grown."""

from collections.abc import Callable


class Signal:
    """Tells those who listen that something changed."""

    def __init__(self) -> None:
        self._listening: list[Callable[[], None]] = []

    def listen(self, tell: Callable[[], None]) -> None:
        """Have *tell* called at each change: at once, so it must not do the work itself."""
        self._listening.append(tell)

    def notify(self) -> None:
        """Note a change."""
        for tell in self._listening:
            tell()


class OutboxSignal(Signal):
    """Tells those who listen that the outbox changed, here or in another process."""


class GrowthSignal(Signal):
    """Tells those who listen that this process has added to the log."""
