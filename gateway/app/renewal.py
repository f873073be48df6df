"""What `art18 card renew` makes: the successor card, and the new keys that it names.

Keys that are replaced stay in the card, and in the key store, for the overlap of 90 days, so that
what is on its way under them still arrives. Those whose overlap is over leave the card.
"""

from collections.abc import Collection
from dataclasses import replace
from typing import TypeVar
from urllib.parse import urlsplit

from gateway.core.card import LIFETIME_MS, OVERLAP_MS, Card, Certificate, Plan, PublicKey, Window
from gateway.core.errors import Misuse
from keys.certificates import new_certificate
from keys.sealing import SealingKey
from keys.signing import SigningKey
from keys.vault import Keyring

ROLES = ("signing", "sealing", "tls")
"""The roles whose keys a successor can replace."""
FOR_EVER = ("log", "witness")
"""The roles whose keys belong to a name for ever."""

KNOWN_MS = 2 * 60 * 60 * 1000
"""After this a new signing key is used: peers look for cards every hour, and have it by then."""

_Entry = TypeVar("_Entry", bound=PublicKey | Certificate)


def renew(
    card: Card, keyring: Keyring, rotate: Collection[str], endpoints: tuple[str, ...], now_ms: int
) -> tuple[Plan, Keyring]:
    """Return the plan of the card that follows *card*, and *keyring* with the new keys beside the old.

    *rotate* names roles of ROLES. Keys that stay in use are used until the new card expires.

    Raises:
        Misuse: a role whose keys cannot change.
    """
    for role in rotate:
        if role in FOR_EVER:
            raise Misuse(
                409,
                "for_ever",
                f"the {role} keys cannot be replaced: receipts name them, and one {role} has one pair of "
                "keys for ever",
            )
    window = Window(now_ms, now_ms + LIFETIME_MS)
    signing, sealing, tls = _kept(card.signing, window), _kept(card.sealing, window), _kept(card.tls, window)
    if "signing" in rotate:
        new = SigningKey.generate()
        keyring = replace(keyring, signing={**keyring.signing, new.kid: new})
        used = Window(now_ms + KNOWN_MS, window.until_ms)
        signing = (*_leaving(signing, now_ms), PublicKey(new.kid, new.public, used))
    if "sealing" in rotate:
        opener = SealingKey.generate()
        keyring = replace(keyring, sealing={**keyring.sealing, opener.kid: opener})
        sealing = (*_leaving(sealing, now_ms), PublicKey(opener.kid, opener.public, window))
    if "tls" in rotate:
        hosts = dict.fromkeys(urlsplit(endpoint).hostname or "" for endpoint in endpoints)
        identity = new_certificate(card.authority, tuple(hosts))
        keyring = replace(keyring, tls=(*keyring.tls, identity))
        tls = (*_leaving(tls, now_ms), Certificate(identity.certificate, window))
    plan = Plan(
        authority=card.authority,
        sequence=card.sequence + 1,
        previous=card.sha256,
        issued_ms=now_ms,
        expires_ms=window.until_ms,
        root=card.root,
        signing=signing,
        sealing=sealing,
        tls=tls,
        log=card.log,
        witness=card.witness,
        endpoints=endpoints,
    )
    return plan, keyring


def _kept(entries: tuple[_Entry, ...], window: Window) -> tuple[_Entry, ...]:
    """Return those still in their overlap, and the newest, which stays in use as long as the card."""
    newest = max(entries, key=lambda entry: entry.window.from_ms)
    older = [entry for entry in entries if entry is not newest and entry.window.until_ms > window.from_ms]
    return (*older, replace(newest, window=Window(newest.window.from_ms, window.until_ms)))


def _leaving(entries: tuple[_Entry, ...], now_ms: int) -> tuple[_Entry, ...]:
    """Return *entries*, none of them for longer than the overlap."""
    last = now_ms + OVERLAP_MS
    return tuple(
        replace(entry, window=Window(entry.window.from_ms, min(entry.window.until_ms, last)))
        for entry in entries
    )
