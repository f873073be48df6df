"""The public contract as data: JSON Schemas 2020-12, the case machine, code lists, samples.

Nothing here is fetched: every schema is a file of this package, found by its name (`message`,
`kinds/request.mla`), and references resolve among these files alone.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Any

import jsonschema_rs

DIALECT = "https://json-schema.org/draft/2020-12/schema"
BASE = "https://schemas.article18.example/v1/"
"""What the `$id` of every schema begins with; a name, not an address."""
MAX_ERRORS = 32
"""As many errors of one document are told at the doors."""

_FOLDER = files(__name__)
_SHARED = ("defs", "message", "draft", "envelope", "entry", "card", "profile")
KINDS: frozenset[str] = frozenset(
    path.name.removesuffix(".json") for path in (_FOLDER / "kinds").iterdir() if path.name.endswith(".json")
)
"""Every kind of message that this version knows."""
_CLOSED = "a member that is not known here"
_CHOICE = "exactly one of the members that the schema lets choose from"
_DETAILS: Mapping[str, str] = MappingProxyType(
    {
        "additionalProperties": _CLOSED,
        "unevaluatedProperties": _CLOSED,
        "falseSchema": _CLOSED,
        "oneOf": _CHOICE,
        "not": "without a member that has no place beside the others",
    }
)


@dataclass(frozen=True, slots=True)
class SchemaError:
    """Where a document breaks its schema: a JSON pointer (RFC 6901), and what is expected there.

    The detail is made of the schema alone, never of the document.
    """

    pointer: str
    detail: str


@cache
def load(name: str) -> dict[str, Any]:
    """Return the file *name*, without `.json`, as a value. It is shared: do not change it."""
    found: dict[str, Any] = json.loads((_FOLDER / f"{name}.json").read_bytes())
    return found


@cache
def codes() -> Mapping[str, Any]:
    """Return the closed lists of events, reasons and problem codes (codes.json)."""
    return MappingProxyType(load("codes"))


def schema_names() -> tuple[str, ...]:
    """Return the name of every JSON Schema."""
    return (*_SHARED, *(f"kinds/{kind}" for kind in sorted(KINDS)))


@cache
def validator(name: str) -> jsonschema_rs.Draft202012Validator:
    """Return the validator of the schema *name*, compiled once.

    *name* may go on to a part of the file, as in `kinds/closure#/$defs/body`. The pattern engine
    runs in linear time, and formats are checked: an unknown one is an error when the schema is
    compiled.
    """
    file, part, fragment = name.partition("#")
    if part:
        return _compile({"$schema": DIALECT, "$ref": f"{BASE}{file}.json#{fragment}"})
    return _compile(load(file))


def condition(schema: Mapping[str, Any], base: str) -> jsonschema_rs.Draft202012Validator:
    """Return the validator of a schema that stands inside the file *base*, as an annotation."""
    return _compile(
        {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}, f"{BASE}{base}.json"
    )


def errors(name: str, value: object, limit: int = MAX_ERRORS) -> tuple[SchemaError, ...]:
    """Return where *value* breaks the schema *name*, by pointer; at most *limit* places."""
    checker = validator(name)
    if checker.is_valid(value):
        return ()
    found = {
        SchemaError(pointer(error.instance_path), _detail(error)) for error in checker.iter_errors(value)
    }
    return tuple(sorted(found, key=lambda error: (error.pointer, error.detail))[:limit])


def pointer(path: object) -> str:
    """Return *path*, member names and indices, as a JSON pointer (RFC 6901)."""
    parts = path if isinstance(path, list | tuple) else ()
    return "".join(f"/{str(part).replace('~', '~0').replace('/', '~1')}" for part in parts)


def resolve(reference: str, base: str) -> tuple[dict[str, Any], str]:
    """Return the schema that `$ref` *reference* in the file *base* names, and its file."""
    address, _, fragment = reference.partition("#")
    name = base
    if address:
        folder = base.rpartition("/")[0].split("/") if "/" in base else []
        for part in address.removesuffix(".json").split("/"):
            if part == "..":
                folder.pop()
            else:
                folder.append(part)
        name = "/".join(folder)
    found: Any = load(name)
    for part in fragment.split("/")[1:]:
        found = found[part.replace("~1", "/").replace("~0", "~")]
    return found, name


def samples() -> tuple[int, ...]:
    """Return the numbers of the sample cases."""
    names = (path.name for path in (_FOLDER / "samples").iterdir())
    return tuple(sorted(int(name[5:-5]) for name in names if name.startswith("case-")))


def sample(number: int) -> dict[str, Any]:
    """Return a sample case, afresh; its `notes` explain the members."""
    found: dict[str, Any] = json.loads(sample_file(f"case-{number}.json"))
    return found


def sample_file(name: str) -> bytes:
    """Return the bytes of a file beside the sample cases: an attachment, say."""
    return (_FOLDER / "samples" / name).read_bytes()


def sample_profile(country: str) -> dict[str, Any]:
    """Return the sample profile of *country*, such as `qn`: what is given to be published, afresh."""
    found: dict[str, Any] = json.loads(sample_file(f"profile-{country}.json"))
    return found


def twins() -> list[dict[str, Any]]:
    """Return the negative twins of the sample cases, afresh: each changes one step, and is found out.

    `set` and `remove` are JSON pointers into the draft of that step once it is filled; `found` says
    `where` the fault is found: at `sending` (and shown alike where it arrives), by the `machine`, at
    `receipt`, or by a `clock`.
    """
    found: list[dict[str, Any]] = json.loads(sample_file("twins.json"))
    return found


def fill(
    step: Mapping[str, Any],
    *,
    to: str,
    today: date,
    sent: Sequence[Mapping[str, str]],
    attached: Sequence[Mapping[str, str | int]] = (),
) -> dict[str, Any]:
    """Return the draft of a *step* of a sample case with what only its player knows.

    *sent* has, for each step before, `id`, `case`, `created` and `message_sha256` of the message
    that it became; *attached*, for each attachment of this one, `sha256` and `size`.
    """
    draft: dict[str, Any] = {**deepcopy(step["draft"]), "to": to}
    for place, source in step["fill"].items():
        *path, last = (part for part in place.split("/")[1:])
        holder: Any = draft
        for part in path:
            holder = holder[int(part) if isinstance(holder, list) else part]
        if "days" in source:
            day = (today + timedelta(days=source["days"])).isoformat()
            holder[last] = f"{day}T{source['time']}:00.000Z" if "time" in source else day
        elif "attachment" in source:
            holder[last] = attached[source["attachment"]][source["member"]]
        elif "next" in source:
            holder[last] = _next(source["next"], today).isoformat()
        else:
            holder[last] = sent[source["step"]][source["member"]]
    return draft


def _next(month_and_day: str, today: date) -> date:
    """Return the first day after *today* that has this month and day, as MM-DD."""
    day = date.fromisoformat(f"{today.year}-{month_and_day}")
    return day if day > today else day.replace(year=day.year + 1)


def _detail(error: jsonschema_rs.ValidationError) -> str:
    return _DETAILS.get(error.kind.name) or error.message


def _resources() -> Iterator[tuple[str, dict[str, Any]]]:
    for name in schema_names():
        yield f"{BASE}{name}.json", load(name)


@cache
def _registry() -> jsonschema_rs.Registry:
    return jsonschema_rs.Registry(list(_resources()))


def _compile(schema: dict[str, Any], base_uri: str | None = None) -> jsonschema_rs.Draft202012Validator:
    return jsonschema_rs.Draft202012Validator(
        schema,
        registry=_registry(),
        offline=True,
        validate_formats=True,
        ignore_unknown_formats=False,
        pattern_options=jsonschema_rs.RegexOptions(),
        mask="the value",
        base_uri=base_uri,
    )
