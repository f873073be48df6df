"""The text around signatures, in its one accepted form: base64url and strict JSON (protocol §1)."""

import binascii
import json

from keys.errors import MalformedToken

_TO_URL = bytes.maketrans(b"+/", b"-_")
_FROM_URL = bytes.maketrans(b"-_+/=", b"+/   ")
"""The alphabet of RFC 4648 §4 for that of §5; what only §4 has becomes what neither has."""
_PADDING = (b"", b"===", b"==", b"=")
_QUANTUM_BYTES = 3


def b64url(data: bytes) -> str:
    """Return *data* as unpadded base64url (RFC 4648 §5)."""
    encoded = binascii.b2a_base64(data, newline=False)
    return encoded.translate(_TO_URL).rstrip(b"=").decode("ascii")


def from_b64url(text: str) -> bytes:
    """Return the bytes of canonical unpadded base64url. Raises MalformedToken.

    Characters stand for six bits each, one for one: only in the last quantum, whose spare bits are
    zero, can another text give the same bytes. So decode, encode, compare is done there alone.
    """
    try:
        encoded = text.encode("ascii")
        padded = encoded.translate(_FROM_URL) + _PADDING[len(encoded) % 4]
        data = binascii.a2b_base64(padded, strict_mode=True)
    except ValueError:  # binascii.Error and UnicodeEncodeError are such
        raise MalformedToken("not base64url") from None
    spare = len(data) % _QUANTUM_BYTES
    if spare and b64url(data[-spare:]) != text[-(spare + 1) :]:
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
