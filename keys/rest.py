"""Encryption at rest: each value under a key of its own, wrapped by the vault's storage key.

Why this is safe. The inner key is fresh for each box and seals one plaintext with ChaCha20-Poly1305 (RFC
8439), so the fixed nonce cannot meet the key twice. The outer seal is XChaCha20-Poly1305 with a random
nonce of 24 bytes: after 2^80 wraps under one storage key, one has repeated with a chance of 2^-33. Both
bind *context*, the place where the box belongs, as associated data: a box moved to another row does not
open. Erasing is forgetting the wrapped key: the ciphertext alone opens under no key that is left.

Pseudonyms let equal values be found without keeping them. One is HMAC-SHA256 (RFC 2104) under a key of
its own, which is HMAC-SHA256 of a label under the storage key (one block of HKDF-Expand, RFC 5869): as far
as HMAC is a pseudorandom function, pseudonyms say nothing of the values, nor of the storage key, which
XChaCha20-Poly1305 uses in another way and never for this label. Without the vault nobody can tell whether
a guessed name has a given pseudonym. What shows is that two of them are equal, and so that two rows speak of
one value. With 256 bits no two values share one by chance.
"""

import hashlib
import hmac
import secrets
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from nacl import bindings
from nacl.exceptions import CryptoError

from keys.errors import CannotOpen, MalformedToken

KEY_BYTES = 32

_NONCE_BYTES = bindings.crypto_aead_xchacha20poly1305_ietf_NPUBBYTES
_ONCE = bytes(12)
_PSEUDONYM_LABEL = b"art18/rest/pseudonym/v1\x01"  # the last byte counts the block, as in HKDF-Expand


def fresh_salt() -> bytes:
    """Return 32 random bytes, which make a commitment untestable for whoever has not got them."""
    return secrets.token_bytes(KEY_BYTES)


@dataclass(frozen=True, slots=True)
class Box:
    """A sealed value: its wrapped key (nonce, then 48 bytes) and its ciphertext."""

    wrapped_key: bytes
    ciphertext: bytes


class StorageKey:
    """The key under which a node keeps what rests; it lives in the vault."""

    __slots__ = ("_key", "_pseudonym_key")

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_BYTES:
            raise MalformedToken("a storage key has 32 bytes")
        self._key = key
        self._pseudonym_key = hmac.digest(key, _PSEUDONYM_LABEL, hashlib.sha256)

    @classmethod
    def generate(cls) -> "StorageKey":
        """Return a fresh key."""
        return cls(secrets.token_bytes(KEY_BYTES))

    def private_bytes(self) -> bytes:
        """Return the 32 bytes: for the vault only."""
        return self._key

    def seal(self, plaintext: bytes, context: bytes) -> Box:
        """Return *plaintext* sealed for *context*."""
        inner = ChaCha20Poly1305.generate_key()
        nonce = secrets.token_bytes(_NONCE_BYTES)
        wrapped = bindings.crypto_aead_xchacha20poly1305_ietf_encrypt(inner, context, nonce, self._key)
        return Box(nonce + wrapped, ChaCha20Poly1305(inner).encrypt(_ONCE, plaintext, context))

    def open(self, box: Box, context: bytes) -> bytes:
        """Return the plaintext of *box*.

        Raises:
            CannotOpen: altered, under another storage key, or made for another context.
        """
        nonce, wrapped = box.wrapped_key[:_NONCE_BYTES], box.wrapped_key[_NONCE_BYTES:]
        try:
            inner = bindings.crypto_aead_xchacha20poly1305_ietf_decrypt(wrapped, context, nonce, self._key)
            return ChaCha20Poly1305(inner).decrypt(_ONCE, box.ciphertext, context)
        except (CryptoError, InvalidTag, ValueError, TypeError):
            raise CannotOpen("stored data does not open: altered, or from another place") from None

    def pseudonym(self, value: bytes, context: bytes) -> str:
        """Return the pseudonym of *value* for *context*, in hex: the same for equal values there.

        *context* ends where *value* begins: it has no U+0000 in it.
        """
        return hmac.digest(self._pseudonym_key, context + b"\x00" + value, hashlib.sha256).hex()
