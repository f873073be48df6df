"""Fills the gaps of a template in, as a person would, until it can be sent."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from gateway.core.findings import Finding
from gateway.core.preview import judge
from gateway.core.template import GAP, blank, members
from schemas.outline import Member, Need
from tests.support.authorities import NOW_MS

FILE = {"name": "file.pdf", "media_type": "application/pdf", "role": "other", "language": "en"}
ATTACHED = {**FILE, "size": 0, "sha256": "0" * 64}
PROSE = "These words stand for what a person would write about the matter, at some length."
VALUES: dict[str, object] = {
    "authority id": "qp.justice",
    "id": "3f2504e0-4f89-41d3-9a0c-0305e82c3301",
    "digest": "0" * 64,
    "time": "2027-01-04T10:00:00.000Z",
    "date": "2027-01-04",
    "size": 0,
    "country": "QO",
    "language": "en",
    "media type": "application/pdf",
    "line": "Some words",
    "text": PROSE,
    "item id": "i1",
    "file name": "file.pdf",
    "true or false": True,
    "any value": "Some words",
    "amount": "1250.00",
    "currency": "EUR",
    "JSON pointer": "/body/purpose",
    "e-mail address": "desk@example.org",
}
_ROUNDS = 40


def filled(kind: str) -> dict[str, Any]:
    """Return a draft of *kind* that can be sent: its gaps filled in, and added what is asked for then."""
    known = members(kind)
    draft = fill(blank(known), known)
    for _ in range(_ROUNDS):
        errors = [one for one in judged(draft) if one.severity == "error"]
        if not errors:
            return draft
        for error in errors:
            mend(draft, known, error)
    raise AssertionError((kind, errors, draft["body"]))


def judged(draft: dict[str, Any]) -> tuple[Finding, ...]:
    return judge(draft, sender="qo.justice", now_ms=NOW_MS, attached=[ATTACHED])


def fill(holder: dict[str, Any], known: Sequence[Member]) -> dict[str, Any]:
    """Fill every gap in *holder* in."""
    for member in known:
        if member.name in holder:
            holder[member.name] = _filled(holder[member.name], member)
    return holder


def _filled(value: Any, member: Member) -> Any:
    if isinstance(value, list):
        return [_filled(item, member) for item in value]
    if isinstance(value, dict):
        return fill(value, member.members)
    if value != GAP:
        return value
    if member.codes:
        return member.codes[0]
    return VALUES[member.form] if member.form in VALUES else _number(member)


def _number(member: Member) -> int:
    words = member.form.split()
    assert words[:2] == ["whole", "number"], member
    return int(words[words.index("to") + 1]) if "to" in words else int(words[words.index("from") + 1])


def mend(draft: dict[str, Any], known: Sequence[Member], error: Finding) -> None:
    """Add to *draft* what *error* asks for, or choose another code where one does not fit."""
    value: Any = draft
    holder, member = value, None
    for part in error.path.split("/")[1:]:
        if isinstance(value, list):
            value = value[int(part)]
            continue
        member = next(one for one in known if one.name == part)
        holder, value, known = value, value.get(part), member.members
    assert member is not None, error
    if value is None:
        holder[member.name] = _new(member)
    elif isinstance(value, dict):
        missing = [one for one in known if one.name not in value and _conditional(one)]
        assert missing, error
        value.update({one.name: _new(one) for one in missing})
    else:
        codes = list(member.codes)
        holder[member.name] = codes[codes.index(value) + 1]


def _new(member: Member) -> Any:
    needed = replace(member, needs=(Need("required"),))
    return fill(blank([needed]), [needed])[member.name]


def _conditional(member: Member) -> bool:
    return any(need.level == "required" and need.when.startswith("if ") for need in member.needs)
