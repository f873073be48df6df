"""Webhooks at the hook: where events are told to, and what came of it."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from http import HTTPStatus

from aiohttp import web

from gateway.core import custody
from gateway.core.announcement import OVERLAP_MS, State
from gateway.core.entry import Draft
from gateway.core.errors import Malformed, Misuse, Stale, Unavailable
from gateway.core.event import FEED_TYPES, type_of
from gateway.core.ids import parse_message_id
from gateway.core.strict import as_list, as_text, time_text
from gateway.peering.receivers import check_target
from gateway.ports import Change, Recorded
from gateway.rows import THIS_ENTRY, AlarmRow, AnnouncementRow, AnyRow, CursorRow, Row, WebhookRow
from gateway.web.context import CONTEXT, Context
from gateway.web.documents import Page, number, query, read_document, respond, respond_page, respond_part
from gateway.web.middleware import BEARER
from keys.rest import Box
from keys.webhooks import new_secret, secret_text

MAX_WEBHOOKS = 32
"""Of a node: each has one connection of its own."""
MAX_PENDING = 200
"""Events that may be on their way to one webhook at somebody's wish."""

_TRIES = 16
_ALARM = "webhook_failing"
_ENABLED, _DISABLED = "enabled", "disabled"


async def index(request: web.Request) -> web.Response:
    """List the webhooks, the oldest first."""
    rows = await request.app[CONTEXT].store.all(WebhookRow)
    return respond_part(
        request, [_view(row) for row in sorted(rows, key=lambda row: (row.created_ms, row.id))]
    )


async def create(request: web.Request) -> web.Response:
    """Make a webhook; its secret is in this answer and nowhere else."""
    query(request)
    found = await read_document(request, required=("url",), optional=("types",))
    context, secret = request.app[CONTEXT], new_secret()
    url, types = as_text(found["url"]), _types(found.get("types", []))
    await check_target(url, context.settings.hook.reach)
    if len(await context.store.all(WebhookRow)) >= MAX_WEBHOOKS:
        raise Misuse(HTTPStatus.CONFLICT, "too_many", f"there are {MAX_WEBHOOKS} webhooks already")
    webhook, now_ms = context.entropy.uuid4(), context.clock.now_ms()
    box = custody.box_webhook(context.keyring().storage, webhook, [secret])
    row = WebhookRow(
        id=webhook,
        version=0,
        url=url,
        types=types,
        state=_ENABLED,
        created_ms=now_ms,
        changed_ms=now_ms,
        wrapped_key=box.wrapped_key,
        ciphertext=box.ciphertext,
    )
    cursor = CursorRow(webhook=webhook, version=0, entry=THIS_ENTRY)
    await context.store.record(_change(request, "created", row, puts=(row, cursor)))
    headers = {"Location": f"/v1/webhooks/{webhook}"}
    return respond({**_view(row), "secret": secret_text(secret)}, status=HTTPStatus.CREATED, headers=headers)


async def show(request: web.Request) -> web.Response:
    """Show a webhook, and how far the log was told to it."""
    query(request)
    row = await _webhook(request)
    cursor = await request.app[CONTEXT].store.get(CursorRow, row.id)
    return respond({**_view(row), "after": None if cursor is None else str(cursor.entry)})


async def change(request: web.Request) -> web.Response:
    """Change where to, what or whether events are told; what waits is then tried at once."""
    query(request)
    found = await read_document(request, required=(), optional=("url", "types", "enabled"))
    if not found:
        raise Malformed("at least one of url, types, enabled")
    context = request.app[CONTEXT]
    url = as_text(found["url"]) if "url" in found else None
    types = _types(found["types"]) if "types" in found else None
    enabled = found.get("enabled")
    if url is not None:
        await check_target(url, context.settings.hook.reach)
    if "enabled" in found and not isinstance(enabled, bool):
        raise Malformed("enabled is true or false")

    async def decide(row: WebhookRow) -> tuple[Change, WebhookRow]:
        now_ms = context.clock.now_ms()
        moved = replace(
            row,
            changed_ms=now_ms,
            url=row.url if url is None else url,
            types=row.types if types is None else types,
            state=row.state if enabled is None else _ENABLED if enabled else _DISABLED,
            problem=row.problem if enabled is None else None,
        )
        puts: list[Row] = [moved]
        puts += [_due(one, now_ms) for one in await context.store.pending(row.id, limit=1)]
        return _change(request, "changed", row, puts=tuple(puts)), moved

    return respond(_view((await _recorded(request, decide))[1]))


