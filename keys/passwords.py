"""From passphrase to key: Argon2id (RFC 9106) of libsodium.

Why this is safe. The salt is fresh and random for each file, so that no table serves two. The cost is
MODERATE (256 MiB, three passes): a guess costs an attacker the same. Parameters come out of the file
before anything in it is authenticated, so they are bounded: an altered file cannot exhaust the machine.
Nor can it make guessing cheap: under other parameters the passphrase gives another key, and what was
sealed under the first does not open.
"""

import unicodedata
from dataclasses import dataclass

from nacl.exceptions import InvalidkeyError
from nacl.exceptions import RuntimeError as SodiumError
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
"""Some seconds, 1 GiB: more than that is no honest file."""


def derive(passphrase: bytes, salt: bytes, strength: Strength) -> bytes:
    """Return the 32-byte key of *passphrase*.

    Raises:
        VaultFault: an empty passphrase, parameters out of bounds, or too little memory for them.
    """
    if not passphrase:
        raise VaultFault("a passphrase is not empty")
    if not (
        LEAST.passes <= strength.passes <= MOST.passes
        and LEAST.memory_bytes <= strength.memory_bytes <= MOST.memory_bytes
        and len(salt) == SALT_BYTES
    ):
        raise VaultFault("a key derivation with parameters out of bounds")
    try:
        return argon2id.kdf(
            KEY_BYTES, passphrase, salt, opslimit=strength.passes, memlimit=strength.memory_bytes
        )
    except (SodiumError, MemoryError):
        raise VaultFault(f"a key derivation needs {strength.memory_bytes >> 20} MiB of free memory") from None


PERSONAL = Strength(3, 19 << 20)
"""Of the passphrases that people sign in with, sealed besides: OWASP's least memory, 19 MiB."""


def digest(passphrase: str, strength: Strength = PERSONAL) -> str:
    """Return what is kept of *passphrase* to know it again, with its salt and its cost. Raises VaultFault."""
    try:
        return argon2id.str(
            _encoded(passphrase), opslimit=strength.passes, memlimit=strength.memory_bytes
        ).decode("ascii")
    except (SodiumError, MemoryError):
        raise VaultFault(f"a passphrase needs {strength.memory_bytes >> 20} MiB of free memory") from None


def _encoded(passphrase: str) -> bytes:
    """Return what is digested: the same characters are the same bytes, whatever keyboard they come from."""
    return unicodedata.normalize("NFC", passphrase).encode("utf-8", "surrogatepass")


def matches(digested: str, passphrase: str) -> bool:
    """Return whether *passphrase* is the one of which `digest` made *digested*, which nobody could alter."""
    try:
        return argon2id.verify(digested.encode("ascii"), _encoded(passphrase))
    except InvalidkeyError:
        return False
