"""The pinned cards and profiles, in memory: who a certificate belongs to, whose keys verify what.

Read from the store, which alone decides; to be refreshed after every change of peers or cards, and
every few seconds for what another process of this authority changed.
"""

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from gateway.core.card import Card, parse_card
from gateway.core.errors import Malformed, Untrusted
from gateway.core.ids import AuthorityId, Digest
from gateway.core.note import LogIdentity
from gateway.core.profile import Profile, verify_profile
from gateway.ports import RowSource
from gateway.rows import NEVER_PINNED, CardRow, CurrentProfileRow, PeerRow, ProfileRow


@dataclass(frozen=True, slots=True)
class PinnedPeer:
    """A peer, its pinned card, and every card of it that was ever pinned, by sequence.

    A card that was kept but never pinned, as the proof of a fork, is not among them: nothing that
    it names may be believed. `profile` is the newest that was recorded, None without one, and as
    soon as the key that signed it is not in the pinned card any more.
    """

    row: PeerRow
    card: Card
    cards: tuple[Card, ...]
    profile: Profile | None = None

    @property
    def active(self) -> bool:
        """Say whether its requests are served and messages go to it."""
        return self.row.state == "active"

    @property
    def logs(self) -> Mapping[str, LogIdentity]:
        """Return the logs of all its cards by origin: an old receipt still verifies."""
        return {card.log.origin: card.log for card in self.cards}


class Directory:
    """The own card and the pinned peers, as last read from the store."""

    def __init__(self, store: RowSource, own: Card) -> None:
        self._store = store
        self._own = own
        self._reading = asyncio.Lock()
        self._parsed: dict[Digest, Card] = {}
        self._chains: Mapping[AuthorityId, tuple[Card, ...]] = MappingProxyType({})
        self._peers: Mapping[AuthorityId, PinnedPeer] = MappingProxyType({})
        self._by_certificate: Mapping[bytes, AuthorityId] = MappingProxyType({})
        self._profiles: Mapping[AuthorityId, Profile] = MappingProxyType({})
        self._listeners: list[Callable[[], None]] = []

    @property
    def own(self) -> Card:
        """Return the own newest card."""
        return self._own

    @property
    def peers(self) -> Mapping[AuthorityId, PinnedPeer]:
        """Return every pinned peer, suspended ones too."""
        return self._peers

    @property
    def own_profile(self) -> Profile | None:
        """Return the own profile in force, None where none was published."""
        return self._profiles.get(self._own.authority)

    def own_card(self, sequence: int) -> Card | None:
        """Return the own card with *sequence*, as it was recorded."""
        if sequence == self._own.sequence:
            return self._own
        chain = self._chains.get(self._own.authority, ())
        return next((card for card in chain if card.sequence == sequence), None)

    def by_certificate(self, der: bytes) -> PinnedPeer | None:
        """Return the peer whose pinned card has this certificate, compared byte for byte."""
        authority = self._by_certificate.get(der)
        return None if authority is None else self._peers[authority]

    def certificates(self) -> frozenset[bytes]:
        """Return the certificates of all pinned cards, DER."""
        return frozenset(self._by_certificate)

    def replace_own(self, own: Card) -> None:
        """Take *own*, a successor that was recorded, as the own card."""
        chain = self._chains.get(own.authority, ())
        self._chains = MappingProxyType({**self._chains, own.authority: (*chain, self._own)})
        self._own = own
        self._tell()

    def on_change(self, listener: Callable[[], None]) -> None:
        """Call *listener* whenever a card has changed, or a peer was added, suspended or activated."""
        self._listeners.append(listener)

    async def refresh(self) -> None:
        """Read the peers again, and cards and profiles that are new; tell the listeners of peers."""
        async with self._reading:  # one after the other: what was read later stands
            rows = await self._store.all(PeerRow)
            if self._own.sha256 not in self._parsed or any(
                row.card_sha256 not in self._parsed for row in rows
            ):
                await self._read_cards()
            await self._read_profiles()
            peers = {}
            for row in rows:
                pinned = self._parsed.get(row.card_sha256)
                if pinned is not None:
                    chain, profile = self._chains[row.authority], self._profiles.get(row.authority)
                    holds = profile is not None and profile.kid in pinned.signing_keys()
                    peers[row.authority] = PinnedPeer(row, pinned, chain, profile if holds else None)
            moved = _served(peers) != _served(self._peers)
            self._peers = MappingProxyType(peers)
            if moved:
                self._by_certificate = MappingProxyType(
                    {one.der: authority for authority, peer in peers.items() for one in peer.card.tls}
                )
                self._tell()

    async def _read_cards(self) -> None:
        chains: dict[AuthorityId, tuple[Card, ...]] = {}
        for row in sorted(await self._store.all(CardRow), key=lambda row: (row.pinned_ms, row.sequence)):
            if row.pinned_ms == NEVER_PINNED:
                continue
            card = self._parsed.get(row.sha256) or parse_card(row.body)
            self._parsed[row.sha256] = card
            chains[row.authority] = (*chains.get(row.authority, ()), card)
        self._chains = MappingProxyType(chains)

    async def _read_profiles(self) -> None:
        """Read which profiles are in force, and those that are new here.

        Each was verified before it was recorded; here any card of its authority may have the key.
        """
        found: dict[AuthorityId, Profile] = {}
        new: list[tuple[str | int, ...]] = []
        for row in await self._store.all(CurrentProfileRow):
            known = self._profiles.get(row.authority)
            if known is not None and known.sha256 == row.sha256:
                found[row.authority] = known
            else:
                new.append((row.authority, row.sequence, row.sha256))
        for kept in (await self._store.get_many(ProfileRow, new)).values() if new else ():
            with contextlib.suppress(Malformed, Untrusted):  # recorded by a version with other rules
                found[kept.authority] = verify_profile(kept.body, kept.authority, self._keys(kept.authority))
        self._profiles = MappingProxyType(found)

    def _keys(self, authority: AuthorityId) -> dict[str, bytes]:
        """Return every signing key that *authority* ever had, by kid."""
        own = (self._own,) if authority == self._own.authority else ()
        cards = (*self._chains.get(authority, ()), *own)
        return {kid: key for card in cards for kid, key in card.signing_keys().items()}

    def _tell(self) -> None:
        for listener in self._listeners:
            listener()


def _served(peers: Mapping[AuthorityId, PinnedPeer]) -> dict[AuthorityId, tuple[Digest, str]]:
    """Return what doors and workers depend on: the pinned card and the state, not the backoff."""
    return {authority: (peer.card.sha256, peer.row.state) for authority, peer in peers.items()}
