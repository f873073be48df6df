"""Complete bodies of any kind with something changed, and what is found of them."""

import copy
import json
from collections.abc import Iterator
from typing import Any

import schemas
from gateway.core.findings import findings
from gateway.core.message import parse_payload
from tests.support import bodies, conduct

GONE = object()
"""As the value of a member: it is left out."""


def changed(kind: str, changes: dict[str, Any]) -> dict[str, Any]:
    """Return the complete body of *kind* with the members at some paths set, or `GONE`."""
    body = copy.deepcopy(_builders(kind).BODIES[kind]())
    for path, value in changes.items():
        *parents, last = (int(part) if part.isdigit() else part for part in path.split("/"))
        holder: Any = body
        for part in parents:
            holder = holder[part]
        if value is GONE:
            del holder[last]
        else:
            holder[last] = value
    return body


def told(message: dict[str, Any]) -> set[tuple[str, str, str]]:
    """Return severity, article and path of each finding of *message*, which is valid in form."""
    found = findings(parse_payload(json.dumps(message).encode()))
    return {(one.severity, one.article, one.path) for one in found}


def of(kind: str, changes: dict[str, Any]) -> set[tuple[str, str, str]]:
    """Return what is found of a message of *kind* with these changes."""
    return told(_builders(kind).payload(kind, changed(kind, changes)))


def fits(kind: str, changes: dict[str, Any]) -> bool:
    """Return whether the body with these changes is valid in form."""
    return schemas.validator(f"kinds/{kind}#/$defs/body").is_valid(changed(kind, changes))


def present(value: Any, path: str = "") -> Iterator[str]:
    """Yield the path of every member that is in *value*; each item of a list stands at 0."""
    if isinstance(value, list):
        for item in value:
            yield from present(item, f"{path}0/")
    elif isinstance(value, dict):
        for name, member in value.items():
            yield f"{path}{name}"
            yield from present(member, f"{path}{name}/")


def _builders(kind: str) -> Any:
    return bodies if kind in bodies.BODIES else conduct
