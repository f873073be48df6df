"""Strict JSON, base64, time and digests: what every format here is made of (protocol §1).

One value has one accepted spelling wherever a spelling is compared or hashed: decode, encode,
compare. Every function that reads raises `Malformed`, whose text names the rule, never the bytes.
"""

import binascii
import hashlib
import json
import re
from collections.abc import Collection, Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import NoReturn

from gateway.core.errors import Malformed
from gateway.core.ids import Digest
from keys import encoding
from keys.errors import MalformedToken

MAX_DEPTH = 32
"""Nesting of arrays and objects; the outermost value is 1."""
INTEGER_LIMIT = 1 << 53
"""Integers lie strictly between minus this and this."""

_INTEGER_DIGITS = len(str(-INTEGER_LIMIT))
_LEVELS = bytes.maketrans(b"{}", b"[]")
_NO_BRACKET = bytes(set(range(256)) - set(b"[]{}"))
_SUSPECT = re.compile(r"\\u(?:0000|[dD][89a-fA-F])")
_FORBIDDEN = re.compile("[\x00\ud800-\udfff]")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_SECOND_CHARS = len("2026-11-23T14:05:09")


def parse_json(data: bytes, *, max_bytes: int | None = None) -> object:
    """Return the value of the JSON text *data* (RFC 8259, and protocol §1 rule 2).

    Refused: more than *max_bytes*, what is not UTF-8, a byte order mark, U+0000 and lone
    surrogates anywhere, numbers that are not integers below 2^53 in their shortest form, names
    that repeat after unescaping, and more than 32 levels (checked before the parser recurses).
    """
    if max_bytes is not None and len(data) > max_bytes:
        raise Malformed(f"larger than {max_bytes} bytes")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        raise Malformed("not UTF-8") from None
    if text.startswith("\ufeff"):
        raise Malformed("begins with a byte order mark")
    _check_depth(data)
    try:
        value: object = _DECODER.decode(text)
    except json.JSONDecodeError:
        raise Malformed("not JSON") from None
    # The decoder refuses raw control characters and UTF-8 has no surrogates: only escapes bring them.
    if "\\u" in text and _SUSPECT.search(text):
        _check_text(value)
    return value


def parse_object(data: bytes, *, max_bytes: int | None = None) -> dict[str, object]:
    """Return the JSON object *data*; otherwise as `parse_json`."""
    return as_object(parse_json(data, max_bytes=max_bytes))


def encode_json(value: object) -> bytes:
    """Return *value* as JSON text without spaces, its names in their order.

    Raises:
        TypeError, ValueError: JSON in UTF-8 has no form for a part of it.
    """
    return _ENCODER.encode(value).encode("utf-8")


def members(value: object, *, required: Collection[str], optional: Collection[str] = ()) -> dict[str, object]:
    """Return the object *value*, which has every required member and none beyond those named."""
    found = as_object(value)
    for name in required:
        if name not in found:
            raise Malformed(f"the member {name} is missing")
    if len(found) > len(required) and any(name not in required and name not in optional for name in found):
        raise Malformed("a member that is not known")
    return found


def as_object(value: object) -> dict[str, object]:
    """Return *value*, a JSON object."""
    if not isinstance(value, dict):
        raise Malformed("not a JSON object")
    return value


def as_list(value: object) -> list[object]:
    """Return *value*, a JSON array."""
    if not isinstance(value, list):
        raise Malformed("not a JSON array")
    return value


def as_text(value: object) -> str:
    """Return *value*, a JSON string."""
    if not isinstance(value, str):
        raise Malformed("not a JSON string")
    return value


