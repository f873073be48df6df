"""New epochs of peers' logs: what a peer lost that was restored from an old copy is sent again.

Everything is a row (protocol §9 "Start-up"): the epoch once it is proved, with how far the receipts were
looked through for it; and each message that was lost is queued like any other. A crash repeats a page,
and finds those queued already.
"""

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass, replace

import structlog

from gateway.core import delivery
from gateway.core.errors import Malformed, Misuse, NotIncluded, NotProved, Stale
from gateway.core.ids import AuthorityId
from gateway.core.merkle import verify_consistency
from gateway.core.note import verify_checkpoint
from gateway.core.proof import Receipt, parse_proof, parse_receipt
from gateway.core.standing import Epoch, Place, consistent_from, epoch_of, is_lost, survives, verify_epoch
from gateway.peering.alarms import raise_alarm
from gateway.peering.client import PeerClient
from gateway.peering.directory import Directory, PinnedPeer
from gateway.peering.forks import Fork, keep_fork
from gateway.peering.settlement import Settlement
from gateway.ports import Change, Clock, Store
from gateway.rows import AlarmRow, ContentRow, Direction, EpochRow, MessageRow, ReceiptRow, WitnessedRow

NOT_PROVED = "epoch_not_proved"
"""The alarm that a card names a new epoch, and the peer does not prove how it began."""
_PAGE = 200
_TAKEN = frozenset({delivery.State.ACCEPTED.value, delivery.State.HANDED_OVER.value})

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Epochs:
    """Follows the epochs of peers' logs."""

    store: Store
    directory: Directory
    settlement: Callable[[], Settlement]
    clock: Clock

    async def follow(self, client: PeerClient, authority: AuthorityId) -> None:
        """Send again what *authority* has lost in epochs that are new here; its cards were looked at.

        Raises:
            PeerUnavailable: the peer cannot be reached.
            Unavailable: it cannot be recorded now; what was not is found the next time.
        """
        peer = self.directory.peers.get(authority)
        if peer is None or not peer.active:
            return
        for origin in later_origins(peer):
            row = await self.store.get(EpochRow, origin)
            if row is None:
                row = await self._proved(client, peer, origin)
            if row is not None and row.settled_ms is None:
                await self._settle(row, verify_epoch(parse_receipt(row.body), authority, origin, peer.logs))

    async def _proved(self, client: PeerClient, peer: PinnedPeer, origin: str) -> EpochRow | None:
        """Record how the epoch *origin* began; None if the peer does not prove it."""
        authority, newest = peer.row.authority, origin == peer.card.log.origin
        receipt = await client.epoch(None if newest else epoch_of(origin))
        if receipt is None and not newest:
            return None  # lost in a later one, which goes back further
        epoch = _verified(receipt, peer, origin)
        if receipt is None or epoch is None:
            await raise_alarm(self.store, self.clock, NOT_PROVED, authority, origin)
            return None
        if not await self._goes_on(client, peer, epoch):
            return None
        row = EpochRow(
            origin=origin,
            version=0,
            peer=authority,
            restored_size=epoch.restored_size,
            body=receipt.encode(),
            stored_ms=self.clock.now_ms(),
        )
        _log.warning("peer.epoch", peer=authority, sequence=peer.card.sequence, index=epoch.restored_size)
        raised = await self.store.get(AlarmRow, NOT_PROVED, authority)
        calmed = () if raised is None else (raised,)
        with contextlib.suppress(Stale):  # another process of this authority was first
            await self.store.record(Change(name="epoch", puts=(row,), deletes=calmed))
        return await self.store.get(EpochRow, origin)

    async def _goes_on(self, client: PeerClient, peer: PinnedPeer, epoch: Epoch) -> bool:
        """Return whether the log of *epoch* goes on from what was witnessed of the one before.

        That is asked for up to where the log was taken up again. If it does not, both are kept.

        Raises:
            PeerUnavailable: the peer cannot be asked now.
        """
        row = await self.store.get(WitnessedRow, epoch.previous_origin)
        held = None if row is None else verify_checkpoint(row.text, peer.logs[epoch.previous_origin])
        if held is None or not consistent_from(held, epoch):
            return True
        now = epoch.checkpoint
        try:
            proof = await client.consistency(held.size, now.size)
            verify_consistency(held.size, now.size, held.root, now.root, proof)
        except NotIncluded:
            await keep_fork(self.store, self.clock, peer.row.authority, Fork.INCONSISTENT, (held, now))
            return False
        return True

    async def _settle(self, row: EpochRow, epoch: Epoch) -> None:
        """Look through all receipts of the peer, page after page, and queue again what was lost."""
        while page := await self.store.receipts_after(row.peer, row.seen, limit=_PAGE):
            suspects = {receipt.id for receipt in page if not survives(_place(receipt), epoch)}
            rows = await self.store.get_many(
                MessageRow, [(Direction.OUT, row.peer, message) for message in sorted(suspects)]
            )
            await asyncio.gather(*(self._repeat(message, epoch) for message in rows.values()))
            moved = await self._moved(replace(row, seen=page[-1].entry))
            if moved is None:
                return
            row = moved
        await self._moved(replace(row, settled_ms=self.clock.now_ms()))

    async def _repeat(self, message: MessageRow, epoch: Epoch) -> None:
        """Queue *message* again if the peer has lost it."""
        if message.state not in _TAKEN:
            return
        receipts = await self.store.receipts(message.peer, message.id)
        if is_lost(map(_place, receipts), epoch):
            content = await self.store.get(ContentRow, Direction.OUT, message.peer, message.id)
            kept = content is not None and message.erased_ms is None
            with contextlib.suppress(Misuse):  # queued by another process meanwhile
                await self.settlement().settle(message, delivery.Lost(kept=kept))

    async def _moved(self, row: EpochRow) -> EpochRow | None:
        """Record how far it has come; None if another process of this authority goes on with it."""
        try:
            await self.store.record(Change(name="epoch", puts=(row,)))
        except Stale:
            return None
        return replace(row, version=row.version + 1)


def _verified(receipt: Receipt | None, peer: PinnedPeer, origin: str) -> Epoch | None:
    """Return how the epoch *origin* began; None if that is not proved. Each but the first has an entry."""
    if receipt is None:
        return None
    try:
        return verify_epoch(receipt, peer.row.authority, origin, peer.logs)
    except (NotProved, Malformed):
        return None


def later_origins(peer: PinnedPeer) -> list[str]:
    """Return the origins of the epochs of a peer's log after the first that its cards name, in order."""
    domain = peer.card.log.origin.rpartition("/")[0]
    origins = sorted((origin for origin in peer.logs if origin.rpartition("/")[0] == domain), key=epoch_of)
    return origins[1:]


def _place(receipt: ReceiptRow) -> Place:
    proof = parse_proof(parse_receipt(receipt.body).proof)
    return Place(receipt.event, proof.origin, proof.index)
