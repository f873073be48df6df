"""Coming in and going out: the one-time link, signing in, signing out."""

from http import HTTPStatus

from aiohttp import hdrs, web

from gateway.core.errors import Misuse
from gateway.web.console import words
from gateway.web.console.frame import PERSON, page, see_other
from gateway.web.context import CONTEXT
from gateway.web.sessions import Given, Sessions
from keys import totp

SESSIONS: web.AppKey[Sessions] = web.AppKey("sessions", Sessions)

_HOUR_S = 3600


def cookie_name(request: web.Request) -> str:
    """Return the name of the cookie: over TLS one that no other host and no plain HTTP can set."""
    return "__Host-art18" if _secure(request) else "art18"


async def sign_in_page(request: web.Request) -> web.Response:
    """Ask for name, passphrase and code."""
    return page(request, "sign_in.html", failure=None, name="")


async def sign_in(request: web.Request) -> web.Response:
    """Begin a session; whatever was wrong, the answer is the same."""
    form = await request.post()
    name, passphrase, code = (str(form.get(field, "")) for field in ("name", "passphrase", "code"))
    given = Given(name.strip(), passphrase, code, request.remote or "")
    try:
        secret = await request.app[SESSIONS].sign_in(given, request.cookies.get(cookie_name(request)))
    except Misuse as fault:
        return _again(request, "sign_in.html", fault, name=given.name)
    answer = see_other("/")
    _set_cookie(request, answer, secret)
    return answer


async def sign_out(request: web.Request) -> web.Response:
    """End this session."""
    person = request[PERSON]
    await request.app[SESSIONS].end(person, [person.session])
    answer = see_other("/sign-in")
    answer.del_cookie(
        cookie_name(request), path="/", secure=_secure(request), httponly=True, samesite="Strict"
    )
    return answer


async def welcome_page(request: web.Request) -> web.Response:
    """Show what an app needs, and ask for a passphrase."""
    return await _welcome(request, None)


async def welcome(request: web.Request) -> web.Response:
    """Set the account up; the recovery codes are in this answer and nowhere else."""
    form = await request.post()
    passphrase, again, code = (str(form.get(field, "")) for field in ("passphrase", "again", "code"))
    if passphrase != again:
        return await _welcome(request, Misuse(422, "two_passphrases", "the two passphrases differ"))
    try:
        row, codes = await request.app[SESSIONS].accounts.enrol(
            request.match_info["link"], passphrase, code.replace(" ", "")
        )
    except Misuse as fault:
        if fault.code not in words.FAILURES:
            raise
        return await _welcome(request, fault)
    return page(request, "recovery.html", account=row, codes=codes)


async def _welcome(request: web.Request, fault: Misuse | None) -> web.Response:
    # Drawn for a few people, once each.
    import segno  # noqa: PLC0415 - see above

    accounts = request.app[SESSIONS].accounts
    row = await accounts.invited(request.match_info["link"])
    secret = accounts.secrets_of(row).totp
    issuer = request.app[CONTEXT].settings.authority.id
    drawn = segno.make(totp.provisioning_uri(secret, issuer=issuer, account=row.name), error="m")
    svg = drawn.svg_inline(scale=4, light="white", svgclass=None, lineclass=None)
    return page(
        request,
        "welcome.html",
        status=HTTPStatus.OK if fault is None else fault.status,
        failure=None if fault is None else words.FAILURES[fault.code],
        account=row,
        secret=totp.shown(secret),
        code=svg,
    )


def _again(request: web.Request, template: str, fault: Misuse, /, **values: object) -> web.Response:
    answer = page(request, template, status=fault.status, failure=words.FAILURES[fault.code], **values)
    if fault.retry_after_s is not None:
        answer.headers[hdrs.RETRY_AFTER] = str(fault.retry_after_s)
    return answer


def _set_cookie(request: web.Request, answer: web.Response, secret: str) -> None:
    answer.set_cookie(
        cookie_name(request),
        secret,
        max_age=request.app[CONTEXT].settings.console.session_hours * _HOUR_S,
        path="/",
        secure=_secure(request),
        httponly=True,
        samesite="Strict",
    )


def _secure(request: web.Request) -> bool:
    return request.app[CONTEXT].settings.console.address.startswith("https:")
