"""The rules of accounts: names, roles, passphrases, what is kept of them, and how long failures lock.

What a person signs in with is one sealed value (`Secrets`), so that another second factor is another member
of it.
"""

import hashlib
import hmac
import re
from dataclasses import dataclass, replace
from enum import StrEnum

from gateway.core.errors import Flaw, Malformed, Misuse
from gateway.core.ids import Digest
from gateway.core.strict import as_list, as_text, b64url, encode_json, from_b64url, parse_object

LINK_MS = 24 * 3_600_000
"""How long a one-time link waits for its person."""
LEAST_CHARACTERS = 14
MOST_CHARACTERS = 200
ACCOUNT_TRIES = 5
"""Failures in a row after which a name is locked."""
ADDRESS_TRIES = 20
"""Failures after which an address is: several people may share it."""
FORGOTTEN_MS = 24 * 3_600_000
"""Without another failure for so long, the ones before do not count."""

_LOCK_MS = 30_000
_LOCK_MOST_MS = 3_600_000
_NAME = re.compile(r"[a-z][a-z0-9._-]{1,31}", re.ASCII)
_KEPT_APART = re.compile(r"[^a-z2-7]")


class Role(StrEnum):
    """What a person does at the console; none includes another."""

    VIEWER = "viewer"
    OFFICER = "officer"
    AUDITOR = "auditor"
    ADMIN = "admin"


def parse_name(value: object) -> str:
    """Return *value* as the name of an account. Raises Malformed."""
    name = as_text(value)
    if not _NAME.fullmatch(name):
        raise Malformed(
            "a name has 2 to 32 of a-z, 0-9, dot, hyphen and underscore, and begins with a letter"
        )
    return name


def parse_roles(value: object) -> tuple[Role, ...]:
    """Return a list of roles, each once and in order. Raises Malformed."""
    known = [role.value for role in Role]
    named = [as_text(role) for role in as_list(value)]
    if not named or any(role not in known for role in named):
        raise Malformed(f"roles are some of {', '.join(known)}")
    return tuple(Role(role) for role in sorted(set(named)))


def check_passphrase(passphrase: str, name: str) -> None:
    """Refuse a passphrase that is short or made of the name; nothing is asked of its characters.

    Raises:
        Misuse: 422 `weak_passphrase`.
    """
    plain = passphrase.casefold()
    if not LEAST_CHARACTERS <= len(passphrase) <= MOST_CHARACTERS:
        raise _weak(f"a passphrase has {LEAST_CHARACTERS} to {MOST_CHARACTERS} characters")
    if name in plain and len(plain.replace(name, "")) < LEAST_CHARACTERS:
        raise _weak("a passphrase is more than the name")
    if len(set(plain)) == 1:
        raise _weak("a passphrase is more than one character again and again")


def _weak(text: str) -> Misuse:
    return Misuse(422, "weak_passphrase", text, flaws=[Flaw("/passphrase", text)])


@dataclass(frozen=True, slots=True, kw_only=True)
class Secrets:
    """What a person signs in with.

    Attributes:
        totp: the secret of the authenticator app.
        passphrase: its digest (keys.passwords); None until the person has set one.
        recovery: hashes of the codes that stand in for the app, each once.
    """

    totp: bytes
    passphrase: str | None = None
    recovery: tuple[Digest, ...] = ()

    def encode(self) -> bytes:
        """Return what is sealed."""
        return encode_json(
            {"totp": b64url(self.totp), "passphrase": self.passphrase, "recovery": list(self.recovery)}
        )

    @classmethod
    def parse(cls, raw: bytes) -> "Secrets":
        """Return what `encode` wrote."""
        found = parse_object(raw)
        kept = found["passphrase"]
        return cls(
            totp=from_b64url(found["totp"]),
            passphrase=None if kept is None else as_text(kept),
            recovery=tuple(Digest(as_text(one)) for one in as_list(found["recovery"])),
        )

    def without(self, code: str) -> "Secrets | None":
        """Return what is left once the recovery code *code* was used; None if there is no such code."""
        given = recovery_sha256(code)
        left = tuple(one for one in self.recovery if not hmac.compare_digest(one, given))
        return None if len(left) == len(self.recovery) else replace(self, recovery=left)


def recovery_sha256(code: str) -> Digest:
    """Return the hash of a recovery code, however it was typed: 80 bits by chance, nothing to guess."""
    plain = _KEPT_APART.sub("", code.lower())
    return Digest(hashlib.sha256(plain.encode("ascii")).hexdigest())


def locked_ms(failures: int, tries: int) -> int:
    """Return how long the next attempt has to wait after so many *failures*, of which *tries* are free."""
    if failures < tries:
        return 0
    return min(_LOCK_MOST_MS, _LOCK_MS << min(failures - tries, 16))
