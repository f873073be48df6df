"""A node: its parts, in the order in which they start; they stop in reverse.

Keys and card are checked before the store is opened, the store before a door: what is wrong is
told before anybody is answered.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import structlog

from gateway.app.beginning import Beginning
from gateway.app.doors import Door, Handshakes, console_tls
from gateway.app.health import Health
from gateway.app.identity import Identity, check_keys, read_keyring
from gateway.app.own_card import newest_recorded, read_card
from gateway.config import Console, Federation, Hook, Settings
from gateway.core.card import OVERLAP_MS, Card, parse_card
from gateway.core.errors import GatewayFault, Unavailable
from gateway.core.signed_note import parse_vkey
from gateway.peering.client import PeerClient
from gateway.peering.cosigning import Cosigner
from gateway.peering.directory import Directory, PinnedPeer
from gateway.peering.epochs import Epochs
from gateway.peering.outside import add_checkpoint
from gateway.peering.receivers import Receivers
from gateway.peering.sentry import Sentry
from gateway.peering.standing import Standing
from gateway.peering.witness import Witness
from gateway.ports import Clock, Entropy, Probe, Steady
from gateway.store import SqlStore, open_store
from gateway.store.blobs import BlobFolder
from gateway.web.context import Context
from gateway.web.federation import federation_app
from gateway.web.figures import Figures
from gateway.web.hook import hook_app
from gateway.workers.announcer import HeraldParts
from gateway.workers.cards import CardKeeper
from gateway.workers.courier import Courier, Parts
from gateway.workers.forgetting import Forgetting
from gateway.workers.herald import Herald
from gateway.workers.keeper import Keeper
from gateway.workers.lanes import Lanes
from gateway.workers.notary import Notary
from gateway.workers.timekeeper import Timekeeper
from gateway.workers.watchman import Watchman
from keys.signing import LogKeys
from keys.vault import Keyring

_WATCH_S = 10.0
"""How soon a process learns of what another process of the authority changed."""
_STOP_S = 1.0
"""How soon it ends when nothing may be written any more."""

_log = structlog.get_logger(__name__)


class Stopped(GatewayFault):
    """The node cannot go on; it has to be started anew."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outside:
    """What a node takes from the world around it; tests bring their own."""

    clock: Clock
    entropy: Entropy
    probe: Probe
    steady: Steady


