"""The message that a draft would become, judged without the node: form, and what articles demand.

What only the node can say (ids, times, links, where the case stands, what the peer's profile asks
for) has a stand-in here, so that no judgment depends on it.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import schemas
from gateway.core.errors import Malformed
from gateway.core.findings import Finding, findings
from gateway.core.message import MAX_LIFETIME_MS, MessageFault, parse_payload
from gateway.core.names import check_name
from gateway.core.strict import time_text

FORM = "form"
"""Stands for the article where it is not an article that is broken, but the schema."""

_LIMIT = 1000  # more than anybody would read
_NOBODY = "xx.sender"
_ID = "00000000-0000-4000-8000-000000000000"
_DIGEST = "0" * 64
_BLOB = {"sha256": _DIGEST, "size": 0}
_DRAFT_ONLY = frozenset({"override"})
_OF_THE_KIND = ("/body", "/translations", "/attachments")  # the schema of drafts judges the rest


def judge(
    draft: Mapping[str, object],
    *,
    sender: str | None,
    now_ms: int,
    attached: Sequence[Mapping[str, object]] = (),
) -> tuple[Finding, ...]:
    """Return what is wrong with *draft*: first its form, and if that is right, the findings.

    *attached* are members of the files that go with it, with `size` and `sha256`; uploads that the
    draft names itself are unknown here and count as empty files. A *sender* of None is nobody in
    particular.
    """
    found = _form("draft", draft)
    kind = draft.get("kind")
    if not isinstance(kind, str) or kind not in schemas.KINDS:
        return _once([*found, Finding(FORM, "/kind", "error", "There is no such kind.")])
    payload = _payload(draft, sender or _NOBODY, now_ms, attached)
    found += [each for each in _form(f"kinds/{kind}", payload) if each.path.startswith(_OF_THE_KIND)]
    found += _names(payload["attachments"])
    if found:
        return _once(found)
    try:
        return findings(parse_payload(json.dumps(payload, ensure_ascii=False).encode()))
    except MessageFault as fault:
        return tuple(Finding(FORM, flaw.pointer, "error", flaw.detail) for flaw in fault.flaws)
    except (Malformed, ValueError) as fault:
        return (Finding(FORM, "", "error", str(fault)),)


def _form(schema: str, value: object) -> list[Finding]:
    found = schemas.errors(schema, value, limit=_LIMIT)
    return [Finding(FORM, error.pointer, "error", error.detail) for error in found]


def _names(attachments: Sequence[object]) -> list[Finding]:
    """Return what is wrong with the names of *attachments* that the schema has nothing against."""
    found = []
    for position, one in enumerate(attachments):
        name = one.get("name") if isinstance(one, dict) else None
        if isinstance(name, str):
            try:
                check_name(name)
            except Malformed as fault:
                found.append(Finding(FORM, f"/attachments/{position}/name", "error", str(fault)))
    return found


def _payload(
    draft: Mapping[str, object], sender: str, now_ms: int, attached: Sequence[Mapping[str, object]]
) -> dict[str, Any]:
    named = draft.get("attachments", [])
    before = [_attachment(one) for one in named] if isinstance(named, list) else []
    return {
        "urgency": "normal",
        "handling": "normal",
        "translations": [],
        "case": _ID,
        "expires": time_text(now_ms + MAX_LIFETIME_MS),
        **{name: value for name, value in draft.items() if name not in _DRAFT_ONLY},
        "v": 1,
        "id": _ID,
        "from": sender,
        "created": time_text(now_ms),
        "previous": None,
        "case_head": None,
        "attachments": [*before, *({**one, "blob": _BLOB} for one in attached)],
    }


def _attachment(member: object) -> object:
    """Return an attachment of a draft as the message has it, but for what only the node knows."""
    if not isinstance(member, dict):
        return member
    known = {name: value for name, value in member.items() if name != "upload"}
    return {**known, "size": 0, "sha256": _DIGEST, "blob": _BLOB}


def _once(found: Sequence[Finding]) -> tuple[Finding, ...]:
    return tuple(dict.fromkeys(found))
