"""Having our own log cosigned: by the witness of a peer, or by one that is no peer (C2SP tlog-witness)."""

import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

import structlog

from gateway.core.errors import Malformed, Misuse, Stale, Untrusted
from gateway.core.note import Checkpoint, verify_cosignature
from gateway.core.signed_note import VerifierKey, one_signature, parse_signatures, signature_line
from gateway.core.witness import encode_submission
from gateway.peering.replies import WitnessReply
from gateway.ports import Change, Clock, Store
from gateway.rows import CosignedRow, WitnessRow

_log = structlog.get_logger(__name__)

AHEAD = "ahead"
"""The problem of a witness that has cosigned a larger checkpoint of our log than there is here."""
CONFLICTS = frozenset({AHEAD, "two_roots", "not_consistent", "status_409", "status_422"})
"""Problems that say that our log is not the one that the witness has seen: an old copy, say."""


@dataclass(frozen=True, slots=True)
class Cosigner:
    """A witness of our log.

    Attributes:
        name: that its keys bear.
        keys: of type 0x04 and 0x06, or one of them.
        ask: brings it a submission. Raises PeerUnavailable.
    """

    name: str
    keys: tuple[VerifierKey, ...]
    ask: Callable[[bytes], Awaitable[WitnessReply]]


async def be_cosigned(store: Store, clock: Clock, cosigner: Cosigner) -> str | None:
    """Have the newest checkpoint cosigned, if the log has grown; return the code of what is wrong, if it is.

    Where the witness says that it stands elsewhere, it is asked again from there, once.

    Raises:
        PeerUnavailable: it cannot be reached.
        Unavailable: it cannot be recorded now.
    """
    row = await store.get(WitnessRow, cosigner.name) or WitnessRow(name=cosigner.name, version=0)
    if await store.log_size() == row.size:
        return row.problem
    own = await store.checkpoint()
    reply = await _submitted(store, own, row.size, cosigner)
    if reply.size is not None and reply.size != row.size and reply.size <= own.size:
        reply = await _submitted(store, own, reply.size, cosigner)
    if reply.lines is not None:
        cosigned = _verified(own, reply.lines, cosigner)
        if cosigned is None:
            return await _note_problem(store, row, "bad_cosignature")
        moved = replace(row, size=own.size, cosigned_ms=clock.now_ms(), problem=None)
        with contextlib.suppress(Stale):  # another process of this authority has asked at the same time
            await store.record(Change(name="cosigned", puts=(cosigned, moved)))
        return None
    problem = reply.code or "bad_answer"
    if reply.size is not None:
        # Another process of this authority may have shown it more meanwhile.
        problem = AHEAD if reply.size > await store.log_size() else "overtaken"
    return await _note_problem(store, row, problem)


async def _submitted(store: Store, own: Checkpoint, old: int, cosigner: Cosigner) -> WitnessReply:
    try:
        proof = await store.consistency(old, own.size)
    except Misuse:  # this copy of the log is smaller than what the witness cosigned
        return WitnessReply(size=old)
    return await cosigner.ask(encode_submission(old, proof, own.text))


def _verified(own: Checkpoint, lines: str, cosigner: Cosigner) -> CosignedRow | None:
    """Return the cosignatures in *lines* by every key of *cosigner*; None if one is missing or wrong."""
    try:
        signatures = parse_signatures(lines)
        time_s = max(verify_cosignature(own, signatures, key) for key in cosigner.keys)
        kept = "".join(signature_line(key, one_signature(signatures, key)) for key in cosigner.keys)
    except (Malformed, Untrusted):
        return None
    return CosignedRow(size=own.size, witness=cosigner.name, version=0, lines=kept, time_s=time_s)


async def _note_problem(store: Store, row: WitnessRow, problem: str) -> str:
    if row.problem != problem:
        _log.warning("witness.not_cosigned", code=problem)
        with contextlib.suppress(Stale):
            await store.record(Change(name="cosigned", puts=(replace(row, problem=problem),)))
    return problem
