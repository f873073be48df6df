"""HPKE base mode with MLKEM768-X25519, HKDF-SHA256 and ChaCha20-Poly1305, written from the standards.

A second implementation to hold ours against: RFC 9180 for the key schedule, X-Wing (as in
draft-ietf-hpke-pq) for the KEM, RFC 5869 for HKDF. Of the library that ours uses, it takes ML-KEM, X25519
and the AEAD alone, none of its HPKE.
"""

import hashlib
import hmac
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

KEM, KDF, AEAD = 0x647A, 0x0001, 0x0003
SUITE = b"HPKE" + b"".join(number.to_bytes(2, "big") for number in (KEM, KDF, AEAD))
LABEL = bytes.fromhex("5c2e2f2f5e5c")  # \.//^\ : the X-Wing label
ENC = 1088 + 32


def expand_seed(seed):
    """X-Wing: 32 bytes of private key expand to the ML-KEM seed (64) and the X25519 key (32)."""
    return hashlib.shake_256(seed).digest(96)


def combine(lattice, curve, share, public):
    """X-Wing's combiner, over X25519's share and the recipient's X25519 public key."""
    return hashlib.sha3_256(lattice + curve + share + public + LABEL).digest()


def encapsulate(public):
    lattice, enc = MLKEM768PublicKey.from_public_bytes(public[:1184]).encapsulate()
    ephemeral = X25519PrivateKey.generate()
    share = ephemeral.public_key().public_bytes_raw()
    curve = ephemeral.exchange(X25519PublicKey.from_public_bytes(public[1184:]))
    return combine(lattice, curve, share, public[1184:]), enc + share


def decapsulate(private, enc):
    """*private*: ML-KEM seed, then X25519 key."""
    mine, share = X25519PrivateKey.from_private_bytes(private[64:]), enc[1088:]
    lattice = MLKEM768PrivateKey.from_seed_bytes(private[:64]).decapsulate(enc[:1088])
    curve = mine.exchange(X25519PublicKey.from_public_bytes(share))
    return combine(lattice, curve, share, mine.public_key().public_bytes_raw())


def extract(salt, label, secret):
    return hmac.digest(salt or bytes(32), b"HPKE-v1" + SUITE + label + secret, "sha256")


def expand(key, label, info, length):
    info = length.to_bytes(2, "big") + b"HPKE-v1" + SUITE + label + info
    found, block = b"", b""
    while len(found) < length:
        block = hmac.digest(key, block + info + bytes([len(found) // 32 + 1]), "sha256")
        found += block
    return found[:length]


@dataclass
class Context:
    """RFC 9180 §5.1, mode_base: no pre-shared key."""

    key: bytes
    base_nonce: bytes

    @classmethod
    def of(cls, shared_secret, info):
        schedule = b"\x00" + extract(b"", b"psk_id_hash", b"") + extract(b"", b"info_hash", info)
        secret = extract(shared_secret, b"secret", b"")
        return cls(expand(secret, b"key", schedule, 32), expand(secret, b"base_nonce", schedule, 12))


def seal(public, plaintext, info, aad=b""):
    shared_secret, enc = encapsulate(public)
    context = Context.of(shared_secret, info)
    return enc + ChaCha20Poly1305(context.key).encrypt(context.base_nonce, plaintext, aad)


def open_sealed(private, sealed, info, aad=b""):
    context = Context.of(decapsulate(private, sealed[:ENC]), info)
    return ChaCha20Poly1305(context.key).decrypt(context.base_nonce, sealed[ENC:], aad)
