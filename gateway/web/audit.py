"""The audit log at the hook: entries, proofs, checkpoints, and the whole log computed anew.

Who reads entries leaves one: it is durable before the first byte of the answer.
"""

from collections.abc import Mapping
from http import HTTPStatus

from aiohttp import web

from gateway.core.entry import Draft, Entry, parse_entry
from gateway.core.errors import Malformed, Misuse
from gateway.core.export import FILTERS
from gateway.core.ids import parse_authority, parse_message_id
from gateway.core.note import parse_head
from gateway.core.proof import encode_proof
from gateway.core.signed_note import parse_note
from gateway.core.strict import b64, time_text
from gateway.ports import Change, EntryFilter, Logged, Store
from gateway.web.context import CONTEXT
from gateway.web.documents import Page, flag, number, query, respond, respond_page, time_or_none
from gateway.web.middleware import BEARER

_TEXT = "text/plain"


async def index(request: web.Request) -> web.Response:
    """List entries, oldest first."""
    page = Page.of(request, *FILTERS)
    where = filter_of(page.filters)
    found = await request.app[CONTEXT].store.entries(where, cursor=page.after, limit=page.limit)
    await log_reading(request)
    last = found[-1].index if found else None
    return respond_page(request, page, [view(one) for one in found], last)


async def proof(request: web.Request) -> web.Response:
    """Give the proof of an entry: to the earliest cosigned checkpoint that covers it, or the newest."""
    found = await entry_asked_for(request)
    await log_reading(request, extra=(("entry_index", found.index),))
    text = await proof_of(request.app[CONTEXT].store, found.index)
    return web.Response(text=text, content_type=_TEXT)


async def proof_of(store: Store, index: int) -> str:
    """Return the proof of an entry: to the earliest cosigned checkpoint that covers it, or the newest."""
    return await cosigned_proof(store, index) or (await store.receipt(index)).proof


async def cosigned_proof(store: Store, index: int) -> str | None:
    """Return the proof of an entry to the earliest checkpoint that witnesses signed, if there is one."""
    rows = await store.first_cosigned(index)
    note = await store.checkpoint_at(rows[0].size) if rows else None
    if note is None:
        return None
    lines = "".join(row.lines for row in rows if row.size == rows[0].size)
    return encode_proof(index, await store.inclusion(index, rows[0].size), note + lines)


async def checkpoint(request: web.Request) -> web.Response:
    """Give the newest checkpoint of the own log with its cosignatures: it says nothing of any entry."""
    query(request)
    store = request.app[CONTEXT].store
    newest, rows = await store.checkpoint(), await store.newest_cosigned()
    lines = "".join(row.lines for row in rows if row.size == newest.size)
    return web.Response(text=newest.text + lines, content_type=_TEXT)


async def verify(request: web.Request) -> web.Response:
    """Examine every row of the log: entries, tree, checkpoints, head; say what is wrong first, and where."""
    asked = query(request, "signatures")
    every = flag(asked.get("signatures"), what="signatures")
    context = request.app[CONTEXT]
    found = await context.store.examine(every_signature=every)
    fault = found.fault
    return respond(
        {
            "verified": fault is None,
            "problem": None if fault is None else fault.problem,
            "entry": None if fault is None else fault.entry,
            "until": None if fault is None else fault.until,
            "origin": context.directory.own.log.origin,
            "size": found.size,
            "root": root_of(found.checkpoint),
            "checkpoint": found.checkpoint,
        }
    )


def root_of(checkpoint: str) -> str:
    """Return the root that a checkpoint names, in base64; "" if it is none."""
    try:
        _, _, root = parse_head(parse_note(checkpoint).text)
    except Malformed:
        return ""
    return b64(root)


async def entry_asked_for(request: web.Request) -> Logged:
    """Return the entry that the path names. Raises Misuse: 404."""
    query(request)
    asked = number(request.match_info["n"], what="the index of an entry")
    found = await request.app[CONTEXT].store.entry(asked)
    if found is None:
        raise Misuse(HTTPStatus.NOT_FOUND, "not_found", "the log has no such entry")
    return found


def filter_of(asked: Mapping[str, str]) -> EntryFilter:
    """Return which entries are asked for. Raises Malformed."""
    return EntryFilter(
        peer=parse_authority(asked["peer"]) if "peer" in asked else None,
        message_id=parse_message_id(asked["message"]) if "message" in asked else None,
        event=asked.get("event"),
        after_ms=time_or_none(asked.get("after")),
        before_ms=time_or_none(asked.get("before")),
    )


async def log_reading(request: web.Request, *, extra: tuple[tuple[str, str | int], ...] = ()) -> None:
    """Record that the bearer reads the log. Raises Unavailable: then nothing may be read."""
    await record_reading(request.app[CONTEXT].store, request[BEARER].id, extra=extra)


async def record_reading(store: Store, actor: str, *, extra: tuple[tuple[str, str | int], ...] = ()) -> None:
    """Record that *actor* reads the log. Raises Unavailable: then nothing may be read."""
    draft = Draft(event="log.read", outcome="ok", actor_ref=actor, extra=extra)
    await store.record(Change(name="read", entries=(draft,)))


def view(logged: Logged) -> dict[str, object]:
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
        "commitment": entry.commitment,
    }
    return {name: value for name, value in given.items() if value is not None}