async def rotate(request: web.Request) -> web.Response:
    """Make a new secret, shown once; the one before signs too for a day."""
    query(request)
    context, secret = request.app[CONTEXT], new_secret()
    storage = context.keyring().storage

    async def decide(row: WebhookRow) -> tuple[Change, WebhookRow]:
        current = custody.open_webhook(storage, row.id, Box(row.wrapped_key, row.ciphertext))[0]
        box = custody.box_webhook(storage, row.id, [secret, current])
        now_ms = context.clock.now_ms()
        moved = replace(
            row,
            changed_ms=now_ms,
            wrapped_key=box.wrapped_key,
            ciphertext=box.ciphertext,
            old_until_ms=now_ms + OVERLAP_MS,
        )
        return _change(request, "rotated", row, puts=(moved,)), moved

    _, row = await _recorded(request, decide)
    return respond({**_view(row), "secret": secret_text(secret)})


async def remove(request: web.Request) -> web.Response:
    """End a webhook; what was on its way is dropped."""
    query(request)
    store = request.app[CONTEXT].store

    async def decide(row: WebhookRow) -> tuple[Change, WebhookRow]:
        now_ms = request.app[CONTEXT].clock.now_ms()
        waiting = await store.pending(row.id, limit=2 * MAX_PENDING)
        dropped = (replace(one, state=State.DROPPED.value, changed_ms=now_ms) for one in waiting)
        beside = (await store.get(CursorRow, row.id), await store.get(AlarmRow, _ALARM, row.id))
        deletes = (row, *(one for one in beside if one is not None))
        return _change(request, "removed", row, puts=tuple(dropped), deletes=deletes), row

    await _recorded(request, decide)
    return web.Response(status=HTTPStatus.NO_CONTENT)


async def ping(request: web.Request) -> web.Response:
    """Send a webhook an event that tells of nothing, whatever types it wants."""
    query(request)
    context = request.app[CONTEXT]

    async def decide(row: WebhookRow) -> tuple[Change, AnnouncementRow]:
        await _check_room(context, row)
        now_ms = context.clock.now_ms()
        told = AnnouncementRow(
            webhook=row.id,
            entry=THIS_ENTRY,
            version=0,
            type=type_of("webhook.tested", {}) or "",
            state=State.PENDING.value,
            changed_ms=now_ms,
            next_ms=now_ms,
        )
        return _change(request, "tested", row, puts=(told,)), told

    recorded, told = await _recorded(request, decide)
    return respond(_delivery(replace(told, entry=recorded.entries[0].index)), status=HTTPStatus.ACCEPTED)


async def deliveries(request: web.Request) -> web.Response:
    """List what was told to a webhook, the newest event first."""
    page = Page.of(request)
    row = await _webhook(request)
    found = await request.app[CONTEXT].store.announcements(row.id, cursor=page.after, limit=page.limit)
    return respond_page(request, page, [_delivery(one) for one in found], found[-1].entry if found else None)


