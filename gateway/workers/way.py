"""What is about a peer as a whole, and not about what was asked: it obstructs the way (protocol §8)."""

from collections.abc import Coroutine
from typing import Any

from gateway.core.errors import GatewayFault
from gateway.peering.replies import PeerUnavailable, Reply

_NO_ANSWER = 0
_OBSTRUCTING = frozenset({_NO_ANSWER, 429, 503})


class Obstructed(GatewayFault):
    """The peer takes nothing now: no connection, 429 or 503."""

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
