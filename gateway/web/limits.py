"""What one caller may take of this node: requests at once, requests a second, bytes (protocol §8).

Time is the monotonic clock of the event loop: rates concern this process, not the record.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from aiohttp import web

from gateway.core.errors import PeerFault, Unavailable

_BUSY_S = 1
_STALL_S = 60.0


@dataclass(slots=True)
class _Allowance:
    tokens: float
    filled_s: float
    running: int = 0


@dataclass(slots=True)
class CallerLimits:
    """A token bucket and a count of running requests for each caller: a peer, or a bearer at the hook.

    Attributes:
        at_once: requests of one caller that may run at the same time.
        per_s: requests of one caller in a second, on average; twice as many may come in a burst.
    """

    at_once: int
    per_s: int
    _callers: dict[str, _Allowance] = field(default_factory=dict)

    @contextlib.asynccontextmanager
    async def admit(self, caller: str) -> AsyncIterator[None]:
        """Let one request of *caller* run.

        Raises:
            PeerFault: 429 `rate_limited`.
        """
        now_s, burst = asyncio.get_running_loop().time(), 2.0 * self.per_s
        allowance = self._callers.setdefault(caller, _Allowance(burst, now_s))
        allowance.tokens = min(burst, allowance.tokens + (now_s - allowance.filled_s) * self.per_s)
        allowance.filled_s = now_s
        if allowance.running >= self.at_once or allowance.tokens < 1:
            raise PeerFault(429, "rate_limited", retry_after_s=_BUSY_S)
        allowance.tokens -= 1
        allowance.running += 1
        try:
            yield
        finally:
            allowance.running -= 1


async def chunks(request: web.Request) -> AsyncIterator[bytes]:
    """Yield the body of *request* as it comes.

    Raises:
        Unavailable: nothing came for a minute: a stalled sender may not hold its place for ever.
    """
    content = request.content
    try:
        while not content.at_eof():
            chunk = content.read_nowait()  # what has come already needs no timer
            if not chunk:
                async with asyncio.timeout(_STALL_S):
                    chunk = await content.readany()
            if chunk:
                yield chunk
    except TimeoutError:
        raise Unavailable("the request stalled") from None


async def read_body(request: web.Request, limit: int) -> bytes:
    """Return the body of *request*, of which no more than *limit* bytes are taken.

    Raises:
        PeerFault: 413 `too_large`.
    """
    if request.content_length is not None and request.content_length > limit:
        raise PeerFault(413, "too_large")
    body = bytearray()
    async for chunk in chunks(request):
        body += chunk
        if len(body) > limit:
            raise PeerFault(413, "too_large")
    return bytes(body)


def check_media_type(request: web.Request, expected: str) -> None:
    """Refuse a body that is encoded or of another type.

    Raises:
        PeerFault: 415 `unsupported_media_type`.
    """
    if "Content-Encoding" in request.headers or request.content_type != expected:
        raise PeerFault(415, "unsupported_media_type")
