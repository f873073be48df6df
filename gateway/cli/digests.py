"""SHA-256 of what passes by: computed in a thread, while the next piece is read, written or sent."""

import hashlib
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Self


class Digest:
    """The digest of the pieces given so far; one of them at most is still being hashed."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="digest")
        self._running: Future[None] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._thread.shutdown()

    def update(self, piece: bytes | memoryview) -> None:
        """Take *piece*, which is not to change."""
        self._settle()
        self._running = self._thread.submit(self._hash.update, piece)

    def restart(self) -> None:
        """Forget every piece."""
        self._settle()
        self._hash = hashlib.sha256()

    def digest(self) -> bytes:
        """Return the digest of all pieces."""
        self._settle()
        return self._hash.digest()

    def _settle(self) -> None:
        if self._running is not None:
            self._running.result()
            self._running = None
