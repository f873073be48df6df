"""The text around signatures, in its one accepted form: base64url and strict JSON (protocol §1)."""

import base64
import json

from keys.errors import MalformedToken


def b64url(data: bytes) -> str:
    """Return *data* as unpadded base64url."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def from_b64url(text: str) -> bytes:
    """Return the bytes of canonical unpadded base64url: decode, encode, compare. Raises MalformedToken."""
    try:
        data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except ValueError:
        raise MalformedToken("not base64url") from None
    if b64url(data) != text:
        raise MalformedToken("base64url that is not canonical")
    return data


def parse_object(raw: bytes) -> dict[str, object]:
    """Return the JSON object *raw*; a member name that repeats, once unescaped, is refused.

    What the values are is the caller's to compare. Raises MalformedToken.
    """
    try:
        value = json.loads(raw.decode("utf-8"), object_pairs_hook=_distinct)
    except (ValueError, RecursionError):
        raise MalformedToken("not a JSON object") from None
    if not isinstance(value, dict):
        raise MalformedToken("not a JSON object")
    return value


def _distinct(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise MalformedToken("a member name that repeats")
    return found
