"""Persons: which of those in a request are in another pending case as well.

A person is recognised by name and date of birth. What is kept of them is a pseudonym of each
identity (`keys.rest`), so that the index tells nothing to who has the database alone.
"""

import re
import unicodedata
from collections.abc import Iterator, Mapping
from typing import Any

from gateway.core.findings.annotations import annotations, places
from gateway.core.findings.circumstances import Circumstances
from gateway.core.findings.finding import Defect, Finding, Path
from gateway.core.message import Message

ELSEWHERE = Defect("18(24)", "warning", "This person is in another pending case as well: {case}.")

_REQUEST = "request."
_ASCII_WORD = re.compile(r"[a-z0-9]+")


def identities(message: Message) -> Mapping[str, Path]:
    """Return by what the persons of a request are recognised, each with the place of the person.

    One person has an identity for each form of the name. Without a date of birth there is none: a
    name alone is shared by too many. Messages that are no requests have none either.
    """
    found: dict[str, Path] = {}
    if message.kind.startswith(_REQUEST):
        for path in annotations(message.kind).persons:
            for place, person in places(message.payload, path):
                for identity in _identities(person):
                    found.setdefault(identity, place)
    return found


def elsewhere(message: Message, circumstances: Circumstances) -> Iterator[Finding]:
    """Article 18(24): execution as soon as possible, for which pending matters are seen together."""
    told = set()
    if circumstances.elsewhere:
        for identity, place in identities(message).items():
            case = circumstances.elsewhere.get(identity)
            if case is not None and place not in told:
                told.add(place)
                yield ELSEWHERE.at(*place, case=case)


def _identities(person: Mapping[str, Any]) -> Iterator[str]:
    born, name = person.get("born"), person.get("name", {})
    if born is not None:
        for form in dict.fromkeys(_normal(text) for text in name.values()):
            if form:
                yield f"{born} {form}"


def _normal(name: str) -> str:
    """Return *name* without what its writers do differently: accents, case, punctuation, order.

    Compatibility forms are one with what they stand for; signs that are letters of their own, like
    the vowels of Devanagari, stay.
    """
    plain = unicodedata.normalize("NFKD", name.casefold())
    if plain.isascii():
        return " ".join(sorted(_ASCII_WORD.findall(plain)))
    plain = "".join(c for c in plain if not unicodedata.combining(c))
    words = "".join(c if c.isalnum() or unicodedata.category(c)[0] == "M" else " " for c in plain)
    return " ".join(sorted(words.split()))
