"""Encrypted attachments on disk: written whole, synced with their folder, then named (protocol §1, §7).

Incoming blobs lie under their peer, so that one peer's digest says nothing about another's files.
Names are digests and authority ids, never what a sender called a file. Every method that touches
the disk blocks: call it in a thread.
"""

import contextlib
import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from gateway.core.ids import AuthorityId, Digest


class BlobFolder:
    """The folder of all blobs of a node."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._partial = root / "partial"

    def prepare(self) -> None:
        """Make the folders; forget what a crash left half written.

        Other processes of the authority share the folder: what one of them is writing is locked.
        """
        for folder in (self._partial, self._root / "in", self._root / "out"):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _sync_folder(self._root)
        for left in self._partial.iterdir():
            with contextlib.suppress(FileNotFoundError, BlockingIOError), left.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                left.unlink()

    def incoming(self, peer: AuthorityId, digest: Digest) -> Path:
        """Return where the blob that *peer* brought lies."""
        return self._root / "in" / peer / digest

    def outgoing(self, digest: Digest) -> Path:
        """Return where the blob that our own system brought lies."""
        return self._root / "out" / digest

    @contextlib.contextmanager
    def writer(self) -> Iterator["BlobWriter"]:
        """Give a writer; what is not kept by the end of the block is deleted."""
        handle, name = tempfile.mkstemp(dir=self._partial)
        with os.fdopen(handle, "wb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            try:
                yield BlobWriter(file, Path(name))
            finally:
                Path(name).unlink(missing_ok=True)

    def delete(self, path: Path) -> None:
        """Delete a blob, if it is there."""
        path.unlink(missing_ok=True)

    def free_bytes(self) -> int:
        """Return how much room the disk has for an ordinary user."""
        return shutil.disk_usage(self._root).free


class BlobWriter:
    """A blob that is being written; `sha256` and `size_bytes` are of what was written so far."""

    def __init__(self, file: BinaryIO, path: Path) -> None:
        self._file, self._path = file, path
        self._hash = hashlib.sha256()
        self.size_bytes = 0

    @property
    def sha256(self) -> Digest:
        """Return the digest so far."""
        return Digest(self._hash.hexdigest())

    def write(self, data: bytes) -> None:
        """Append *data*."""
        self._file.write(data)
        self._hash.update(data)
        self.size_bytes += len(data)

    def keep(self, target: Path) -> None:
        """Make the blob durable under *target*: the file first, then the name."""
        self._file.flush()
        os.fsync(self._file.fileno())
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._path.replace(target)
        _sync_folder(target.parent)
        _sync_folder(target.parent.parent)


def _sync_folder(folder: Path) -> None:
    """Make the names in *folder* durable."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