@dataclass(frozen=True, slots=True)
class Running:
    """An open node: the address of each door, and what works in it."""

    addresses: Mapping[str, str]
    workers: Sequence[asyncio.Task[None]]

    async def until(self, stopping: asyncio.Event) -> None:
        """Return when *stopping* is set; raise what a worker ended with before that."""
        stopped = asyncio.create_task(stopping.wait())
        try:
            await asyncio.wait({stopped, *self.workers}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopped.cancel()
        for worker in self.workers:
            if worker.done():
                worker.result()
                raise Stopped(f"{worker.get_name()} ended by itself")


@dataclass(frozen=True, slots=True, kw_only=True)
class Inside:
    """The parts that the doors and the workers share, and what they ask of each other."""

    settings: Settings
    outside: Outside
    identity: Identity
    store: SqlStore
    blobs: BlobFolder
    directory: Directory
    handshakes: Handshakes
    figures: Figures
    sentry: Sentry
    standing: Standing
    beginning: Beginning

    def dial(self, peer: PinnedPeer) -> PeerClient:
        """Return a client for *peer*."""
        return PeerClient(peer.card, self.identity.tls(self.directory.own, self.outside.clock.now_ms()))

    async def reread_vault(self) -> Keyring:
        """Return what is in the key store now."""
        return await read_keyring(self.settings.keys)

    async def adopt(self, keyring: Keyring) -> None:
        """Use *keyring* from now on."""
        self.identity.adopt(keyring)
        self.present()

    def present(self) -> None:
        """Show in new handshakes the certificate whose time it is."""
        self.handshakes.present(self.identity.tls(self.directory.own, self.outside.clock.now_ms()))

    def health(self) -> Health:
        """Return what looks at the parts."""
        return Health(
            settings=self.settings,
            store=self.store,
            directory=self.directory,
            identity=self.identity,
            clock=self.outside.clock,
            sentry=self.sentry,
        )

    def watchman(self) -> Watchman:
        """Return what compares clock and log with the peers'."""
        return Watchman(
            store=self.store,
            directory=self.directory,
            dial=self.dial,
            standing=self.standing,
            sentry=self.sentry,
            clock=self.outside.clock,
        )

    async def watch(self) -> None:
        """Follow what other processes of this authority change. Raises Stopped."""
        while True:
            for _ in range(round(_WATCH_S / _STOP_S)):
                await asyncio.sleep(_STOP_S)
                if self.store.broken is not None:
                    raise Stopped(str(self.standing.found or self.store.broken))
            with contextlib.suppress(Unavailable):
                if not self.beginning.done and self.sentry.objection() is None:
                    await self.beginning.record()
                await self.directory.refresh()
                await self._follow_own_card()
            self.present()

    async def _follow_own_card(self) -> None:
        newest = await newest_recorded(self.store, self.directory.own.authority)
        if newest is None or newest.sequence <= self.directory.own.sequence:
            return
        card = parse_card(newest.body)
        if card.log.origin != self.directory.own.log.origin:
            raise Stopped("a new epoch of the audit log was opened: start the node anew")
        keyring = await self.reread_vault()
        check_keys(card, keyring, self.settings.authority.id)
        self.identity.adopt(keyring)
        self.directory.replace_own(card)


@contextlib.asynccontextmanager
async def running(
    settings: Settings, outside: Outside, unwitnessed: str | None = None
) -> AsyncIterator[Running]:
    """Run a node: everything is open inside the block, and stopped in order at its end.

    *unwitnessed* is why a restored node may start although no peer says how far its log was.

    Raises:
        Misconfigured, VaultFault: it cannot start as it is set up, or is an old copy.
    """
    async with contextlib.AsyncExitStack() as opened:
        inside = await _assembled(settings, outside, unwitnessed, opened)
        _warn_of_expiry(inside.directory.own, outside.clock)
        keeper = CardKeeper(
            store=inside.store, directory=inside.directory, dial=inside.dial, clock=outside.clock
        )
        parts = _parts(inside, keeper)
        epochs = Epochs(
            store=inside.store, directory=inside.directory, settlement=parts.settlement, clock=outside.clock
        )
        keeper.also(epochs.follow)
        courier = Courier(parts)
        herald = Herald(_herald_parts(inside))
        notary = _notary(inside)
        doors = await _doors(inside, keeper, notary, opened)
        delivering = asyncio.create_task(courier.run(), name="the courier")
        telling = asyncio.create_task(herald.run(), name="the herald")
        workers = [
            delivering,
            telling,
            asyncio.create_task(keeper.run(), name="the card keeper"),
            asyncio.create_task(
                Keeper(store=inside.store, blobs=inside.blobs, clock=outside.clock).run(), name="the keeper"
            ),
            asyncio.create_task(_timekeeper(inside).run(), name="the timekeeper"),
            asyncio.create_task(notary.run(), name="the notary"),
            asyncio.create_task(Forgetting(inside.store, outside.clock).run(), name="the forgetting"),
            asyncio.create_task(inside.watchman().run(), name="the watchman"),
            asyncio.create_task(inside.watch(), name="the watch"),
        ]
        try:
            yield Running({name: place for door in doors.values() for name, place in door.addresses}, workers)
        finally:
            courier.stop()
            herald.stop()
            ending = asyncio.wait({delivering, telling}, timeout=settings.limits.drain_s)
            await asyncio.gather(ending, *(door.close() for door in doors.values()))
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)


async def _assembled(
    settings: Settings, outside: Outside, unwitnessed: str | None, opened: contextlib.AsyncExitStack
) -> Inside:
    """Read keys and card, open the store, and record that the node has started.

    Before anything is recorded or signed the peers are asked whether this is an old copy, and for the
    time. While the clock is doubted nothing is: then the start is recorded later.
    """
    clock, entropy = outside.clock, outside.entropy
    identity = Identity(await read_keyring(settings.keys))
    card = read_card(settings.keys.card)
    check_keys(card, identity.keyring(), settings.authority.id)
    blobs = BlobFolder(settings.store.blobs)
    await asyncio.to_thread(blobs.prepare)
    figures = Figures()
    sentry = Sentry(clock, outside.steady)
    store = await open_store(
        settings.store.url,
        authority=card.authority,
        origin=card.log.origin,
        signer=identity.keyring().log,
        clock=clock,
        entropy=entropy,
        probe=outside.probe,
        data_dir=settings.keys.card.parent,
        meter=figures,
        guard=sentry,
    )
    opened.push_async_callback(store.close)
    directory = Directory(store, card)
    await directory.refresh()
    handshakes = Handshakes(identity.tls(card, clock.now_ms()), directory.certificates())
    directory.on_change(lambda: handshakes.admit(directory.certificates()))
    beginning = Beginning(
        settings=settings,
        store=store,
        directory=directory,
        identity=identity,
        clock=clock,
        unwitnessed=unwitnessed,
    )
    inside = Inside(
        settings=settings,
        outside=outside,
        identity=identity,
        store=store,
        blobs=blobs,
        directory=directory,
        handshakes=handshakes,
        figures=figures,
        sentry=sentry,
        standing=Standing(store, directory),
        beginning=beginning,
    )
    await inside.watchman().round()
    await beginning.judge(inside.standing)
    sentry.admit()
    if sentry.objection() is None:
        await beginning.record()
    return inside


