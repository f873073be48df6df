"""What the commitments of entries hide: shown with its entry, and found by its value.

A detail is sealed at rest and can be erased; its entry, and every proof of it, stays. Whoever may read
the log may read what is left. What is looked for is in the body of the request, and nowhere else.
"""

import asyncio
from collections.abc import Mapping, Sequence

from aiohttp import web

from gateway.core import custody
from gateway.core.entry import parse_entry
from gateway.core.errors import Malformed
from gateway.core.strict import as_integer, as_text
from gateway.ports import Logged
from gateway.rows import DetailRow
from gateway.web.audit import entry_asked_for, log_reading, view
from gateway.web.context import CONTEXT, Context
from gateway.web.documents import query, read_document, respond
from keys.errors import CannotOpen
from keys.rest import Box, StorageKey

_PAGE = 1000
_MOST = 20_000
"""Details that one request looks at, some 0.3 s; it says where to go on."""
_MOST_HITS = 500
_MATCHES = ("contains", "equals")


async def show(request: web.Request) -> web.Response:
    """Show one entry, by its index from 0, and what is left of its detail."""
    found = await entry_asked_for(request)
    await log_reading(request, extra=(("entry_index", found.index),))
    return respond({**view(found), **await detail_of(request.app[CONTEXT], found)})


async def find(request: web.Request) -> web.Response:
    """Find the entries whose detail is, or contains, a value, whatever its case.

    A detail that does not open, or is not what its entry commits to, is told as damaged.
    """
    query(request)
    document = await read_document(request, required=("value",), optional=("match", "after"))
    value = as_text(document["value"]).casefold()
    match = document.get("match", _MATCHES[0])
    after = as_integer(document.get("after", -1))
    if not value or match not in _MATCHES or after < -1:
        raise Malformed("a value is not empty; match is contains or equals; after is the index of an entry")
    await log_reading(request, extra=(("purpose", "find"),))
    context = request.app[CONTEXT]
    storage = context.keyring().storage
    hits: list[dict[str, object]] = []
    damaged: list[int] = []
    looked_at, more = 0, True
    while more and looked_at < _MOST and len(hits) < _MOST_HITS:
        page = await context.store.details(after=after, limit=_PAGE)
        opened = await asyncio.to_thread(_opened, storage, page)
        for (_, logged), text in zip(page, opened, strict=True):
            if text is None:
                damaged.append(logged.index)
            elif text.casefold() == value or (match == _MATCHES[0] and value in text.casefold()):
                hits.append({**view(logged), "detail": {"state": "kept", "text": text}})
        more, looked_at = len(page) == _PAGE, looked_at + len(page)
        after = page[-1][1].index if page else after
    return respond({"items": hits, "damaged": damaged, "after": after if more else None})


async def detail_of(context: Context, logged: Logged) -> Mapping[str, object]:
    """Return what is left of the detail to which an entry commits, as a member of its view."""
    if parse_entry(logged.leaf).commitment is None:
        return {}
    row = await context.store.get(DetailRow, logged.index)
    if row is None:
        return {"detail": {"state": "erased"}}
    (text,) = _opened(context.keyring().storage, [(row, logged)])
    return {"detail": {"state": "damaged"} if text is None else {"state": "kept", "text": text}}


def _opened(storage: StorageKey, found: Sequence[tuple[DetailRow, Logged]]) -> list[str | None]:
    """Return the text of each detail; None for what is not what its entry commits to. Blocks."""
    texts: list[str | None] = []
    for row, logged in found:
        try:
            commitment = parse_entry(logged.leaf).commitment or ""
            box = Box(row.wrapped_key, row.ciphertext)
            texts.append(custody.open_detail(storage, commitment, box).decode("utf-8", "replace"))
        except (CannotOpen, Malformed):
            texts.append(None)
    return texts
