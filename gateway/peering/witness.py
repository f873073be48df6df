"""Our witness: cosigns the checkpoints of pinned peers' logs (C2SP tlog-witness; protocol §9).

Whether the peer brings a checkpoint or we fetch it, it ends here: judged on the newest one that was cosigned,
which the store replaces only if it still is that one, before anybody sees the cosignature.
"""

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass, replace

from gateway.core.errors import Stale, Unavailable, Untrusted
from gateway.core.note import Checkpoint, bare_note, cosign, parse_head, verify_checkpoint
from gateway.core.signed_note import parse_note
from gateway.core.witness import Contradicts, GoesOn, Submission, Unconnected, Verdict, judge
from gateway.peering.directory import Directory, PinnedPeer
from gateway.peering.forks import Fork, keep_fork
from gateway.ports import Change, Clock, Store
from gateway.rows import WitnessedRow
from keys.signing import LogKeys

_TRIES = 16


class UnknownLog(Untrusted):
    """A checkpoint of a log that no card of the peer names."""


@dataclass(frozen=True, slots=True)
class Witness:
    """Cosigns for peers, in the name that our card gives to our witness."""

    store: Store
    directory: Directory
    keys: Callable[[], LogKeys]
    clock: Clock

    async def consider(self, peer: PinnedPeer, submission: Submission) -> str | Verdict:
        """Return our two signature lines under the checkpoint of *submission*, or why there are none.

        The lines are durable by then, and so is what contradicts the log, if anything does.

        Raises:
            Malformed: not a checkpoint, or an old size above its own.
            UnknownLog: no log of *peer*.
            Untrusted: one of the log's two signatures is missing or wrong.
            Unavailable: it cannot be recorded now.
        """
        offered = own_checkpoint(peer, submission.note)
        for _ in range(_TRIES):
            row = await self.store.get(WitnessedRow, offered.origin)
            newest = None if row is None else verify_checkpoint(row.text, peer.logs[offered.origin])
            verdict = judge(submission, offered, newest)
            if not isinstance(verdict, GoesOn):
                if newest is not None:
                    await self._accuse(peer, verdict, newest, offered)
                return verdict
            with contextlib.suppress(Stale):  # another checkpoint was cosigned meanwhile: judged on that one
                return await self._cosign(peer, offered, row)
        raise Unavailable("others are witnessing the same log")

    async def newest(self, peer: PinnedPeer, origin: str) -> Checkpoint | None:
        """Return the checkpoint of the log *origin* of *peer* that was cosigned last, or None."""
        row = await self.store.get(WitnessedRow, origin)
        return None if row is None else verify_checkpoint(row.text, peer.logs[origin])

    async def _cosign(self, peer: PinnedPeer, offered: Checkpoint, row: WitnessedRow | None) -> str:
        """Record that *offered* is cosigned in the place of *row*; return the lines. Raises Stale."""
        name, now_ms = self.directory.own.witness.name, self.clock.now_ms()
        lines = await asyncio.to_thread(cosign, offered, name, now_ms, self.keys())
        fresh = WitnessedRow(
            origin=offered.origin,
            version=0,
            peer=peer.row.authority,
            size=offered.size,
            text=bare_note(offered, peer.logs[offered.origin]),
            cosignatures=lines,
            witnessed_ms=now_ms,
        )
        row = fresh if row is None else replace(fresh, version=row.version)
        await self.store.record(Change(name="witness", puts=(row,)))
        return lines

    async def _accuse(
        self, peer: PinnedPeer, verdict: Verdict, newest: Checkpoint, offered: Checkpoint
    ) -> None:
        authority = peer.row.authority
        if isinstance(verdict, Contradicts):
            await keep_fork(self.store, self.clock, authority, Fork.TWO_ROOTS, (newest, offered))
        elif isinstance(verdict, Unconnected):
            await keep_fork(self.store, self.clock, authority, Fork.INCONSISTENT, (newest, offered))


def own_checkpoint(peer: PinnedPeer, note: str) -> Checkpoint:
    """Return the checkpoint in *note* of a log of *peer*.

    Raises:
        Malformed: not a checkpoint.
        UnknownLog: no card of *peer* names its log.
        Untrusted: one of the log's two signatures is missing or wrong.
    """
    origin, _, _ = parse_head(parse_note(note).text)
    log = peer.logs.get(origin)
    if log is None:
        raise UnknownLog("a checkpoint of no log of the peer")
    return verify_checkpoint(note, log)
