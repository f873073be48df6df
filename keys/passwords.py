"""From passphrase to key: Argon2id (RFC 9106) of libsodium.

Why this is safe. The salt is fresh and random for each file, so that no table serves two. The cost
is MODERATE (256 MiB, three passes): a guess costs an attacker the same. Parameters come out of the file
and are bounded on both sides, so that an altered file can neither exhaust the machine nor
make guessing cheap beyond what its owner chose.
"""

from dataclasses import dataclass

from nacl.pwhash import argon2id

from keys.errors import VaultFault

SALT_BYTES = argon2id.SALTBYTES
KEY_BYTES = 32


@dataclass(frozen=True, slots=True)
class Strength:
    """The cost of one guess: passes, and bytes of memory."""

    passes: int
    memory_bytes: int


MODERATE = Strength(argon2id.OPSLIMIT_MODERATE, argon2id.MEMLIMIT_MODERATE)
"""About a second, 256 MiB."""
LEAST = Strength(argon2id.OPSLIMIT_MIN, argon2id.MEMLIMIT_MIN)
"""The least that the library takes: for tests."""
MOST = Strength(argon2id.OPSLIMIT_SENSITIVE, argon2id.MEMLIMIT_SENSITIVE)


def derive(passphrase: bytes, salt: bytes, strength: Strength) -> bytes:
    """Return the 32-byte key of *passphrase*. Raises VaultFault for absurd parameters."""
    if not (
        LEAST.passes <= strength.passes <= MOST.passes
        and LEAST.memory_bytes <= strength.memory_bytes <= MOST.memory_bytes
        and len(salt) == SALT_BYTES
    ):
        raise VaultFault("the key store asks for a key derivation that is out of bounds: it was altered")
    return argon2id.kdf(KEY_BYTES, passphrase, salt, opslimit=strength.passes, memlimit=strength.memory_bytes)
