from collections.abc import Iterator
from typing import Any

import pytest

import schemas
from tests.support.cases import played
from tests.support.changes import GONE, fits, of, present, told
from tests.support.conduct import ATTACHED, BODIES, payload

KINDS = sorted(BODIES)
ALTERNATIVES = {
    ("decision.partial", "consultation_omitted_reason"): "there was a consultation",
    ("decision.postpone", "consultation_omitted_reason"): "there was a consultation",
}
"""Members that a complete body leaves out, and why."""


def own_members(kind: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each member that the schema of *kind* itself names in its body, by its path."""

    def walk(schema: dict[str, Any], path: str) -> Iterator[tuple[str, dict[str, Any]]]:
        for name, member in schema.get("properties", {}).items():
            yield f"{path}{name}", member
            yield from walk(member, f"{path}{name}/")
        if "items" in schema:
            yield from walk(schema["items"], f"{path}0/")

    yield from walk(schemas.load(f"kinds/{kind}")["$defs"]["body"], "")


# -- complete bodies


def test_the_builders_are_of_known_kinds():
    assert BODIES.keys() <= schemas.KINDS
    assert ATTACHED.keys() <= BODIES.keys()


@pytest.mark.parametrize("kind", KINDS)
def test_a_complete_body_has_no_findings(kind):
    assert told(payload(kind)) == set()


@pytest.mark.parametrize("kind", KINDS)
def test_a_complete_body_has_every_member(kind):
    absent = {path for path, _ in own_members(kind)} - set(present(BODIES[kind]()))
    assert absent == {path for of_kind, path in ALTERNATIVES if of_kind == kind}


@pytest.mark.parametrize(
    "kind",
    ["notice.custody", "confidentiality.position", "costs.reply", "conditions.offer"],
)
def test_what_may_decide_a_move_is_a_word(kind):
    body = BODIES[kind]()
    (name,) = body.keys() & {"event", "decision", "scope"}
    assert isinstance(body[name], str)
    assert not fits(kind, {name: GONE})
    assert not fits(kind, {name: "something else"})


# -- what an article demands

DEMANDED = [
    ("consultation.mandatory", "grounds", "18(26)"),
    ("consultation.mandatory", "grounds/0/text", "18(26)"),
    ("conditions.offer", "conditions/0/text", "18(26)"),
    ("decision.partial", "refused/0/ground", "18(21)"),
    ("decision.partial", "refused/0/reasons", "18(23)"),
    ("decision.postpone", "ground", "18(25)"),
    ("decision.postpone", "reason", "18(25)"),
    ("notice.consent_to_surrender", "record", "COP 9/3 III(a)"),
    ("custody_transfer.agree", "person_consent", "18(10)(a)"),
    ("custody_transfer.agree", "person_consent/informed", "18(10)(a)"),
    ("custody_transfer.agree", "person_consent/attachment", "18(10)(a)"),
    ("custody_transfer.agree", "agreement", "18(10)(b)"),
    ("custody_transfer.agree", "return_by", "18(11)(b)"),
    ("custody_transfer.agree", "credit_for_time", "18(11)(d)"),
    ("custody_transfer.return", "days_in_custody", "18(11)(d)"),
    ("safe_conduct", "person", "18(27)"),
    ("safe_conduct", "proceeding", "18(27)"),
    ("use.consent_request", "new_purpose", "18(19)"),
    ("use.consent_request", "new_proceeding", "18(19)"),
    ("confidentiality.cannot_comply", "why", "18(20)"),
    ("confidentiality.cannot_comply", "disclosure_expected", "18(20)"),
    ("costs.notice", "estimate", "18(28)"),
    ("costs.notice", "basis", "18(28)"),
    ("asset.disposal", "amount", "14(1)"),
    ("asset.disposal", "currency", "14(1)"),
]
"""Demanded whatever else the body says."""

CONDITIONAL: list[tuple[str, str, str, dict[str, Any], dict[str, Any]]] = [
    (
        "decision.partial",
        "consultation_ref",
        "18(26)",
        {"refused/0/ground": "18_21_d"},
        {"refused/0/ground": "18_9_dual_criminality"},
    ),
    (
        "decision.partial",
        "consultation_ref",
        "18(26)",
        {},
        {"consultation_omitted_reason": "The measure was asked for by mistake, as you told us."},
    ),
    (
        "decision.postpone",
        "consultation_ref",
        "18(26)",
        {"ground": "own_proceedings"},
        {"ground": "extradition_humanitarian_iii_g"},
    ),
    (
        "decision.postpone",
        "consultation_ref",
        "18(26)",
        {},
        {"consultation_omitted_reason": "The search was to begin within the hour."},
    ),
    (
        "notice.adverse_decision",
        "appeal_deadline",
        "COP 9/3 II(c)",
        {"appeal_available": True},
        {"appeal_available": False},
    ),
    (
        "surrender.postpone",
        "explanation",
        "COP 9/3 III(g)",
        {"humanitarian_reason": "other"},
        {"humanitarian_reason": "pregnancy"},
    ),
    (
        "safe_conduct",
        "period_agreed_ref",
        "18(27)",
        {"ceases_after_days": 14},
        {"ceases_after_days": 15},
    ),
    ("safe_conduct", "period_agreed_ref", "18(27)", {}, {"ceases_after_days": GONE}),
    ("use.consent_reply", "reasons", "18(19)", {"granted": False}, {"granted": True}),
    ("use.exculpatory_notice", "evidence_ids", "18(19)", {"info_ref": GONE}, {}),
    (
        "use.exculpatory_notice",
        "why_no_advance",
        "18(19)",
        {"timing": "without_delay"},
        {"timing": "prior"},
    ),
    ("costs.reply", "terms", "18(28)", {"decision": "share"}, {"decision": "agree"}),
    ("costs.reply", "terms", "18(28)", {"decision": "propose"}, {"decision": "decline"}),
    ("proceedings.outcome", "decision", "ETS 73 16(2)", {"outcome": "acquitted"}, {"outcome": "opened"}),
]
"""What is missing, its article, the members with which it is demanded, and those with which it is not."""


@pytest.mark.parametrize(("kind", "path", "article"), DEMANDED)
def test_what_is_missing_is_an_error(kind, path, article):
    expected = {("error", article, f"/body/{path}")}
    assert of(kind, {path: GONE}) == expected


@pytest.mark.parametrize(
    ("kind", "path", "article"), [row for row in DEMANDED if fits(row[0], {row[1]: " "})]
)
def test_what_is_blank_is_missing(kind, path, article):
    assert ("error", article, f"/body/{path}") in of(kind, {path: " "})


@pytest.mark.parametrize(("kind", "path", "article", "needed", "waived"), CONDITIONAL)
def test_what_is_missing_under_a_condition_is_an_error(kind, path, article, needed, waived):
    assert of(kind, needed) == set()
    assert of(kind, waived) == set()
    assert of(kind, {path: GONE} | needed) == {("error", article, f"/body/{path}")}
    assert of(kind, {path: GONE} | waived) == set()


@pytest.mark.parametrize("kind", ["decision.partial", "decision.postpone"])
def test_a_reason_for_not_consulting_says_something(kind):
    empty = {"consultation_ref": GONE, "consultation_omitted_reason": " "}
    expected = {("error", "18(26)", "/body/consultation_omitted_reason")}
    assert of(kind, empty) == expected


def test_the_tables_have_every_demand():
    written = {
        (kind, path, note["article"])
        for kind in KINDS
        for path, member in own_members(kind)
        for note in member.get("x-demanded", ())
        if path != "consultation_omitted_reason"
    }
    assert written == {*DEMANDED, *((kind, path, article) for kind, path, article, _, _ in CONDITIONAL)}


def test_the_reasons_of_a_partial_refusal_have_forty_letters():
    place = "refused/0/reasons"
    assert of("decision.partial", {place: "x" * 39}) == {("error", "18(23)", f"/body/{place}")}
    assert of("decision.partial", {place: "x" * 40}) == set()


# -- items that differ, attachments


@pytest.mark.parametrize(
    ("kind", "items", "member", "article"),
    [
        ("conditions.offer", "conditions", "id", "18(26)"),
        ("conditions.reply", "decisions", "condition_id", "18(26)"),
        ("assurance.request", "topics", "id", "COP 9/3 III(f)"),
        ("decision.partial", "refused", "measure_id", "18(21)"),
        ("notice.defence_arguments", "arguments", "id", "COP 9/3 II(c)"),
        ("execution.receipt_of_evidence", "evidence_ids", "id", "practice"),
    ],
)
def test_items_differ(kind, items, member, article):
    first = BODIES[kind]()[items][0]
    assert of(kind, {items: [first, first]}) == {("error", article, f"/body/{items}/1/{member}")}
    assert of(kind, {items: [first, first | {member: "else"}]}) == set()


@pytest.mark.parametrize(
    ("kind", "path"),
    [
        ("notice.adverse_decision", "decision/attachment"),
        ("notice.consent_to_surrender", "record"),
        ("surrender.postpone", "evidence/0"),
        ("custody_transfer.agree", "person_consent/attachment"),
        ("proceedings.outcome", "decision/attachment"),
    ],
)
def test_what_a_body_names_is_attached(kind, path):
    assert told(payload(kind) | {"attachments": []}) == {("error", "18(14)", f"/body/{path}")}
    assert of(kind, {path: "else.pdf"}) == {("error", "18(14)", f"/body/{path}")}


# -- the form


@pytest.mark.parametrize(
    ("kind", "changes", "valid"),
    [
        ("supplement", {"changes/0/path": "/body"}, True),
        ("supplement", {"changes/0/path": "/bodyguard"}, False),
        ("supplement", {"changes/0/path": "/case"}, False),
        ("supplement", {"changes/0/value": GONE}, False),
        ("supplement", {"changes/1/value": GONE}, False),
        ("supplement", {"changes/2/value": None}, False),
        ("supplement", {"changes/0/value": None}, True),
        ("supplement", {"changes": []}, False),
        ("conditions.offer", {"measure_ids": GONE}, False),
        ("conditions.offer", {"scope": "whole"}, False),
        ("conditions.offer", {"scope": "whole", "measure_ids": GONE}, True),
        ("decision.partial", {"granted": []}, False),
        ("decision.partial", {"refused": []}, False),
        ("decision.partial", {"granted": ["m1", "m1"]}, False),
        ("notice.adverse_decision", {"decision/text": GONE}, True),
        ("notice.adverse_decision", {"decision/attachment": GONE}, True),
        ("notice.adverse_decision", {"decision": {}}, False),
        ("notice.adverse_decision", {"appeal_available": GONE}, False),
        ("custody_transfer.agree", {"person_consent/informed": False}, False),
        ("custody_transfer.agree", {"credit_for_time": False}, False),
        ("custody_transfer.return", {"returned_at": GONE}, False),
        ("surrender.done", {"days_in_custody": -1}, False),
        ("safe_conduct", {"ceases_after_days": 0}, False),
        ("use.exculpatory_notice", {"consult_if_asked": False}, False),
        ("use.consent_request", {"evidence_ids": GONE}, False),
        ("costs.notice", {"estimate/amount": 48500}, False),
        ("costs.notice", {"estimate/amount": "48500.5.0"}, False),
        ("costs.notice", {"estimate/currency": "euro"}, False),
        ("asset.disposal", {"amount": "620000"}, True),
        ("asset.disposal", {"amount": "620,000"}, False),
        ("asset.disposal", {"currency": "€"}, False),
        ("reopen", {"of_state": "executed"}, False),
        ("correction", {"of_message_id": "7"}, False),
    ],
)
def test_form(kind, changes, valid):
    assert fits(kind, changes) is valid


# -- refusals, reports and results, which have had a sample case from the first

REFUSAL, REPORT, RESULT = (played(11)[step][1].message.payload for step in (9, 3, 8))


def test_a_reason_for_refusing_without_consultation_says_something():
    body = REFUSAL["body"] | {"consultation_omitted_reason": " "}
    assert told(REFUSAL | {"body": body}) == {("error", "18(26)", "/body/consultation_omitted_reason")}


def test_the_end_of_an_appeal_is_told():
    expected = {("warning", "practice", "/body/appeal/deadline")}
    assert told(REFUSAL | {"body": REFUSAL["body"] | {"appeal": {"available": True}}}) == expected
    assert told(REFUSAL | {"body": REFUSAL["body"] | {"appeal": {"available": False}}}) == set()


@pytest.mark.parametrize("message", [REPORT, RESULT], ids=["status.report", "execution.result"])
def test_a_measure_is_told_of_once(message):
    (name,) = message["body"].keys() & {"per_measure", "measures"}
    first = message["body"][name][0]
    twice = message["body"] | {name: [first, first]}
    assert told(message | {"body": twice}) == {("error", "18(24)", f"/body/{name}/1/measure_id")}


# -- code lists


def test_what_can_be_a_ground_can_be_consulted_on():
    members = {kind: dict(own_members(kind)) for kind in ("consultation.mandatory", "decision.postpone")}
    refusal = set(schemas.load("defs")["$defs"]["refusal_ground"]["enum"])
    never = {"18_8_bank_secrecy", "18_22_fiscal"}
    surrender = {"extradition_humanitarian_iii_g"}
    postponement = set(members["decision.postpone"]["ground"]["enum"])
    consulted = set(members["consultation.mandatory"]["grounds/0/code"]["enum"])
    assert consulted == (refusal - never) | (postponement - surrender)