def _timekeeper(inside: Inside) -> Timekeeper:
    return Timekeeper(
        store=inside.store,
        storage=lambda: inside.identity.keyring().storage,
        periods=inside.settings.clocks.periods_ms,
        clock=inside.outside.clock,
    )


def _notary(inside: Inside) -> Notary:
    def witness_keys() -> LogKeys:
        return inside.identity.keyring().witness

    witness = Witness(inside.store, inside.directory, witness_keys, inside.outside.clock)
    outside = [
        Cosigner(one.name, tuple(map(parse_vkey, one.vkeys)), partial(add_checkpoint, one.url))
        for one in inside.settings.audit.witnesses
    ]
    return Notary(witness, inside.dial, outside=outside, met=inside.standing.met, doubt=inside.standing.doubt)


def _parts(inside: Inside, keeper: CardKeeper) -> Parts:
    return Parts(
        store=inside.store,
        blobs=inside.blobs,
        directory=inside.directory,
        keyring=inside.identity.keyring,
        dial=inside.dial,
        lanes=Lanes(),
        cards_wanted=keeper.wanted,
        clock=inside.outside.clock,
        periods=inside.settings.clocks.periods_ms,
        entropy=inside.outside.entropy,
        probe=inside.outside.probe,
    )


def _herald_parts(inside: Inside) -> HeraldParts:
    return HeraldParts(
        store=inside.store,
        receivers=Receivers(inside.settings.hook.reach),
        storage=lambda: inside.identity.keyring().storage,
        clock=inside.outside.clock,
        entropy=inside.outside.entropy,
        probe=inside.outside.probe,
    )


async def _doors(
    inside: Inside, keeper: CardKeeper, notary: Notary, opened: contextlib.AsyncExitStack
) -> dict[str, Door]:
    settings, health = inside.settings, inside.health()
    context = Context(
        settings=settings,
        store=inside.store,
        blobs=inside.blobs,
        directory=inside.directory,
        keyring=inside.identity.keyring,
        reread_vault=inside.reread_vault,
        adopt=inside.adopt,
        dial=inside.dial,
        clock=inside.outside.clock,
        entropy=inside.outside.entropy,
        probe=inside.outside.probe,
        cards_wanted=keeper.wanted,
        witness_now=notary.now,
        check=health.check,
        figures=inside.figures,
        standing=health.standing,
        sentry=inside.sentry,
    )
    doors = {}
    opening = [
        ("federation", federation_app(context), _place(settings.federation), inside.handshakes.context),
        ("hook", hook_app(context), _place(settings.hook), None),
    ]
    if settings.console.enabled:
        # What draws pages takes memory that a node without a console can do without.
        from gateway.web.console.door import console_app  # noqa: PLC0415 - see above

        opening.append(
            ("console", console_app(context), _place(settings.console), console_tls(settings.console))
        )
    for name, app, (host, port), tls in opening:
        door = await Door.opened(app, name, host, port, drain_s=settings.limits.drain_s, tls=tls)
        opened.push_async_callback(door.close)
        doors[name] = door
    if settings.hook.socket:
        await doors["hook"].open_socket(Path(settings.hook.socket), settings.hook.socket_permissions)
    return doors


def _place(door: Federation | Hook | Console) -> tuple[str, int]:
    """Return where *door* listens."""
    return door.host, door.port


def _warn_of_expiry(card: Card, clock: Clock) -> None:
    """Say loudly that the own card is out of date; that stops nothing by itself (protocol §4)."""
    left_ms = card.expires_ms - clock.now_ms()
    if left_ms <= OVERLAP_MS:
        code = "card_expired" if left_ms <= 0 else "card_expires_soon"
        _log.warning("card.renew", code=code, authority=card.authority, sequence=card.sequence)
