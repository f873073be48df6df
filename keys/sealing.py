"""Sealing to a peer: HPKE base mode (RFC 9180) with the hybrid KEM MLKEM768-X25519 (0x647a).

Why this is safe. The KEM is the X-Wing combiner: it holds as long as one of ML-KEM-768 (FIPS 203) and
X25519 does, so that what is recorded today stays secret from a quantum computer tomorrow. Each seal is
a single shot (RFC 9180 §6.1) with a fresh encapsulation: a context seals one plaintext under sequence
number 0 and is gone, so that no nonce (§5.2) meets its key twice. Base mode (§5.1.1) authenticates
nobody, and need not: the content carries its sender's signature. `info` enters the key schedule, so a
ciphertext opens under no other envelope header; it holds all that is bound, hence no aad.
A wrong encapsulation gives another key (implicit rejection, FIPS 203 §6.3), not an error of its own.
"""

from functools import lru_cache

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from keys.errors import CannotOpen, MalformedToken
from keys.signing import kid

ALGORITHM = "MLKEM768-X25519"
PUBLIC_BYTES = 1184 + 32
PRIVATE_BYTES = 64 + 32
ENCAPSULATION_BYTES = 1120
OVERHEAD_BYTES = ENCAPSULATION_BYTES + 16

_MLKEM_PUBLIC_BYTES = 1184
_MLKEM_SEED_BYTES = 64
_SUITE = hpke.Suite(hpke.KEM.MLKEM768_X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.CHACHA20_POLY1305)


class SealingKey:
    """A private key that opens what was sealed to its public half (1216 bytes)."""

    __slots__ = ("_mlkem", "_private", "_x25519", "kid", "public")

    def __init__(self, mlkem: MLKEM768PrivateKey, x25519: X25519PrivateKey) -> None:
        self._mlkem, self._x25519 = mlkem, x25519
        self._private = hpke.MLKEM768X25519PrivateKey(mlkem, x25519)
        self.public = mlkem.public_key().public_bytes_raw() + x25519.public_key().public_bytes_raw()
        self.kid = kid(ALGORITHM, self.public)

    @classmethod
    def generate(cls) -> "SealingKey":
        """Return a fresh key."""
        return cls(MLKEM768PrivateKey.generate(), X25519PrivateKey.generate())

    @classmethod
    def from_bytes(cls, private: bytes) -> "SealingKey":
        """Return the key of *private*: the 64-byte ML-KEM seed, then the 32 bytes of X25519."""
        if len(private) != PRIVATE_BYTES:
            raise MalformedToken(f"a sealing key has {PRIVATE_BYTES} private bytes")
        return cls(
            MLKEM768PrivateKey.from_seed_bytes(private[:_MLKEM_SEED_BYTES]),
            X25519PrivateKey.from_private_bytes(private[_MLKEM_SEED_BYTES:]),
        )

    def private_bytes(self) -> bytes:
        """Return seed and scalar: for the vault only."""
        return self._mlkem.private_bytes_raw() + self._x25519.private_bytes_raw()

    def open(self, sealed: bytes, info: bytes) -> bytes:
        """Return what was sealed to this key with *info*.

        Raises:
            CannotOpen: altered, truncated, for another key or with another *info*; which one is not
                told, lest a sender learn from it.
        """
        if len(sealed) < OVERHEAD_BYTES:
            raise CannotOpen("shorter than an encapsulation and a tag")
        try:
            return _SUITE.decrypt(sealed, self._private, info=info)
        except (InvalidTag, ValueError):
            raise CannotOpen("not sealed for this key and header, or altered") from None


def check_sealing_public(public: bytes) -> bytes:
    """Return *public*, a sealing public key: ML-KEM-768, then X25519.

    Raises:
        MalformedToken: of another length, with a coefficient that is not reduced (FIPS 203 §7.2), or with
            an X25519 part of small order, to which nothing can be sealed (RFC 9180 §7.1.4).
    """
    _public(public)
    return public


def seal(public: bytes, plaintext: bytes, info: bytes) -> bytes:
    """Return *plaintext* sealed to *public*: encapsulation (1120 bytes), then ciphertext and tag.

    Raises MalformedToken for a *public* that `check_sealing_public` refuses.
    """
    return _SUITE.encrypt(plaintext, _public(public), info=info)


@lru_cache(maxsize=256)
def _public(public: bytes) -> hpke.MLKEM768X25519PublicKey:
    if len(public) != PUBLIC_BYTES:
        raise MalformedToken(f"a sealing public key has {PUBLIC_BYTES} bytes")
    try:
        mlkem = MLKEM768PublicKey.from_public_bytes(public[:_MLKEM_PUBLIC_BYTES])
        x25519 = X25519PublicKey.from_public_bytes(public[_MLKEM_PUBLIC_BYTES:])
        X25519PrivateKey.generate().exchange(x25519)  # fails for every point of small order
    except ValueError:
        raise MalformedToken("a sealing public key in another form, or of small order") from None
    return hpke.MLKEM768X25519PublicKey(mlkem, x25519)
