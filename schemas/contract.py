"""The contract of the hook as one document: openapi.yaml with every schema that it refers to.

The text is served as it was written. Its references to files beside it (`defs.json#/$defs/uuid`)
become references to its own components, and the schemas that they name follow at its end, one a
line: JSON is YAML. So a reader needs one document, and the node no parser for it.

`draft.json` and `message.json` leave the body to the kind: where they are referred to as a whole
stands the choice of one schema for each kind.
"""

import json
import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from schemas import KINDS, load, resolve

MEDIA_TYPE = "application/yaml"
"""RFC 9512."""

_HERE = "#/components/schemas/"
_REFERENCE = re.compile(r"""\$ref: (['"]?)([\w./-]+\.json(?:#[\w$./~-]*)?)\1""")
_BY_KIND = ("draft.json", "message.json")
_OF_FILES = frozenset({"$schema", "$id", "$defs", "title"})
"""What a component has not: it is known by its name, and generators would name classes by titles."""
_PARTS: Mapping[str, str] = {"$defs": "form", "properties": "member", "items": "item"}


@cache
def document() -> str:
    """Return the whole contract, OpenAPI 3.1 in YAML."""
    components = _Components()
    text = (files("schemas") / "openapi.yaml").read_text(encoding="utf-8")
    head = _REFERENCE.sub(lambda found: f"$ref: '{components.bring(found[2], '')}'", text)
    tail = [
        f"    {name}: {json.dumps(schema, ensure_ascii=False)}\n" for name, schema in components.found.items()
    ]
    return head + "".join(tail)


class _Components:
    """Schemas of other files, each brought along once.

    Attributes:
        found: each of them by its name here, with references that lead to the others.
    """

    def __init__(self) -> None:
        self.found: dict[str, Mapping[str, Any]] = {}
        self._places: dict[str, tuple[str, str]] = {}

    def bring(self, reference: str, base: str) -> str:
        """Return what to call here what *reference* names in the file *base*."""
        if reference in _BY_KIND and not base:
            return self._choice(reference)
        schema, file = resolve(reference, base)
        fragment = reference.partition("#")[2]
        return self._put(_name(file, fragment), (file, fragment), schema)

    def _choice(self, reference: str) -> str:
        """Bring the schema of each kind, and the choice of one of them."""
        stem = reference.removesuffix(".json")
        frame = load(stem)
        mapping = {}
        for kind in sorted(KINDS):
            members: dict[str, Any] = {
                **frame["properties"],
                "kind": {**load(f"kinds/{kind}")["properties"]["kind"], "type": "string"},
                "body": {"$ref": f"kinds/{kind}.json#/$defs/body"},
                "translations": _translations(kind),
            }
            schema = {**frame, "description": load(f"kinds/{kind}")["title"], "properties": members}
            mapping[kind] = self._put(f"{stem}.{kind}", (stem, kind), schema)
        choice = {
            "title": frame["title"],
            "description": "One schema for each kind.",
            "oneOf": [{"$ref": target} for target in mapping.values()],
            "discriminator": {"propertyName": "kind", "mapping": mapping},
        }
        self.found[stem] = choice
        return _HERE + stem

    def _put(self, name: str, place: tuple[str, str], schema: Mapping[str, Any]) -> str:
        if self._places.setdefault(name, place) != place:
            raise ValueError(f"two schemas would be called {name}")
        if name not in self.found:
            self.found[name] = {}  # it may lead back to itself
            self.found[name] = self._rewritten(
                {key: value for key, value in schema.items() if key not in _OF_FILES}, place[0]
            )
        return _HERE + name

    def _rewritten(self, value: Any, base: str) -> Any:  # noqa: ANN401 - any part of a schema
        if isinstance(value, dict):
            if value.get("const") is True:  # generators trip over a constant that is no text
                rest = {key: one for key, one in value.items() if key != "const"}
                return {**rest, "type": "boolean", "not": {"const": False}}
            return {
                key: self.bring(one, base) if key == "$ref" else self._rewritten(one, base)
                for key, one in value.items()
            }
        return [self._rewritten(one, base) for one in value] if isinstance(value, list) else value


def _translations(kind: str) -> dict[str, Any]:
    """Return the member that holds the translations of a body of *kind*."""
    frame = load("message")
    form = frame["$defs"]["translation"]
    members = {**form["properties"], "body": {"$ref": f"kinds/{kind}.json#/$defs/body"}}
    return {**frame["properties"]["translations"], "items": {**form, "properties": members}}


def _name(file: str, fragment: str) -> str:
    """Return what to call a part of a file: `uuid`, `request.mla.body`, `profile.form.contact`."""
    folder, _, stem = file.rpartition("/")
    parts = [_PARTS.get(part, part) for part in fragment.split("/")[1:]]
    if stem == "defs":
        return ".".join(parts[1:])
    return ".".join((stem, *(parts[1:] if folder else parts)))
