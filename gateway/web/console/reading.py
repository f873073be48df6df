"""The content of a message, opened for a person: each opening is logged first, and has no address.

What is shown follows the schema of the kind, which names each member and the article that speaks of it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from gateway.core.errors import Malformed
from gateway.core.message import Message
from gateway.core.strict import parse_time
from gateway.web.console.correspondence import find
from gateway.web.console.frame import PERSON, page
from gateway.web.content import message_of, stored_content
from gateway.web.context import CONTEXT
from gateway.web.statements import open_for
from schemas import KINDS, load
from schemas.parts import Part, first, kind_of_body, parts_of

_SHOWN_ELSEWHERE = frozenset({"v", "kind", "id", "case", "from", "to", "created", "expires", "attachments"})
_IDENTS = frozenset({"uuid", "digest", "authority_id", "item_id"})


@dataclass(frozen=True, slots=True)
class Shown:
    """One value of a message: what the schema calls it, and in which form it is shown.

    `inner` has the members of an object and the items of a list; `language` is that of an object which
    says it.
    """

    label: str
    article: str | None
    form: str
    value: object = None
    inner: tuple["Shown", ...] = ()
    language: str | None = None


async def open_content(request: web.Request) -> web.Response:
    """Show what the message says, once it is recorded who opens it."""
    context, row = request.app[CONTEXT], await find(request)
    _, stored = await stored_content(context, row)
    message = message_of(stored)
    await open_for(context.store, row, request[PERSON].account.id)
    return page(
        request,
        "content.html",
        row=row,
        title=title_of(message.kind),
        shown=shown(message),
        attachments=message.attachments,
    )


def title_of(kind: str) -> str:
    """Return what the schema calls a *kind*."""
    return str(load(f"kinds/{kind}")["title"]) if kind in KINDS else kind


def shown(message: Message) -> Shown:
    """Return what *message* says, but for what its row says as well."""
    name = f"kinds/{message.kind}" if message.kind in KINDS else "message"
    payload = {key: value for key, value in message.payload.items() if key not in _SHOWN_ELSEWHERE}
    return _shown("", payload, [Part(load(name), name)])


def _shown(name: str, value: object, used: Sequence[Part]) -> Shown:
    """Return how *value* is shown: *used* are the schemas that stand where it stands."""
    parts = [each for part in used for each in parts_of(part)]
    latest = used[::-1]
    near = sorted(latest, key=lambda part: bool(part.when))
    article = next((part.schema["x-article"] for part in near if "x-article" in part.schema), None)
    label = str(first(near, "title") or name.replace("_", " "))
    if isinstance(value, Mapping):
        spoken = value.get("language")
        language = spoken if isinstance(spoken, str) else None
        return Shown(label, article, "members", inner=tuple(_members(value, parts)), language=language)
    if isinstance(value, list):
        inner = [Part(part.schema["items"], part.base, part.when) for part in parts if "items" in part.schema]
        return Shown(label, article, "items", inner=tuple(_shown(name, item, inner) for item in value))
    return Shown(label, article, *_alone(value, parts))


def _members(value: Mapping[str, Any], parts: Sequence[Part]) -> Iterator[Shown]:
    """Yield the members of an object, in the order of its schema."""
    used: dict[str, list[Part]] = {}
    for schema, base, when in parts:
        for name, member in schema.get("properties", {}).items():
            part = Part(member, base, when)
            kind = kind_of_body(part) if isinstance(member, Mapping) else ""
            if kind is None:
                used.setdefault(name, []).append(part)
            elif kind and kind == value.get("draft_kind"):
                used.setdefault(name, []).append(part._replace(when=""))
    for name in (*(name for name in used if name in value), *(name for name in value if name not in used)):
        yield _shown(name, value[name], used.get(name, []))


def _alone(value: object, parts: Sequence[Part]) -> tuple[str, object]:
    """Return the form of a value that has no others inside, and what is shown."""
    if value is None or isinstance(value, bool):
        return {None: "nothing", True: "yes", False: "no"}[value], None
    if any(part.schema.get("format") == "date-time" for part in parts):
        try:
            return "time", parse_time(value)
        except Malformed:
            return "text", value
    named = {str(part.schema.get("$ref", "")).rpartition("/")[2] for part in parts}
    return "ident" if named & _IDENTS else "text", value
