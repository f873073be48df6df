"""Findings: legal defects of a message, each with its article; shown, and never a refusal on arrival.

What an article demands of a member stands beside it in the schema of the kind, as annotations:

- `x-demanded`: a list of {article, severity, text, unless?, unless_message?, at_least?}. The
  member is demanded of the object that would hold it, unless that object, or the whole
  message, satisfies the condition; `at_least` is in characters. Blank and empty count as missing.
- `x-distinct`: {member, article, text}: the items of the list differ in that member.
- `x-attachment`: {article, text}: the value is the name of an attachment of the message.

This module evaluates them for every kind alike. What a schema cannot say is a rule below, with its
article.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import cache
from types import MappingProxyType
from typing import Any, Literal

import schemas
from gateway.core.message import Message

Severity = Literal["error", "warning"]
"""An error is refused where it is sent, unless overridden; a warning is shown."""
Path = tuple[str | int, ...]

_TEXT = "#/$defs/text"
_EVERY = "*"
"""In the path of a rule: every item of the list."""
_SERIOUS_CRIME_MONTHS = 48
_ENOUGH_LETTERS = 40
_SAMPLE = 240  # characters that tell the script of a text
_LETTERS = re.compile(r"[^\W\d_]+")
_SCRIPTS: Mapping[str, re.Pattern[str]] = MappingProxyType(
    {
        "Latn": re.compile(r"[A-Za-z\u00aa-\u024f\u1e00-\u1eff]+"),
        "Cyrl": re.compile(r"[\u0400-\u052f]+"),
        "Arab": re.compile(r"[\u0620-\u06ff\u0750-\u077f\ufb50-\ufdff\ufe70-\ufeff]+"),
        "Hans": re.compile(r"[\u3400-\u9fff]+"),
        "Hant": re.compile(r"[\u3400-\u9fff]+"),
    }
)
_USUAL_SCRIPT: Mapping[str, str] = MappingProxyType(
    {
        "ar": "Arab",
        "de": "Latn",
        "en": "Latn",
        "es": "Latn",
        "fr": "Latn",
        "it": "Latn",
        "pt": "Latn",
        "ru": "Cyrl",
        "zh": "Hans",
    }
)


@dataclass(frozen=True, slots=True)
class Finding:
    """One legal defect: the article, where in the message (JSON pointer), how bad, and what."""

    article: str
    path: str
    severity: Severity
    text: str


@dataclass(frozen=True, slots=True)
class _Demand:
    member: str
    article: str
    severity: Severity
    text: str
    at_least: int
    waived: Callable[[object], bool]
    waived_by_message: Callable[[object], bool]


@dataclass(frozen=True, slots=True)
class _Note:
    """An `x-distinct` or `x-attachment` annotation, of a list or of a value."""

    article: str
    text: str
    member: str | None = None


@dataclass(frozen=True, slots=True)
class _Rules:
    """The annotations of one kind, each by the path of what it is about.

    `prose` has, by the path of the object whose `language` it is, the paths of its texts.
    """

    demands: dict[Path, list[_Demand]] = field(default_factory=dict)
    distinct: dict[Path, _Note] = field(default_factory=dict)
    attachments: dict[Path, _Note] = field(default_factory=dict)
    prose: dict[Path, list[Path]] = field(default_factory=dict)


def findings(message: Message) -> tuple[Finding, ...]:
    """Return what is legally wrong with *message*, which satisfies the schema of its kind."""
    found = [
        *_demanded(message),
        *_noted(message),
        *_translations(message),
        *_scripts(message),
        *_ARTICLE_RULES.get(message.kind, _no_rule)(message),
    ]
    return tuple(sorted(found, key=lambda finding: (finding.severity, finding.article, finding.path)))


def to_json(found: tuple[Finding, ...]) -> str:
    """Return *found* as a JSON list, for the row of the message and for the hook."""
    return json.dumps([asdict(finding) for finding in found], separators=(",", ":"))


# -- annotations


def _demanded(message: Message) -> Iterator[Finding]:
    for path, demands in _rules(message.kind).demands.items():
        for place, holder in _places(message.payload, path):
            for demand in demands:
                if (
                    _missing(holder.get(demand.member), demand.at_least)
                    and not demand.waived(holder)
                    and not demand.waived_by_message(message.payload)
                ):
                    where = schemas.pointer((*place, demand.member))
                    yield Finding(demand.article, where, demand.severity, demand.text)


def _noted(message: Message) -> Iterator[Finding]:
    rules = _rules(message.kind)
    for path, note in rules.distinct.items():
        for place, items in _places(message.payload, path):
            seen = set()
            for index, item in enumerate(items):
                value = item.get(note.member)
                if value in seen:
                    where = schemas.pointer((*place, index, str(note.member)))
                    yield Finding(note.article, where, "error", note.text)
                seen.add(value)
    names = {attachment.name for attachment in message.attachments}
    for path, note in rules.attachments.items():
        for place, value in _places(message.payload, path):
            if value not in names:
                yield Finding(note.article, schemas.pointer(place), "error", note.text)


def _missing(value: object, at_least: int) -> bool:
    if isinstance(value, str):
        return len(value.strip()) < at_least
    return value is None or value in ([], {})


def _places(value: Any, path: Path, place: Path = ()) -> Iterator[tuple[Path, Any]]:  # noqa: ANN401  # JSON
    """Yield every value at *path* below *value*, with the place where it stands."""
    if not path:
        yield place, value
    elif path[0] == _EVERY:
        for index, item in enumerate(value):
            yield from _places(item, path[1:], (*place, index))
    elif path[0] in value:
        yield from _places(value[path[0]], path[1:], (*place, path[0]))


@cache
def _rules(kind: str) -> _Rules:
    rules = _Rules()
    base = f"kinds/{kind}"
    if kind in schemas.KINDS:
        _collect(schemas.load(base)["properties"]["body"], base, ("body",), rules)
    return rules


def _collect(schema: Mapping[str, Any], base: str, path: Path, rules: _Rules, owner: Path = ()) -> None:
    """Add to *rules* what *schema*, in the file *base*, says of the value at *path*, and below it.

    *owner* is the path of the object whose `language` the value is in.
    """
    if "$ref" in schema:
        target, file = schemas.resolve(schema["$ref"], base)
        _collect(target, file, path, rules, owner)
        if schema["$ref"].endswith(_TEXT):
            rules.prose.setdefault(owner, []).append(path[len(owner) :])
    properties = schema.get("properties", {})
    inner = path if "language" in properties else owner
    for name, member in properties.items():
        for note in member.get("x-demanded", ()):
            rules.demands.setdefault(path, []).append(_demand(name, note, base))
        _collect(member, base, (*path, name), rules, inner)
    if (note := schema.get("x-distinct")) is not None:
        rules.distinct[path] = _Note(note["article"], note["text"], note["member"])
    if (note := schema.get("x-attachment")) is not None:
        rules.attachments[path] = _Note(note["article"], note["text"])
    if "items" in schema:
        _collect(schema["items"], base, (*path, _EVERY), rules, owner)


def _demand(member: str, note: Mapping[str, Any], base: str) -> _Demand:
    return _Demand(
        member=member,
        article=note["article"],
        severity=note["severity"],
        text=note["text"],
        at_least=note.get("at_least", 1),
        waived=_condition(note.get("unless"), base),
        waived_by_message=_condition(note.get("unless_message"), base),
    )


def _condition(schema: Mapping[str, Any] | None, base: str) -> Callable[[object], bool]:
    return _never if schema is None else schemas.condition(schema, base).is_valid


def _never(_: object) -> bool:
    return False


# -- rules for every kind


def _translations(message: Message) -> Iterator[Finding]:
    """Article 18(14): authenticity has to be established; a bare translation is weak there."""
    for index, translation in enumerate(message.payload["translations"]):
        if not translation["certified"]:
            where = f"/translations/{index}/certified"
            yield Finding("18(14)", where, "warning", "The translation is not certified.")


def _scripts(message: Message) -> Iterator[Finding]:
    """Article 18(14): a language acceptable to the recipient, so that the tag has to be right."""
    for owner, paths in _rules(message.kind).prose.items():
        for place, holder in _places(message.payload, owner):
            tag, *subtags = holder.get("language", "und").split("-")
            expected = next((subtag for subtag in subtags if subtag in _SCRIPTS), _USUAL_SCRIPT.get(tag))
            prose = " ".join(text for path in paths for _, text in _places(holder, path))[:_SAMPLE]
            letters = _count(_LETTERS, prose)
            if expected is None or letters < _ENOUGH_LETTERS:
                continue
            if 2 * _count(_SCRIPTS[expected], prose) < letters:
                where = schemas.pointer((*place, "language"))
                yield Finding(
                    "18(14)", where, "warning", "The text is not in the script of its language tag."
                )


def _count(runs: re.Pattern[str], text: str) -> int:
    return len("".join(runs.findall(text)))


# -- rules of single articles, which a schema cannot say


def _no_rule(_: Message) -> Iterator[Finding]:
    yield from ()


def _request(message: Message) -> Iterator[Finding]:
    """Article 18(24): a deadline lies ahead. Article 2(b): a serious crime has at least four years."""
    body = message.body
    if "deadline" in body and body["deadline"]["date"] < _day(message):
        yield Finding("18(24)", "/body/deadline/date", "error", "The deadline has passed.")
    for index, offence in enumerate(body.get("offences", ())):
        penalty = offence.get("max_penalty", {})
        months = penalty.get("months", _SERIOUS_CRIME_MONTHS)
        serious = months >= _SERIOUS_CRIME_MONTHS or penalty.get("life", False)
        if offence.get("untoc_hook") == "serious_crime_2b" and not serious:
            where = f"/body/offences/{index}/max_penalty/months"
            yield Finding("2(b)", where, "warning", "The maximum penalty is under four years.")


def _refusal(message: Message) -> Iterator[Finding]:
    """Articles 18(8) and 18(22): what is never a ground, and what is none by itself."""
    codes = [ground["code"] for ground in message.body.get("grounds", ())]
    for index, code in enumerate(codes):
        if code == "18_8_bank_secrecy":
            where = f"/body/grounds/{index}/code"
            yield Finding("18(8)", where, "error", "Bank secrecy is no ground of refusal.")
    if codes and set(codes) == {"18_22_fiscal"}:
        text = "That fiscal matters are involved is by itself no ground of refusal."
        yield Finding("18(22)", "/body/grounds", "error", text)


def _report(message: Message) -> Iterator[Finding]:
    """Article 18(24): a day that was expected and has passed is explained."""
    expected = [measure.get("expected_by") for measure in message.body.get("per_measure", ())]
    late = any(day is not None and day < _day(message) for day in expected)
    if late and _missing(message.body.get("delay_reason"), 1):
        yield Finding("18(24)", "/body/delay_reason", "error", "The delay is not explained.")


def _result(message: Message) -> Iterator[Finding]:
    """Article 18(14): evidence is what the message carries, or its authenticity cannot be established."""
    carried = {(attachment.sha256, attachment.size) for attachment in message.attachments}
    for index, piece in enumerate(message.body.get("evidence", ())):
        if (piece["attachment_sha256"], piece["size"]) not in carried:
            where = f"/body/evidence/{index}/attachment_sha256"
            yield Finding("18(14)", where, "error", "No attachment has this digest and size.")


def _day(message: Message) -> str:
    created: str = message.payload["created"]
    return created[:10]


_ARTICLE_RULES: Mapping[str, Callable[[Message], Iterator[Finding]]] = MappingProxyType(
    {
        "request.mla": _request,
        "decision.refuse": _refusal,
        "status.report": _report,
        "execution.result": _result,
    }
)
