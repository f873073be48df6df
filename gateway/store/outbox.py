"""The hint that something may have become due."""

from collections.abc import Callable


class OutboxSignal:
    """Tells those who listen that the outbox changed, here or in another process."""

    def __init__(self) -> None:
        self._listening: list[Callable[[], None]] = []

    def listen(self, tell: Callable[[], None]) -> None:
        """Have *tell* called at each change: at once, so it must not do the work itself."""
        self._listening.append(tell)

    def notify(self) -> None:
        """Note a change."""
        for tell in self._listening:
            tell()
