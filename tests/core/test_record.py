import json
from collections.abc import Iterator
from typing import Any

import pytest

import schemas
from gateway.core.case import History, add, step_of
from gateway.core.message import Message, parse_common, parse_payload
from gateway.core.record import COMMON, _marks, recorded
from tests.support.cases import payload_of, played

MOST_BYTES = 32 * 1024
"""What one message may add to its case at most: a request with 200 measures needs two thirds of it."""


FIXED = {"country": 4, "date": 12, "digest": 66, "item_id": 66, "language": 14, "time": 26, "uuid": 38}
"""Bytes of what defs.json bounds by a pattern."""


def of(payload: dict[str, Any]) -> dict[str, object]:
    return recorded(parse_payload(json.dumps(payload).encode()))


def service(**changes: Any) -> dict[str, Any]:
    return {**played(2)[0][1].message.payload, **changes}


def bare(kind: str, body: dict[str, Any], **more: Any) -> Message:
    """Return a message of *kind* that no schema was asked about."""
    draft = {"kind": kind, "to": "qp.justice", "language": "fr", "urgency": "normal", "body": body, **more}
    return parse_common(json.dumps(payload_of(draft, sender="qo.justice")).encode())


def test_a_request_keeps_ids_and_types_of_its_measures_and_its_deadline():
    body = played(2)[0][1].message.body
    deadline = {"date": "2026-12-24", "reason": "A hearing."}
    assert of(service(body=body | {"deadline": deadline})) == {
        "language": "fr",
        "urgency": "normal",
        "measures": [{"id": "m1", "type": "service_3b"}],
        "deadline/date": "2026-12-24",
    }


def test_what_is_absent_is_not_kept():
    assert recorded(bare("request.mla", {})) == {"language": "fr", "urgency": "normal"}


def test_common_members_are_kept_of_every_kind():
    reply = "00000000-0000-4000-8000-0000000000aa"
    expected = {"language": "fr", "urgency": "emergency", "in_reply_to": reply}
    for kind in (*schemas.KINDS, "no.such"):
        found = recorded(bare(kind, {}, urgency="emergency", in_reply_to=reply, own_ref="secret"))
        assert found == expected


@pytest.mark.parametrize(
    ("kind", "body", "kept"),
    [
        ("acknowledgment", {"next_update_by": "2027-01-15"}, {"next_update_by": "2027-01-15"}),
        (
            "status.report",
            {"next_update_by": "2027-01-15", "narrative": "…"},
            {"next_update_by": "2027-01-15"},
        ),
        (
            "execution.result",
            {"final": False, "use_limits": "Only …"},
            {"final": False, "use_limits": True},
        ),
        ("decision.refuse", {"appeal": {"available": False}}, {"appeal/available": False}),
        ("consultation.mandatory", {"about": "refusal_18_21"}, {"about": "refusal_18_21"}),
        ("notice.custody", {"event": "arrested", "at": "…"}, {"event": "arrested", "at": "…"}),
        ("notice.adverse_decision", {"appeal_available": False}, {"appeal_available": False}),
        ("use.consent_reply", {"granted": True, "scope": "…"}, {"granted": True}),
        ("draft.submit", {"draft": {"measures": [{"id": "m1"}]}}, {}),
        (
            "decision.refuse",
            {"appeal": {"available": True, "deadline": "2027-02-01"}, "reasons": "…"},
            {"appeal/available": True, "appeal/deadline": "2027-02-01"},
        ),
    ],
)
def test_what_kinds_keep(kind, body, kept):
    found = recorded(bare(kind, body))
    assert {name: value for name, value in found.items() if name not in COMMON} == kept


