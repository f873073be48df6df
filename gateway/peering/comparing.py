"""Comparing what a peer shows of its log: with every receipt that it gave, and with what others hold.

A receipt is proved to the checkpoint that it came with. That this checkpoint is the beginning of the log that
the peer shows to its witnesses is what is asked for here, for every one of them: a cosigned checkpoint, and a
consistency proof to it, which evidence needs too (protocol §9 "Witnessing").
"""

import contextlib
from collections.abc import Iterable
from dataclasses import dataclass, replace

from gateway.core.errors import Malformed, NotIncluded, NotProved, Stale
from gateway.core.merkle import verify_consistency
from gateway.core.note import Checkpoint, parse_head
from gateway.core.proof import encode_hashes, parse_proof, parse_receipt
from gateway.core.signed_note import parse_note
from gateway.core.witness import Submission
from gateway.peering.client import PeerClient
from gateway.peering.directory import PinnedPeer
from gateway.peering.forks import Fork, keep_fork
from gateway.peering.replies import PeerUnavailable
from gateway.peering.witness import Witness, own_checkpoint
from gateway.ports import Change
from gateway.rows import BridgeRow, ComparedRow, CoverRow, ReceiptRow, Row, WitnessedRow

_PAGE = 200
_NO_PROOF = frozenset({"bad_answer", "malformed", "not_found"})
"""Answers of a peer that is there and gives no consistency proof: for all we know it has none."""


