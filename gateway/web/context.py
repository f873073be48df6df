"""What the doors need of the node: handed over once, when `app` wires it."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

from aiohttp import web

from gateway.config import Settings
from gateway.core.ids import AuthorityId
from gateway.peering.client import PeerClient
from gateway.peering.directory import Directory, PinnedPeer
from gateway.peering.profiles import Publisher
from gateway.peering.sentry import Sentry
from gateway.peering.settlement import Settlement
from gateway.ports import Clock, Entropy, Probe, Store, Unprobed
from gateway.store.blobs import BlobFolder
from gateway.web.figures import Figures
from keys.vault import Keyring


@dataclass(frozen=True, slots=True)
class Check:
    """What was found of one part of the node.

    Attributes:
        name: of the part.
        problem: what is wrong, None if nothing is. No party, no file, no content stands in it.
        vital: with a problem here, the node cannot serve.
    """

    name: str
    problem: str | None = None
    vital: bool = True


async def _all_well() -> Sequence[Check]:
    """Nothing is looked at."""
    return ()


def _nothing(_: AuthorityId) -> None:
    """Nobody wants to be told."""


def _nothing_now() -> None:
    """Nobody witnesses."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """The parts of a node that its doors work with.

    Attributes:
        keyring: the keys in use; asked anew each time, since `adopt` replaces them.
        reread_vault: reads the key store again, and changes nothing.
        adopt: puts a keyring in use whose successor card is recorded: new handshakes use it.
        dial: a client for one peer, to be closed by the caller.
        cards_wanted: told of a peer whose cards and profile are to be looked at soon.
        witness_now: has the log cosigned, and receipts compared, as soon as may be.
        check: what `/readyz` shows.
        figures: what happens here, counted.
        standing: what stands here, for `/metrics`.
        sentry: what doubts the clock; None where nothing does.
    """

    settings: Settings
    store: Store
    blobs: BlobFolder
    directory: Directory
    keyring: Callable[[], Keyring]
    reread_vault: Callable[[], Awaitable[Keyring]]
    adopt: Callable[[Keyring], Awaitable[None]]
    dial: Callable[[PinnedPeer], PeerClient]
    clock: Clock
    entropy: Entropy
    probe: Probe = field(default_factory=Unprobed)
    cards_wanted: Callable[[AuthorityId], None] = _nothing
    witness_now: Callable[[], None] = _nothing_now
    check: Callable[[], Awaitable[Sequence[Check]]] = _all_well
    figures: Figures = field(default_factory=Figures)
    standing: Callable[[], Mapping[str, float]] = dict
    sentry: Sentry | None = None

    def settlement(self) -> Settlement:
        """Return what applies events to outgoing messages."""
        return Settlement(
            self.store,
            self.directory.own.authority,
            self.keyring().storage,
            self.clock,
            self.entropy,
            self.settings.clocks.periods_ms,
        )

    def publisher(self) -> Publisher:
        """Return what signs and records the own profile."""
        return Publisher(self.store, self.directory, self.keyring(), self.clock)


CONTEXT: web.AppKey[Context] = web.AppKey("context", Context)
