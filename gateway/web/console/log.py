"""The audit log: entries, the newest first, and one entry with what proves it.

Who reads here leaves an entry, as at the hook: it is durable before the page is drawn.
"""

from collections.abc import Mapping

from aiohttp import hdrs, web

from gateway.core.entry import EVENTS, Entry, parse_entry
from gateway.core.errors import Malformed
from gateway.core.export import FILTERS
from gateway.core.merkle import leaf_hash
from gateway.core.note import parse_head
from gateway.core.proof import Proof, parse_proof
from gateway.core.signed_note import parse_note
from gateway.core.strict import b64, parse_object
from gateway.ports import EntryFilter, Logged
from gateway.rows import CosignedRow
from gateway.web.audit import entry_asked_for, filter_of, proof_of, record_reading
from gateway.web.console.frame import PERSON, page
from gateway.web.context import CONTEXT
from gateway.web.details import detail_of
from gateway.web.documents import number, query

_ROWS = 50
_FIRST, _LAST = ":00.000Z", ":59.999Z"
"""What a browser leaves out of a minute that a list begins or ends with."""


async def index(request: web.Request) -> web.Response:
    """List entries, the newest first."""
    asked = {name: value for name, value in query(request, "cursor", *FILTERS).items() if value}
    cursor = number(asked.pop("cursor"), what="the cursor") if "cursor" in asked else None
    context = request.app[CONTEXT]
    rows = await context.store.entries(_filter(asked), cursor=cursor, limit=_ROWS + 1, newest_first=True)
    await _record(request)
    older = None
    if len(rows) > _ROWS:
        rows = rows[:_ROWS]
        older = str(request.rel_url.with_query({**asked, "cursor": str(rows[-1].index)}))
    return page(
        request,
        "log.html",
        rows=[(one, _parsed(one)) for one in rows],
        older=older,
        asked=asked,
        events=sorted(EVENTS),
        peers=sorted({*context.directory.peers, *filter(None, [asked.get("peer")])}),
    )


async def show(request: web.Request) -> web.Response:
    """Show one entry, member by member, and the proof that the log contains it."""
    found = await entry_asked_for(request)
    await _record(request, found)
    context, parsed = request.app[CONTEXT], _parsed(found)
    proved = parse_proof(await proof_of(context.store, found.index))
    _, size, root = parse_head(parse_note(proved.checkpoint).text)
    return page(
        request,
        "entry.html",
        index=found.index,
        time_ms=found.time_ms,
        text=found.leaf.decode("ascii", "replace"),
        members=None if parsed is None else parse_object(found.leaf),
        detail=None if parsed is None else (await detail_of(context, found)).get("detail"),
        leaf_hash=leaf_hash(found.leaf).hex(),
        proof=proved,
        hashes=[b64(one) for one in proved.hashes],
        size=size,
        root=b64(root),
        cosigned=await _cosigned(request, proved, size),
    )


async def proof(request: web.Request) -> web.Response:
    """Give the proof of an entry as a file: what the hook gives."""
    found = await entry_asked_for(request)
    await _record(request, found)
    text = await proof_of(request.app[CONTEXT].store, found.index)
    headers = {hdrs.CONTENT_DISPOSITION: f'attachment; filename="entry-{found.index}.tlog-proof"'}
    return web.Response(text=text, content_type="text/plain", headers=headers)


def _parsed(logged: Logged) -> Entry | None:
    """Return what an entry says; None of what is no entry any more, which the page shows all the same."""
    try:
        return parse_entry(logged.leaf)
    except Malformed:
        return None


async def _cosigned(request: web.Request, proved: Proof, size: int) -> list[CosignedRow]:
    """Return who cosigned the checkpoint that a proof leads to."""
    rows = await request.app[CONTEXT].store.first_cosigned(proved.index)
    return [row for row in rows if row.size == size]


async def _record(request: web.Request, read: Logged | None = None) -> None:
    """Record that the person reads the log, or the entry *read*. Raises Unavailable."""
    extra = () if read is None else (("entry_index", read.index),)
    await record_reading(request.app[CONTEXT].store, request[PERSON].account.id, extra=extra)


def _filter(asked: Mapping[str, str]) -> EntryFilter:
    """Return which entries are asked for; times are minutes, as browsers write them. Raises Malformed."""
    if asked.get("event", "log.read") not in EVENTS:
        raise Malformed("an event is one of the closed list")
    ends = {"after": _FIRST, "before": _LAST}
    return filter_of({name: value + ends.get(name, "") for name, value in asked.items()})
