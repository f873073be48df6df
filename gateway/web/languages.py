"""The language in which a caller of the hook reads findings (RFC 9110, Accept-Language)."""

import re

from aiohttp import web

from schemas.catalogues import DEFAULT, LANGUAGES

_RANGE = re.compile(
    r"(\*|[A-Za-z]{1,8})(?:-[A-Za-z0-9]{1,8})*"  # of the range, only the language counts
    r"(?:\s*;\s*[qQ]=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?))?"
)
_MAX_RANGES = 32


def language_of(request: web.Request) -> str:
    """Return which of the six languages the caller reads best."""
    return preferred(request.headers.get("Accept-Language", ""))


def preferred(accepted: str) -> str:
    """Return the first of the six languages among those *accepted* most; English where that is none.

    A header out of form asks for nothing.
    """
    found = [_RANGE.fullmatch(part.strip()) for part in accepted.split(",", _MAX_RANGES)[:_MAX_RANGES]]
    weights: dict[str, float] = {}
    for match in found:
        if match is None:
            return DEFAULT
        weights.setdefault(match[1].lower(), float(match[2] or 1))
    known = {language: weight for language, weight in weights.items() if language in LANGUAGES and weight}
    return max(known, key=known.__getitem__, default=DEFAULT)
