"""The vault: the one file with a node's private keys, and the one module that reads such files.

A vault is JSON: a header in the clear (purpose, Argon2id parameters, salt, nonce) and `sealed`, the
private values under XChaCha20-Poly1305 with a key derived from a passphrase.

Why this is safe. Salt and nonce are fresh and random at every write (16 and 24 bytes), so key and nonce
never recur. The header is the associated data: purpose and parameters cannot be changed without the
passphrase, nor a root key be passed off as a vault. A file is accepted only byte for byte as it is
written. It is written whole beside the old one, synced, then renamed: a crash leaves the old or the
new, never half of one. Wrong passphrase and altered ciphertext cannot be told apart by the cipher, and
one error says so.
"""

import base64
import contextlib
import json
import os
import secrets
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from nacl import bindings
from nacl.exceptions import CryptoError

from keys.certificates import TlsKey, new_certificate
from keys.errors import KeyFault, MalformedToken, VaultFault
from keys.passwords import MODERATE, SALT_BYTES, Strength, derive
from keys.rest import StorageKey
from keys.sealing import SealingKey
from keys.signing import LatticeKey, LogKeys, SigningKey

__all__ = ["Keyring", "LogKeys", "read_passphrase", "read_root", "read_vault", "write_root", "write_vault"]

_FORMAT = "art18-vault/v1"
_MAX_BYTES = 1 << 20
_OWNER_ONLY = 0o600
_NONCE_BYTES = bindings.crypto_aead_xchacha20poly1305_ietf_NPUBBYTES
_HEADER = ("format", "purpose", "passes", "memory_bytes", "salt", "nonce")


@dataclass(frozen=True, slots=True, repr=False)
class Keyring:
    """Every private key of a running node, by role; no key serves two (protocol §3).

    Raises:
        MalformedToken: a key has two roles, or stands under another kid than its own.
    """

    signing: Mapping[str, SigningKey]
    sealing: Mapping[str, SealingKey]
    log: LogKeys
    witness: LogKeys
    tls: tuple[TlsKey, ...]
    storage: StorageKey

    def __post_init__(self) -> None:
        ed = [*(key.public for key in self.signing.values()), self.log.ed.public, self.witness.ed.public]
        if len(set(ed)) != len(ed) or self.log.lattice.public == self.witness.lattice.public:
            raise MalformedToken("a key serves one role")
        if any(kid != key.kid for keys in (self.signing, self.sealing) for kid, key in keys.items()):
            raise MalformedToken("a key stands under its own kid")

    @classmethod
    def generate(cls, authority: str, hosts: Sequence[str]) -> "Keyring":
        """Return fresh keys for *authority*, whose certificate names *hosts*."""
        signing, sealing = SigningKey.generate(), SealingKey.generate()
        return cls(
            signing=MappingProxyType({signing.kid: signing}),
            sealing=MappingProxyType({sealing.kid: sealing}),
            log=LogKeys.generate(),
            witness=LogKeys.generate(),
            tls=(new_certificate(authority, hosts),),
            storage=StorageKey.generate(),
        )


def read_passphrase(path: Path) -> bytes:
    """Return the passphrase in the file *path*, less one newline at its end. Raises VaultFault."""
    try:
        passphrase = path.read_bytes()
    except OSError as error:
        raise VaultFault(f"the passphrase file {path} cannot be read: {error.strerror}") from None
    passphrase = passphrase.removesuffix(b"\n").removesuffix(b"\r")
    if not passphrase:
        raise VaultFault(f"the passphrase file {path} is empty")
    return passphrase


def write_vault(
    path: Path, keyring: Keyring, passphrase: bytes, *, strength: Strength = MODERATE, replace: bool = False
) -> None:
    """Write *keyring* to *path*, encrypted; an existing file only when *replace* is set.

    Raises:
        VaultFault: there is a file already, or it cannot be written.
    """
    _write(path, "vault", _encode(keyring), passphrase, strength, replace=replace)


def read_vault(path: Path, passphrase: bytes) -> Keyring:
    """Return the keys in *path*.

    Deriving the key takes about a second and 256 MiB: call it in a thread.

    Raises:
        VaultFault: missing, truncated, altered, of another purpose, or another passphrase.
    """
    return _decode(path, _read(path, "vault", passphrase))


def write_root(path: Path, root: SigningKey, passphrase: bytes, *, strength: Strength = MODERATE) -> None:
    """Write the root key to *path*, encrypted: for a medium that is kept off line. Raises VaultFault."""
    _write(path, "root", {"root": _text(root.private_bytes())}, passphrase, strength, replace=False)


def read_root(path: Path, passphrase: bytes) -> SigningKey:
    """Return the root key in *path*. Raises VaultFault as `read_vault`."""
    found = _read(path, "root", passphrase)
    with _whole(path):
        return SigningKey.from_bytes(_bytes(found["root"]))


def _encode(keyring: Keyring) -> dict[str, object]:
    return {
        "signing": [_text(key.private_bytes()) for key in keyring.signing.values()],
        "sealing": [_text(key.private_bytes()) for key in keyring.sealing.values()],
        "log": [_text(keyring.log.ed.private_bytes()), _text(keyring.log.lattice.seed())],
        "witness": [_text(keyring.witness.ed.private_bytes()), _text(keyring.witness.lattice.seed())],
        "tls": [[_text(one.certificate), _text(one.private)] for one in keyring.tls],
        "storage": _text(keyring.storage.private_bytes()),
    }


