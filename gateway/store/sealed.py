"""An upload on disk: sealed as it grows, and taken up where it ends, after whatever ended the writing.

Two files: whole sealed chunks, and a *tail*, what came and is less than a chunk. What lies in them
decides the offset; what is in memory is a cache, valid while chunks and tail end where it remembers, and
otherwise read anew from them (every chunk is opened: it counts if it is authentic, and the first that is
not ends the upload).

Why no two plaintexts meet under one (key, counter) (protocol §7). A chunk is sealed only once all of it is
there, so there is one plaintext for it while it is remembered. It is forgotten when a process ends or an
append fails, and then the client brings again what was not acknowledged: perhaps other bytes. All that may
be on disk of the first ones under the key is what follows the last whole chunk in the file. It stays there
until that chunk is sealed again, and the new form must begin with it: ciphertexts that agree, under one key
and counter, are those of plaintexts that agree. Any other is never written, and its upload is deleted.
A tail is never sealed under the key of the stream: see `keys.tail`. (A power cut may take from a file what
had reached the blocks of the disk. What no file shows any more cannot be compared: a thief of the raw disk
gains from it, if the client then brought other content.)

Whatever was acknowledged is kept: `settle` syncs the chunks first, then lets go of the tail that they
replace, then adds what is left to the tail and syncs that. A torn end of the tail is cut off: it was
never acknowledged. A tail of very many small segments is written anew as one, synced, and then takes the
name of the old one: of the two, either is what was acknowledged.

Every method blocks: call it in a thread. One at a time, but for `hash` beside `write`, and
`sync` beside both.
"""

import contextlib
import hashlib
import struct

from gateway.core.custody import UploadKeys
from gateway.core.errors import Misuse
from gateway.core.ids import Digest
from gateway.store.blobs import BlobFolder, GrowingBlob
from keys.errors import CannotOpen
from keys.stream import CHUNK, TAG, open_chunk, seal_chunk
from keys.tail import OVERHEAD, open_segment, seal_segment

_HEADER = struct.Struct(">QI")
"""Before each segment of a tail: where its plaintext begins in the upload, and how long it is."""

_LONGEST_TAIL = 2 * CHUNK
"""How long the file of a tail gets before it is written anew: at least a chunk's worth of it is overhead."""


