"""What lies in every evidence bundle to be read: how to check it, and a page that checks in a browser."""

from collections.abc import Mapping
from functools import cache
from importlib.resources import files


@cache
def reading() -> Mapping[str, bytes]:
    """Return the files by name."""
    folder = files("schemas") / "bundle"
    return {name: (folder / name).read_bytes() for name in ("README.txt", "verify.html")}