def test_marks_are_found_through_references_and_branches(monkeypatch):
    body = {
        "allOf": [{"$ref": "#/$defs/base"}, {"properties": {"more": {"x-recorded": True}}}],
        "oneOf": [
            {"properties": {"way": {"properties": {"until": {"x-recorded": True}}}}},
            {"properties": {"way": {"type": "string"}}},
        ],
        "then": {"properties": {"if": {"x-recorded": ["id"]}}},
        "else": {"properties": {"no": {"x-recorded": False}}},
        "anyOf": [{"properties": {"no": {"$ref": "#/$defs/base"}}}],
    }
    base = {"properties": {"inner": {"$ref": "#/$defs/inner"}}}
    inner = {"properties": {"a": {"properties": {"b": {"x-recorded": True}}}, "c": {}}}
    document = {"properties": {"body": body}, "$defs": {"base": base, "inner": inner}}
    monkeypatch.setattr(schemas, "KINDS", frozenset({"made.up"}))
    monkeypatch.setattr(schemas, "load", lambda _: document)
    _marks.cache_clear()
    try:
        value = {
            "inner": {"a": {"b": 1}, "c": 2},
            "more": [3],
            "way": "by sea",
            "no": {"inner": {"a": {"b": 6}}},
            "if": [{"id": 4}, {"x": 5}],
        }
        found = recorded(bare("made.up", value))
        assert found.items() >= {"inner/a/b": 1, "more": [3], "if": [{"id": 4}, {}]}.items()
        assert set(found) == {"inner/a/b", "more", "if", "language", "urgency"}
        assert recorded(bare("made.up", {"way": {"until": "x"}}))["way/until"] == "x"
    finally:
        _marks.cache_clear()


@pytest.mark.parametrize("number", schemas.samples())
def test_a_step_has_it_and_it_survives_the_disk(number):
    history = History()
    for _, signed in played(number):
        step = step_of(signed)
        assert step.recorded == recorded(signed.message)
        history = add(history, step)
    assert [step.recorded for step in History.decode(history.encode()).steps] == [
        recorded(signed.message) for _, signed in played(number)
    ]


# -- the marks of the schemas


def marked(schema: dict[str, Any], file: str, path: str = "") -> Iterator[tuple[str, dict[str, Any], str]]:
    """Yield every member that is marked anywhere below *schema*: its key, itself, its file."""
    if "$ref" in schema:
        yield from marked(*schemas.resolve(schema["$ref"], file), path)
    for word in ("allOf", "anyOf", "oneOf", "then", "else"):
        branches = schema.get(word, [])
        for branch in branches if isinstance(branches, list) else [branches]:
            yield from marked(branch, file, path)
    if "items" in schema:
        assert not list(marked(schema["items"], file)), "a list is marked, not what its items hold"
    for name, member in schema.get("properties", {}).items():
        if "x-recorded" in member:
            yield f"{path}{name}", member, file
        yield from marked(member, file, f"{path}{name}/")


def most_bytes(schema: dict[str, Any], file: str, names: list[str] | None = None) -> int:
    """Return how long a value of *schema* can be as JSON; only *names* count of items that are objects."""
    if "$ref" in schema:
        fixed = FIXED.get(schema["$ref"].rpartition("/")[2])
        return fixed or most_bytes(*schemas.resolve(schema["$ref"], file), names)
    if "enum" in schema or "const" in schema:
        return max(len(json.dumps(value)) for value in schema.get("enum", [schema.get("const")]))
    if names is not None and schema["type"] == "object":
        return 2 + sum(len(name) + 4 + most_bytes(schema["properties"][name], file) for name in names)
    if schema["type"] == "array":
        return 2 + schema["maxItems"] * (1 + most_bytes(schema["items"], file, names))
    if schema["type"] == "string":
        return 2 + 4 * schema["maxLength"]
    return {"boolean": 5, "integer": 17}[schema["type"]]


@pytest.mark.parametrize("kind", sorted(schemas.KINDS))
def test_what_a_kind_keeps_is_short(kind):
    file, total = f"kinds/{kind}", 200
    found = list(marked(schemas.load(file)["properties"]["body"], file))
    shut = tuple(f"{key}/" for key, member, _ in found if member["x-recorded"] is False)
    for key, member, where in found:
        mark = member["x-recorded"]
        if mark is False or key.startswith(shut):
            continue
        total += len(key) + 4
        if mark != "present":
            assert mark is True or (isinstance(mark, list) and mark), key
            total += most_bytes(member, where, None if mark is True else mark)
    assert total <= MOST_BYTES


@pytest.mark.parametrize("kind", sorted(schemas.KINDS))
def test_no_key_has_two_meanings(kind):
    keys = [key for key, _, _ in _marks(kind)]
    assert len(set(keys) | set(COMMON)) == len(keys) + len(COMMON)
