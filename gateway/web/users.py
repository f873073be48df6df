"""The console's accounts at the hook: an administrator makes them, and hands each person a link."""

from http import HTTPStatus

from aiohttp import web

from gateway.core.account import parse_name, parse_roles
from gateway.core.strict import time_text
from gateway.rows import AccountRow
from gateway.web.accounts import Accounts, Invitation
from gateway.web.context import CONTEXT
from gateway.web.documents import query, read_document, respond, respond_part
from gateway.web.middleware import BEARER
from gateway.web.passphrases import Passphrases


async def index(request: web.Request) -> web.Response:
    """List every account, disabled ones too."""
    rows = await request.app[CONTEXT].store.all(AccountRow)
    return respond_part(request, [view(row) for row in sorted(rows, key=lambda row: row.name)])


async def create(request: web.Request) -> web.Response:
    """Make an account; its one-time link is in this answer and nowhere else."""
    query(request)
    found = await read_document(request, required=("name", "roles"))
    name, roles = parse_name(found["name"]), parse_roles(found["roles"])
    made = await _accounts(request).create(name, roles, request[BEARER].id)
    return respond(_invitation(request, made), status=HTTPStatus.CREATED)


async def reset(request: web.Request) -> web.Response:
    """Give the person a new link; the passphrase, the app and every session end."""
    query(request)
    made = await _accounts(request).reset(_name(request), request[BEARER].id)
    return respond(_invitation(request, made))


async def disable(request: web.Request) -> web.Response:
    """End an account and its sessions at once; done again, it changes nothing."""
    query(request)
    return respond(view(await _accounts(request).disable(_name(request), request[BEARER].id)))


def view(row: AccountRow) -> dict[str, object]:
    """Return what may be read of an account."""
    return {
        "name": row.name,
        "id": row.id,
        "roles": row.roles.split(),
        "state": row.state,
        "created": time_text(row.created_ms),
        "changed": time_text(row.changed_ms),
        "link_expires": None if row.link_until_ms is None else time_text(row.link_until_ms),
    }


def _invitation(request: web.Request, made: Invitation) -> dict[str, object]:
    return {**view(made.row), "link": made.address(request.app[CONTEXT].settings.console)}


def _accounts(request: web.Request) -> Accounts:
    return Accounts(request.app[CONTEXT], Passphrases())


def _name(request: web.Request) -> str:
    return parse_name(request.match_info["name"])