async def redeliver(request: web.Request) -> web.Response:
    """Make a delivery due again, whatever became of it."""
    query(request)
    context = request.app[CONTEXT]
    entry = number(request.match_info["delivery"], what="the id of a delivery")

    async def decide(row: WebhookRow) -> tuple[Change, AnnouncementRow]:
        found = await context.store.get(AnnouncementRow, row.id, entry)
        if found is None:
            raise Misuse(HTTPStatus.NOT_FOUND, "not_found", "the webhook has no such delivery")
        if found.state != State.PENDING:
            await _check_room(context, row)
        again = _due(found, context.clock.now_ms())
        return _change(request, "redelivered", row, puts=(again,), extra=(("entry_index", entry),)), again

    return respond(_delivery((await _recorded(request, decide))[1]), status=HTTPStatus.ACCEPTED)


async def _recorded(
    request: web.Request, decide: Callable[[WebhookRow], Awaitable[tuple[Change, AnyRow]]]
) -> tuple[Recorded, AnyRow]:
    """Record what *decide* makes of the webhook, again if a row of it has moved meanwhile."""
    for _ in range(_TRIES):
        found, kept = await decide(await _webhook(request))
        try:
            return await request.app[CONTEXT].store.record(found), kept
        except Stale:
            continue
    raise Unavailable("others are changing the same webhook")


async def _webhook(request: web.Request) -> WebhookRow:
    webhook = parse_message_id(request.match_info["id"])  # the same form
    row = await request.app[CONTEXT].store.get(WebhookRow, webhook)
    if row is None:
        raise Misuse(HTTPStatus.NOT_FOUND, "not_found", "there is no such webhook")
    return row


async def _check_room(context: Context, row: WebhookRow) -> None:
    """Refuse to add to what is on its way to a webhook that is disabled, or has much to take.

    Raises:
        Misuse: 409 `webhook_disabled` or `too_many`.
    """
    if row.state != _ENABLED:
        raise Misuse(HTTPStatus.CONFLICT, "webhook_disabled", "the webhook is disabled; enable it first")
    if len(await context.store.pending(row.id, limit=MAX_PENDING)) >= MAX_PENDING:
        raise Misuse(HTTPStatus.CONFLICT, "too_many", f"{MAX_PENDING} events are on their way already")


def _due(row: AnnouncementRow, now_ms: int) -> AnnouncementRow:
    """Return *row* as it is tried from now on: its time begins anew."""
    return replace(
        row, state=State.PENDING.value, changed_ms=now_ms, next_ms=now_ms, attempts=0, first_ms=None
    )


def _change(
    request: web.Request,
    what: str,
    row: WebhookRow,
    *,
    puts: tuple[Row, ...],
    deletes: tuple[Row, ...] = (),
    extra: tuple[tuple[str, str | int], ...] = (),
) -> Change:
    entry = Draft(
        event=f"webhook.{what}",
        outcome="ok",
        actor_ref=request[BEARER].id,
        extra=(("webhook_ref", row.id), *extra),
    )
    return Change(name="webhook", entries=(entry,), puts=puts, deletes=deletes)


def _types(value: object) -> str:
    found = {as_text(one) for one in as_list(value)}
    if not found <= FEED_TYPES:
        raise Malformed("types are some of those that GET /v1/events tells; none for all")
    return " ".join(sorted(found))


def _view(row: WebhookRow) -> dict[str, object]:
    return {
        "id": row.id,
        "url": row.url,
        "types": row.types.split(),
        "enabled": row.state == _ENABLED,
        "problem": row.problem,
        "created": time_text(row.created_ms),
        "changed": time_text(row.changed_ms),
        "old_secret_until": None if row.old_until_ms is None else time_text(row.old_until_ms),
    }


def _delivery(row: AnnouncementRow) -> dict[str, object]:
    pending = row.state == State.PENDING
    return {
        "id": str(row.entry),
        "type": row.type,
        "state": row.state,
        "attempts": row.attempts,
        "status": row.status,
        "problem": row.problem,
        "took_ms": row.took_ms,
        "changed": time_text(row.changed_ms),
        "first_attempt": None if row.first_ms is None else time_text(row.first_ms),
        "next_attempt": time_text(row.next_ms) if pending else None,
    }
