"""What the schemas say that an article demands, evaluated for every kind of message alike.

What an article demands of a member stands beside it in the schema of the kind, as annotations:

- `x-demanded`: a list of {article, severity, text, unless?, unless_message?, at_least?}. The
  member is demanded of the object that would hold it, unless that object, or the whole
  message, satisfies the condition; `at_least` is in characters. Blank and empty count as missing.
- `x-distinct`: {member, article, text}: the items of the list differ in that member.
- `x-attachment`: {article, text}: the value is the name of an attachment of the message.

The schema of a kind is walked once, when its first message comes; a message is then looked at only
in the places that were found.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import schemas
from gateway.core.findings.circumstances import Circumstances
from gateway.core.findings.finding import Defect, Finding, Path
from gateway.core.message import Message

_TEXT = "#/$defs/text"
_PERSON = "#/$defs/person"
_EVERY = "*"
"""In a path: every item of the list."""


@dataclass(frozen=True, slots=True)
class _Demand:
    member: str
    defect: Defect
    at_least: int
    waived: Callable[[object], bool]
    waived_by_message: Callable[[object], bool]


@dataclass(frozen=True, slots=True)
class Annotations:
    """What the schema of one kind says, each by the path of what it is about.

    `prose` has, by the path of the object whose `language` it is, the paths of its texts;
    `persons` the paths of the persons whom the message is about.
    """

    demands: dict[Path, list[_Demand]] = field(default_factory=dict)
    distinct: dict[Path, tuple[str, Defect]] = field(default_factory=dict)
    attachments: dict[Path, Defect] = field(default_factory=dict)
    prose: dict[Path, list[Path]] = field(default_factory=dict)
    persons: list[Path] = field(default_factory=list)


def demanded(message: Message, _: Circumstances) -> Iterator[Finding]:
    """Whatever article the schema names: what it demands is there."""
    yield from _walked(_tree(message.kind), message.payload, message.payload, ())


def _walked(node: "_Node", value: Any, payload: Mapping[str, Any], place: Path) -> Iterator[Finding]:  # noqa: ANN401  # JSON
    """Yield what is missing in *value*, which stands at *place* of *payload*, and below it."""
    for demand in node.demands:
        if (
            missing(value.get(demand.member), demand.at_least)
            and not demand.waived(value)
            and not demand.waived_by_message(payload)
        ):
            yield demand.defect.at(*place, demand.member)
    for name, below in node.members.items():
        if name in value:
            yield from _walked(below, value[name], payload, (*place, name))
    if node.items is not None:
        for index, item in enumerate(value):
            yield from _walked(node.items, item, payload, (*place, index))


def distinct(message: Message, _: Circumstances) -> Iterator[Finding]:
    """Whatever article the schema names: what is to be told apart has different names."""
    for path, (member, defect) in annotations(message.kind).distinct.items():
        for place, items in places(message.payload, path):
            seen = set()
            for index, item in enumerate(items):
                value = item.get(member)
                if value in seen:
                    yield defect.at(*place, index, member)
                seen.add(value)


def attached(message: Message, _: Circumstances) -> Iterator[Finding]:
    """Whatever article the schema names: the attachment that is named is there."""
    names = {attachment.name for attachment in message.attachments}
    for path, defect in annotations(message.kind).attachments.items():
        for place, value in places(message.payload, path):
            if value not in names:
                yield defect.at(*place)


def missing(value: object, at_least: int = 1) -> bool:
    """Say whether *value* is not there: absent, empty, or shorter than *at_least* characters."""
    if isinstance(value, str):
        return not value or value.isspace() if at_least == 1 else len(value.strip()) < at_least
    return value is None or value in ([], {})


def places(value: Any, path: Path, place: Path = ()) -> Iterator[tuple[Path, Any]]:  # noqa: ANN401  # JSON
    """Yield every value at *path* below *value*, with the place where it stands."""
    if not path:
        yield place, value
    elif path[0] == _EVERY:
        for index, item in enumerate(value):
            yield from places(item, path[1:], (*place, index))
    elif path[0] in value:
        yield from places(value[path[0]], path[1:], (*place, path[0]))


@cache
def annotations(kind: str) -> Annotations:
    """Return what the schema of *kind* says; nothing of a kind that is not known."""
    found = Annotations()
    base = f"kinds/{kind}"
    if kind in schemas.KINDS:
        _collect(schemas.load(base)["properties"]["body"], base, ("body",), found)
    return found


@dataclass(slots=True)
class _Node:
    """The demands of one kind as a tree, so that a message is walked through once."""

    demands: list[_Demand] = field(default_factory=list)
    members: dict[str, "_Node"] = field(default_factory=dict)
    items: "_Node | None" = None


@cache
def _tree(kind: str) -> _Node:
    root = _Node()
    for path, demands in annotations(kind).demands.items():
        node = root
        for name in path:
            if name == _EVERY:
                node.items = node.items or _Node()
                node = node.items
            else:
                node = node.members.setdefault(str(name), _Node())
        node.demands += demands
    return root


def defects() -> Iterator[Defect]:
    """Yield every defect that a schema of some kind can find."""
    for kind in sorted(schemas.KINDS):
        found = annotations(kind)
        for demands in found.demands.values():
            yield from (demand.defect for demand in demands)
        yield from (defect for _, defect in found.distinct.values())
        yield from found.attachments.values()


def _collect(schema: Mapping[str, Any], base: str, path: Path, found: Annotations, owner: Path = ()) -> None:
    """Add to *found* what *schema*, in the file *base*, says of the value at *path*, and below it.

    *owner* is the path of the object whose `language` the value is in.
    """
    if "$ref" in schema:
        target, file = schemas.resolve(schema["$ref"], base)
        _collect(target, file, path, found, owner)
        if schema["$ref"].endswith(_TEXT):
            found.prose.setdefault(owner, []).append(path[len(owner) :])
        if schema["$ref"].endswith(_PERSON):
            found.persons.append(path)
    for part in schema.get("allOf", ()):
        _collect(part, base, path, found, owner)
    properties = schema.get("properties", {})
    inner = path if "language" in properties else owner
    for name, member in properties.items():
        for note in member.get("x-demanded", ()):
            found.demands.setdefault(path, []).append(_demand(name, note, base))
        _collect(member, base, (*path, name), found, inner)
    if (note := schema.get("x-distinct")) is not None:
        found.distinct[path] = (note["member"], Defect(note["article"], "error", note["text"]))
    if (note := schema.get("x-attachment")) is not None:
        found.attachments[path] = Defect(note["article"], "error", note["text"])
    if "items" in schema:
        _collect(schema["items"], base, (*path, _EVERY), found, owner)


def _demand(member: str, note: Mapping[str, Any], base: str) -> _Demand:
    return _Demand(
        member=member,
        defect=Defect(note["article"], note["severity"], note["text"]),
        at_least=note.get("at_least", 1),
        waived=_condition(note.get("unless"), base),
        waived_by_message=_condition(note.get("unless_message"), base),
    )


def _condition(schema: Mapping[str, Any] | None, base: str) -> Callable[[object], bool]:
    return _never if schema is None else schemas.condition(schema, base).is_valid


def _never(_: object) -> bool:
    return False
