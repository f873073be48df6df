"""The private keys in use, and which of them speaks for the node now."""

import asyncio

from gateway.config import Keys
from gateway.core.card import Card, roles_lacking
from gateway.core.errors import Misconfigured
from keys.certificates import TlsKey
from keys.vault import Keyring, read_passphrase, read_vault


class Identity:
    """The keyring of a node; another takes its place when a successor card is adopted."""

    def __init__(self, keyring: Keyring) -> None:
        self._keyring = keyring

    def keyring(self) -> Keyring:
        """Return the keys in use."""
        return self._keyring

    def adopt(self, keyring: Keyring) -> None:
        """Use *keyring* from now on."""
        self._keyring = keyring

    def tls(self, card: Card, now_ms: int) -> TlsKey:
        """Return what the node presents at *now_ms* under its own *card*. Raises Misconfigured."""
        presented = card.certificate(now_ms).der
        for key in self._keyring.tls:
            if key.certificate == presented:
                return key
        raise Misconfigured("keys.vault: the key store lacks the certificate that the card names")


async def read_keyring(keys: Keys) -> Keyring:
    """Return the keys of the vault; a thread derives the key, which takes a second. Raises VaultFault."""
    return await asyncio.to_thread(lambda: read_vault(keys.vault, read_passphrase(keys.passphrase_file)))


def check_keys(card: Card, keyring: Keyring, authority: str) -> None:
    """Refuse a *card* that is not of *authority*, or that names a key which *keyring* lacks.

    Raises:
        Misconfigured: says what does not fit.
    """
    if card.authority != authority:
        raise Misconfigured(f"authority.id: it is {authority}, but the card is of {card.authority}")
    roles = roles_lacking(card, keyring)
    if roles == ["log"]:
        raise Misconfigured(
            "keys.vault: the key store lacks the log keys that the card names; if a new epoch was being "
            "opened, run art18 audit new-epoch again"
        )
    if roles:
        raise Misconfigured(
            f"keys.vault: the key store lacks a {roles[0]} key that the card names; is it an older copy?"
        )
