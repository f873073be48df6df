"""Tails: what came of an attachment and is less than a chunk, at rest until its chunk is full (protocol §7).

Why this is safe. A chunk of an attachment is sealed once, when all of it is there: sealed before, and
again when more has come, two plaintexts would meet under one (key, counter). So what is there before
is sealed under another key, which the attachment's tail has for itself, with XChaCha20-Poly1305 and a
random nonce of 24 bytes for each segment: as many segments as a disk holds do not make two nonces meet
(after 2^80, with a chance of 2^-33). Each segment is bound as associated data to its *context*, the upload
and the place in it, so that none opens elsewhere. The plaintext of a segment is sealed a second time with
its chunk, under an independent key: the two ciphertexts say no more of it than each by itself.
"""

import secrets

from nacl import bindings
from nacl.exceptions import CryptoError

from keys.errors import CannotOpen, MalformedToken

KEY_BYTES = 32

_NONCE_BYTES = bindings.crypto_aead_xchacha20poly1305_ietf_NPUBBYTES

OVERHEAD = _NONCE_BYTES + bindings.crypto_aead_xchacha20poly1305_ietf_ABYTES
"""How many bytes a segment is longer than what is sealed in it."""


def new_tail_key() -> bytes:
    """Return a fresh key for the tail of one attachment."""
    return secrets.token_bytes(KEY_BYTES)


def seal_segment(key: bytes, plaintext: bytes, context: bytes) -> bytes:
    """Return *plaintext* sealed for *context*: the nonce, then the ciphertext."""
    if len(key) != KEY_BYTES:
        raise MalformedToken("the key of a tail has 32 bytes")
    nonce = secrets.token_bytes(_NONCE_BYTES)
    return nonce + bindings.crypto_aead_xchacha20poly1305_ietf_encrypt(plaintext, context, nonce, key)


def open_segment(key: bytes, sealed: bytes, context: bytes) -> bytes:
    """Return the plaintext of a segment.

    Raises:
        CannotOpen: altered, cut, under another key, or made for another context.
    """
    nonce, ciphertext = sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:]
    try:
        return bindings.crypto_aead_xchacha20poly1305_ietf_decrypt(ciphertext, context, nonce, key)
    except (CryptoError, ValueError, TypeError):
        raise CannotOpen("a segment does not open: altered, cut, or from another place") from None
