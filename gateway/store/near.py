"""Reads on the event loop's own thread: done before another thread would be awake (docs/decisions/0013)."""

import sqlite3
import time
from typing import Any

AT_ONCE_KEYS = 64
"""The most keys to look up here: those of one batch of envelopes."""
_AT_ONCE_S = 0.002
"""How long a read may hold up the loop."""
_STEPS = 100
"""How many steps of SQLite's machine pass between two looks at the time: a few rows, or some 5 µs."""


class NearReader:
    """A reading connection that never waits, of the thread that made it."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._until_s = 0.0
        connection.execute("PRAGMA busy_timeout=0")
        connection.set_progress_handler(self._is_late, _STEPS)

    def read(self, sql: str, arguments: tuple[Any, ...]) -> list[Any] | None:
        """Return what *sql* selects; None if it cannot be had at once."""
        self._until_s = time.monotonic() + _AT_ONCE_S
        try:
            return self._connection.execute(sql, arguments).fetchall()
        except (
            sqlite3.OperationalError
        ):  # broken off, or a lock in the way: whoever can wait meets a real fault
            return None

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _is_late(self) -> bool:
        return time.monotonic() > self._until_s