class SealedUpload:
    """The files of one upload that is not whole, or not recorded as whole.

    Between `open` and `close` they are locked. What was taken and not settled, because the disk was
    full, say, is forgotten: the next `open` finds on disk what counts.
    """

    def __init__(self, blobs: BlobFolder, upload: str, length: int, keys: UploadKeys) -> None:
        self._blobs, self._upload, self._keys = blobs, upload, keys
        self.length = length
        self._files = contextlib.ExitStack()
        self._stream: GrowingBlob
        self._tail: GrowingBlob
        self._known: tuple[int, int] | None = None
        self._forget()

    def _forget(self) -> None:
        self._plain, self._blob = hashlib.sha256(), hashlib.sha256()
        self._chunks = 0
        self._sealed_bytes = 0
        self._synced_bytes = 0
        self._rest = bytearray()
        self._kept = 0
        self.is_whole = False

    @property
    def stream_key(self) -> bytes:
        """The key of the chunks."""
        return self._keys.stream

    @property
    def offset(self) -> int:
        """How many bytes of the upload are here; all of them durable after `open` and `settle`."""
        return min(self._chunks * CHUNK, self.length) + len(self._rest)

    @property
    def unsynced_bytes(self) -> int:
        """How many sealed bytes a `sync` would have to bring to the disk."""
        return self._sealed_bytes - self._synced_bytes

    @property
    def plain_sha256(self) -> Digest:
        """The digest of the plain bytes that are here."""
        return Digest(self._plain.hexdigest())

    @property
    def blob_sha256(self) -> Digest:
        """The digest of the chunks that are here."""
        return Digest(self._blob.hexdigest())

    def open(self) -> None:
        """Lock the files, and find where the upload ends; the one chunk of an empty one is sealed.

        Raises:
            BlockingIOError: somebody else has them open.
        """
        with contextlib.ExitStack() as files:
            self._stream = files.enter_context(self._blobs.growing(self._blobs.outgoing(self._upload)))
            self._tail = files.enter_context(self._blobs.growing(self._blobs.tail(self._upload)))
            if self._known is not None and self._known[0] == self._stream.size_bytes:
                self._rest = self._open_tail()
            if self._known != self._end:
                self._recover()
            if len(self._rest) == self._chunk_bytes:
                self.write(b"")
            self._files = files.pop_all()

    def close(self) -> None:
        """Unlock the files. What was taken since `settle` counts only as far as it is a whole chunk."""
        self._files.close()
        self._rest = bytearray()

    def hash(self, piece: bytes) -> None:
        """Count *piece* into the digest of the plain bytes."""
        self._known = None
        self._plain.update(piece)

    def write(self, piece: bytes) -> None:
        """Take *piece*: append the chunks that are full now, keep the rest.

        The final chunk is full when the length is reached, be it empty.

        Raises:
            Misuse: 410 `other_content`: other bytes than those that came before at this place.
            OSError: no room, say.
        """
        self._known = None
        view = memoryview(piece)
        while not self.is_whole:
            missing = self._chunk_bytes - len(self._rest)
            if len(view) < missing:
                self._rest += view
                return
            if self._rest:
                self._rest += view[:missing]
                self._append(memoryview(self._rest))
                self._rest = bytearray()
            else:
                self._append(view[:missing])
            view = view[missing:]

    def sync(self) -> None:
        """Make durable what was appended so far."""
        sealed_bytes = self._sealed_bytes
        self._stream.sync()
        self._synced_bytes = sealed_bytes

    def settle(self) -> None:
        """Make durable all that was taken. Raises OSError."""
        if self.unsynced_bytes:
            self.sync()
        if not self._kept and self._tail.size_bytes:
            self._tail.truncate(0)
        if len(self._rest) > self._kept:
            if self._tail.size_bytes > _LONGEST_TAIL:
                self._renew_tail()
            else:
                self._extend(self._tail, self._kept)
            self._kept = len(self._rest)
        self._known = self._end

    @property
    def _end(self) -> tuple[int, int]:
        """How long the file of the chunks is, and how far the upload has come."""
        return self._stream.size_bytes, self.offset

    @property
    def _chunk_bytes(self) -> int:
        """How many plain bytes the chunk has that is being filled."""
        return min(CHUNK, self.length - self._chunks * CHUNK)

    @property
    def _is_last(self) -> bool:
        return (self._chunks + 1) * CHUNK >= self.length

    def _append(self, chunk: memoryview) -> None:
        """Seal *chunk* and append it: what is torn at the end of the file must be its beginning."""
        sealed = seal_chunk(self._keys.stream, self._chunks, chunk, last=self._is_last)
        torn = b""
        if self._stream.size_bytes > self._sealed_bytes:
            torn = self._stream.read(self._sealed_bytes, len(sealed))
        if not sealed.startswith(torn):
            raise Misuse(410, "other_content", "other bytes came here before: begin the upload anew")
        self._stream.append(memoryview(sealed)[len(torn) :])
        self._count(sealed)
        self._kept = 0

    def _count(self, sealed: bytes) -> None:
        """Count a chunk that lies at the end of those that count."""
        self._blob.update(sealed)
        self._sealed_bytes += len(sealed)
        self.is_whole = self._is_last
        self._chunks += 1

    def _recover(self) -> None:
        """Find on disk what counts, and make it durable: the last process may have ended before."""
        self._forget()
        while not self.is_whole:
            sealed = self._stream.read(self._sealed_bytes, self._chunk_bytes + TAG)
            try:
                plain = open_chunk(self._keys.stream, self._chunks, sealed, last=self._is_last)
            except CannotOpen:
                break
            if len(plain) != self._chunk_bytes:
                break
            self._plain.update(plain)
            self._count(sealed)
        self._rest = self._open_tail()
        self._plain.update(self._rest)
        self.sync()
        self._tail.sync()
        self._known = self._end

    def _open_tail(self) -> bytearray:
        """Return the plain rest after the last chunk; cut off what is torn, or of a chunk that is sealed."""
        rest, position, start = bytearray(), 0, self._chunks * CHUNK
        while not self.is_whole and len(rest) < self._chunk_bytes:
            header = self._tail.read(position, _HEADER.size)
            if len(header) < _HEADER.size:
                break
            begin, size = _HEADER.unpack(header)
            if begin != start + len(rest) or size > self._chunk_bytes - len(rest):
                break
            sealed = self._tail.read(position + _HEADER.size, size + OVERHEAD)
            try:
                rest += open_segment(self._keys.tail, sealed, self._place(begin))
            except CannotOpen:
                break
            position += _HEADER.size + len(sealed)
        if position < self._tail.size_bytes:
            self._tail.truncate(position)
        self._kept = len(rest)
        return rest

    def _extend(self, tail: GrowingBlob, kept: int) -> None:
        """Append the rest to *tail*, which has *kept* bytes of it, as a segment, and sync that."""
        start = self._chunks * CHUNK + kept
        fresh = bytes(memoryview(self._rest)[kept:])
        sealed = seal_segment(self._keys.tail, fresh, self._place(start))
        tail.append(_HEADER.pack(start, len(fresh)) + sealed)
        tail.sync()

    def _renew_tail(self) -> None:
        """Write all of the rest as one segment into a file that takes the place of the tail."""
        path = self._blobs.next_tail(self._upload)
        tail = self._files.enter_context(self._blobs.growing(path))
        tail.truncate(0)  # what a crash left
        self._extend(tail, 0)
        self._blobs.replace(path, self._blobs.tail(self._upload))
        self._tail = tail

    def _place(self, start: int) -> bytes:
        """Return what binds a segment of the tail to this upload and its place in it."""
        return f"art18/tail/v1\x00{self._upload}\x00{start}".encode("ascii")
