"""Erasures at the hook: what is due, a proposal by one operator, and its confirmation by another.

Nothing is erased by itself. A proposal names messages one by one; what is confirmed is exactly that, less
what came on hold or changed in between, which is told. Names are details behind commitments of the entries.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from http import HTTPStatus

from aiohttp import web

from gateway.core import custody
from gateway.core.entry import Draft, parse_entry
from gateway.core.errors import Malformed, Misuse, Stale, Unavailable
from gateway.core.ids import parse_message_id
from gateway.core.retention import DAY_MS, Bar
from gateway.core.strict import as_text, time_text
from gateway.ports import Change
from gateway.rows import THIS_ENTRY, DetailRow, ErasureRow, MessageRow
from gateway.web.context import CONTEXT, Context
from gateway.web.documents import query, read_document, respond, respond_part
from gateway.web.erasing import Erasure, erase
from gateway.web.middleware import BEARER
from gateway.web.selection import MOST, Judge, Judged, Selection, selected, truth
from keys.rest import Box

OPEN_MS = 14 * DAY_MS
"""How long a proposal can be confirmed."""

_TRIES = 16
_MAX_NAME = 200
_SELECTING = ("messages", "case", "due", "not_taken")
_PROPOSED, _DONE, _WITHDRAWN = "proposed", "done", "withdrawn"


async def preview(request: web.Request) -> web.Response:
    """Say what would be erased, and what bars the rest; nothing is recorded."""
    query(request)
    found = await read_document(request, required=(), optional=_SELECTING)
    judged, more = await selected(Judge(request.app[CONTEXT], truth(found, "not_taken")), found)
    return respond(_told(judged, more=more))


async def propose(request: web.Request) -> web.Response:
    """Propose to erase messages."""
    query(request)
    found = await read_document(request, required=("by",), optional=_SELECTING)
    context, name = request.app[CONTEXT], _name(found["by"])
    judge = Judge(context, truth(found, "not_taken"))
    judged, more = await selected(judge, found)
    erasable = [one.row for one in judged if one.bar is None][:MOST]
    told = _told(judged, more=more)
    if not erasable:
        raise Misuse(
            HTTPStatus.CONFLICT, "nothing_to_erase", "nothing of that can be erased now", members=told
        )
    sealed = custody.box_detail(context.keyring().storage, name.encode())
    row = ErasureRow(
        id=context.entropy.uuid4(),
        version=0,
        state=_PROPOSED,
        selection=Selection.of(erasable, due="due" in found, not_taken=judge.not_taken).encode(),
        proposed_by=request[BEARER].id,
        proposed_ms=context.clock.now_ms(),
        changed_ms=context.clock.now_ms(),
        entry=THIS_ENTRY,
    )
    entry = Draft(
        event="erasure.proposed",
        outcome="ok",
        actor_ref=request[BEARER].id,
        commitment=sealed.commitment,
        extra=(("erasure_id", row.id), ("messages", len(erasable))),
    )
    await context.store.record(
        Change(name="propose_erasure", entries=(entry,), puts=(row, DetailRow.of(sealed)))
    )
    headers = {"Location": f"/v1/erasures/{row.id}"}
    return respond({**_view(row), **told}, status=HTTPStatus.CREATED, headers=headers)


async def index(request: web.Request) -> web.Response:
    """List proposals, the newest first."""
    rows = await request.app[CONTEXT].store.all(ErasureRow)
    return respond_part(request, [_view(row) for row in sorted(rows, key=lambda row: -row.entry)])


async def show(request: web.Request) -> web.Response:
    """Show a proposal, with what bars each of its messages now."""
    query(request)
    context, row = request.app[CONTEXT], await _proposal(request)
    selection = Selection.parse(row.selection)
    judged = [await selection.judged(context, message) async for message in selection.rows(context.store)]
    return respond({**_view(row), "items": [one.view() for one in judged]})


async def confirm(request: web.Request) -> web.Response:
    """Erase what another operator has proposed; what cannot be erased any more is told.

    Done again, it goes on where it was broken off.
    """
    query(request)
    found = await read_document(request, required=("by",))
    context, row, name = request.app[CONTEXT], await _proposal(request), _name(found["by"])
    await _check_second(context, row, request[BEARER].id, name)
    erasure, selection = Erasure(request[BEARER].id, row.id), Selection.parse(row.selection)
    erased, barred = 0, []
    async for message in selection.rows(context.store):
        bar = await _erased(context, selection, message, erasure)
        if bar is None:
            erased += 1
        elif bar is not Bar.ERASED:
            barred.append(Judged(message, bar).view())
    sealed = custody.box_detail(context.keyring().storage, name.encode())
    entry = Draft(
        event="erasure.confirmed",
        outcome="ok",
        actor_ref=request[BEARER].id,
        commitment=sealed.commitment,
        extra=(("erasure_id", row.id), ("messages", erased)),
    )
    done = replace(row, state=_DONE, changed_ms=context.clock.now_ms())
    with suppress(Stale):  # confirmed twice at once: both have erased, one is on record
        await context.store.record(
            Change(name="confirm_erasure", entries=(entry,), puts=(done, DetailRow.of(sealed)))
        )
    return respond({**_view(done), "erased": erased, "barred": barred})


async def withdraw(request: web.Request) -> web.Response:
    """Give a proposal up."""
    query(request)
    context, row = request.app[CONTEXT], await _proposal(request)
    _check_open(context, row)
    entry = Draft(
        event="erasure.withdrawn",
        outcome="ok",
        actor_ref=request[BEARER].id,
        extra=(("erasure_id", row.id),),
    )
    moved = replace(row, state=_WITHDRAWN, changed_ms=context.clock.now_ms())
    try:
        await context.store.record(Change(name="withdraw_erasure", entries=(entry,), puts=(moved,)))
    except Stale:
        raise Misuse(HTTPStatus.CONFLICT, "wrong_state", "the proposal has just been decided") from None
    return respond(_view(moved))


async def _erased(
    context: Context, selection: Selection, message: MessageRow, erasure: Erasure
) -> Bar | None:
    """Erase one message, unless something bars it by now; return what does."""
    for _ in range(_TRIES):
        judged = await selection.judged(context, message)
        if judged.bar is not None:
            return judged.bar
        try:
            await erase(context, message, erasure)
        except Stale:
            fresh = await context.store.get(MessageRow, message.direction, message.peer, message.id)
            message = fresh or message
            continue
        return None
    raise Unavailable("others are changing the same message")


async def _proposal(request: web.Request) -> ErasureRow:
    row = await request.app[CONTEXT].store.get(ErasureRow, parse_message_id(request.match_info["id"]))
    if row is None:
        raise Misuse(HTTPStatus.NOT_FOUND, "not_found", "there is no such proposal")
    return row


def _check_open(context: Context, row: ErasureRow) -> None:
    if row.state != _PROPOSED:
        raise Misuse(HTTPStatus.CONFLICT, "wrong_state", f"the proposal is {row.state}")
    if context.clock.now_ms() > row.proposed_ms + OPEN_MS:
        raise Misuse(HTTPStatus.CONFLICT, "wrong_state", "the proposal is too old: propose it again")


async def _check_second(context: Context, row: ErasureRow, account: str, name: str) -> None:
    """Refuse a confirmation by the account, or under the name, of the proposer."""
    _check_open(context, row)
    logged, detail = await context.store.entry(row.entry), await context.store.get(DetailRow, row.entry)
    proposer = ""
    if logged is not None and detail is not None:
        commitment = parse_entry(logged.leaf).commitment or ""
        box = Box(detail.wrapped_key, detail.ciphertext)
        proposer = custody.open_detail(context.keyring().storage, commitment, box).decode()
    if account == row.proposed_by or _same(name, proposer):
        raise Misuse(
            HTTPStatus.FORBIDDEN,
            "second_operator",
            "another operator has to confirm: under another name, and with another token",
        )


def _same(one: str, other: str) -> bool:
    return " ".join(one.split()).casefold() == " ".join(other.split()).casefold()


def _name(value: object) -> str:
    name = " ".join(as_text(value).split()) if value is not None else ""
    if not name or len(name) > _MAX_NAME:
        raise Malformed(f"by is the operator's name, of at most {_MAX_NAME} characters")
    return name


def _told(judged: Sequence[Judged], *, more: bool) -> dict[str, object]:
    erasable = sum(one.bar is None for one in judged)
    return {"items": [one.view() for one in judged], "erasable": min(erasable, MOST), "more": more}


def _view(row: ErasureRow) -> dict[str, object]:
    return {
        "id": row.id,
        "state": row.state,
        "proposed": time_text(row.proposed_ms),
        "proposed_by": row.proposed_by,
        "changed": time_text(row.changed_ms),
        "until": time_text(row.proposed_ms + OPEN_MS),
        "messages": len(Selection.parse(row.selection).keys),
    }