def _decode(path: Path, found: dict[str, object]) -> Keyring:
    with _whole(path):
        signing = [SigningKey.from_bytes(_bytes(item)) for item in _list(found["signing"])]
        sealing = [SealingKey.from_bytes(_bytes(item)) for item in _list(found["sealing"])]
        return Keyring(
            signing=MappingProxyType({key.kid: key for key in signing}),
            sealing=MappingProxyType({key.kid: key for key in sealing}),
            log=_log_keys(found["log"]),
            witness=_log_keys(found["witness"]),
            tls=tuple(TlsKey(*(_bytes(part) for part in _list(item))) for item in _list(found["tls"])),
            storage=StorageKey(_bytes(found["storage"])),
        )


def _log_keys(value: object) -> LogKeys:
    ed, lattice = _list(value)
    return LogKeys(SigningKey.from_bytes(_bytes(ed)), LatticeKey.from_seed(_bytes(lattice)))


@contextlib.contextmanager
def _whole(path: Path) -> Iterator[None]:
    """Turn whatever is wrong with what a key store holds into the one error."""
    try:
        yield
    except (KeyFault, KeyError, TypeError, ValueError):
        raise VaultFault(f"the key store {path} opens, but does not hold what it should") from None


def _write(
    path: Path,
    purpose: str,
    secret: dict[str, object],
    passphrase: bytes,
    strength: Strength,
    *,
    replace: bool,
) -> None:
    salt, nonce = secrets.token_bytes(SALT_BYTES), secrets.token_bytes(_NONCE_BYTES)
    header: dict[str, object] = {
        "format": _FORMAT,
        "purpose": purpose,
        "passes": strength.passes,
        "memory_bytes": strength.memory_bytes,
        "salt": _text(salt),
        "nonce": _text(nonce),
    }
    sealed = bindings.crypto_aead_xchacha20poly1305_ietf_encrypt(
        json.dumps(secret).encode("ascii"), _associated(header), nonce, derive(passphrase, salt, strength)
    )
    try:
        _write_whole(path, _file(header, sealed), replace=replace)
    except FileExistsError:
        raise VaultFault(f"{path} exists already, and is not replaced") from None
    except OSError as error:
        raise VaultFault(f"{path} cannot be written: {error.strerror}") from None


def _write_whole(path: Path, body: bytes, *, replace: bool) -> None:
    """Write *body* so that *path* has all of it or is as it was, also after a crash.

    A name that must be free is taken first, by an empty file, which a crash right then leaves: not by a
    hard link, which the file systems of removable media, where a root key belongs, do not have.
    """
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # mode 0600
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(body)
            file.flush()
            os.fsync(file.fileno())
        if not replace:
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _OWNER_ONLY))
        try:
            Path(name).replace(path)
        except OSError:
            if not replace:
                path.unlink()
            raise
    finally:
        Path(name).unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _read(path: Path, purpose: str, passphrase: bytes) -> dict[str, object]:
    try:
        with path.open("rb") as file:
            body = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise VaultFault(f"the key store {path} cannot be read: {error.strerror}") from None
    try:
        header, sealed = _parse(body)
        strength = Strength(_integer(header["passes"]), _integer(header["memory_bytes"]))
        salt, nonce = _bytes(header["salt"]), _bytes(header["nonce"])
    except (KeyError, TypeError, ValueError, RecursionError):
        raise VaultFault(f"{path} is not a whole key store: truncated, altered or of another kind") from None
    if header["purpose"] != purpose:
        raise VaultFault(f"{path} is not a key store of the purpose {purpose}")
    try:
        key = derive(passphrase, salt, strength)
    except VaultFault as fault:
        raise VaultFault(f"the key store {path} cannot be opened: {fault}") from None
    try:
        plain = bindings.crypto_aead_xchacha20poly1305_ietf_decrypt(sealed, _associated(header), nonce, key)
    except (CryptoError, ValueError, TypeError):
        raise VaultFault(f"the key store {path} does not open: wrong passphrase, or it was altered") from None
    with _whole(path):
        return _object(json.loads(plain))


def _parse(body: bytes) -> tuple[dict[str, object], bytes]:
    """Return the header and the ciphertext of a file that is exactly as `_file` makes it."""
    found = _object(json.loads(body.decode("ascii")))
    header, sealed = {name: found[name] for name in _HEADER}, _bytes(found["sealed"])
    if header["format"] != _FORMAT or _file(header, sealed) != body:
        raise ValueError("not in the one form")
    return header, sealed


def _file(header: dict[str, object], sealed: bytes) -> bytes:
    return json.dumps({**header, "sealed": _text(sealed)}, indent=1).encode("ascii") + b"\n"


def _associated(header: dict[str, object]) -> bytes:
    return json.dumps(header, sort_keys=True, separators=(",", ":")).encode("ascii")


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _bytes(value: object) -> bytes:
    if not isinstance(value, str):
        raise TypeError("not text")
    return base64.b64decode(value, validate=True)


def _integer(value: object) -> int:
    if type(value) is not int:
        raise TypeError("not an integer")
    return value


def _object(value: object) -> dict[str, object]:
    if not isinstance(value, dict):
        raise TypeError("not an object")
    return value


def _list(value: object) -> list[object]:
    if not isinstance(value, list):
        raise TypeError("not a list")
    return value
