"""The root key and the vault at hand: what it takes to sign a card of one's own."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import click

from gateway.app.own_card import read_card
from gateway.config import Settings
from gateway.core.card import Card
from keys.errors import VaultFault
from keys.signing import SigningKey
from keys.vault import Keyring, read_passphrase, read_root, read_vault

_Command = TypeVar("_Command", bound=Callable[..., object])


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnKeys:
    """The card of the authority, the root key that signs the next one, and the open vault."""

    own: Card
    root: SigningKey
    keyring: Keyring
    passphrase: bytes


def with_root(command: _Command) -> _Command:
    """Give *command* the options `root_file` and `root_passphrase_file`."""
    passphrase = click.option(
        "--root-passphrase-file",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        help="The file with its passphrase.  [default: beside it, .passphrase for .key]",
    )
    root = click.option(
        "--root",
        "root_file",
        required=True,
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        help="The root key.",
    )
    return root(passphrase(command))


def own_keys(settings: Settings, root_file: Path, root_passphrase_file: Path | None) -> OwnKeys:
    """Return what is in the files. Raises VaultFault: one does not open, or the root is another's."""
    own = read_card(settings.keys.card)
    root = read_root(root_file, read_passphrase(root_passphrase_file or root_file.with_suffix(".passphrase")))
    if root.public not in own.root:
        raise VaultFault(f"the key in {root_file} is not a root key of the card of {own.authority}")
    passphrase = read_passphrase(settings.keys.passphrase_file)
    keyring = read_vault(settings.keys.vault, passphrase)
    return OwnKeys(own=own, root=root, keyring=keyring, passphrase=passphrase)
