"""The audit trail for auditors: entries with what proves them, streamed in lines (core.export)."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from http import HTTPStatus

from aiohttp import web

from gateway.core.errors import GatewayFault, Malformed, Misuse
from gateway.core.export import ENTRIES, FILTERS, LEAVES, Cosigned, Header, Line, encode_end
from gateway.core.note import Checkpoint
from gateway.ports import EntryFilter
from gateway.rows import NEVER_PINNED, CardRow, CosignedRow
from gateway.web.attachments import DOWNLOADS
from gateway.web.audit import filter_of, log_reading
from gateway.web.context import CONTEXT, Context
from gateway.web.documents import number, query

_LINES = "application/jsonl"
_PAGE = 500
_STALL_S = 120.0


@dataclass(frozen=True, slots=True)
class _Asked:
    """What is to be exported: a form, a selection, the entries from *start* and up to *end*, if said."""

    form: str
    filters: dict[str, str]
    where: EntryFilter
    start: int
    end: int | None

    @classmethod
    def of(cls, request: web.Request) -> "_Asked":
        """Return what the query asks for. Raises Malformed or Misuse."""
        found = query(request, "form", "from", "to", *FILTERS)
        form = found.pop("form", ENTRIES)
        if form not in {ENTRIES, LEAVES}:
            raise Malformed("form is entries or leaves")
        start = number(found.pop("from", "0"), what="from")
        end = number(found.pop("to"), what="to") if "to" in found else None
        if form == LEAVES and found:
            raise Malformed("leaves prove each other only where none was filtered out")
        return cls(form, found, filter_of(found), start, end)


async def export(request: web.Request) -> web.StreamResponse:
    """Stream entries with what proves them.

    The reading is logged before the first byte. Whatever ends it early, the last line is missing then.

    Raises:
        Misuse: 400 `no_such_range`.
    """
    asked, context = _Asked.of(request), request.app[CONTEXT]
    async with request.app[DOWNLOADS].admit():
        await log_reading(request, extra=(("purpose", "export"),))
        cosigned = await context.store.newest_cosigned()  # before the checkpoint that goes on from it
        checkpoint = await context.store.checkpoint()
        end = checkpoint.size if asked.end is None else asked.end
        if not asked.start <= end <= checkpoint.size:
            raise Misuse(HTTPStatus.BAD_REQUEST, "no_such_range", "the log has no such range of entries")
        header = await _header(context, asked, checkpoint, cosigned, end)
        response = web.StreamResponse(headers={"Content-Type": _LINES})
        await response.prepare(request)
        try:
            await _write(response, header.encode())
            count = 0
            async for entries, lines in _pages(context, asked, end, checkpoint.size):
                await _write(response, lines)
                count += entries
            await _write(response, encode_end(count))
            await response.write_eof()
        except (ConnectionError, TimeoutError, GatewayFault, KeyError):  # gone, or a tree with holes
            if request.transport is not None:
                request.transport.abort()
    return response


async def _write(response: web.StreamResponse, data: bytes) -> None:
    async with asyncio.timeout(_STALL_S):
        await response.write(data)


async def _header(
    context: Context, asked: _Asked, checkpoint: Checkpoint, rows: Sequence[CosignedRow], end: int
) -> Header:
    """Return the first line: under the newest checkpoint, and with what witnesses have said."""
    store, own = context.store, context.directory.own
    lines = "".join(row.lines for row in rows)
    cosigned = None
    note = checkpoint.text
    if rows and rows[0].size == checkpoint.size:
        note += lines
    elif rows and (text := await store.checkpoint_at(rows[0].size)) is not None:
        proof = await store.consistency(rows[0].size, checkpoint.size)
        cosigned = Cosigned(checkpoint=text + lines, consistency=tuple(proof))
    own_cards, witness_cards = await _cards(context, {row.witness for row in rows})
    left, right = (
        await store.range_proof(asked.start, end, checkpoint.size) if asked.form == LEAVES else ([], [])
    )
    return Header(
        form=asked.form,
        authority=own.authority,
        origin=checkpoint.origin,
        checkpoint=note,
        cards=own_cards,
        witnesses=witness_cards,
        filters=asked.filters,
        start=asked.start,
        end=end,
        cosigned=cosigned,
        left=tuple(left),
        right=tuple(right),
    )


async def _cards(context: Context, names: AbstractSet[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the own cards, first to newest, and those of the authorities that witness as *names*."""
    pinned = [row for row in await context.store.all(CardRow) if row.pinned_ms != NEVER_PINNED]
    pinned.sort(key=lambda row: (row.authority, row.sequence))
    own, peers = context.directory.own.authority, context.directory.peers
    others = {peer for peer, pinned_peer in peers.items() if pinned_peer.card.witness.name in names}
    return (
        tuple(row.body.decode() for row in pinned if row.authority == own),
        tuple(row.body.decode() for row in pinned if row.authority in others),
    )


async def _pages(context: Context, asked: _Asked, end: int, size: int) -> AsyncIterator[tuple[int, bytes]]:
    """Yield how many entries follow, and their lines; no more of the log than a page is in memory."""
    store, cursor = context.store, asked.start - 1
    while True:
        found = await store.entries(asked.where, cursor=cursor, limit=_PAGE)
        within = [one for one in found if one.index < end]
        if asked.form == LEAVES:
            lines = b"".join(one.leaf + b"\n" for one in within)
        else:
            proofs = await store.inclusions([one.index for one in within], size)
            pairs = zip(within, proofs, strict=True)
            proved = [Line(index=one.index, leaf=one.leaf, proof=tuple(proof)) for one, proof in pairs]
            lines = await asyncio.to_thread(_encoded, proved)
        if within:
            yield len(within), lines
        if len(found) < _PAGE or len(within) < len(found):
            return
        cursor = found[-1].index


def _encoded(lines: Sequence[Line]) -> bytes:
    return b"".join(line.encode() for line in lines)
