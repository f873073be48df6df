"""Attachments: the STREAM construction of the age format's payload (protocol §7).

Why this is safe. Each attachment has a fresh random key, and each chunk of it another counter (11
bytes: it cannot wrap), so no two plaintexts meet under one (key, nonce). A sealer is used once and
cannot go back. The last byte of the nonce marks the final chunk: cut or extended streams do not open,
nor do chunks in another order (STREAM of Hoang, Reyhanitabar, Rogaway and Vizár, as age uses it). There
is no associated data, since the key belongs to this attachment alone. Lengths are fixed as well: every
chunk but the last is full, and the last is empty only when it is the only one, so that one content has
one form under a key. That another key could open the same bytes to something else does not matter: the
sender signs the digest of the content.

What is wrong with a chunk that does not open is found out afterwards: it is tried as the other kind and
at the other places of its stream, as many as the stream has chunks and `_TRIES` at most, so that telling
costs no more than opening the whole would. Every try authenticates under the same key; whichever holds,
the plaintext is dropped and the chunk stays refused. The answer is for the operator of this node.
"""

import hashlib
import secrets

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from keys.errors import CannotOpen, KeyFault, MalformedToken

CHUNK = 1 << 20
"""Bytes of plaintext in each chunk but the last."""
TAG = 16
KEY_BYTES = 32

_SEALED_CHUNK = CHUNK + TAG
_COUNTER_BYTES = 11
_TRIES = 2048


def new_stream_key() -> bytes:
    """Return a fresh key for one attachment."""
    return secrets.token_bytes(KEY_BYTES)


def sealed_size(size: int) -> int:
    """Return the bytes of the encrypted form of *size* bytes: size + 16 · max(1, ⌈size / 2^20⌉)."""
    return size + TAG * chunk_count(size)


def seal_chunk(key: bytes, index: int, chunk: bytes | bytearray | memoryview, *, last: bool) -> bytes:
    """Return *chunk* sealed at *index*, as the final one or not.

    That nothing else is ever sealed there under *key* is the caller's to see to. Only the final
    chunk may be short, and be empty only when it is the only one.
    """
    shortest = (0 if index == 0 else 1) if last else CHUNK
    if not shortest <= len(chunk) <= CHUNK:
        raise KeyFault(f"chunk {index} has a length that no chunk there can have")
    return _cipher(key).encrypt(_nonce(index, last=last), chunk, None)