def as_integer(value: object) -> int:
    """Return *value*, a JSON number; `true` is none."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise Malformed("not an integer")
    return value


def check_constants(found: Mapping[str, object], **expected: str | int) -> None:
    """Refuse *found* unless each named member is exactly the value expected (no negotiation)."""
    for name, value in expected.items():
        if type(found.get(name)) is not type(value) or found[name] != value:
            raise Malformed(f"the member {name} is not {value!r}")


def b64url(data: bytes) -> str:
    """Return *data* in unpadded base64url (RFC 4648 §5)."""
    return encoding.b64url(data)


def from_b64url(text: object) -> bytes:
    """Return the bytes of canonical unpadded base64url (RFC 4648 §5)."""
    if not isinstance(text, str):
        raise Malformed("not base64url")
    try:
        return encoding.from_b64url(text)
    except MalformedToken as fault:
        raise Malformed(str(fault)) from None


def b64(data: bytes) -> str:
    """Return *data* in padded base64 (RFC 4648 §4)."""
    return binascii.b2a_base64(data, newline=False).decode("ascii")


def from_b64(text: object) -> bytes:
    """Return the bytes of canonical padded base64."""
    if not isinstance(text, str):
        raise Malformed("not base64")
    try:
        data = binascii.a2b_base64(text, strict_mode=True)
    except (binascii.Error, ValueError):
        raise Malformed("not base64") from None
    if b64(data) != text:
        raise Malformed("base64 that is not canonical")
    return data


def parse_time(text: object) -> int:
    """Return milliseconds since 1970 of RFC 3339 in UTC with exactly three fractional digits."""
    if not isinstance(text, str) or not _TIME.fullmatch(text):
        raise Malformed("a time looks like 2026-11-23T14:05:09.123Z")
    return _second_ms(text[:_SECOND_CHARS]) + int(text[-4:-1])


def time_text(time_ms: int) -> str:
    """Return *time_ms* (milliseconds since 1970) as RFC 3339 with three fractional digits."""
    second, ms = divmod(time_ms, 1000)
    return f"{_second_text(second)}.{ms:03d}Z"


def sha256(data: bytes) -> Digest:
    """Return the SHA-256 of *data* in lower-case hex."""
    return Digest(hashlib.sha256(data).hexdigest())


@lru_cache(maxsize=1024)
def _second_ms(text: str) -> int:
    """Return the milliseconds since 1970 of a *text* that stands before the fraction of a second."""
    try:
        moment = datetime.fromisoformat(f"{text}+00:00")
    except ValueError:
        raise Malformed("a time that the calendar does not have") from None
    return (moment - _EPOCH) // _MILLISECOND


@lru_cache(maxsize=1024)
def _second_text(second: int) -> str:
    return (_EPOCH + timedelta(seconds=second)).isoformat()[:_SECOND_CHARS]


def _check_depth(data: bytes) -> None:
    """Refuse more than 32 levels, in linear time and before anything recurses.

    What stands between quotes is dropped (after the escapes that could hide one), then all but
    the brackets; each pass takes the innermost pairs away. Whether they match in kind is the
    decoder's business.
    """
    if data.count(b"[") + data.count(b"{") <= MAX_DEPTH:
        return
    outside = data.replace(b"\\\\", b"").replace(b'\\"', b"").split(b'"')[::2]
    brackets = b"".join(outside).translate(_LEVELS, _NO_BRACKET)
    for _ in range(MAX_DEPTH):
        brackets = brackets.replace(b"[]", b"")
    if brackets:
        raise Malformed(f"more than {MAX_DEPTH} levels, or brackets that do not match")


def _check_text(value: object) -> None:
    if isinstance(value, str):
        if _FORBIDDEN.search(value):
            raise Malformed("U+0000 or a lone surrogate")
    elif isinstance(value, dict):
        for name, member in value.items():
            _check_text(name)
            _check_text(member)
    elif isinstance(value, list):
        for item in value:
            _check_text(item)


def _distinct(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise Malformed("a member name that repeats")
    return found


def _integer(digits: str) -> int:
    # The decoder's grammar is -?(0|[1-9][0-9]*): of what it lets through, only -0 has a shorter form.
    if len(digits) <= _INTEGER_DIGITS and digits != "-0":
        value = int(digits)
        if -INTEGER_LIMIT < value < INTEGER_LIMIT:
            return value
    raise Malformed("a number that is not an integer below 2^53 in its shortest form")


def _no_number(_: str) -> NoReturn:
    raise Malformed("a number that is not an integer")


_DECODER = json.JSONDecoder(
    object_pairs_hook=_distinct,
    parse_int=_integer,
    parse_float=_no_number,
    parse_constant=_no_number,
    strict=True,
)
_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, check_circular=False, separators=(",", ":"))
"""Made once: `json.dumps` makes one for each value."""
