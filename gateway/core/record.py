"""What the history of a case keeps of a message for later: the members that its schema marks.

Findings and clocks ask about earlier messages: which measures were requested, by which day an update
was announced. The schema of a kind says what is kept, by the annotation `x-recorded` on a member
of the body, or of an object in it:

- `true`: its value;
- a list of names: of each item of its list, the members with these names;
- `"present"`: only that it is there, for texts whose length nobody bounds;
- `false`: nothing of what is in it, whatever its own schema marks.

What is kept stands under the names that lead to it, joined by `/`: `appeal/deadline`. The common
members `in_reply_to`, `urgency` and `language` are always kept, under their own names. Every message of
a case carries this along, so that the author of a schema marks only what is short, and no prose.
"""

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import schemas
from gateway.core.message import Message

COMMON = ("in_reply_to", "urgency", "language")
"""The members of every message that are kept, where they are there."""

_COMBINING = ("allOf", "anyOf", "oneOf", "then", "else")
_Path = tuple[str, ...]
_Mark = bool | str | tuple[str, ...]


def recorded(message: Message) -> dict[str, object]:
    """Return what a history keeps of *message*, which satisfies the schema of its kind."""
    found = {name: message.payload[name] for name in COMMON if name in message.payload}
    for key, path, mark in _marks(message.kind):
        value: Any = message.body
        for name in path:
            value = value.get(name) if isinstance(value, Mapping) else None
        if value is not None:
            found[key] = _kept(value, mark)
    return found


def _kept(value: Any, mark: _Mark) -> object:  # noqa: ANN401  # JSON
    if isinstance(mark, tuple):
        return [{name: item[name] for name in mark if name in item} for item in value]
    return True if mark == "present" else value


@cache
def _marks(kind: str) -> tuple[tuple[str, _Path, _Mark], ...]:
    """Return each marked member of *kind*: its key, the names that lead to it, and the mark."""
    if kind not in schemas.KINDS:
        return ()
    base = f"kinds/{kind}"
    marked = dict(_marked(schemas.load(base)["properties"]["body"], base, ()))
    shut = {path for path, mark in marked.items() if mark is False}
    return tuple(
        ("/".join(path), path, mark)
        for path, mark in marked.items()
        if not any(path[:length] in shut for length in range(len(path) + 1))
    )


def _marked(schema: Mapping[str, Any], base: str, path: _Path) -> Iterator[tuple[_Path, _Mark]]:
    """Yield the marked members of the object at *path*, which *schema* in the file *base* describes."""
    if "$ref" in schema:
        yield from _marked(*schemas.resolve(schema["$ref"], base), path)
    for word in _COMBINING:
        branches = schema.get(word, [])
        for branch in branches if isinstance(branches, list) else [branches]:
            yield from _marked(branch, base, path)
    for name, member in schema.get("properties", {}).items():
        mark = member.get("x-recorded")
        if mark is not None:
            yield (*path, name), tuple(mark) if isinstance(mark, list) else mark
        yield from _marked(member, base, (*path, name))
