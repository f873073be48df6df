"""Opening attachments in full before they are receipted (protocol §1 rule 6).

A blob under its digest never changes, so what it opened to is remembered: a peer that is told to
ask again (425 `check_running`) finds the work done, and a decision that is taken twice costs once.
"""

import asyncio
import contextlib
import hashlib
from collections import OrderedDict
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import structlog

from gateway.core.errors import PeerFault
from keys.errors import CannotOpen
from keys.stream import StreamOpener

PATIENCE_S = 20.0
"""How long a request waits for its attachments: well within the patience of who asks."""

_AT_ONCE = 2
_REMEMBERED = 4096
_RETRY_S = 5
_READ_BYTES = 1 << 20

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Plain:
    """What a blob opened to: size and SHA-256 of the plain content. Size -1: it does not open."""

    size_bytes: int
    sha256: str


class Openings:
    """Blobs being opened, in threads, and what those before opened to."""

    def __init__(self, patience_s: float = PATIENCE_S) -> None:
        self._patience_s = patience_s
        self._tasks: OrderedDict[tuple[Path, bytes], asyncio.Task[Plain]] = OrderedDict()
        self._slots = asyncio.Semaphore(_AT_ONCE)

    @contextlib.asynccontextmanager
    async def in_time(self) -> AsyncIterator[None]:
        """Bound the time that the block may take; what was begun in it goes on.

        Raises:
            PeerFault: 425 `check_running`.
        """
        try:
            async with asyncio.timeout(self._patience_s):
                yield
        except TimeoutError:
            raise PeerFault(425, "check_running", retry_after_s=_RETRY_S) from None

    async def open(self, path: Path, key: bytes) -> Plain:
        """Return what the blob at *path* opens to under *key*."""
        place = (path, hashlib.sha256(key).digest())
        task = self._tasks.get(place)
        if task is None:
            task = self._tasks[place] = asyncio.create_task(self._opened(path, key), name="opening")
            self._forget()
        self._tasks.move_to_end(place)
        try:
            return await asyncio.shield(task)
        finally:
            if task.done() and (task.cancelled() or task.exception() is not None):
                self._tasks.pop(place, None)

    async def _opened(self, path: Path, key: bytes) -> Plain:
        async with self._slots:
            return await asyncio.to_thread(_open, path, key)

    def _forget(self) -> None:
        """Forget what was asked for longest ago, once it is done."""
        if len(self._tasks) <= _REMEMBERED:
            return
        done = [place for place, task in self._tasks.items() if task.done()]
        for place in done[: len(self._tasks) - _REMEMBERED]:
            del self._tasks[place]


def _open(path: Path, key: bytes) -> Plain:
    opener = StreamOpener(key)
    try:
        with path.open("rb") as file:
            while chunk := file.read(_READ_BYTES):
                opener.update(chunk)
        opener.finish()
    except CannotOpen as fault:
        _log.warning("attachment.unopened", code=fault.code)
        return Plain(-1, "")
    return Plain(opener.plain_size, opener.plain_sha256)
