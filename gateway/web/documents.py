"""JSON in and out of the hook: documents, query parameters, lists with a cursor."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from aiohttp import web

from gateway.core.errors import Malformed, Misuse
from gateway.core.strict import encode_json, members, parse_json, parse_time
from gateway.web.limits import check_media_type, read_body

MAX_DOCUMENT_BYTES = 1 << 20
"""Of any JSON document that the hook takes, a message draft above all."""

_MEDIA_TYPE = "application/json"
_LIMIT = 50
_MAX_LIMIT = 500
_DIGITS = 15  # of an integer below 2^53


async def read_document(
    request: web.Request, *, required: Collection[str], optional: Collection[str] = ()
) -> dict[str, object]:
    """Return the JSON object in the body: every required member, and none that is not known.

    Raises:
        PeerFault: another media type, or too large.
        Malformed: not strict JSON, or other members.
    """
    return members(
        parse_json(await read_json_bytes(request)),
        required=required,
        optional=optional,
    )


async def read_json_bytes(request: web.Request) -> bytes:
    """Return the body of a request that brings JSON. Raises PeerFault."""
    check_media_type(request, _MEDIA_TYPE)
    return await read_body(request, MAX_DOCUMENT_BYTES)


def respond(document: object, *, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """Return *document* as JSON."""
    return respond_bytes(encode(document), status=status, headers=headers)


def respond_bytes(body: bytes, *, status: int, headers: Mapping[str, str] | None = None) -> web.Response:
    """Return JSON that is encoded already."""
    return web.Response(status=status, body=body, content_type=_MEDIA_TYPE, headers=headers)


def encode(document: object) -> bytes:
    """Return *document* as compact JSON."""
    return encode_json(document)


def query(request: web.Request, *known: str) -> dict[str, str]:
    """Return the query parameters; one that is not known, or stands twice, is refused.

    Raises:
        Misuse: 400 `unknown_parameter`: a filter that was ignored would show too much.
    """
    for name in request.query:
        if name not in known or len(request.query.getall(name)) > 1:
            raise Misuse(
                400,
                "unknown_parameter",
                "a query parameter that is not known here, or stands twice",
                members={"known": sorted(known)},
            )
    return dict(request.query)


def number(text: str, *, what: str) -> int:
    """Return a decimal without sign below 2^53. Raises Malformed."""
    if not text.isascii() or not text.isdigit() or len(text) > _DIGITS:
        raise Malformed(f"{what} is a number")
    return int(text)


def flag(text: str | None, *, what: str) -> bool:
    """Return whether *text* is `true`; None and `false` are not. Raises Malformed."""
    if text not in {None, "true", "false"}:
        raise Malformed(f"{what} is true or false")
    return text == "true"


def time_or_none(text: str | None) -> int | None:
    """Return the time in *text*, if there is one. Raises Malformed."""
    return None if text is None else parse_time(text)


@dataclass(frozen=True, slots=True)
class Page:
    """Which part of a list is asked for, and by which filters."""

    limit: int
    cursor: str | None
    filters: Mapping[str, str]

    @classmethod
    def of(cls, request: web.Request, *filters: str) -> "Page":
        """Return the page that the query asks for. Raises Malformed or Misuse."""
        found = query(request, "limit", "cursor", *filters)
        limit = number(found.pop("limit", str(_LIMIT)), what="limit")
        if not 1 <= limit <= _MAX_LIMIT:
            raise Malformed(f"limit is from 1 to {_MAX_LIMIT}")
        return cls(limit, found.pop("cursor", None), found)

    @property
    def after(self) -> int | None:
        """The cursor of a list that is ordered by number. Raises Malformed."""
        return None if self.cursor is None else number(self.cursor, what="the cursor")


def respond_page(
    request: web.Request, page: Page, items: Sequence[object], cursor: str | int | None
) -> web.Response:
    """Return a part of a list; a full one names the next, which begins after *cursor*."""
    headers = {}
    if cursor is not None and len(items) >= page.limit:
        following = request.rel_url.update_query(cursor=str(cursor))
        headers["Link"] = f'<{following}>; rel="next"'
    return respond({"items": items}, headers=headers)


def respond_part(request: web.Request, items: Sequence[object]) -> web.Response:
    """Return the part of the whole list *items* that is asked for; its cursor is a position."""
    page = Page.of(request)
    begin = page.after or 0
    return respond_page(request, page, items[begin : begin + page.limit], begin + page.limit)