def chunk_count(size: int) -> int:
    """Return how many chunks *size* bytes are sealed in: an empty attachment is one."""
    return max(1, -(-size // CHUNK))


def check_length(sealed_bytes: int, size: int) -> None:
    """Check that *sealed_bytes* is the length of *size* signed bytes in their encrypted form.

    Raises:
        CannotOpen: `truncated` or `extended`.
    """
    expected = sealed_size(size)
    if sealed_bytes != expected:
        code = "truncated" if sealed_bytes < expected else "extended"
        raise CannotOpen(f"{sealed_bytes} bytes where the signed size asks for {expected}", code)


def open_chunk(key: bytes, index: int, chunk: bytes, *, last: bool, chunks: int | None = None) -> bytes:
    """Return the plaintext of the sealed *chunk* at *index*, the final one or not.

    That *last* is true of the stream's real end is the caller's to know: from its signed size. *chunks*
    is how many the stream has; without it, it counts as ending at *index*.

    Raises:
        CannotOpen: `truncated`: sealed as one before the end where the end is to be, or shorter than a
            chunk there; `extended`: sealed as the final one, and more is to follow, or longer;
            `reordered`: sealed at another place of this stream; else `altered`.
    """
    return _open(_cipher(key), index, chunk, last=last, chunks=index + 1 if chunks is None else chunks)


class StreamSealer:
    """Seals one attachment as it arrives, hashing both forms.

    Whole chunks leave as soon as it is known that they are not the last; memory stays below two
    chunks. After `finish`: `plain_size`, `plain_sha256`, `blob_size`, `blob_sha256`.
    """

    def __init__(self, key: bytes) -> None:
        _cipher(key)
        self._key = key
        self._tail = bytearray()
        self._index = 0
        self._done = False
        self._plain, self._blob = hashlib.sha256(), hashlib.sha256()
        self.plain_size = self.blob_size = 0

    def update(self, data: bytes) -> bytes:
        """Take more plaintext; return the sealed chunks that are ready, perhaps none."""
        if self._done:
            raise KeyFault("a sealer is used once")
        self._plain.update(data)
        self.plain_size += len(data)
        self._tail += data
        ready = bytearray()
        while len(self._tail) > CHUNK:
            ready += self._seal(self._tail[:CHUNK], last=False)
            del self._tail[:CHUNK]
        return bytes(ready)

    def finish(self) -> bytes:
        """Return the final chunk."""
        if self._done:
            raise KeyFault("a sealer is used once")
        self._done = True
        final = self._seal(self._tail, last=True)
        self._tail.clear()
        return final

    def _seal(self, chunk: bytearray, *, last: bool) -> bytes:
        sealed = seal_chunk(self._key, self._index, chunk, last=last)
        self._index += 1
        self._blob.update(sealed)
        self.blob_size += len(sealed)
        return sealed

    @property
    def plain_sha256(self) -> str:
        """SHA-256 of the plaintext so far, hex."""
        return self._plain.hexdigest()

    @property
    def blob_sha256(self) -> str:
        """SHA-256 of the sealed form so far, hex."""
        return self._blob.hexdigest()


class StreamOpener:
    """Opens one attachment as it is read, hashing the plaintext.

    What `update` returns is authentic chunk by chunk, and whole only once `finish` has returned. With
    the signed *size* the length counts too, and what is wrong is told more exactly: without it a stream
    that was cut within a chunk is `altered`, and chunks count as reordered only up to where it breaks.
    """

    def __init__(self, key: bytes, size: int | None = None) -> None:
        self._cipher = _cipher(key)
        self._size = size
        self._tail = bytearray()
        self._index = 0
        self._taken = 0
        self._plain = hashlib.sha256()
        self.plain_size = 0

    def update(self, data: bytes) -> bytes:
        """Take more of the sealed form; return the plaintext that is ready. Raises CannotOpen."""
        self._taken += len(data)
        if self._size is not None and self._taken > sealed_size(self._size):
            check_length(self._taken, self._size)
        self._tail += data
        ready = bytearray()
        while len(self._tail) > _SEALED_CHUNK:
            ready += self._open(self._tail[:_SEALED_CHUNK], last=False)
            del self._tail[:_SEALED_CHUNK]
        return bytes(ready)

    def finish(self) -> bytes:
        """Return the plaintext of the final chunk. Raises CannotOpen when the stream is cut."""
        if self._size is not None:
            check_length(self._taken, self._size)
        final = self._open(self._tail, last=True)
        self._tail.clear()
        return final

    def _open(self, chunk: bytearray, *, last: bool) -> bytes:
        chunks = self._index + 1 if self._size is None else chunk_count(self._size)
        plain = _open(self._cipher, self._index, chunk, last=last, chunks=chunks)
        self._index += 1
        self._plain.update(plain)
        self.plain_size += len(plain)
        return plain

    @property
    def plain_sha256(self) -> str:
        """SHA-256 of the plaintext so far, hex."""
        return self._plain.hexdigest()


def _nonce(index: int, *, last: bool) -> bytes:
    return index.to_bytes(_COUNTER_BYTES, "big") + bytes([last])


def _cipher(key: bytes) -> ChaCha20Poly1305:
    if len(key) != KEY_BYTES:
        raise MalformedToken("the key of an attachment has 32 bytes")
    return ChaCha20Poly1305(key)


def _open(
    cipher: ChaCha20Poly1305, index: int, chunk: bytes | bytearray, *, last: bool, chunks: int
) -> bytes:
    shortest = (TAG if index == 0 else TAG + 1) if last else _SEALED_CHUNK
    if not shortest <= len(chunk) <= _SEALED_CHUNK:
        code = "truncated" if len(chunk) < shortest else "extended"
        raise CannotOpen(f"chunk {index} has a length that no chunk there can have", code)
    try:
        return cipher.decrypt(_nonce(index, last=last), chunk, None)
    except InvalidTag:
        code = _told(cipher, index, chunk, last=last, chunks=chunks)
        raise CannotOpen(f"chunk {index} does not open: {code}", code) from None


def _told(cipher: ChaCha20Poly1305, index: int, chunk: bytes | bytearray, *, last: bool, chunks: int) -> str:
    """Return what is wrong with a *chunk* that did not open at *index*; nothing of it leaves."""
    if _authentic(cipher, _nonce(index, last=not last), chunk):
        return "truncated" if last else "extended"
    final = chunks - 1
    places = [final, *range(min(final, _TRIES))]
    if any(_authentic(cipher, _nonce(place, last=place == final), chunk) for place in places):
        return "reordered"
    return "altered"


def _authentic(cipher: ChaCha20Poly1305, nonce: bytes, chunk: bytes | bytearray) -> bool:
    try:
        cipher.decrypt(nonce, chunk, None)
    except InvalidTag:
        return False
    return True
