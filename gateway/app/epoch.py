"""Opening a new epoch of the own audit log, for a node that does not run (protocol §9 "Start-up").

New log keys go to the key store first; then one transaction moves the log: origin, first entry, first
checkpoint and the card that names it. Then the card's files follow the store. Whoever is interrupted runs
the command again: it goes on with the keys, or the card, that it finds, and signs nothing twice.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace

from gateway.app.beginning import mark_of
from gateway.app.identity import Identity
from gateway.app.own_card import archived, newest_recorded, read_card, unrecorded, write_card
from gateway.app.renewal import renew
from gateway.config import Settings
from gateway.core import custody
from gateway.core.card import Card, build_card, parse_card, roles_lacking
from gateway.core.entry import Draft, parse_entry
from gateway.core.errors import Misconfigured
from gateway.core.ids import AuthorityId
from gateway.core.note import Checkpoint, LogIdentity
from gateway.core.standing import EVENT, contradiction, members, next_origin
from gateway.peering.client import PeerClient
from gateway.peering.directory import Directory, PinnedPeer
from gateway.peering.replies import PeerUnavailable
from gateway.peering.standing import held, in_time
from gateway.ports import Clock, Entropy
from gateway.rows import CardRow, DetailRow
from gateway.store.epoch import StandingStore
from keys.signing import LogKeys, SigningKey
from keys.vault import Keyring, write_vault


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """What opening an epoch would do, and what peers know of the one before.

    Attributes:
        origin, size: the log as the store has it.
        next_origin: of the epoch that would be opened.
        known: the largest checkpoint of the log that a peer holds, with who holds it.
        contradicted: the log here does not lead to that checkpoint.
        silent: peers that did not answer.
        begun: nothing was done in the present epoch yet.
    """

    origin: str
    size: int
    next_origin: str
    known: tuple[AuthorityId, Checkpoint] | None
    contradicted: bool
    silent: tuple[AuthorityId, ...]
    begun: bool

    @property
    def needless(self) -> bool:
        """Whether the epoch that is to be opened is there already, and nothing speaks against it."""
        return self.begun and not self.contradicted


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """A node that does not run, and its store: whole, or as an interrupted opening left it."""

    settings: Settings
    store: StandingStore
    card: Card
    keyring: Keyring
    recorded: CardRow | None
    clock: Clock
    entropy: Entropy

    def finished(self) -> Card | None:
        """Return the card of an epoch whose opening was interrupted at the very end, and end it; else None.

        The store has moved then, and the files of the card are brought up to it.

        Raises:
            Misconfigured: what is in the folder does not belong to this store.
        """
        if self.recorded is None or self.recorded.sequence <= self.card.sequence:
            return None
        successor = parse_card(self.recorded.body)
        if successor.log.origin != self.store.origin or successor.sequence != self.card.sequence + 1:
            raise Misconfigured("keys.card: it is older than this store; bring back the newest one")
        self._check(roles_lacking(successor, self.keyring))
        self._follow(successor)
        return successor

    async def outlook(self) -> Outlook:
        """Return what is to be decided on; the peers are asked, for 10 seconds in all."""
        directory = Directory(self.store, self.card)
        await directory.refresh()
        peers = [peer for peer in directory.peers.values() if peer.active]
        found = dict(await in_time(self._held(peer) for peer in peers))
        largest = max(
            ((peer, one) for peer, one in found.items() if isinstance(one, Checkpoint)),
            key=lambda item: item[1].size,
            default=None,
        )
        return Outlook(
            origin=self.store.origin,
            size=self.store.size,
            next_origin=next_origin(self.card.log.origin, self.store.origin),
            known=largest,
            contradicted=largest is not None and await self._contradicted(*largest),
            begun=await self._begun(),
            silent=tuple(
                peer.row.authority for peer in peers if found.get(peer.row.authority, False) is False
            ),
        )

    async def open(self, outlook: Outlook, root: SigningKey, passphrase: bytes, by: str) -> Card:
        """Open the epoch; return the card that names it.

        Raises:
            Misconfigured: keys or cards do not go together, or a node is writing the log.
            VaultFault: the key store cannot be written.
        """
        now_ms, storage = self.clock.now_ms(), self.keyring.storage
        missing = unrecorded(self.card, self.recorded, self.settings.keys.card)
        keyring = replace(self.keyring, log=await self._new_keys())
        log = LogIdentity(outlook.next_origin, keyring.log.ed.public, keyring.log.lattice.public)
        plan, _ = renew(self.card, keyring, (), self.card.endpoints, now_ms)
        successor = parse_card(build_card(replace(plan, log=log), [root]))
        detail = custody.box_detail(storage, by.encode())
        known = None if outlook.known is None else outlook.known[1]
        draft = Draft(
            event=EVENT,
            outcome="ok",
            commitment=detail.commitment,
            extra=members(
                origin=log.origin,
                previous_origin=self.card.log.origin,
                restored_size=self.store.size,
                known=known,
            ),
        )
        write_vault(self.settings.keys.vault, keyring, passphrase, replace=True)
        cards = [CardRow.of(card, now_ms) for card in (*missing, successor)]
        await self.store.begin(
            self.card.authority,
            log.origin,
            keyring.log,
            draft,
            (*cards, DetailRow.of(detail)),
            clock=self.clock,
            entropy=self.entropy,
        )
        self._follow(successor)
        return successor

    async def _contradicted(self, peer: AuthorityId, found: Checkpoint) -> bool:
        size = self.store.size
        root = await self.store.root(found.size) if found.size <= size else None
        return contradiction(peer, found, size, root) is not None

    async def _begun(self) -> bool:
        if self.store.origin != self.card.log.origin or roles_lacking(self.card, self.keyring):
            return False
        last = await self.store.entry(self.store.size - 1)
        return last is not None and parse_entry(last.leaf).event == EVENT

    async def _new_keys(self) -> LogKeys:
        """Return keys of the new epoch: fresh ones, or those that an interrupted opening has left.

        Raises:
            Misconfigured: the key store is older than the card.
        """
        lacking = roles_lacking(self.card, self.keyring)
        if not lacking:
            return LogKeys.generate()
        self._check([role for role in lacking if role != "log"])
        log = self.keyring.log
        rows = await self.store.all(CardRow)
        path, own = self.settings.keys.card, self.card.authority
        older = [parse_card(row.body) for row in rows if row.authority == own]
        older += [
            read_card(found) for n in range(1, self.card.sequence) if (found := archived(path, n)).exists()
        ]
        if any(card.log.ed_public == log.ed.public for card in older):
            self._check(lacking)  # they have signed another epoch
        return log

    def _check(self, lacking: list[str]) -> None:
        if lacking:
            role = lacking[0]
            raise Misconfigured(
                f"keys.vault: the key store lacks a {role} key that the card names; is it an older copy?"
            )

    def _follow(self, successor: Card) -> None:
        """Bring the files up to the card that the store has."""
        path = self.settings.keys.card
        write_card(archived(path, self.card.sequence), self.card.raw)
        write_card(path, successor.raw)
        mark_of(self.settings).unlink(missing_ok=True)

    async def _held(self, peer: PinnedPeer) -> tuple[AuthorityId, Checkpoint | bool | None]:
        """Return what *peer* holds of the log as the card names it; False if it does not answer."""
        tls = Identity(self.keyring).tls(self.card, self.clock.now_ms())
        async with PeerClient(peer.card, tls) as client:
            try:
                return peer.row.authority, await held(client, self.card.log)
            except PeerUnavailable:
                return peer.row.authority, False


@contextlib.asynccontextmanager
async def opening(
    settings: Settings, keyring: Keyring, clock: Clock, entropy: Entropy
) -> AsyncIterator[Opening]:
    """Give what can open a new epoch; while it is given, no node can start on SQLite.

    Raises:
        Misconfigured: a node is running, or the folder is not whole.
    """
    card = await asyncio.to_thread(read_card, settings.keys.card)
    store = await StandingStore.opened(
        settings.store.url, authority=card.authority, data_dir=settings.keys.card.parent
    )
    try:
        yield Opening(
            settings=settings,
            store=store,
            card=card,
            keyring=keyring,
            recorded=await newest_recorded(store, card.authority),
            clock=clock,
            entropy=entropy,
        )
    finally:
        await store.close()
