"""One's own account and sessions; and everybody's accounts, for administrators."""

from dataclasses import replace
from http import HTTPStatus

from aiohttp import web

from gateway.core.account import Role, parse_name, parse_roles
from gateway.core.errors import Malformed, Misuse
from gateway.ports import Change
from gateway.rows import AccountRow, SessionRow
from gateway.web.accounts import Invitation
from gateway.web.console.entrance import SESSIONS
from gateway.web.console.frame import PERSON, page, see_other
from gateway.web.context import CONTEXT
from schemas.catalogues import LANGUAGES


async def own(request: web.Request) -> web.Response:
    """Show the person's own account, and where it is signed in."""
    person = request[PERSON]
    found = await request.app[SESSIONS].lasting(person.account.name)
    return page(request, "account.html", sessions=found)


async def choose_language(request: web.Request) -> web.Response:
    """Keep the language that the person reads."""
    chosen = str((await request.post()).get("language", ""))
    if chosen not in LANGUAGES:
        raise Malformed("a language is one of the six")
    account = replace(request[PERSON].account, language=chosen)
    await request.app[CONTEXT].store.record(Change(name="language", puts=(account,)))
    return see_other("/account")


async def end_session(request: web.Request) -> web.Response:
    """End one of the person's own sessions."""
    person, wanted = request[PERSON], request.match_info["sha256"]
    row = await request.app[CONTEXT].store.get(SessionRow, wanted)
    if row is None or row.account != person.account.name:
        raise web.HTTPNotFound
    await request.app[SESSIONS].end(person, [row])
    return see_other("/account")


async def end_every_session(request: web.Request) -> web.Response:
    """Sign the person out everywhere, here too."""
    person, sessions = request[PERSON], request.app[SESSIONS]
    await sessions.end(person, await sessions.accounts.sessions(person.account.name))
    return see_other("/sign-in")


async def index(request: web.Request) -> web.Response:
    """List every account."""
    return await _accounts(request)


async def create(request: web.Request) -> web.Response:
    """Make an account, and show its link this once."""
    form = await request.post()
    name, roles = parse_name(form.get("name")), parse_roles(form.getall("role", []))
    made = await request.app[SESSIONS].accounts.create(name, roles, request[PERSON].account.id)
    return await _accounts(request, made, status=HTTPStatus.CREATED)


async def reset(request: web.Request) -> web.Response:
    """Give a person a new link, and show it this once."""
    made = await request.app[SESSIONS].accounts.reset(_another(request), request[PERSON].account.id)
    return await _accounts(request, made)


async def disable(request: web.Request) -> web.Response:
    """End an account and its sessions."""
    await request.app[SESSIONS].accounts.disable(_another(request), request[PERSON].account.id)
    return see_other("/accounts")


async def _accounts(
    request: web.Request, made: Invitation | None = None, *, status: int = HTTPStatus.OK
) -> web.Response:
    context = request.app[CONTEXT]
    rows = sorted(await context.store.all(AccountRow), key=lambda row: row.name)
    link = None if made is None else made.address(context.settings.console)
    return page(
        request,
        "accounts.html",
        status=status,
        accounts=rows,
        every_role=list(Role),
        made=None if made is None else made.row,
        link=link,
    )


def _another(request: web.Request) -> str:
    """Return the account that the path names. Raises Misuse: 409, it is the person's own."""
    name = parse_name(request.match_info["name"])
    if name == request[PERSON].account.name:
        raise Misuse(
            HTTPStatus.CONFLICT, "own_account", "an administrator does not do this to the own account"
        )
    return name
