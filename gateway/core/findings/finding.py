"""A finding: what is legally wrong, where in a message, and how grave that is.

A `Defect` is what can be wrong at all, once for all messages; `at` says where it is. Its English
sentence names it, in rows and in the catalogues of the other languages (`schemas.catalogues`).
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import schemas
from schemas.catalogues import worded

Severity = Literal["error", "warning"]
"""An error is refused where it is sent, unless overridden; a warning is shown."""
Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Finding:
    """One legal defect: the article, where in the message (JSON pointer), how grave, and what.

    `parameters` fill the places in `text` that are in braces. They are numbers, codes and ids, and
    never content of a case.
    """

    article: str
    path: str
    severity: Severity
    text: str
    parameters: tuple[tuple[str, str | int], ...] = ()

    def document(self) -> dict[str, object]:
        """Return it as it is stored, in no language: `parameters` only where there are any."""
        found: dict[str, object] = {
            "article": self.article,
            "path": self.path,
            "severity": self.severity,
            "text": self.text,
        }
        if self.parameters:
            found["parameters"] = dict(self.parameters)
        return found


@dataclass(frozen=True, slots=True)
class Defect:
    """What an article finds wrong: its sentence, with names in braces for parameters."""

    article: str
    severity: Severity
    text: str

    def at(self, *place: str | int, **parameters: str | int) -> Finding:
        """Return the finding of it at *place*, the names and indices from the top of the message."""
        where = schemas.pointer(place)
        return Finding(self.article, where, self.severity, self.text, tuple(parameters.items()))


def in_language(documents: Iterable[Mapping[str, Any]], language: str) -> list[dict[str, object]]:
    """Return findings, as `document` gives them, with their sentences in one of the six languages."""
    return [
        {
            "article": one["article"],
            "path": one["path"],
            "severity": one["severity"],
            "text": worded(one["text"], one.get("parameters", {}), language),
        }
        for one in documents
    ]


def to_json(found: Iterable[Finding]) -> str:
    """Return *found* as a JSON list, for the row of the message."""
    return json.dumps([finding.document() for finding in found], separators=(",", ":"))
