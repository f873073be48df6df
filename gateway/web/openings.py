"""Opening attachments in full before they are receipted (protocol §1 rule 6).

A blob under its digest never changes, so what it opened to is remembered: a peer that is told to
ask again (425 `check_running`) finds the work done, and a decision that is taken twice costs once.
"""

import asyncio
import contextlib
import hashlib
import os
from collections import OrderedDict
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from gateway.core.errors import PeerFault
from keys.errors import CannotOpen
from keys.stream import CHUNK, TAG, check_length, chunk_count, open_chunk

PATIENCE_S = 20.0
"""How long a request waits for its attachments: well within the patience of who asks."""

_AT_ONCE = 2
_REMEMBERED = 4096
_RETRY_S = 5
_SEALED_CHUNK = CHUNK + TAG


@dataclass(frozen=True, slots=True)
class Plain:
    """What a blob opened to: the SHA-256 of its plain content; or `fault`, why it does not open."""

    sha256: str
    fault: str | None = None


class Openings:
    """Blobs being opened, in threads, and what those before opened to."""

    def __init__(self, patience_s: float = PATIENCE_S) -> None:
        self._patience_s = patience_s
        self._tasks: OrderedDict[tuple[Path, int, bytes], asyncio.Task[Plain]] = OrderedDict()
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

    async def open(self, path: Path, size: int, key: bytes) -> Plain:
        """Return what the blob at *path* opens to under *key*, if it opens to *size* bytes.

        Raises:
            OSError: it cannot be read.
        """
        place = (path, size, hashlib.sha256(key).digest())
        task = self._tasks.get(place)
        if task is None:
            task = self._tasks[place] = asyncio.create_task(self._opened(path, size, key), name="opening")
            self._forget()
        self._tasks.move_to_end(place)
        try:
            return await asyncio.shield(task)
        finally:
            if task.done() and (task.cancelled() or task.exception() is not None):
                self._tasks.pop(place, None)

    async def _opened(self, path: Path, size: int, key: bytes) -> Plain:
        async with self._slots:
            return await asyncio.to_thread(_open, path, size, key)

    def _forget(self) -> None:
        """Forget what was asked for longest ago, once it is done."""
        if len(self._tasks) <= _REMEMBERED:
            return
        done = [place for place, task in self._tasks.items() if task.done()]
        for place in done[: len(self._tasks) - _REMEMBERED]:
            del self._tasks[place]


def opens_first(path: Path, key: bytes) -> bool:
    """Return whether the first chunk of the blob at *path* opens under *key*. Blocks."""
    try:
        with path.open("rb", buffering=0) as file:
            alone = os.fstat(file.fileno()).st_size <= _SEALED_CHUNK
            open_chunk(key, 0, os.pread(file.fileno(), _SEALED_CHUNK, 0), last=alone)
    except CannotOpen:
        return False
    return True


def _open(path: Path, size: int, key: bytes) -> Plain:
    """Open every chunk; another thread hashes one while the next is opened."""
    digest, chunks = hashlib.sha256(), chunk_count(size)
    with path.open("rb", buffering=0) as file, ThreadPoolExecutor(1) as other:
        handle = file.fileno()
        hashed = other.submit(digest.update, b"")
        try:
            check_length(os.fstat(handle).st_size, size)
            for index in range(chunks):
                sealed = os.pread(handle, _SEALED_CHUNK, index * _SEALED_CHUNK)
                plain = open_chunk(key, index, sealed, last=index == chunks - 1, chunks=chunks)
                hashed.result()
                hashed = other.submit(digest.update, plain)
        except CannotOpen as fault:
            return Plain("", fault.code)
        hashed.result()
    return Plain(digest.hexdigest())
