"""Events at the hook: the log as case systems see it, page by page, or as a stream.

The cursor is an entry of the log, so that a reader that keeps it misses nothing and gets nothing twice,
whatever restarts. Who waits is woken by what this process commits, and looks each second for what others do.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from http import HTTPStatus

from aiohttp import hdrs, web

from gateway.core.errors import Malformed, Misuse, PeerFault, Unavailable
from gateway.core.event import FEED_TYPES, Event
from gateway.ports import EventPage, Store
from gateway.rows import TokenRow
from gateway.web.context import CONTEXT
from gateway.web.documents import number, query, respond
from gateway.web.middleware import BEARER

HEARTBEAT_S = 15.0
"""Between two signs of life on a stream; then its token is looked at again, too."""

_LIMIT = 100
_MAX_LIMIT = 500
_MAX_WAIT_S = 60
_POLL_S = 1.0
_STALL_S = 60.0
_RETRY_MS = 2_000
_BUSY_S = 5
_WINDOWS = 25
"""Questions of one request: so long a part of the log may have nothing to tell."""
_STREAM = "text/event-stream"
_LATEST = "latest"


class Feed:
    """Who waits for events, and what wakes them."""

    def __init__(self, store: Store, at_once: int) -> None:
        self._at_once = at_once
        self._waiting: set[asyncio.Event] = set()
        self.stopping = False
        self.heartbeat_s = HEARTBEAT_S
        store.on_growth(self._wake)

    def _wake(self) -> None:
        for grown in self._waiting:
            grown.set()

    @contextlib.contextmanager
    def waiting(self) -> Iterator[asyncio.Event]:
        """Give what is set when the log has grown, or the node stops.

        Raises:
            PeerFault: 429 `rate_limited`: as many wait already as may.
        """
        if len(self._waiting) >= self._at_once:
            raise PeerFault(HTTPStatus.TOO_MANY_REQUESTS, "rate_limited", retry_after_s=_BUSY_S)
        grown = asyncio.Event()
        self._waiting.add(grown)
        try:
            yield grown
        finally:
            self._waiting.discard(grown)

    async def stop(self, _app: web.Application) -> None:
        """End what waits: the node stops."""
        self.stopping = True
        self._wake()


FEED: web.AppKey[Feed] = web.AppKey("feed", Feed)


@dataclass(frozen=True, slots=True)
class _Asked:
    """What is asked for: events of *types* after an entry."""

    store: Store
    after: int
    types: frozenset[str]

    async def page(self, after: int, limit: int) -> EventPage:
        """Return the next events, passing over as much of the log as one request may."""
        page = await self.store.events(after=after, limit=limit, types=self.types)
        for _ in range(_WINDOWS - 1):
            if page.events or not page.more:
                break
            page = await self.store.events(after=page.seen, limit=limit, types=self.types)
        return page


async def index(request: web.Request) -> web.StreamResponse:
    """Answer with events: at once, as soon as there is one, or as a stream."""
    if _wants_stream(request):
        return await _stream(request)
    found = query(request, "after", "wait", "limit", "types")
    limit = number(found.get("limit", str(_LIMIT)), what="limit")
    if not 1 <= limit <= _MAX_LIMIT:
        raise Malformed(f"limit is from 1 to {_MAX_LIMIT}")
    wait_s = number(found.get("wait", "0"), what="wait")
    if wait_s > _MAX_WAIT_S:
        raise Malformed(f"wait is from 0 to {_MAX_WAIT_S} seconds")
    asked = await _asked(request, found.get("after"), found.get("types"))
    page = await asked.page(asked.after, limit)
    if wait_s and not page.events and not page.more:
        page = await _awaited(request, asked, page, limit, wait_s)
    return _respond(request, page)


async def _awaited(
    request: web.Request, asked: _Asked, page: EventPage, limit: int, wait_s: int
) -> EventPage:
    """Return the first page with an event, or the last one without when the time is over."""
    feed, loop = request.app[FEED], asyncio.get_running_loop()
    until_s = loop.time() + wait_s
    with feed.waiting() as grown:
        while not page.events and not feed.stopping and _is_there(request) and loop.time() < until_s:
            grown.clear()
            page = await asked.page(page.seen, limit)
            if not page.events:
                await _within(grown, min(_POLL_S, until_s - loop.time()))
    return page


def _respond(request: web.Request, page: EventPage) -> web.Response:
    """Return a page; `after` is the cursor to go on from, None while the log is empty."""
    cursor = str(page.seen) if page.seen >= 0 else None
    headers = {}
    if cursor is not None:
        headers["Link"] = f'<{request.rel_url.update_query(after=cursor)}>; rel="next"'
    return respond({"items": [event.document() for event in page.events], "after": cursor}, headers=headers)


async def _stream(request: web.Request) -> web.StreamResponse:
    """Answer with server-sent events, from after `Last-Event-ID` or else `after`."""
    found = query(request, "after", "types")
    after = request.headers.get("Last-Event-ID") or found.get("after")
    asked = await _asked(request, after, found.get("types"))
    feed = request.app[FEED]
    with feed.waiting() as grown:
        response = web.StreamResponse(headers={hdrs.CONTENT_TYPE: _STREAM, "X-Accel-Buffering": "no"})
        await response.prepare(request)
        with contextlib.suppress(Unavailable, TimeoutError, ConnectionError):  # the reader comes again
            async for piece in _pieces(request, asked, grown):
                async with asyncio.timeout(_STALL_S):
                    await response.write(piece.encode())
            await response.write_eof()
    return response


async def _pieces(request: web.Request, asked: _Asked, grown: asyncio.Event) -> AsyncIterator[str]:
    """Yield what goes on a stream, until the node stops, the token ends or the reader is gone.

    The id is told before any event, and with each sign of life: a reader that comes again goes on there,
    even if it began at `latest`.
    """
    feed, loop = request.app[FEED], asyncio.get_running_loop()
    after, beat_s = asked.after, loop.time() + feed.heartbeat_s
    yield f"retry: {_RETRY_MS}\n{_id(after)}\n"
    while not feed.stopping and _is_there(request):
        grown.clear()
        page = await asked.page(after, _LIMIT)
        after = page.seen
        if page.events:
            yield "".join(map(_event, page.events))
        if loop.time() >= beat_s:
            if not await _still_valid(request):
                return
            beat_s = loop.time() + feed.heartbeat_s
            yield f":\n{_id(after)}\n"
        if not page.more:
            await _within(grown, min(_POLL_S, feed.heartbeat_s))


def _event(event: Event) -> str:
    data = json.dumps(event.document(), separators=(",", ":"))
    return f"id: {event.index}\nevent: {event.type}\ndata: {data}\n\n"


def _id(after: int) -> str:
    return f"id: {after}\n" if after >= 0 else ""


async def _asked(request: web.Request, after: str | None, types: str | None) -> _Asked:
    """Return what is asked for.

    Raises:
        Malformed: not a cursor, or a type that is not known.
        Misuse: 400 `no_such_event`: the log has not come so far; was it put back?
    """
    store = request.app[CONTEXT].store
    chosen = FEED_TYPES if types is None else frozenset(types.split(","))
    if not chosen <= FEED_TYPES:
        raise Malformed("types are some of those that GET /v1/events tells, with commas between")
    if after is None:
        return _Asked(store, -1, chosen)
    size = await store.log_size()
    if after == _LATEST:
        return _Asked(store, size - 1, chosen)
    begin = number(after, what="after")
    if begin >= size:
        raise Misuse(HTTPStatus.BAD_REQUEST, "no_such_event", "the log has no event with this id yet")
    return _Asked(store, begin, chosen)


async def _still_valid(request: web.Request) -> bool:
    """Return whether the token that opened a stream still holds."""
    context = request.app[CONTEXT]
    row = await context.store.get(TokenRow, request[BEARER].id)
    now_ms = context.clock.now_ms()
    return row is None or (row.revoked_ms is None and (row.expires_ms is None or now_ms < row.expires_ms))


def _wants_stream(request: web.Request) -> bool:
    accepted = request.headers.get(hdrs.ACCEPT, "").split(",")
    return any(one.partition(";")[0].strip().lower() == _STREAM for one in accepted)


def _is_there(request: web.Request) -> bool:
    return request.transport is not None and not request.transport.is_closing()


async def _within(event: asyncio.Event, seconds: float) -> None:
    """Wait for *event*, at most so long."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
