"""The private keys in use, and which of them speaks for the node now."""

import asyncio

from gateway.config import Keys
from gateway.core.card import Card
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
    held: set[str | bytes] = {
        *keyring.signing,
        *keyring.sealing,
        *(key.certificate for key in keyring.tls),
        keyring.log.ed.public,
        keyring.log.lattice.public,
        keyring.witness.ed.public,
        keyring.witness.lattice.public,
    }
    named: dict[str, set[str | bytes]] = {
        "signing": {key.kid for key in card.signing},
        "sealing": {key.kid for key in card.sealing},
        "tls": {one.der for one in card.tls},
        "log": {card.log.ed_public, card.log.lattice_public},
        "witness": {card.witness.ed_public, card.witness.lattice_public},
    }
    for role, keys in named.items():
        if not keys <= held:
            raise Misconfigured(
                f"keys.vault: the key store lacks a {role} key that the card names; is it an older copy?"
            )
