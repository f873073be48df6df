"""What a schema is composed of: itself, what `$ref` and `allOf` add, and what conditions add."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import schemas
from schemas.wording import say


class Part(NamedTuple):
    """One of the schemas that a value satisfies: in which file it stands, and under which condition."""

    schema: Mapping[str, Any]
    base: str
    when: str = ""


def parts_of(part: Part) -> Iterator[Part]:
    """Yield what *part* is composed of: what it refers to, itself, what holds under a condition."""
    schema, base, when = part
    if when and kind_of_body(part):  # one of several: told by its name, which has a page of its own
        yield part
        return
    if "$ref" in schema:
        yield from parts_of(Part(*schemas.resolve(schema["$ref"], base), when))
    every = [Part(each, base, when) for each in schema.get("allOf", ())]
    for each in every:
        if "if" not in each.schema:
            yield from parts_of(each)
    yield part
    for each in (*(one for one in every if "if" in one.schema), *_conditional(part)):
        yield from parts_of(each)


def _conditional(part: Part) -> Iterator[Part]:
    """Yield what *part* itself adds under a condition, or as one form of several."""
    schema, base, when = part
    for keyword, holds in (("then", True), ("else", False)):
        if "if" in schema and keyword in schema:
            case = say(schema["if"], base, holds=holds)
            yield Part(schema[keyword], base, f"{when} and {case}" if when else f"if {case}")
    for each in (*schema.get("oneOf", ()), *schema.get("anyOf", ())):
        if set(each) - {"required", "not"}:
            yield Part(each, base, when or "if this form is chosen")


def kind_of_body(part: Part) -> str | None:
    """Return the kind of message whose body *part* refers to, or None."""
    address, _, fragment = part.schema.get("$ref", "").partition("#")
    if fragment != "/$defs/body" or not address:
        return None
    return schemas.resolve(part.schema["$ref"], part.base)[1].removeprefix("kinds/")


def first(parts: Sequence[Part], keyword: str) -> Any:  # noqa: ANN401  # any value of a schema
    """Return the value of *keyword* that stands nearest to the use, or None."""
    for schema, _, _ in parts:
        if keyword in schema:
            return schema[keyword]
    for schema, base, when in parts:
        inner = [Part(each, base, when) for each in schema.get("allOf", ())]
        if "$ref" in schema:
            inner.append(Part(*schemas.resolve(schema["$ref"], base), when))
        if inner and (value := first(inner, keyword)) is not None:
            return value
    return None


def value_of(parts: Sequence[Part], keyword: str) -> Any:  # noqa: ANN401  # any value of a schema
    """Return the value of *keyword* in the unconditional part that says it last."""
    found = [part.schema[keyword] for part in parts if keyword in part.schema and not part.when]
    return found[-1] if found else None
