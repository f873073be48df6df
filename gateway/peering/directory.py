"""The pinned cards, in memory: who a certificate belongs to, whose keys verify what.

Read from the store, which alone decides; to be refreshed after every change of peers or cards.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from gateway.core.card import Card, parse_card
from gateway.core.ids import AuthorityId, Digest
from gateway.core.note import LogIdentity
from gateway.ports import CardRow, PeerRow, Store


@dataclass(frozen=True, slots=True)
class PinnedPeer:
    """A peer, its pinned card, and every card of it that was ever pinned, by sequence."""

    row: PeerRow
    card: Card
    cards: tuple[Card, ...]

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

    def __init__(self, store: Store, own: Card) -> None:
        self._store = store
        self._own = own
        self._parsed: dict[Digest, Card] = {}
        self._peers: Mapping[AuthorityId, PinnedPeer] = MappingProxyType({})
        self._by_certificate: Mapping[bytes, AuthorityId] = MappingProxyType({})
        self._listeners: list[Callable[[], None]] = []

    @property
    def own(self) -> Card:
        """Return the own newest card."""
        return self._own

    @property
    def peers(self) -> Mapping[AuthorityId, PinnedPeer]:
        """Return every pinned peer, suspended ones too."""
        return self._peers

    def by_certificate(self, der: bytes) -> PinnedPeer | None:
        """Return the peer whose pinned card has this certificate, compared byte for byte."""
        authority = self._by_certificate.get(der)
        return None if authority is None else self._peers[authority]

    def certificates(self) -> frozenset[bytes]:
        """Return the certificates of all pinned cards, DER."""
        return frozenset(self._by_certificate)

    def replace_own(self, own: Card) -> None:
        """Take *own*, a successor that was recorded, as the own card."""
        self._own = own
        self._tell()

    def on_change(self, listener: Callable[[], None]) -> None:
        """Call *listener* whenever peers or cards have changed."""
        self._listeners.append(listener)

    async def refresh(self) -> None:
        """Read peers and cards again; tell the listeners when something is new."""
        rows, cards = await self._store.all(PeerRow), await self._store.all(CardRow)
        chains: dict[AuthorityId, list[Card]] = {}
        for card in sorted(cards, key=lambda card: card.sequence):
            chains.setdefault(card.authority, []).append(self._parse(card))
        peers = {}
        for row in rows:
            chain = tuple(chains.get(row.authority, ()))
            pinned = next((card for card in chain if card.sha256 == row.card_sha256), None)
            if pinned is not None:
                peers[row.authority] = PinnedPeer(row, pinned, chain)
        if peers == self._peers:
            return
        self._peers = MappingProxyType(peers)
        self._by_certificate = MappingProxyType(
            {one.der: authority for authority, peer in peers.items() for one in peer.card.tls}
        )
        self._tell()

    def _parse(self, row: CardRow) -> Card:
        found = self._parsed.get(row.sha256)
        if found is None:
            found = self._parsed[row.sha256] = parse_card(row.body)
        return found

    def _tell(self) -> None:
        for listener in self._listeners:
            listener()
