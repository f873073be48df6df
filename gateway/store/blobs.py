"""Encrypted attachments on disk: files that are appended to in their place, and synced (protocol §1, §7).

Incoming blobs lie under their peer, so that one peer's digest says nothing about another's files.
Names are digests and authority ids, never what a sender called a file. Every method that touches
the disk blocks: call it in a thread.
"""

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from gateway.core.ids import AuthorityId, Digest

_TAIL, _NEXT_TAIL = ".tail", ".next.tail"


class BlobFolder:
    """The folder of all blobs of a node."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def prepare(self) -> None:
        """Make the folders."""
        for folder in (self._root / "in", self._root / "out"):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _sync_folder(self._root)

    def incoming(self, peer: AuthorityId, digest: Digest) -> Path:
        """Return where the blob that *peer* brought lies."""
        return self._root / "in" / peer / digest

    def outgoing(self, upload: str) -> Path:
        """Return where the blob that our own system brings lies, from its first byte on."""
        return self._root / "out" / upload

    def tail(self, upload: str) -> Path:
        """Return where the tail of an upload lies: what is less than a chunk."""
        return self._root / "out" / (upload + _TAIL)

    def next_tail(self, upload: str) -> Path:
        """Return where a tail is written that is to take the place of the one there is."""
        return self._root / "out" / (upload + _NEXT_TAIL)

    def idle_uploads(self, before_s: float) -> dict[tuple[str, ...], list[Path]]:
        """Return the files of uploads that were last written before *before_s*, by the key of their row."""
        found: dict[tuple[str, ...], list[Path]] = {}
        for path in _idle(self._root / "out", before_s):
            found.setdefault((path.name.partition(".")[0],), []).append(path)
        return found

    def idle_blobs(self, before_s: float) -> dict[tuple[str, ...], list[Path]]:
        """Return the blobs of peers that were last written before *before_s*, by the key of their row."""
        return {
            (folder.name, path.name): [path]
            for folder in (self._root / "in").iterdir()
            for path in _idle(folder, before_s)
        }

    @contextlib.contextmanager
    def growing(self, path: Path) -> Iterator["GrowingBlob"]:
        """Open the blob at *path* to append to it; it is made if it is not there.

        Raises:
            BlockingIOError: somebody else is appending, in this process or another.
        """
        made = not path.exists()
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if made:
                _sync_folder(path.parent)
                _sync_folder(path.parent.parent)
            yield GrowingBlob(handle)
        finally:
            os.close(handle)

    @contextlib.contextmanager
    def passing(self) -> Iterator["GrowingBlob"]:
        """Give a blob without a name: it is gone after the block, or with the process."""
        with tempfile.TemporaryFile(dir=self._root) as file:
            yield GrowingBlob(file.fileno())

    def replace(self, path: Path, target: Path) -> None:
        """Give the blob at *path*, which is durable, the name of another one, which is gone then."""
        path.replace(target)
        _sync_folder(target.parent)

    def delete(self, path: Path) -> None:
        """Delete a blob, if it is there."""
        path.unlink(missing_ok=True)

    def synced_bytes(self, path: Path) -> int:
        """Return how long a blob is, once that much of it is durable; 0 if there is none."""
        try:
            with path.open("rb") as file:
                size_bytes = os.fstat(file.fileno()).st_size
                os.fdatasync(file.fileno())
        except FileNotFoundError:
            return 0
        return size_bytes

    def delete_idle(self, path: Path) -> bool:
        """Delete a blob unless somebody is appending to it; return whether it was deleted."""
        try:
            with path.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink()
        except (FileNotFoundError, BlockingIOError):
            return False
        return True

    def size_bytes(self, path: Path) -> int:
        """Return how much of a blob is there."""
        try:
            return path.stat().st_size
        except FileNotFoundError:
            return 0

    def free_bytes(self) -> int:
        """Return how much room the disk has for an ordinary user."""
        return shutil.disk_usage(self._root).free


class GrowingBlob:
    """A file that is appended to over many requests: what is on disk says how far it has come."""

    def __init__(self, handle: int) -> None:
        self._handle = handle
        self.size_bytes = os.fstat(handle).st_size

    def append(self, data: bytes | bytearray | memoryview) -> None:
        """Append all of *data*. Raises OSError: the disk is full, say; a part of it may be there then."""
        left = memoryview(data)
        while left:
            written = os.write(self._handle, left)
            self.size_bytes += written
            left = left[written:]

    def sync(self) -> None:
        """Make durable what was appended."""
        os.fdatasync(self._handle)

    def truncate(self, size_bytes: int) -> None:
        """Keep the first *size_bytes* alone."""
        os.ftruncate(self._handle, size_bytes)
        self.size_bytes = size_bytes

    def read(self, offset: int, size_bytes: int) -> bytes:
        """Return *size_bytes* from *offset*, fewer at the end."""
        return os.pread(self._handle, size_bytes, offset)


def _idle(folder: Path, before_s: float) -> Iterator[Path]:
    """Yield the files in *folder* that were last written before *before_s*."""
    for path in folder.iterdir():
        with contextlib.suppress(FileNotFoundError):
            if path.stat().st_mtime < before_s:
                yield path


def _sync_folder(folder: Path) -> None:
    """Make the names in *folder* durable."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
