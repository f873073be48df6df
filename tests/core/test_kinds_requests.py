"""The kinds that open a case or first answer it: what their bodies hold, and what articles demand."""

from collections.abc import Iterator
from typing import Any

import pytest

import schemas
from tests.support.bodies import ATTACHED, BODIES, digest_of, payload
from tests.support.changes import GONE, changed, fits, of, present, told

KINDS = sorted(BODIES)
REQUESTS = sorted(kind for kind in schemas.KINDS if kind.startswith("request."))
COMPOSED = ["request.confiscation", "request.written_confirmation"]
ABSENT = {
    ("request.confiscation", "persons_absent_reason"): "there are persons",
    ("request.written_confirmation", "persons_absent_reason"): "there are persons",
    ("request.transfer_proceedings", "case_file/later"): "the file is attached",
}
"""Members that a complete body leaves out, and why."""


def own_members(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each member that *schema* itself names, by its path."""
    for name, member in schema.get("properties", {}).items():
        yield f"{path}{name}", member
        yield from own_members(member, f"{path}{name}/")
    if "items" in schema:
        yield from own_members(schema["items"], f"{path}0/")


def body_of(kind: str) -> dict[str, Any]:
    found: dict[str, Any] = schemas.load(f"kinds/{kind}")["$defs"]["body"]
    return found


# -- complete bodies


def test_the_builders_are_of_known_kinds():
    assert BODIES.keys() <= schemas.KINDS
    assert ATTACHED.keys() <= BODIES.keys()


@pytest.mark.parametrize("kind", KINDS)
def test_a_complete_body_has_no_findings(kind):
    assert told(payload(kind)) == set()


@pytest.mark.parametrize("kind", KINDS)
def test_a_complete_body_has_every_member(kind):
    members = {path for path, _ in own_members(body_of(kind))}
    if kind in COMPOSED:
        members |= schemas.load("kinds/request.mla")["$defs"]["assistance"]["properties"].keys()
    absent = members - set(present(BODIES[kind]()))
    assert absent == {path for of_kind, path in ABSENT if of_kind == kind}


# -- what an article demands

ERRORS: dict[str, dict[str, str]] = {
    "request.confiscation": {
        "13(1)": "mode",
        "13(3)": "facts_relied_on",
        "13(3)(a)": "property/0/description",
        "13(3)(b)": "order/certified_copy_attachment order/court order/date order/final",
    },
    "request.provisional_arrest": {
        "16(9)": "person warrant_or_judgment warrant_or_judgment/exists warrant_or_judgment/type"
        " warrant_or_judgment/authority warrant_or_judgment/date intent_to_request_extradition"
        " offences offences/0/title offences/0/when offences/0/where urgency_reason",
    },
    "request.extradition": {
        "16(1)": "purpose offences",
        "16(4)": "legal_basis",
        "16(7)": "person person/identity warrant_or_judgment warrant_or_judgment/type"
        " warrant_or_judgment/attachment offences/0/title offences/0/provision offences/0/max_penalty"
        " offences/0/when offences/0/where facts enactments",
    },
    "request.transfer_sentenced": {
        "17": "initiator person judgment judgment/attachment judgment/final law sentence sentence/imposed"
        " sentence/served sentence/remaining sentence/start consent consent/given consent/attachment"
        " dual_criminality legal_basis",
    },
    "request.jit": {"19": "subject facts composition period place basis"},
    "request.transfer_proceedings": {
        "21": "person facts offences offences/0/title offences/0/untoc_hook"
        " jurisdiction_assessment/interests_of_justice ground evidence_summary case_file limitation",
        "COP 9/3 I(c)": "jurisdiction_assessment jurisdiction_assessment/bases",
    },
    "request.oral_notice": {
        "18(14)": "made_at made_by received_by agreed_under summary confirm_by",
        "18(15)(d)": "measures",
    },
    "request.written_confirmation": {"18(14)": "oral_notice_ref"},
    "spontaneous.information": {"18(4)": "information origin may_assist"},
}
"""Without these a message is not sent, whatever else it says."""

WARNINGS: dict[str, dict[str, str]] = {
    "request.provisional_arrest": {"16(9)": "offences/0/max_penalty"},
    "request.extradition": {
        "16(1)": "offences/0/untoc_hook",
        "16(7)": "warrant_or_judgment/authority warrant_or_judgment/date offences/0/text",
        "16(10)": "person/identity/nationality",
    },
    "request.transfer_sentenced": {"17": "judgment/court judgment/date consent/date consent/by"},
    "request.transfer_proceedings": {
        "21": "offences/0/provision offences/0/text offences/0/max_penalty",
        "COP 9/3 I(c)": "jurisdiction_assessment/offenders jurisdiction_assessment/victims"
        " jurisdiction_assessment/costs jurisdiction_assessment/sovereignty",
    },
}
"""Without these something is told."""

DEMANDED = [
    (kind, path, severity, article)
    for severity, table in (("error", ERRORS), ("warning", WARNINGS))
    for kind, articles in table.items()
    for article, paths in articles.items()
    for path in paths.split()
]

CONDITIONAL: list[tuple[str, str, str, str, dict[str, Any], dict[str, Any]]] = [
    (
        "request.confiscation",
        "property",
        "error",
        "13(3)(a)",
        {"mode": "obtain_order_13_1a"},
        {"mode": "identify_trace_freeze_13_2"},
    ),
    (
        "request.confiscation",
        "order",
        "error",
        "13(3)(b)",
        {"mode": "enforce_order_13_1b"},
        {"mode": "obtain_order_13_1a"},
    ),
    (
        "request.confiscation",
        "execution_extent",
        "error",
        "13(3)(b)",
        {"mode": "enforce_order_13_1b"},
        {"mode": "identify_trace_freeze_13_2"},
    ),
    (
        "request.confiscation",
        "execution_extent/amount",
        "error",
        "13(3)(b)",
        {"execution_extent/extent": "part"},
        {"execution_extent/extent": "whole"},
    ),
    (
        "request.confiscation",
        "actions_requested",
        "error",
        "13(3)(c)",
        {"mode": "identify_trace_freeze_13_2"},
        {"mode": "enforce_order_13_1b"},
    ),
    (
        "request.extradition",
        "sentence_remaining",
        "error",
        "16(7)",
        {"purpose": "enforcement"},
        {"purpose": "prosecution"},
    ),
    *(
        (
            "request.extradition",
            f"absentia/{name}",
            "warning",
            "16(13)",
            {"absentia/tried": True},
            {"absentia/tried": False},
        )
        for name in ("notified", "retrial")
    ),
    *(
        (
            "request.transfer_proceedings",
            f"custody/{name}",
            "warning",
            "21",
            {"custody/held": True},
            {"custody/held": False},
        )
        for name in ("since", "place")
    ),
    (
        "acknowledgment",
        "first_completeness_view/paths",
        "warning",
        "18(15)",
        {"first_completeness_view/view": "incomplete"},
        {"first_completeness_view/view": "complete"},
    ),
    (
        "assignment",
        "competent_authority/contact",
        "warning",
        "18(13)",
        {"contact_via": "direct"},
        {"contact_via": "central_authority"},
    ),
    (
        "misdirected",
        "correct_authority_id",
        "warning",
        "18(13)",
        {"forwarded": True},
        {"forwarded": False},
    ),
]
"""What is missing, severity and article, members with which it is demanded, and with which it is not."""


@pytest.mark.parametrize(("kind", "path", "severity", "article"), DEMANDED)
def test_what_is_missing_is_told(kind, path, severity, article):
    found = of(kind, {path: GONE})
    assert (severity, article, f"/body/{path}") in found
    assert all(place.startswith(f"/body/{path}") for _, _, place in found)


@pytest.mark.parametrize(
    ("kind", "path", "severity", "article"), [row for row in DEMANDED if fits(row[0], {row[1]: " "})]
)
def test_what_is_blank_is_missing(kind, path, severity, article):
    assert (severity, article, f"/body/{path}") in of(kind, {path: " "})


@pytest.mark.parametrize(
    ("kind", "path", "severity", "article"), [row for row in DEMANDED if fits(row[0], {row[1]: []})]
)
def test_what_is_empty_is_missing(kind, path, severity, article):
    assert of(kind, {path: []}) == {(severity, article, f"/body/{path}")}


@pytest.mark.parametrize("row", CONDITIONAL, ids=lambda row: "-".join(row[:2]))
def test_what_is_missing_under_a_condition_is_told(row):
    kind, path, severity, article, needed, waived = row
    assert of(kind, needed) == set()
    assert of(kind, waived) == set()
    found = of(kind, {path: GONE} | needed)
    assert (severity, article, f"/body/{path}") in found
    assert all(place.startswith(f"/body/{path}") for _, _, place in found)
    assert of(kind, {path: GONE} | waived) == set()


def test_the_tables_have_every_demand():
    written = {
        (kind, path, note["severity"], note["article"])
        for kind in KINDS
        for path, member in own_members(body_of(kind))
        for note in member.get("x-demanded", ())
    }
    assert written == {*DEMANDED, *(row[:4] for row in CONDITIONAL)}


@pytest.mark.parametrize("kind", COMPOSED)
def test_a_composed_request_is_asked_for_what_every_request_holds(kind):
    lacking = {article for severity, article, _ in told(payload(kind, {})) if severity == "error"}
    assert {*(f"18(15)({item})" for item in "abcdef"), "18(1)", "3(1)", "18(7)"} <= lacking
    assert of(kind, {"facts": GONE}) == {("error", "18(15)(c)", "/body/facts")}
    assert of(kind, {"offences/0/untoc_hook": GONE}) == {("error", "3(1)", "/body/offences/0/untoc_hook")}
    coercive = {"dual_criminality": GONE, "measures/0/coercive": True}
    assert of(kind, coercive) == {("warning", "18(9)", "/body/dual_criminality")}
    service = {"facts": GONE, "measures/0/type": "service_3b", "measures/1/type": "service_3b"}
    assert of(kind, service) == set()


# -- drafts


@pytest.mark.parametrize("kind", [kind for kind in REQUESTS if kind in BODIES])
def test_any_request_can_be_a_draft(kind):
    whole = BODIES[kind]()
    for draft in (whole, dict(list(whole.items())[:2]), {}):
        submitted = {"draft_kind": kind, "draft": draft, "draft_sha256": digest_of(draft)}
        assert of("draft.submit", submitted) == set()
    wrong = {"draft_kind": kind, "draft": whole | {"unknown": "member"}}
    message = payload("draft.submit", changed("draft.submit", wrong))
    assert [error.pointer for error in schemas.errors("kinds/draft.submit", message)] == ["/body/draft"]


def test_the_kinds_of_a_draft_are_the_requests():
    body = body_of("draft.submit")
    assert sorted(body["properties"]["draft_kind"]["enum"]) == REQUESTS
    chosen = {
        branch["if"]["properties"]["draft_kind"]["const"]: branch["then"]["properties"]["draft"]["$ref"]
        for branch in body["allOf"]
    }
    assert chosen == {kind: f"{kind}.json#/$defs/body" for kind in REQUESTS}


# -- items that differ, attachments


@pytest.mark.parametrize(
    ("kind", "items", "article"),
    [
        ("request.confiscation", "measures", "18(15)(d)"),
        ("request.written_confirmation", "measures", "18(15)(d)"),
        ("request.oral_notice", "measures", "18(15)(d)"),
        ("request.extradition", "evidence", "16(8)"),
    ],
)
def test_items_differ(kind, items, article):
    first = BODIES[kind]()[items][0]
    assert of(kind, {items: [first, first]}) == {("error", article, f"/body/{items}/1/id")}
    assert of(kind, {items: [first, first | {"id": "else"}]}) == set()


@pytest.mark.parametrize(
    ("kind", "path"),
    [
        ("request.confiscation", "order/certified_copy_attachment"),
        ("request.provisional_arrest", "warrant_or_judgment/attachment"),
        ("request.extradition", "person/photo_attachment"),
        ("request.extradition", "warrant_or_judgment/attachment"),
        ("request.extradition", "enactments/0"),
        ("request.transfer_sentenced", "nationality_proof"),
        ("request.transfer_sentenced", "judgment/attachment"),
        ("request.transfer_sentenced", "law/attachment"),
        ("request.transfer_sentenced", "consent/attachment"),
        ("request.transfer_sentenced", "medical_social_reports/0"),
        ("request.transfer_proceedings", "case_file/attachment"),
    ],
)
def test_what_a_body_names_is_attached(kind, path):
    expected = ("error", "18(14)", f"/body/{path}")
    assert expected in of(kind, {path: "else.pdf"})
    assert expected in told(payload(kind) | {"attachments": []})


# -- the form


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "draft.submit"])
def test_a_body_is_closed(kind):
    assert not fits(kind, {"unknown": "member"})


@pytest.mark.parametrize("kind", [kind for kind in REQUESTS if kind in BODIES])
def test_a_request_without_anything_has_a_form(kind):
    assert schemas.validator(f"kinds/{kind}#/$defs/body").is_valid({})


@pytest.mark.parametrize(
    ("kind", "changes", "valid"),
    [
        ("consultation.open", {"non_binding": False}, False),
        ("consultation.open", {"non_binding": GONE}, False),
        ("consultation.open", {"questions": []}, False),
        ("consultation.open", {"topic": "something"}, False),
        ("consultation.open", {"cooperation_type": GONE, "reply_by": GONE}, True),
        ("consultation.reply", {"answers": []}, False),
        ("consultation.reply", {"likely_obstacles/0": {}}, False),
        ("consultation.reply", {"requirements_ref": ["seal", "seal"]}, False),
        ("draft.submit", {"draft_kind": "supplement"}, False),
        ("draft.submit", {"draft_kind": GONE}, False),
        ("draft.submit", {"draft": "A text"}, False),
        ("draft.submit", {"draft/measures/0/type": "other"}, False),
        ("draft.submit", {"draft_kind": "request.jit"}, False),
        ("draft.submit", {"draft_sha256": GONE}, False),
        ("draft.review", {"findings": []}, True),
        ("draft.review", {"findings/0/path": "measures"}, False),
        ("draft.review", {"findings/0/severity": "error"}, False),
        ("request.confiscation", {"measures/0/more": 1}, False),
        ("request.confiscation", {"property/0/value": {"amount": "1"}}, False),
        ("request.confiscation", {"property/0/value/amount": 1240000}, False),
        ("request.confiscation", {"property/0/value/amount": "1,240,000"}, False),
        ("request.confiscation", {"property/0/value/amount": "-1"}, False),
        ("request.confiscation", {"property/0/value/currency": "Eur"}, False),
        ("request.confiscation", {"execution_extent/extent": GONE}, False),
        ("request.provisional_arrest", {"warrant_or_judgment/exists": False}, False),
        ("request.provisional_arrest", {"intent_to_request_extradition": False}, False),
        ("request.extradition", {"sentence_remaining": {}}, False),
        ("request.extradition", {"sentence_remaining": {"life": True}}, True),
        ("request.extradition", {"absentia/tried": GONE}, False),
        ("request.transfer_sentenced", {"consent/given": False}, True),
        ("request.transfer_sentenced", {"law": {"text": "Section 278"}}, True),
        ("request.transfer_sentenced", {"law": {"attachment": "penal-code.pdf"}}, True),
        ("request.transfer_sentenced", {"law": {}}, False),
        ("request.jit", {"period/to": GONE}, False),
        ("request.jit", {"composition/0/name": GONE}, False),
        ("request.jit", {"leader": {"phone": "+999 1 000 0000"}}, False),
        ("request.transfer_proceedings", {"case_file": {"later": "2027-01-04"}}, True),
        ("request.transfer_proceedings", {"case_file/later": "2027-01-04"}, False),
        ("request.transfer_proceedings", {"case_file": {}}, False),
        ("request.transfer_proceedings", {"ground": "ets73_8_1_i"}, False),
        ("request.oral_notice", {"confirm_by": "2026-11-26"}, False),
        ("request.written_confirmation", {"oral_notice_ref": "IC 2026/4711"}, False),
        ("spontaneous.information", {"restrictions": {}}, False),
        ("spontaneous.information", {"restrictions": GONE, "no_originating_request": GONE}, True),
        ("spontaneous.information", {"no_originating_request": False}, False),
        ("spontaneous.feedback", {"conditions_accepted": GONE}, False),
        ("spontaneous.feedback", {"used": GONE}, True),
        ("assignment", {"contact_via": GONE}, False),
        ("assignment", {"competent_authority": "The harbour's prosecutor"}, False),
        ("misdirected", {"correct_authority_id": "Ministry of Justice"}, False),
        ("misdirected", {"forwarded": GONE}, False),
    ],
)
def test_form(kind, changes, valid):
    assert fits(kind, changes) is valid
