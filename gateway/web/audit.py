"""The audit log at the hook: entries, proofs, checkpoints, and the whole log computed anew.

Who reads entries leaves one: it is durable before the first byte of the answer.
"""

import asyncio
from dataclasses import dataclass, field
from http import HTTPStatus

from aiohttp import web

from gateway.core.entry import Draft, Entry, parse_entry
from gateway.core.errors import Malformed, Misuse, Untrusted
from gateway.core.ids import parse_authority, parse_message_id
from gateway.core.merkle import Frontier, leaf_hash
from gateway.core.note import verify_checkpoint
from gateway.core.strict import b64, time_text
from gateway.ports import Change, EntryFilter, Logged
from gateway.web.context import CONTEXT
from gateway.web.documents import Page, number, query, respond, respond_page, time_or_none
from gateway.web.middleware import BEARER

_TEXT = "text/plain"
_PIECE = 500


async def index(request: web.Request) -> web.Response:
    """List entries, oldest first."""
    page = Page.of(request, "peer", "message", "event", "after", "before")
    asked = page.filters
    where = EntryFilter(
        peer=parse_authority(asked["peer"]) if "peer" in asked else None,
        message_id=parse_message_id(asked["message"]) if "message" in asked else None,
        event=asked.get("event"),
        after_ms=time_or_none(asked.get("after")),
        before_ms=time_or_none(asked.get("before")),
    )
    found = await request.app[CONTEXT].store.entries(where, cursor=page.after, limit=page.limit)
    await _log_reading(request)
    last = found[-1].index if found else None
    return respond_page(request, page, [_view(one) for one in found], last)


async def show(request: web.Request) -> web.Response:
    """Show one entry, by its index from 0."""
    found = await _entry(request)
    await _log_reading(request, found.index)
    return respond(_view(found))


async def proof(request: web.Request) -> web.Response:
    """Give the tlog-proof of an entry, to the newest checkpoint that covers it."""
    found = await _entry(request)
    await _log_reading(request, found.index)
    receipt = await request.app[CONTEXT].store.receipt(found.index)
    return web.Response(text=receipt.proof, content_type=_TEXT)


async def checkpoint(request: web.Request) -> web.Response:
    """Give the newest checkpoint of the own log: a signed note, which says nothing of any entry."""
    query(request)
    newest = await request.app[CONTEXT].store.checkpoint()
    return web.Response(text=newest.text, content_type=_TEXT)


async def verify(request: web.Request) -> web.Response:
    """Compute the root of the whole log from its entries; compare it with the signed checkpoint.

    Nothing of what the database says about the tree is used but the entries themselves.
    """
    query(request)
    context = request.app[CONTEXT]
    newest = await context.store.checkpoint()
    found = _Recomputed(context.directory.own.authority)
    try:
        verify_checkpoint(newest.text, context.directory.own.log)
    except (Malformed, Untrusted):
        found.problem = "checkpoint_not_signed"
    piece: list[Logged] = []
    async for logged in context.store.leaves(0, newest.size):
        piece.append(logged)
        if len(piece) == _PIECE:
            await asyncio.to_thread(found.take, piece)
            piece = []
    await asyncio.to_thread(found.take, piece)
    if found.frontier.size != newest.size:
        found.note("entries_missing", found.frontier.size)
    elif found.frontier.root() != newest.root:
        found.note("root_differs", None)
    return respond(
        {
            "verified": found.problem is None,
            "problem": found.problem,
            "entry": found.where,
            "origin": newest.origin,
            "size": newest.size,
            "root": b64(newest.root),
            "checkpoint": newest.text,
        }
    )


@dataclass(slots=True)
class _Recomputed:
    """The tree as the entries make it, and the first thing that is wrong with them."""

    authority: str
    frontier: Frontier = field(default_factory=Frontier)
    time_ms: int = 0
    problem: str | None = None
    where: int | None = None

    def note(self, problem: str, where: int | None) -> None:
        """Keep the first problem."""
        if self.problem is None:
            self.problem, self.where = problem, where

    def take(self, piece: list[Logged]) -> None:
        """Take the entries that follow; blocks."""
        for position, logged in enumerate(piece, self.frontier.size):
            if logged.index != position:
                self.note("entries_missing", position)
            try:
                entry = parse_entry(logged.leaf)
            except Malformed:
                self.note("malformed_entry", position)
                continue
            if entry.authority != self.authority:
                self.note("wrong_authority", position)
            if entry.time_ms < self.time_ms:
                self.note("time_goes_back", position)
            self.time_ms = entry.time_ms
        self.frontier, _ = self.frontier.append([leaf_hash(logged.leaf) for logged in piece])


async def _entry(request: web.Request) -> Logged:
    query(request)
    asked = number(request.match_info["n"], what="the index of an entry")
    found = await request.app[CONTEXT].store.entry(asked)
    if found is None:
        raise Misuse(HTTPStatus.NOT_FOUND, "not_found", "the log has no such entry")
    return found


async def _log_reading(request: web.Request, entry: int | None = None) -> None:
    """Record that the bearer reads the log. Raises Unavailable: then nothing may be read."""
    extra = () if entry is None else (("entry_index", entry),)
    draft = Draft(event="log.read", outcome="ok", actor_ref=request[BEARER].id, extra=extra)
    await request.app[CONTEXT].store.record(Change(name="read", entries=(draft,)))


def _view(logged: Logged) -> dict[str, object]:
    """Return an entry for readers, and its exact text, which is what the tree holds."""
    entry = parse_entry(logged.leaf)
    return {
        "index": logged.index,
        "entry": logged.leaf.decode("ascii"),
        "time": time_text(entry.time_ms),
        "event": entry.event,
        "outcome": entry.outcome,
        **_given(entry),
    }


def _given(entry: Entry) -> dict[str, object]:
    given = {
        "peer": entry.peer,
        "message_id": entry.message_id,
        "reason": entry.reason,
        "actor_ref": entry.actor_ref,
    }
    return {name: value for name, value in given.items() if value is not None}
