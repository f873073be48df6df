"""The frame of every page: templates, words in the reader's language, static files, headers.

Templates escape whatever they are given. Nothing is loaded but from this door, and no script or style stands
in a page (Content-Security-Policy), so that text which slipped through would still be text.
"""

import hashlib
import mimetypes
from collections.abc import Callable, Mapping
from http import HTTPStatus
from importlib.resources import files
from pathlib import PurePath

from aiohttp import hdrs, web
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from gateway.core.account import Role
from gateway.core.strict import time_text
from gateway.web.console import words
from gateway.web.context import CONTEXT
from gateway.web.languages import language_of
from gateway.web.sessions import Person
from schemas.catalogues import CONSOLE, LANGUAGES, worded

PERSON = web.RequestKey("person", Person)
RIGHT_TO_LEFT = frozenset({"ar"})
TONGUES: Mapping[str, str] = {
    "ar": "العربية",
    "en": "English",
    "es": "Español",
    "fr": "Français",
    "ru": "Русский",
    "zh": "中文",
}

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; "
    "connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
_HEADERS = {
    hdrs.SERVER: "art18",
    "Content-Security-Policy": _POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_FOR_EVER = "public, max-age=31536000, immutable"
_SERVED = (".css", ".js", ".svg")


class Static:
    """The files that pages load, each under a name that changes with what is in it."""

    def __init__(self) -> None:
        self.names: dict[str, str] = {}
        self._files: dict[str, tuple[bytes, str]] = {}
        for file in (files("gateway.web.console") / "static").iterdir():
            path = PurePath(file.name)
            if path.suffix in _SERVED:
                body = file.read_bytes()
                name = f"{path.stem}.{hashlib.sha256(body).hexdigest()[:16]}{path.suffix}"
                self.names[file.name] = f"/static/{name}"
                kind = mimetypes.types_map[path.suffix]
                self._files[name] = (body, kind)

    async def serve(self, request: web.Request) -> web.Response:
        """Give a file, which a browser may keep for ever."""
        found = self._files.get(request.match_info["file"])
        if found is None:
            raise web.HTTPNotFound
        body, kind = found
        headers = {hdrs.CACHE_CONTROL: _FOR_EVER}
        return web.Response(body=body, content_type=kind, charset="utf-8", headers=headers)


STATIC: web.AppKey[Static] = web.AppKey("static", Static)
PAGES: web.AppKey[Environment] = web.AppKey("pages", Environment)


def environment() -> Environment:
    """Return what renders the templates."""
    made = Environment(
        loader=PackageLoader("gateway.web.console"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals |= {
        "tongues": TONGUES,
        "states": words.STATES,
        "directions": words.DIRECTIONS,
        "roles": words.ROLES,
        "account_states": words.ACCOUNT_STATES,
        "cooperation": words.COOPERATION,
        "peer_problems": words.PEER_PROBLEMS,
        "alarm_words": words.ALARMS,
        "alarm_otherwise": words.ALARM_OTHERWISE,
    }
    made.filters |= {"when": _when, "ident": _ident}
    return made


def page(
    request: web.Request, template: str, /, *, status: int = HTTPStatus.OK, **values: object
) -> web.Response:
    """Return the page of *template* in the reader's language."""
    language, person = reader_language(request), request.get(PERSON)
    context = request.app[CONTEXT]
    text = (
        request.app[PAGES]
        .get_template(template)
        .render(
            values
            | {
                "_": _gettext(language),
                "language": language,
                "direction": "rtl" if language in RIGHT_TO_LEFT else "ltr",
                "person": person,
                "held": frozenset() if person is None else person.roles,
                "authority": context.settings.authority,
                "static": request.app[STATIC].names,
                "path": request.path,
                "Role": Role,
            }
        )
    )
    return web.Response(status=status, text=text, content_type="text/html")


def see_other(path: str) -> web.Response:
    """Return the answer that sends a browser on to *path* of this door."""
    return web.Response(status=HTTPStatus.SEE_OTHER, headers={hdrs.LOCATION: path})


def reader_language(request: web.Request) -> str:
    """Return the language that the person chose, else the one that the browser asks for."""
    person = request.get(PERSON)
    chosen = None if person is None else person.account.language
    return chosen if chosen in LANGUAGES else language_of(request)


async def framed(_: web.Request, response: web.StreamResponse) -> None:
    """Give every answer the headers that browsers heed."""
    response.headers.update(_HEADERS)
    response.headers.setdefault(hdrs.CACHE_CONTROL, "no-store")


def _gettext(language: str) -> Callable[..., Markup]:
    def said(sentence: str, **parameters: object) -> Markup:
        return Markup(escape(worded(sentence, {}, language, CONSOLE))).format(**parameters)  # noqa: S704 - escaped

    return said


def _when(time_ms: int) -> Markup:
    """Return a moment in UTC; a script puts the reader's own time beside it."""
    text = time_text(time_ms)
    return Markup('<time datetime="{}" dir="ltr">{} UTC</time>').format(text, text[:16].replace("T", " "))


def _ident(text: object) -> Markup:
    """Return an id or a digest, which runs from left to right wherever it stands."""
    return Markup('<bdi dir="ltr"><code>{}</code></bdi>').format(text)
