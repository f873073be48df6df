"""Conditions of the schemas in words: "`scope` is `measures`".

Only the keywords that the conditions use have words. Another one raises `NoWords`, so that a page
or a draft never says less than the schema.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import schemas

_SILENT = frozenset({"type", "title", "description", "$schema"})
_PRESENCE = frozenset({"minItems", "minLength", "minProperties"})


class NoWords(ValueError):
    """A schema says something that has no words here."""


def code(value: object) -> str:
    """Return *value* as it is written in a draft, marked as code."""
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def by_article(article: str) -> str:
    """Return *article* as a text names it; another treaty, a resolution and practice have their names."""
    return f"article {article}" if article[0].isdigit() else article


def listed(words: Iterable[str], last: str = "or") -> str:
    """Return *words* as an enumeration: "a, b or c"."""
    *before, end = words
    return f"{', '.join(before)} {last} {end}" if before else end


def condition(unless: Mapping[str, Any], base: str, whose: str = "") -> str:
    """Return when something is demanded that is waived by *unless*: "if …" or "unless …".

    *whose* members the condition speaks of is said where these are not at hand.
    """
    if "not" in unless or "anyOf" in unless or _is_atom(unless):
        return f"if {say(unless, base, holds=False, whose=whose)}"
    return f"unless {say(unless, base, whose=whose)}"


def say(schema: Mapping[str, Any], base: str, *, holds: bool = True, whose: str = "", path: str = "") -> str:
    """Return in words that an object satisfies *schema*, a condition in the file *base*, or does not.

    *path*, with its dot, leads to the object from where its members are spoken of.

    Raises:
        NoWords: a keyword has no words.
    """
    clauses = list(_clauses(schema, base, holds=holds, whose=whose, path=path))
    if not clauses:
        raise NoWords(f"{base}: a condition that is always true")
    return (" and " if holds else ", or ").join(clauses)


def _is_atom(schema: Mapping[str, Any]) -> bool:
    """Say whether the opposite of *schema* is as short as itself: a member that has a value."""
    properties = schema.get("properties", {})
    return len(properties) == 1 and all(set(member) & {"const", "enum"} for member in properties.values())


def _clauses(schema: Mapping[str, Any], base: str, *, holds: bool, whose: str, path: str) -> Iterable[str]:
    if "$ref" in schema:
        target, file = schemas.resolve(schema["$ref"], base)
        yield from _clauses(target, file, holds=holds, whose=whose, path=path)
    properties = schema.get("properties", {})
    bare = [name for name in schema.get("required", ()) if name not in properties]
    if bare:
        verb = ("is" if len(bare) == 1 else "are") + (" given" if holds else " not given")
        yield f"{whose}{listed([code(path + name) for name in bare], 'and')} {verb}"
    for name, member in properties.items():
        yield _of_member(path + name, member, base, holds=holds, whose=whose)
    for one in schema.get("allOf", ()):
        yield say(one, base, holds=holds, whose=whose, path=path)
    if "not" in schema:
        yield say(schema["not"], base, holds=not holds, whose=whose, path=path)
    if "anyOf" in schema:
        either = [say(one, base, holds=holds, whose=whose, path=path) for one in schema["anyOf"]]
        yield (", or " if holds else " and ").join(either if holds else reversed(either))
    known = {"$ref", "properties", "required", "allOf", "not", "anyOf"} | _SILENT
    if unknown := set(schema) - known:
        raise NoWords(f"{base}: no words for {', '.join(sorted(unknown))}")


def _of_member(name: str, schema: Mapping[str, Any], base: str, *, holds: bool, whose: str) -> str:
    """Return what *schema* says of the member *name*, or its opposite."""
    told = f"{whose}{code(name)}"
    match {keyword: value for keyword, value in schema.items() if keyword not in _SILENT}:
        case {"const": value, **rest} if not rest:
            return f"{told} is {'' if holds else 'not '}{code(value)}"
        case {"enum": values, **rest} if not rest:
            return f"{told} is {'' if holds else 'not '}{listed(map(code, values))}"
        case {"contains": item, **rest} if not rest:
            where = "an item" if holds else "each item"
            return f"{say(item, base, holds=holds)} in {where} of {told}"
        case {"items": item, **rest} if set(rest) <= _PRESENCE:
            where = "each item" if holds else "an item"
            return f"{say(item, base, holds=holds)} in {where} of {told}"
        case {**rest} if rest and set(rest) <= _PRESENCE:
            return f"{told} is {'' if holds else 'not '}given"
        case _:
            return say(schema, base, holds=holds, whose=whose, path=f"{name}.")
