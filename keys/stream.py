"""Attachments: the STREAM construction of the age format's payload (protocol §7).

Chunks are sealed and opened one by one: a stream of any length needs the memory of one. Who opens it
checks its length first (`check_length`), against the size that was signed.

Why this is safe. Each attachment has a fresh random key, and each chunk of it another counter (11
bytes: it cannot wrap), so no two plaintexts meet under one (key, nonce) as long as one chunk alone is
sealed at each place: who seals sees to that, across restarts too. The last byte of the nonce marks the
final chunk: cut or extended streams do not open, nor do chunks in another order (STREAM of Hoang,
Reyhanitabar, Rogaway and Vizár, as age uses it). There is no associated data, since the key belongs to
this attachment alone. Lengths are fixed as well: every chunk but the last is full, and the last is empty
only when it is the only one, so that one content has one form under a key. That another key could open
the same bytes to something else does not matter: the sender signs the digest of the content.

What is wrong with a chunk that does not open is found out afterwards: it is tried as the other kind and
at the other places of its stream, as many as the stream has chunks and `_TRIES` at most, so that telling
costs no more than opening the whole would. Every try authenticates under the same key; whichever holds,
the plaintext is dropped and the chunk stays refused. The answer is for the operator of this node.
"""

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
    shortest = (TAG if index == 0 else TAG + 1) if last else _SEALED_CHUNK
    if not shortest <= len(chunk) <= _SEALED_CHUNK:
        code = "truncated" if len(chunk) < shortest else "extended"
        raise CannotOpen(f"chunk {index} has a length that no chunk there can have", code)
    cipher = _cipher(key)
    try:
        return cipher.decrypt(_nonce(index, last=last), chunk, None)
    except InvalidTag:
        code = _told(cipher, index, chunk, last=last, chunks=index + 1 if chunks is None else chunks)
        raise CannotOpen(f"chunk {index} does not open: {code}", code) from None


def _nonce(index: int, *, last: bool) -> bytes:
    return index.to_bytes(_COUNTER_BYTES, "big") + bytes([last])


def _cipher(key: bytes) -> ChaCha20Poly1305:
    if len(key) != KEY_BYTES:
        raise MalformedToken("the key of an attachment has 32 bytes")
    return ChaCha20Poly1305(key)


def _told(cipher: ChaCha20Poly1305, index: int, chunk: bytes, *, last: bool, chunks: int) -> str:
    """Return what is wrong with a *chunk* that did not open at *index*; nothing of it leaves."""
    if _authentic(cipher, _nonce(index, last=not last), chunk):
        return "truncated" if last else "extended"
    final = chunks - 1
    places = [final, *range(min(final, _TRIES))]
    if any(_authentic(cipher, _nonce(place, last=place == final), chunk) for place in places):
        return "reordered"
    return "altered"


def _authentic(cipher: ChaCha20Poly1305, nonce: bytes, chunk: bytes) -> bool:
    try:
        cipher.decrypt(nonce, chunk, None)
    except InvalidTag:
        return False
    return True
