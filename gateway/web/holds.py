"""Legal holds at the hook: while there is one on a case, nothing of the case is erased."""

from http import HTTPStatus

from aiohttp import web

from gateway.core import custody
from gateway.core.entry import Draft, parse_entry
from gateway.core.errors import Malformed, Misuse, Stale
from gateway.core.ids import AuthorityId, CaseId, parse_authority, parse_case_id
from gateway.core.strict import as_text, encode_json, parse_object, time_text
from gateway.ports import Change
from gateway.rows import THIS_ENTRY, CaseRow, DetailRow, HoldRow
from gateway.web.context import CONTEXT, Context
from gateway.web.documents import query, read_document, respond, respond_part
from gateway.web.middleware import BEARER
from keys.rest import Box

_MAX_TEXT = 2000
_MEMBERS = ("peer", "case", "reason", "by")


async def index(request: web.Request) -> web.Response:
    """List the holds, each with why and by whom; that is opened for those who administer."""
    context = request.app[CONTEXT]
    rows = sorted(await context.store.all(HoldRow), key=lambda row: row.entry)
    return respond_part(request, [{**_view(row), **await _why(context, row)} for row in rows])


async def add(request: web.Request) -> web.Response:
    """Put a hold on a case."""
    query(request)
    context = request.app[CONTEXT]
    peer, case, why = await _asked(request)
    if await context.store.get(CaseRow, peer, case) is None:
        raise Misuse(HTTPStatus.NOT_FOUND, "not_found", "there is no such case with this peer")
    row = HoldRow(peer=peer, case=case, version=0, added_ms=context.clock.now_ms(), entry=THIS_ENTRY)
    sealed = custody.box_detail(context.keyring().storage, why)
    entry = _entry("hold.added", row, request[BEARER].id, sealed.commitment)
    try:
        await context.store.record(Change(name="hold", entries=(entry,), puts=(row, DetailRow.of(sealed))))
    except Stale:
        raise Misuse(HTTPStatus.CONFLICT, "wrong_state", "there is a hold on this case already") from None
    return respond(_view(row), status=HTTPStatus.CREATED)


async def remove(request: web.Request) -> web.Response:
    """Take a hold away; why and by whom stands in the entry of that."""
    query(request)
    context = request.app[CONTEXT]
    peer, case, why = await _asked(request)
    row = await context.store.get(HoldRow, peer, case)
    if row is None:
        raise Misuse(HTTPStatus.NOT_FOUND, "not_found", "there is no hold on this case")
    sealed = custody.box_detail(context.keyring().storage, why)
    entry = _entry("hold.removed", row, request[BEARER].id, sealed.commitment)
    try:
        await context.store.record(
            Change(name="hold", entries=(entry,), puts=(DetailRow.of(sealed),), deletes=(row,))
        )
    except Stale:
        raise Misuse(HTTPStatus.NOT_FOUND, "not_found", "the hold has just been removed") from None
    return web.Response(status=HTTPStatus.NO_CONTENT)


async def _asked(request: web.Request) -> tuple[AuthorityId, CaseId, bytes]:
    found = await read_document(request, required=_MEMBERS)
    reason, by = (" ".join(as_text(found[name]).split()) for name in ("reason", "by"))
    if not reason or not by or len(reason) + len(by) > _MAX_TEXT:
        raise Malformed(f"reason and by are texts, of at most {_MAX_TEXT} characters together")
    return (
        parse_authority(found["peer"]),
        parse_case_id(found["case"]),
        encode_json({"reason": reason, "by": by}),
    )


def _entry(event: str, row: HoldRow, actor_ref: str, commitment: str) -> Draft:
    return Draft(
        event=event,
        outcome="ok",
        peer=row.peer,
        actor_ref=actor_ref,
        commitment=commitment,
        extra=(("case", row.case),),
    )


async def _why(context: Context, row: HoldRow) -> dict[str, object]:
    logged, detail = await context.store.entry(row.entry), await context.store.get(DetailRow, row.entry)
    if logged is None or detail is None:
        return {"reason": None, "by": None}
    box = Box(detail.wrapped_key, detail.ciphertext)
    commitment = parse_entry(logged.leaf).commitment or ""
    return parse_object(custody.open_detail(context.keyring().storage, commitment, box))


def _view(row: HoldRow) -> dict[str, object]:
    return {"peer": row.peer, "case": row.case, "added": time_text(row.added_ms)}
