"""The way to a peer, which all its messages share: what obstructs it, and the row that says so."""

import contextlib
from collections.abc import Coroutine
from dataclasses import replace
from typing import Any

import structlog

from gateway.core.backoff import OPEN, Way, obstructed
from gateway.core.errors import GatewayFault, Stale
from gateway.core.ids import AuthorityId
from gateway.peering.client import PeerUnavailable, Reply
from gateway.ports import Change, PeerRow
from gateway.workers.parts import Parts

_NO_ANSWER = 0
_OBSTRUCTING = frozenset({_NO_ANSWER, 429, 503})

_log = structlog.get_logger(__name__)


class Obstructed(GatewayFault):
    """The peer as a whole takes nothing now: no connection, 429 or 503 (protocol §8)."""

    def __init__(self, code: str | None, retry_after_s: int | None = None) -> None:
        super().__init__("the way to the peer is obstructed")
        self.code = code or "busy"
        self.retry_after_s = retry_after_s


async def answer_of(call: Coroutine[Any, Any, Reply]) -> Reply:
    """Return the peer's answer to *call*; without a connection, one that `check` refuses."""
    try:
        return await call
    except PeerUnavailable as fault:
        return Reply(_NO_ANSWER, code=fault.code)


def check(reply: Reply) -> Reply:
    """Return *reply* if it is about what was asked. Raises Obstructed if about the peer as a whole."""
    if reply.status in _OBSTRUCTING:
        raise Obstructed(reply.code, reply.retry_after_s)
    return reply


def is_open(row: PeerRow, now_ms: int) -> bool:
    """Return whether something may be posted to the peer now."""
    return row.state == "active" and _way(row).is_open(now_ms)


async def obstruct(parts: Parts, peer: AuthorityId, fault: Obstructed) -> None:
    """Leave *peer* alone for a while."""
    row = await parts.store.get(PeerRow, peer)
    if row is None:
        return
    jitter, now_ms = parts.entropy.jitter(), parts.clock.now_ms()
    way = obstructed(_way(row), fault.code, now_ms, jitter, retry_after_s=fault.retry_after_s)
    _log.warning("courier.obstructed", peer=peer, code=way.problem, attempt=way.attempt)
    await _write(parts, row, way)


async def reopen(parts: Parts, row: PeerRow) -> None:
    """Note that the peer answers again."""
    if row.attempt:
        await _write(parts, row, OPEN)


def _way(row: PeerRow) -> Way:
    return Way(row.attempt, row.next_ms, row.problem)


async def _write(parts: Parts, row: PeerRow, way: Way) -> None:
    moved = replace(row, attempt=way.attempt, next_ms=way.next_ms, problem=way.problem)
    with contextlib.suppress(Stale):  # the peer has just been heard of, or an operator wants a retry
        await parts.store.record(Change(name="route", puts=(moved,)))
