"""Ranges of bytes that a request asks for (RFC 9110 §14): one, or the whole."""

import re

from aiohttp import hdrs, web

_BYTES = re.compile(r"bytes=[ \t]*([0-9]*)-([0-9]*)[ \t]*", re.IGNORECASE)
_UNIT = re.compile(r"bytes=", re.IGNORECASE)
_MAX_DIGITS = 18


def range_of(request: web.Request, size: int, etag: str) -> range | None:
    """Return the bytes that *request* asks for of what has *size* bytes now; None: all of them.

    A range that holds for another *etag* only (If-Range), or in a unit that is not known, is not there.

    Raises:
        HTTPRequestRangeNotSatisfiable: more than one range, none that is there, or not in form.
    """
    asked = request.headers.get(hdrs.RANGE)
    if asked is None or not _UNIT.match(asked):
        return None
    if request.headers.get(hdrs.IF_RANGE, etag) != etag:
        return None
    found = _BYTES.fullmatch(asked)
    if found is None or max(map(len, found.groups())) > _MAX_DIGITS:
        raise _not_there(size)
    first, last = found.groups()
    if first:
        start, stop = int(first), min(int(last) + 1, size) if last else size
    else:
        start, stop = max(size - int(last or "0"), 0), size
    if start >= stop:
        raise _not_there(size)
    return range(start, stop)


def _not_there(size: int) -> web.HTTPRequestRangeNotSatisfiable:
    return web.HTTPRequestRangeNotSatisfiable(headers={hdrs.CONTENT_RANGE: f"bytes */{size}"})
