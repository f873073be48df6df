"""What a schema asks for, member by member: what drafts to fill in and the pages are written from.

A schema is made of parts: itself, what `$ref` and `allOf` add, and what `if` and `anyOf` add under a
condition. The outline of an object has each of its members once, with what all parts say of it; the
conditions are told in words (`schemas.wording`).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import schemas
from schemas.parts import Part, first, kind_of_body, parts_of, value_of
from schemas.wording import NoWords, by_article, code, condition, listed

_REQUIRED = "required"
_EXCLUDED = "left out"
_LEVELS: Mapping[str, str] = {"error": "demanded", "warning": "expected"}
_PLAIN: Mapping[str, str] = {"boolean": "true or false", "integer": "whole number", "string": "text"}
_ANYTHING_BUT = ("const", "enum", "anyOf", "oneOf", "not", "pattern", "format")
_FORMATS: Mapping[str, str] = {"email": "e-mail address", "json-pointer": "JSON pointer"}


@dataclass(frozen=True, slots=True)
class Need:
    """Why a member has to be there.

    Attributes:
        level: `required`: without it there is no message; `demanded`: it is not sent without, unless
            overridden; `expected`: a warning is told without; `left out`: it must not be there.
        article: which article says so; None if the form does.
        when: "if …" or "unless …"; empty for always.
        also: what is needed besides presence, as a length.
    """

    level: str
    article: str | None = None
    when: str = ""
    also: str = ""

    @property
    def words(self) -> str:
        """Return the need in words."""
        by = "" if self.article is None else f" by {by_article(self.article)}"
        words = (f"{self.level}{by}", self.also, self.when)
        return " ".join(word for word in words if word)

    @property
    def usual(self) -> bool:
        """Say whether a draft has the member, if nothing special is the case."""
        return self.level != _EXCLUDED and not self.when.startswith("if ")


@dataclass(frozen=True, slots=True)
class Member:
    """One member of an object.

    Attributes:
        name, title, description, article: as the schema has them; `article` may be None.
        form: what the value is, in a few words.
        hint: the form in a sentence, where the few words do not tell it.
        codes: the values that it can have, where they are listed.
        fixed: the only value that it can have, or None.
        default: the value that it has when it is left out, or None.
        many: whether the value is a list; all the rest then is about an item.
        members: those of the value that is an object.
        needs: why it has to be there.
        notes: sentences about the value.
    """

    name: str
    title: str
    description: str
    article: str | None
    form: str = ""
    hint: str = ""
    codes: tuple[str | int | bool, ...] = ()
    fixed: str | int | bool | None = None
    default: str | int | bool | None = None
    many: bool = False
    is_object: bool = False
    members: tuple["Member", ...] = ()
    needs: tuple[Need, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def usual(self) -> bool:
        """Say whether a draft has the member, if nothing special is the case."""
        return self.default is not None or any(need.usual for need in self.needs)


@dataclass(slots=True)
class _Found:
    """What the parts of an object say of one member."""

    parts: list[Part] = field(default_factory=list)
    needs: list[Need] = field(default_factory=list)


def outline(name: str) -> Member:
    """Return what the schema *name*, perhaps a part of a file as in `defs#/$defs/person`, asks for.

    Raises:
        NoWords: the schema says something that this module cannot tell.
    """
    file, part, fragment = name.partition("#")
    schema = schemas.resolve(f"#{fragment}", file)[0] if part else schemas.load(file)
    return _member("", _Found([Part(schema, file)]))


def draft(kind: str) -> tuple[Member, ...]:
    """Return the members of a draft of *kind*, among them `body` with all that it holds."""
    body = outline(f"kinds/{kind}#/$defs/body")
    article = schemas.load(f"kinds/{kind}").get("x-article")
    found = []
    for member in outline("draft").members:
        if member.name == "kind":
            found.append(replace(member, fixed=kind, form=f"always {code(kind)}"))
        elif member.name == "body":
            found.append(replace(body, name="body", article=article, needs=member.needs))
        else:
            found.append(member)
    return tuple(found)


def walk(members: Sequence[Member], path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Member]]:
    """Yield every member of *members* and below, each after its holder, with its path."""
    for member in members:
        yield (*path, member.name), member
        yield from walk(member.members, (*path, member.name))


def _member(name: str, found: _Found) -> Member:
    only = "" if not found.parts or any(not part.when for part in found.parts) else found.parts[0].when
    if only:  # what follows is about the value that is there then
        found.parts = [part._replace(when="") if part.when == only else part for part in found.parts]
    parts = [part for each in found.parts for part in parts_of(each)]
    told = {word: first(found.parts, word) for word in ("title", "description", "x-article")}
    items = [Part(part.schema["items"], part.base, part.when) for part in parts if "items" in part.schema]
    many = bool(items) or first(found.parts, "type") == "array"
    value = [part for each in items for part in parts_of(each)] if many else parts
    members, rules = _members(value)
    notes = [*_only(only, found.needs), *_notes(parts), *(_notes(value) if many else ()), *rules]
    is_object = bool(members) or any(
        part.schema.get("type") == "object" or kind_of_body(part) for part in value
    )
    return Member(
        name=name,
        title=told["title"] or "",
        description=told["description"] or "",
        article=told["x-article"],
        form="object" if is_object else _form(value),
        hint="" if is_object else _hint(value),
        codes=_codes(value),
        fixed=value_of(value, "const"),
        default=value_of(parts, "default"),
        many=many,
        is_object=is_object,
        members=members,
        needs=tuple(found.needs),
        notes=tuple(dict.fromkeys(notes)),
    )


def _only(when: str, needs: Sequence[Need]) -> Iterator[str]:
    """Yield that a member has a place *when* alone, unless *needs* say so."""
    if when and all(need.when != when for need in needs):
        yield f"Only {when}."


def _members(parts: Sequence[Part]) -> tuple[tuple[Member, ...], list[str]]:
    """Return the members of an object, and the rules between them."""
    found: dict[str, _Found] = {}
    rules: list[str] = []
    for part in parts:
        schema, base, when = part
        for name, member in schema.get("properties", {}).items():
            here = found.setdefault(name, _Found())
            if member is False:
                here.needs.append(Need(_EXCLUDED, when=when))
            elif member is not True:
                here.parts.append(Part(member, base, when))
                here.needs += _demands(member, base, when)
    for schema, _, when in parts:
        for name in schema.get("required", ()):
            found[name].needs.append(Need(_REQUIRED, when=when))
        rules += _rules(schema, found, when)
    members = [_member(name, one) for name, one in found.items() if one.parts]
    return tuple(replace(one, needs=tuple(dict.fromkeys(one.needs))) for one in members), rules


def _demands(member: Mapping[str, Any], base: str, when: str) -> Iterator[Need]:
    """Yield what articles demand of a member, by `x-demanded`."""
    for note in member.get("x-demanded", ()):
        waived = [
            condition(note[keyword], base, whose)
            for keyword, whose in (("unless", ""), ("unless_message", "the message's "))
            if keyword in note
        ]
        least = note.get("at_least", 1)
        yield Need(
            _LEVELS[note["severity"]],
            note["article"],
            " and ".join([when, *waived] if when else waived),
            f"with at least {least} characters" if least > 1 else "",
        )


def _rules(schema: Mapping[str, Any], found: Mapping[str, _Found], when: str) -> Iterator[str]:
    """Yield the rules between members, and note on the members those that exclude one."""
    excluded = schema.get("not", {})
    if excluded:
        names = excluded.get("required", ())
        if len(names) != 1 or set(excluded) != {"required"}:
            raise NoWords("not: only one excluded member has words")
        found[names[0]].needs.append(Need(_EXCLUDED, when=when))
    for keyword, amount in (("oneOf", "Exactly one"), ("anyOf", "At least one")):
        choices = [each["required"] for each in schema.get(keyword, ()) if set(each) == {"required"}]
        if choices:
            told = [listed(map(code, names), "and") for names in choices]
            yield f"{amount} of {listed(told)} is given{' ' if when else ''}{when}."
            for name in () if when else choices[0]:
                found[name].needs.append(Need(_REQUIRED, when=f"unless {listed(told[1:])} is given"))
    if schema.get("minProperties"):
        yield "At least one member is given."
        next(iter(found.values())).needs.append(Need(_REQUIRED, when="unless another member is given"))


def _form(parts: Sequence[Part]) -> str:
    """Return in a few words what a value is that is no object."""
    if (fixed := value_of(parts, "const")) is not None:
        return f"always {code(fixed)}"
    if _codes(parts):
        return "code"
    if (definition := _definition(parts)) is not None:
        return str(definition["title"]).lower()
    for keyword, words in (("format", _FORMATS), ("type", _PLAIN)):
        value = value_of(parts, keyword)
        if value in words:
            return words[value] + (_range(parts) if value == "integer" else "")
    if not any({"type", *_ANYTHING_BUT} & set(part.schema) for part in parts):
        return "any value"
    raise NoWords(f"no words for the form of {[dict(part.schema) for part in parts]}")


def _hint(parts: Sequence[Part]) -> str:
    definition = None if _codes(parts) else _definition(parts)
    return "" if definition is None else str(definition["description"])


def _definition(parts: Sequence[Part]) -> Mapping[str, Any] | None:
    """Return the shared definition that says what the value is: the innermost part with a type."""
    shared = schemas.load("defs")["$defs"].values()
    return next((part.schema for part in parts if any(part.schema is one for one in shared)), None)


def _range(parts: Sequence[Part]) -> str:
    low, high = value_of(parts, "minimum"), value_of(parts, "maximum")
    return ("" if low is None else f" from {low}") + ("" if high is None else f" to {high}")


def _codes(parts: Sequence[Part]) -> tuple[Any, ...]:
    """Return the values that all unconditional lists allow."""
    lists = [part.schema["enum"] for part in parts if "enum" in part.schema and not part.when]
    return tuple(value for value in lists[0] if all(value in one for one in lists)) if lists else ()


def _notes(parts: Sequence[Part]) -> Iterator[str]:
    """Yield in sentences what else is said of a value."""
    for part in parts:
        schema, _, when = part
        if when and (kind := kind_of_body(part)):
            chooser, _, chosen = when.removeprefix("if ").rpartition(" is ")
            if chosen == code(kind):  # one sentence for all of them
                yield f"The body of the kind that {chooser} names."
            else:
                yield f"{_capital(when)}: the body of a {code(kind)}."
        if "x-distinct" in schema:
            yield f"Each item has another {code(schema['x-distinct']['member'])}."
        if "x-attachment" in schema:
            yield "It has to be attached to the message."
        if schema.get("minItems", 0) > 1:
            yield f"At least {schema['minItems']} items."
        if when and "enum" in schema:
            yield f"{_capital(when)}: {listed(map(code, schema['enum']))}."
        if when and "const" in schema:
            yield f"{_capital(when)}: {code(schema['const'])}."


def _capital(words: str) -> str:
    return f"{words[:1].upper()}{words[1:]}"
