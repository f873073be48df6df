"""A blob of a peer on disk while it arrives: appended to, and taken up where the file ends.

The file is the truth: how long it is says how far the blob has come. The digest so far is a cache, valid
while the file is as long as what was hashed, and otherwise computed anew from the file.

Every method blocks: call it in a thread. One at a time, but for `hash` beside `write`, and `sync` beside
both.
"""

import contextlib
import hashlib
from pathlib import Path

from gateway.core.ids import Digest
from gateway.store.blobs import BlobFolder, GrowingBlob

_READ_BYTES = 1 << 20


class ArrivingBlob:
    """The file at *path*, which is locked between `open` and `close`."""

    def __init__(self, blobs: BlobFolder, path: Path) -> None:
        self._blobs, self._path = blobs, path
        self._file = contextlib.ExitStack()
        self._blob: GrowingBlob
        self._hash = hashlib.sha256()
        self._hashed_bytes = 0
        self._synced_bytes = 0

    @property
    def offset(self) -> int:
        """How many bytes are there; all of them durable after `open` and `sync`."""
        return self._blob.size_bytes

    @property
    def unsynced_bytes(self) -> int:
        """How many bytes a `sync` would have to bring to the disk."""
        return self._blob.size_bytes - self._synced_bytes

    @property
    def sha256(self) -> Digest:
        """The digest of what is there."""
        return Digest(self._hash.hexdigest())

    def open(self) -> None:
        """Lock the file, make durable what is there, and know its digest.

        Raises:
            BlockingIOError: somebody else has it open.
        """
        with contextlib.ExitStack() as file:
            self._blob = file.enter_context(self._blobs.growing(self._path))
            if self._blob.size_bytes != self._hashed_bytes:
                self._hash_anew()
            self.sync()
            self._file = file.pop_all()

    def close(self) -> None:
        """Unlock the file."""
        self._file.close()

    def hash(self, piece: bytes) -> None:
        """Count *piece* into the digest."""
        self._hash.update(piece)
        self._hashed_bytes += len(piece)

    def write(self, piece: bytes) -> None:
        """Append *piece*. Raises OSError: no room, say; what is there then is its beginning."""
        self._blob.append(piece)

    def sync(self) -> None:
        """Make durable what was appended so far."""
        size_bytes = self._blob.size_bytes
        if size_bytes != self._synced_bytes:
            self._blob.sync()
            self._synced_bytes = size_bytes

    def _hash_anew(self) -> None:
        self._hash, self._hashed_bytes = hashlib.sha256(), 0
        while piece := self._blob.read(self._hashed_bytes, _READ_BYTES):
            self.hash(piece)
