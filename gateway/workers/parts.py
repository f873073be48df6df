"""What the courier works with: handed over once, when the node is wired."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from gateway.core.card import PublicKey
from gateway.core.errors import Misuse
from gateway.core.ids import AuthorityId
from gateway.peering.client import PeerClient
from gateway.peering.directory import Directory, PinnedPeer
from gateway.peering.settlement import Settlement
from gateway.ports import Clock, Entropy, Probe, Store
from gateway.store.blobs import BlobFolder
from gateway.workers.lanes import Lanes
from keys.vault import Keyring


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """The parts of a node that the courier works with.

    Attributes:
        keyring: the keys in use, asked anew each time.
        dial: a client for one peer, to be closed by the caller.
        lanes: how many messages have their blobs brought at once.
        periods: how long each clock runs, in milliseconds by its setting.
        cards_wanted: told of a peer whose newest card is needed (421).
    """

    store: Store
    blobs: BlobFolder
    directory: Directory
    keyring: Callable[[], Keyring]
    dial: Callable[[PinnedPeer], PeerClient]
    lanes: Lanes
    cards_wanted: Callable[[AuthorityId], None]
    clock: Clock
    periods: Mapping[str, int]
    entropy: Entropy
    probe: Probe

    def settlement(self) -> Settlement:
        """Return what applies events to outgoing messages."""
        return Settlement(
            self.store,
            self.directory.own.authority,
            self.keyring().storage,
            self.clock,
            self.entropy,
            self.periods,
            self._sealing,
            self.cards_wanted,
        )

    def _sealing(self, peer: AuthorityId) -> PublicKey | None:
        """Return the key to seal to, by the peer's pinned card as it is now."""
        pinned = self.directory.peers.get(peer)
        if pinned is None:
            return None
        try:
            return pinned.card.sealing_key(self.clock.now_ms())
        except Misuse:  # none of its keys may be used yet
            return None
