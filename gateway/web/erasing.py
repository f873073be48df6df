"""Erasing the content of a message: rows in one change with its entry, then files.

What goes is the key of the content, the content, envelopes, attachments, the details behind commitments, and
what the history of the case keeps for later; of a case of which nothing is left, the pseudonyms of its
persons too. What stays is what lists need, the answers to envelopes, receipts, and the log: every proof
holds as before. A process that ends between rows and files leaves files that no row needs, which the
keeper sweeps.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace

from gateway.core import case as cases
from gateway.core.entry import Draft, parse_entry
from gateway.core.errors import Unavailable
from gateway.peering.settlement import move_case, open_case
from gateway.ports import Change, EntryFilter, MessageFilter, Store
from gateway.rows import BlobRow, CaseRow, DetailRow, Direction, MessageRow, Row
from gateway.web.content import message_of, stored_content
from gateway.web.context import Context

_PAGE = 500


@dataclass(frozen=True, slots=True)
class Erasure:
    """On whose word it is done: the account that confirmed, and the id of the proposal."""

    actor_ref: str
    proposal: str


async def erase(context: Context, row: MessageRow, erasure: Erasure) -> None:
    """Erase the content of the message *row*.

    Raises:
        Stale: it, or its case, has moved: to be judged again.
        Misuse: 410, it is erased already.
    """
    store = context.store
    content_row, content = await stored_content(context, row)
    puts: list[Row] = [replace(row, erased_ms=context.clock.now_ms())]
    deletes: list[Row] = [content_row, *await _details(store, row)]
    paths = []
    if row.direction is Direction.OUT:
        known = await store.envelopes(row.id)
        puts += [replace(one, body=None) for one in known if one.body is not None]
        for upload in await store.uploads_of([row.id]):
            deletes.append(upload)
            paths.append(context.blobs.outgoing(upload.id))
    else:
        for blob in await _blobs(store, row, [one.blob_sha256 for one in message_of(content).attachments]):
            if blob.others:
                puts.append(replace(blob, others=blob.others - 1))
            else:
                deletes.append(blob)
                paths.append(context.blobs.incoming(blob.peer, blob.sha256))
    case, persons = await _case(context, row)
    entry = Draft(
        event="content.erased",
        outcome="ok",
        peer=row.peer,
        message_id=row.id,
        message_sha256=row.message_sha256,
        actor_ref=erasure.actor_ref,
        extra=(("erasure_id", erasure.proposal),),
    )
    change = Change(
        name="erase", entries=(entry,), puts=(*puts, case), deletes=(*deletes, *persons), shreds=True
    )
    await store.record(change)
    context.probe.reached("erase.before_files")
    for path in paths:
        await asyncio.to_thread(context.blobs.delete, path)


async def _details(store: Store, row: MessageRow) -> Sequence[DetailRow]:
    """Return the details of entries about the message."""
    entries: list[int] = []
    cursor = None
    while page := await store.entries(
        EntryFilter(peer=row.peer, message_id=row.id), cursor=cursor, limit=_PAGE
    ):
        entries += [one.index for one in page if parse_entry(one.leaf).commitment is not None]
        cursor = page[-1].index
    return (
        list((await store.get_many(DetailRow, [(index,) for index in entries])).values()) if entries else []
    )


async def _blobs(store: Store, row: MessageRow, digests: Sequence[str]) -> Sequence[BlobRow]:
    keys: list[tuple[str | int, ...]] = [(row.peer, digest) for digest in digests]
    return list((await store.get_many(BlobRow, keys)).values()) if keys else []


async def _case(context: Context, row: MessageRow) -> tuple[CaseRow, Sequence[Row]]:
    """Return the case without what it keeps of the message, and its persons if nothing else is left of it."""
    store = context.store
    case = await store.get(CaseRow, row.peer, row.case)
    if case is None:
        raise Unavailable("the case of a message is gone")
    storage = context.keyring().storage
    history = cases.forget(open_case(storage, case), row.message_sha256)
    moved = move_case(storage, case, history, case.changed_ms, context.settings.clocks.periods_ms)
    others = await store.messages(MessageFilter(peer=row.peer, case=row.case), limit=_PAGE)
    left = len(others) == _PAGE or any(one.erased_ms is None and one != row for one in others)
    return moved, [] if left else await store.subjects_of(row.peer, row.case)
