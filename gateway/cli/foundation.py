"""What `art18 init` makes: keys, the first card and the data folder around them."""

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from gateway.config import config_text
from gateway.core.card import LIFETIME_MS, Card, Certificate, Plan, PublicKey, Window, build_card, parse_card
from gateway.core.errors import Misuse
from gateway.core.ids import AuthorityId
from gateway.core.note import LogIdentity, WitnessIdentity
from gateway.web.tokens import new_token
from keys.signing import SigningKey
from keys.vault import Keyring, read_passphrase, write_root, write_vault

OFFLINE = "offline"
_SECRET_BYTES = 32
_PRIVATE = 0o600


@dataclass(frozen=True, slots=True, kw_only=True)
class Founding:
    """Who the node is to speak for, and where its doors are."""

    authority: AuthorityId
    country: str
    name: str
    domain: str
    endpoints: tuple[str, ...]
    ports: dict[str, int]  # by door: federation, hook, console
    passphrase_file: Path | None


def found(folder: Path, founding: Founding, now_ms: int) -> Card:
    """Make the data folder of a node and return its card.

    Everything is computed before the first file is written; when writing fails, what was written
    is taken away again and nothing else is touched.

    Raises:
        Misuse: there is something in the folder already, or it cannot be written.
        Malformed: an endpoint is not in form.
        VaultFault: the passphrase file is empty or cannot be read.
    """
    passphrase = read_passphrase(founding.passphrase_file) if founding.passphrase_file else _secret()
    root, root_passphrase = SigningKey.generate(), _secret()
    hosts = [urlsplit(endpoint).hostname or "" for endpoint in founding.endpoints]
    keyring = Keyring.generate(founding.authority, tuple(dict.fromkeys(hosts)))
    raw = build_card(_first_plan(founding, keyring, root, now_ms), [root])
    with _fresh(folder):
        offline = folder / OFFLINE
        offline.mkdir(mode=0o700)
        write_private(offline / "root.passphrase", root_passphrase + b"\n")
        write_root(offline / "root.key", root, root_passphrase)
        if not founding.passphrase_file:
            write_private(folder / "passphrase", passphrase + b"\n")
        write_vault(folder / "vault", keyring, passphrase)
        write_private(folder / "cli.token", f"{new_token()}\n".encode())
        (folder / "card.json").write_bytes(raw)
        (folder / "config.toml").write_text(_config(founding), encoding="utf-8")
    return parse_card(raw)


def _first_plan(founding: Founding, keyring: Keyring, root: SigningKey, now_ms: int) -> Plan:
    window = Window(now_ms, now_ms + LIFETIME_MS)
    log, witness = keyring.log, keyring.witness
    return Plan(
        authority=founding.authority,
        sequence=1,
        previous=None,
        issued_ms=now_ms,
        expires_ms=window.until_ms,
        root=(root.public,),
        signing=tuple(PublicKey(key.kid, key.public, window) for key in keyring.signing.values()),
        sealing=tuple(PublicKey(key.kid, key.public, window) for key in keyring.sealing.values()),
        tls=tuple(Certificate(key.certificate, window) for key in keyring.tls),
        log=LogIdentity(f"{founding.domain}/audit/1", log.ed.public, log.lattice.public),
        witness=WitnessIdentity(f"{founding.domain}/witness", witness.ed.public, witness.lattice.public),
        endpoints=founding.endpoints,
    )


def _config(founding: Founding) -> str:
    chosen: dict[str, dict[str, object]] = {
        "authority": {
            "id": founding.authority,
            "country": founding.country,
            "name": founding.name,
            "domain": founding.domain,
        },
        **{door: {"port": port} for door, port in founding.ports.items()},
    }
    if founding.passphrase_file:
        chosen["keys"] = {"passphrase_file": founding.passphrase_file.absolute()}
    return config_text(chosen)


def write_private(path: Path, data: bytes) -> None:
    """Write the new file *path*, for its owner only."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _PRIVATE), "wb") as file:
        file.write(data)


def _secret() -> bytes:
    return secrets.token_urlsafe(_SECRET_BYTES).encode()


@contextmanager
def _fresh(folder: Path) -> Iterator[None]:
    """Give an empty *folder* to fill; a failure leaves what there was before."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        existed = folder.is_dir()
        if not existed:
            folder.mkdir(mode=0o700)
        elif any(folder.iterdir()):
            raise Misuse(409, "not_empty", f"{folder} is not empty; name a new folder for the node")
    except OSError as error:
        raise Misuse(409, "not_writable", f"{folder} cannot be made: {error.strerror}") from None
    try:
        yield
    except BaseException as error:
        for path in folder.iterdir():  # it was empty: all of this is ours
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
        if not existed:
            folder.rmdir()
        if isinstance(error, OSError):
            raise Misuse(409, "not_writable", f"{folder} cannot be filled: {error.strerror}") from None
        raise
