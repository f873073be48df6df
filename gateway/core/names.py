"""Names that a sender gave to files: data to be shown, never a path.

What a name may be is judged twice. A draft whose attachment has a name that no file can have is refused
here, before it is signed. A name that came signed by a peer is kept as it is, and whatever is to be a
file or a header is made of it by `safe_name`: without folders, controls and characters that turn or hide
what is read (Unicode Technical Report 36 §2), and one that no file system takes for something else.
"""

import unicodedata
from urllib.parse import quote

from gateway.core.errors import Malformed

MAX_BYTES = 255
"""Of a name in UTF-8: what file systems take."""

_UNNAMED = "attachment"
_SUFFIX_BYTES = 32
_MARKS = frozenset(" -_.,()[]{}+=@'")
"""What ASCII has besides letters and digits that neither a shell nor a file system gives a meaning."""
_SLASHES = frozenset(
    "\N{FRACTION SLASH}\N{DIVISION SLASH}\N{SET MINUS}\N{BIG SOLIDUS}\N{REVERSE SOLIDUS OPERATOR}"
)
_SHOWN = frozenset("LMNPS")  # letters, their marks, digits, punctuation, symbols
_DEVICES = frozenset(
    ("con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in "0123456789¹²³"))
)
"""What Windows takes for a device, whatever suffix follows."""
_NEVER = frozenset({"Cc", "Zl", "Zp", "Cs"})
_DIRECTIONS = frozenset(map(chr, (*range(0x202A, 0x202F), *range(0x2066, 0x206A))))
"""Embeddings, overrides and isolates; the marks that some scripts need within a name are none of them."""


def check_name(name: str) -> str:
    """Return *name* if a file can be called so.

    Raises:
        Malformed: says which rule it breaks, never the name.
    """
    if not name or name.strip(" .") == "":
        raise Malformed("a name of a file, which has more than dots and spaces")
    if "/" in name or "\\" in name:
        raise Malformed("a name without folders: no slash and no backslash")
    if any(unicodedata.category(c) in _NEVER for c in name):
        raise Malformed("a name of one line, without control characters")
    if any(c in _DIRECTIONS for c in name):
        raise Malformed("a name without characters that turn the direction of text")
    if len(name.encode()) > MAX_BYTES:
        raise Malformed(f"a name of at most {MAX_BYTES} bytes in UTF-8")
    return name


def safe_name(name: str, max_bytes: int = MAX_BYTES) -> str:
    """Return what is left of *name* as a file may be called: never empty, a path or a device.

    The same name gives the same result, and the result gives itself. *max_bytes* is at least 64; what is
    cut is the stem, so that the suffix still says what the file is.
    """
    shown = "".join(map(_shown, unicodedata.normalize("NFC", name)))
    bare = " ".join(part for part in shown.split(" ") if part).lstrip(" .-").rstrip(" .") or _UNNAMED
    if bare.partition(".")[0].strip().casefold() in _DEVICES:
        bare = f"_{bare}"
    return _shortened(bare, max_bytes)


def disposition(name: str) -> str:
    """Return the Content-Disposition that has a file saved under *name* (RFC 6266, RFC 8187)."""
    whole = safe_name(name)
    ascii_only = unicodedata.normalize("NFKD", whole).encode("ascii", "ignore").decode()
    return f"attachment; filename=\"{safe_name(ascii_only)}\"; filename*=UTF-8''{quote(whole, safe='')}"


def _shown(c: str) -> str:
    """Return *c*, a space for any space, or `_` for what has no place in a name."""
    if unicodedata.category(c) == "Zs":
        return " "
    if c.isascii():
        return c if c.isalnum() or c in _MARKS else "_"
    if unicodedata.category(c)[0] not in _SHOWN or c in _SLASHES:
        return "_"
    return "_" if any(not _harmless(one) for one in unicodedata.normalize("NFKC", c)) else c


def _harmless(c: str) -> bool:
    """Say whether *c*, which a system may read for another character, has no meaning to it."""
    return not c.isascii() or c.isalnum() or (c in _MARKS and c != ".")


def _shortened(name: str, max_bytes: int) -> str:
    if len(name.encode()) <= max_bytes:
        return name
    stem, dot, suffix = name.rpartition(".")
    end = dot + suffix if stem else ""
    if len(end.encode()) > _SUFFIX_BYTES:
        end = ""
    stem = name.removesuffix(end)
    room = max_bytes - len(end.encode())
    return (stem.encode()[:room].decode(errors="ignore") + end).rstrip(" .")
