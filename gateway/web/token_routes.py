"""Tokens at the hook: made, shown once, listed without their secret, revoked."""

from contextlib import suppress
from dataclasses import replace
from http import HTTPStatus

from aiohttp import web

from gateway.core.entry import Draft
from gateway.core.errors import Malformed, Misuse, Stale, Unavailable
from gateway.core.ids import parse_message_id
from gateway.core.strict import as_list, as_text, parse_time, time_text
from gateway.ports import Change
from gateway.rows import TokenRow
from gateway.web.context import CONTEXT
from gateway.web.documents import query, read_document, respond, respond_part
from gateway.web.middleware import BEARER, TOKENS
from gateway.web.tokens import Scope, new_token, token_row

_MAX_NAME = 100
_TRIES = 16


async def index(request: web.Request) -> web.Response:
    """List every token, revoked ones too."""
    rows = await request.app[CONTEXT].store.all(TokenRow)
    return respond_part(
        request, [_view(row) for row in sorted(rows, key=lambda row: (row.created_ms, row.id))]
    )


async def create(request: web.Request) -> web.Response:
    """Make a token; its text is in this answer and nowhere else."""
    query(request)
    found = await read_document(request, required=("name", "scopes"), optional=("expires",))
    context, token = request.app[CONTEXT], new_token()
    now_ms = context.clock.now_ms()
    expires_ms = parse_time(found["expires"]) if found.get("expires") is not None else None
    if expires_ms is not None and expires_ms <= now_ms:
        raise Malformed("a token expires in the future")
    row = token_row(
        token,
        token_id=context.entropy.uuid4(),
        name=_name(found["name"]),
        scopes=_scopes(found["scopes"]),
        now_ms=now_ms,
        expires_ms=expires_ms,
    )
    await context.store.record(Change(name="token", entries=(_entry(request, "created", row),), puts=(row,)))
    request.app[TOKENS].forget()
    headers = {"Location": f"/v1/tokens/{row.id}"}
    return respond({**_view(row), "token": token}, status=HTTPStatus.CREATED, headers=headers)


async def revoke(request: web.Request) -> web.Response:
    """End a token at once; done again, it changes nothing."""
    query(request)
    context = request.app[CONTEXT]
    token_id = parse_message_id(request.match_info["id"])  # the same form
    for _ in range(_TRIES):
        row = await context.store.get(TokenRow, token_id)
        if row is None:
            raise Misuse(HTTPStatus.NOT_FOUND, "not_found", "there is no such token")
        if row.revoked_ms is not None:
            return web.Response(status=HTTPStatus.NO_CONTENT)
        revoked = replace(row, revoked_ms=context.clock.now_ms())
        with suppress(Stale):  # it is being used: that was recorded meanwhile
            entry = _entry(request, "revoked", row)
            await context.store.record(Change(name="token", entries=(entry,), puts=(revoked,)))
            request.app[TOKENS].forget()
            return web.Response(status=HTTPStatus.NO_CONTENT)
    raise Unavailable("others are changing the same token")


def _entry(request: web.Request, what: str, row: TokenRow) -> Draft:
    return Draft(
        event=f"token.{what}", outcome="ok", actor_ref=request[BEARER].id, extra=(("token_ref", row.id),)
    )


def _name(value: object) -> str:
    name = as_text(value)
    if not name.strip() or len(name) > _MAX_NAME or not name.isprintable():
        raise Malformed(f"a name has 1 to {_MAX_NAME} printable characters")
    return name


def _scopes(value: object) -> list[Scope]:
    known = [scope.value for scope in Scope]
    named = [as_text(scope) for scope in as_list(value)]
    if not named or any(scope not in known for scope in named):
        raise Malformed(f"scopes are some of {', '.join(known)}")
    return [Scope(scope) for scope in named]


def _view(row: TokenRow) -> dict[str, object]:
    return {
        "id": row.id,
        "name": row.name,
        "scopes": row.scopes.split(),
        "created": time_text(row.created_ms),
        "expires": None if row.expires_ms is None else time_text(row.expires_ms),
        "last_used": None if row.used_ms is None else time_text(row.used_ms),
        "revoked": None if row.revoked_ms is None else time_text(row.revoked_ms),
    }