class Contradicted(Exception):
    """The peer's log contradicts what it has signed; that is kept, and the operator told."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """What is compared of one *peer*, over an open *client*."""

    witness: Witness
    peer: PinnedPeer
    client: PeerClient

    async def receipts(self) -> bool:
        """Compare the next receipts of the peer with its log; return whether there may be more.

        Raises:
            PeerUnavailable: it cannot be reached, or broke off: to be asked again.
            Contradicted: they cannot be of one log.
        """
        store, authority = self.witness.store, self.peer.row.authority
        row = await store.get(ComparedRow, authority)
        row = row or ComparedRow(peer=authority, version=0, entry=-1)
        found = await store.receipts_after(authority, row.entry, limit=_PAGE)
        if not found:
            return False
        signed = await self._signed(found)
        puts: list[Row] = [replace(row, entry=found[-1].entry)]
        if signed:
            cover = await self._cover(signed[max(signed)])
            puts += await self._bridges(signed, cover)
        with contextlib.suppress(Stale):  # another process of this authority compares the same
            await store.record(Change(name="compare", puts=tuple(puts)))
        return len(found) == _PAGE

    async def held(self, other: PinnedPeer, client: PeerClient) -> None:
        """Compare what the peer holds of the log of *other*, over its *client*, with what is held here.

        Raises:
            PeerUnavailable, Contradicted: as `receipts`; what the peer holds that *other* did not sign is
                no reason for anything.
        """
        origin = other.card.log.origin
        newest = await self.witness.newest(other, origin)
        note = None if newest is None else await self.client.held_checkpoint(origin)
        if newest is None or note is None:
            return
        try:
            shown = own_checkpoint(other, note)
        except (Malformed, NotProved):
            return
        if shown.origin == origin:
            await Comparison(self.witness, other, client).connected(shown, newest)

    async def connected(self, one: Checkpoint, other: Checkpoint) -> tuple[bytes, ...]:
        """Return the proof that two checkpoints of the peer's log are of one log, from the smaller one.

        Raises:
            PeerUnavailable: the peer cannot be asked now.
            Contradicted: they are not, or it gives no proof; both are kept.
        """
        old, new = sorted((one, other), key=lambda checkpoint: checkpoint.size)
        if old.size == new.size:
            if old.root != new.root:
                raise await self._accusation(Fork.TWO_ROOTS, old, new)
            return ()
        try:
            proof = await self.client.consistency(old.size, new.size)
            verify_consistency(old.size, new.size, old.root, new.root, proof)
        except PeerUnavailable as fault:
            if fault.code not in _NO_PROOF:
                raise
            raise await self._accusation(Fork.INCONSISTENT, old, new) from None
        except NotIncluded:
            raise await self._accusation(Fork.INCONSISTENT, old, new) from None
        return proof

    async def _signed(self, receipts: Iterable[ReceiptRow]) -> dict[int, Checkpoint]:
        """Return the checkpoints of *receipts* by size: of the log that the peer's card names now.

        Those of an epoch that has ended were compared while it lasted, or are proved by themselves alone.
        """
        found: dict[int, Checkpoint] = {}
        for row in receipts:
            note = parse_proof(parse_receipt(row.body).proof).checkpoint
            if parse_head(parse_note(note).text)[0] != self.peer.card.log.origin:
                continue
            checkpoint = own_checkpoint(self.peer, note)
            known = found.setdefault(checkpoint.size, checkpoint)
            if known.root != checkpoint.root:
                raise await self._accusation(Fork.TWO_ROOTS, known, checkpoint)
        return found

    async def _cover(self, signed: Checkpoint) -> CoverRow:
        """Return a checkpoint of the peer's log, *signed* or a later one, that we have cosigned, to keep."""
        store, origin = self.witness.store, self.peer.card.log.origin
        held = await store.get(WitnessedRow, origin)
        if held is None or held.size < signed.size:
            note = await self._shown(signed)
            held = await self._cosigned(note)
        else:
            note = held.text
        known = await store.get(CoverRow, origin, held.size)
        if known is not None:
            return known
        text = note if parse_head(parse_note(note).text)[1] == held.size else held.text
        now_ms = self.witness.clock.now_ms()
        return CoverRow(
            origin=origin, size=held.size, version=0, text=_with(text, held.cosignatures), stored_ms=now_ms
        )

    async def _shown(self, signed: Checkpoint) -> str:
        """Return a checkpoint that the peer shows, no smaller than *signed*, a cosigned one if it has any.

        Raises:
            PeerUnavailable: it shows none.
            Contradicted: its log is smaller than what it has signed.
        """
        cosigned = await self.client.held_checkpoint(self.peer.card.log.origin)
        if cosigned is not None and self._checked(cosigned).size >= signed.size:
            return cosigned
        newest = self._checked(await self.client.checkpoint())
        if newest.size < signed.size:
            raise await self._accusation(Fork.INCONSISTENT, newest, signed)
        return newest.text

    def _checked(self, note: str) -> Checkpoint:
        """Return the checkpoint in a *note* that the peer shows of its own log. Raises PeerUnavailable."""
        try:
            return own_checkpoint(self.peer, note)
        except (Malformed, NotProved):
            raise PeerUnavailable("no_checkpoint") from None

    async def _cosigned(self, note: str) -> WitnessedRow:
        """Return what is witnessed of the peer's log once the checkpoint in *note* is, or a later one."""
        store, offered = self.witness.store, own_checkpoint(self.peer, note)
        newest = await self.witness.newest(self.peer, offered.origin)
        if newest is None or newest.size < offered.size:
            old = 0 if newest is None else newest.size
            proof = () if newest is None else await self.connected(newest, offered)
            await self.witness.consider(self.peer, Submission(old, proof, note))
        held = await store.get(WitnessedRow, offered.origin)
        if held is None or held.size < offered.size:
            raise PeerUnavailable("no_checkpoint")
        return held

    async def _bridges(self, signed: dict[int, Checkpoint], cover: CoverRow) -> list[Row]:
        """Return *cover*, and the rows that lead to it from each checkpoint, as far as they are not kept."""
        store = self.witness.store
        target = own_checkpoint(self.peer, cover.text)
        keys: list[tuple[str | int, ...]] = [(target.origin, size) for size in signed]
        known = await store.get_many(BridgeRow, keys)
        rows: list[Row] = []
        for size, checkpoint in sorted(signed.items()):
            if (target.origin, size) in known:
                continue
            proof = encode_hashes(await self.connected(checkpoint, target))
            rows.append(BridgeRow(origin=target.origin, size=size, version=0, cover=cover.size, proof=proof))
        return [cover, *rows] if rows and not cover.version else rows

    async def _accusation(self, code: Fork, one: Checkpoint, other: Checkpoint) -> Contradicted:
        """Return what to raise once both checkpoints are kept."""
        await keep_fork(self.witness.store, self.witness.clock, self.peer.row.authority, code, (one, other))
        return Contradicted(code)


def _with(note: str, lines: str) -> str:
    """Return *note* with those of our signature *lines* that it has not got."""
    present = set(note.splitlines(keepends=True))
    return note + "".join(line for line in lines.splitlines(keepends=True) if line not in present)
