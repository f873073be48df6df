import copy
import json

import pytest

import schemas
from gateway.core.findings import Finding, findings, to_json
from gateway.core.message import parse_payload
from tests.support.cases import played

SERVICE, RECORDS = played(2)[0][1].message.payload, played(11)[0][1].message.payload
REFUSAL = played(11)[9][1].message.payload
REPORT = played(11)[3][1].message.payload
RESULT = played(11)[8][1].message.payload


def changed(payload, *path, to=...):
    """Return a copy of *payload* with the value at *path* set, or removed."""
    found = copy.deepcopy(dict(payload))
    holder = found
    for part in path[:-1]:
        holder = holder[part]
    if to is ...:
        del holder[path[-1]]
    else:
        holder[path[-1]] = to
    return found


def of(payload):
    return findings(parse_payload(json.dumps(payload).encode()))


def told(payload):
    return {(found.severity, found.article, found.path) for found in of(payload)}


@pytest.mark.parametrize("number", schemas.samples())
def test_the_samples_have_none(number):
    for _, signed in played(number):
        assert findings(signed.message) == ()


def test_an_empty_request_lacks_every_item_of_18_15():
    lacking = {found.article for found in of(changed(SERVICE, "body", to={})) if found.severity == "error"}
    assert {f"18(15)({item})" for item in "abcdef"} <= lacking


@pytest.mark.parametrize(
    ("article", "path"),
    [
        ("18(15)(a)", "requesting_authority"),
        ("18(15)(a)", "requesting_authority/name"),
        ("18(15)(a)", "requesting_authority/country"),
        ("18(15)(b)", "conducting_authority"),
        ("18(15)(b)", "conducting_authority/name"),
        ("18(15)(b)", "conducting_authority/functions"),
        ("18(15)(b)", "proceeding"),
        ("18(15)(b)", "proceeding/subject"),
        ("18(15)(b)", "proceeding/nature"),
        ("18(15)(b)", "offences/0/title"),
        ("18(15)(c)", "facts"),
        ("18(15)(c)", "facts/text"),
        ("18(15)(d)", "measures/0/description"),
        ("18(15)(e)", "persons"),
        ("18(15)(f)", "purpose"),
        ("18(1)", "offences"),
        ("3(1)", "offences/0/untoc_hook"),
        ("3(1)", "untoc_scope"),
        ("3(1)", "untoc_scope/organized_criminal_group"),
        ("3(2)", "untoc_scope/transnational"),
        ("18(7)", "legal_basis"),
        ("18(24)", "urgency_reason"),
    ],
)
def test_what_is_missing_is_an_error(article, path):
    place = ["body", *(int(part) if part.isdigit() else part for part in path.split("/"))]
    expected = {("error", article, f"/body/{path}")}
    assert told(changed(RECORDS, *place)) == expected
    if isinstance(value_at(RECORDS, place), str) and place[-1] not in {
        "nature",
        "transnational",
        "country",
        "untoc_hook",
    }:
        assert told(changed(RECORDS, *place, to=" ")) == expected


def value_at(payload, place):
    for part in place:
        payload = payload[part]
    return payload


def test_no_measure_is_an_error():
    assert ("error", "18(15)(d)", "/body/measures") in told(changed(RECORDS, "body", "measures"))
    assert ("error", "18(15)(d)", "/body/measures") in told(changed(RECORDS, "body", "measures", to=[]))


@pytest.mark.parametrize(
    ("article", "path"),
    [
        ("18(15)(b)", "offences/0/text"),
        ("2(b)", "offences/0/max_penalty"),
        ("3(2)", "untoc_scope/explanation"),
        ("18(15)(e)", "persons/0/name"),
        ("18(15)(e)", "persons/0/name/latin"),
        ("18(15)(e)", "persons/0/born"),
        ("18(9)", "measures/0/coercive"),
        ("18(9)", "dual_criminality"),
    ],
)
def test_what_is_missing_is_a_warning(article, path):
    place = ["body", *(int(part) if part.isdigit() else part for part in path.split("/"))]
    assert told(changed(RECORDS, *place)) == {("warning", article, f"/body/{path}")}


# -- items with an exception


def test_facts_are_not_demanded_for_service():
    assert "facts" not in SERVICE["body"]
    assert told(SERVICE) == set()


@pytest.mark.parametrize("kind", ["search_seizure_freeze_3c", "taking_evidence_3a", "other_3i"])
def test_facts_are_demanded_once_a_measure_is_no_service(kind):
    more = {"id": "m2", "type": kind, "description": "Another measure.", "coercive": False}
    request = changed(SERVICE, "body", "measures", to=[*SERVICE["body"]["measures"], more])
    assert told(request) == {("error", "18(15)(c)", "/body/facts")}


def test_facts_are_demanded_without_any_measure():
    assert ("error", "18(15)(c)", "/body/facts") in told(changed(SERVICE, "body", "measures", to=[]))


def test_a_reason_stands_for_persons_with_a_warning():
    request = changed(changed(RECORDS, "body", "persons"), "body", "persons_absent_reason", to="Unknown.")
    assert told(request) == {("warning", "18(15)(e)", "/body/persons")}


# -- conditions


def test_dual_criminality_is_for_coercion_only():
    request = changed(RECORDS, "body", "dual_criminality")
    request["body"]["measures"][1]["coercive"] = False
    assert told(request) == set()


def test_urgency_needs_its_reason():
    request = changed(RECORDS, "body", "urgency_reason")
    assert told(request | {"urgency": "emergency"}) == {("error", "18(24)", "/body/urgency_reason")}
    assert told(request | {"urgency": "normal"}) == set()


def test_a_deadline_has_a_reason_and_lies_ahead():
    ahead = {"date": "2026-11-24", "reason": "The hearing."}
    assert told(changed(RECORDS, "body", "deadline", to=ahead)) == set()
    late = {"date": "2026-11-23"}
    assert told(changed(RECORDS, "body", "deadline", to=late)) == {
        ("error", "18(24)", "/body/deadline/date"),
        ("error", "18(24)", "/body/deadline/reason"),
    }


def test_a_serious_crime_has_four_years():
    request = changed(RECORDS, "body", "offences", 0, "untoc_hook", to="serious_crime_2b")
    assert told(request) == set()
    place = ("body", "offences", 0, "max_penalty")
    expected = {("warning", "2(b)", "/body/offences/0/max_penalty/months")}
    assert told(changed(request, *place, to={"months": 47})) == expected
    assert told(changed(request, *place, to={"months": 48})) == set()
    assert told(changed(request, *place, to={"months": 12, "life": True})) == set()
    assert told(changed(request, *place, to={"text": "Many years."})) == set()
    assert told(changed(RECORDS, *place, to={"months": 47})) == set()


def test_ids_differ():
    request = changed(RECORDS, "body", "measures", 2, "id", to="m1")
    assert told(request) == {("error", "18(15)(d)", "/body/measures/2/id")}


# -- every kind


def test_a_translation_that_is_not_certified():
    translation = {"language": "fr", "certified": False, "body": SERVICE["body"]}
    assert told(changed(RECORDS, "translations", to=[translation])) == {
        ("warning", "18(14)", "/translations/0/certified")
    }


@pytest.mark.parametrize(
    ("language", "right", "text"),
    [
        ("ru", True, "Просим получить показания свидетеля по поставкам товара и оплате услуг."),
        ("ru", False, "We ask you to hear the witness about the goods and how they were paid."),
        ("ar", True, "نطلب سماع الشاهد بشأن تسليم البضائع وطريقة دفع ثمن الخدمات المقدَّمة إلى الشركة."),
        ("en", False, "نطلب سماع الشاهد بشأن تسليم البضائع وطريقة دفع ثمن الخدمات المقدَّمة إلى الشركة."),
        (
            "zh-Hans",
            True,
            "请求就货物交付及其付款方式向证人取证并将证言笔录经认证的副本连同所有附件一并转交我国中央机关以供审判使用。",
        ),
        (
            "fr",
            False,
            "请求就货物交付及其付款方式向证人取证并将证言笔录经认证的副本连同所有附件一并转交我国中央机关以供审判使用。",
        ),
        ("sr-Latn", True, "Molimo da se svedok sasluša o isporuci robe i o načinu na koji je plaćena."),
        ("ka", True, "We ask you to hear the witness about the goods and how they were paid."),
        ("en", True, "123 456"),
    ],
)
def test_the_script_of_the_facts(language, right, text):
    request = changed(RECORDS, "body", "facts", to={"text": text, "language": language})
    assert told(request) == (set() if right else {("warning", "18(14)", "/body/facts/language")})


def test_the_script_of_the_body():
    assert told(RECORDS | {"language": "ru"}) == {("warning", "18(14)", "/language")}


# -- refusals, reports, results, replies


def test_a_refusal_needs_grounds_and_reasons():
    assert told(changed(REFUSAL, "body", "grounds")) == {("error", "18(21)", "/body/grounds")}
    assert told(changed(REFUSAL, "body", "reasons")) == {("error", "18(23)", "/body/reasons")}
    short = changed(REFUSAL, "body", "reasons", to=" " * 40 + "x" * 39)
    assert told(short) == {("error", "18(23)", "/body/reasons")}
    assert told(changed(REFUSAL, "body", "reasons", to="x" * 40)) == set()


@pytest.mark.parametrize("code", ["18_21_a", "18_21_b", "18_21_c", "18_21_d"])
def test_a_refusal_under_paragraph_21_needs_its_consultation(code):
    refusal = changed(
        changed(REFUSAL, "body", "consultation_omitted_reason"), "body", "grounds", to=[{"code": code}]
    )
    assert told(refusal) == {("error", "18(26)", "/body/consultation_ref")}
    assert told(changed(refusal, "body", "consultation_ref", to="Call of 2 November")) == set()


def test_another_refusal_needs_none():
    refusal = changed(REFUSAL, "body", "consultation_omitted_reason")
    refusal["body"]["grounds"] = [{"code": "18_9_dual_criminality"}]
    assert told(refusal) == set()


def test_another_ground_is_named():
    other = [{"code": "other"}]
    assert told(changed(REFUSAL, "body", "grounds", to=other)) == {
        ("error", "18(21)", "/body/grounds/0/text")
    }


def test_prohibited_grounds():
    fiscal, secret, sovereign = ({"code": code} for code in ("18_22_fiscal", "18_8_bank_secrecy", "18_21_b"))
    place = ("body", "grounds")
    assert told(changed(REFUSAL, *place, to=[fiscal])) == {("error", "18(22)", "/body/grounds")}
    assert told(changed(REFUSAL, *place, to=[fiscal, sovereign])) == set()
    assert told(changed(REFUSAL, *place, to=[sovereign, secret])) == {
        ("error", "18(8)", "/body/grounds/1/code")
    }


def test_a_delay_is_explained():
    report = changed(REPORT, "body", "per_measure", 0, "expected_by", to="2026-11-23")
    assert told(report) == {("error", "18(24)", "/body/delay_reason")}
    assert told(changed(report, "body", "delay_reason", to="The court was closed.")) == set()


def test_an_outcome_is_explained():
    result = changed(RESULT, "body", "measures", 0, "explanation")
    assert told(result) == {("error", "18(24)", "/body/measures/0/explanation")}
    assert told(changed(result, "body", "measures", 0, "outcome", to="done")) == set()


def test_evidence_is_attached():
    expected = {("error", "18(14)", "/body/evidence/0/attachment_sha256")}
    assert told(changed(RESULT, "body", "evidence", 0, "size", to=1)) == expected
    assert told(changed(RESULT, "body", "evidence", 0, "attachment_sha256", to="f" * 64)) == expected
    named = changed(RESULT, "body", "evidence", 0, "certificate", to="certificate.pdf")
    assert told(named) == {("error", "18(14)", "/body/evidence/0/certificate")}
    assert told(changed(RESULT, "body", "evidence", 0, "certificate", to="register.txt")) == set()


def test_what_cannot_be_provided_has_a_reason():
    reply = changed(played(11)[5][1].message.payload, "body", "answers", 1, "reason")
    assert told(reply) == {("error", "18(16)", "/body/answers/1/reason")}


# -- the form


def test_errors_come_first_and_carry_no_content():
    request = changed(RECORDS, "body", "facts", "text", to="  ")
    request["body"]["persons"][0]["name"] = {"original": "Secret name"}
    found = of(request)
    assert [finding.severity for finding in found] == ["error", "warning"]
    assert "Secret" not in to_json(found)


def test_findings_as_json():
    found = (Finding("18(16)", "/body", "error", "Something is missing."),)
    assert json.loads(to_json(found)) == [
        {"article": "18(16)", "path": "/body", "severity": "error", "text": "Something is missing."}
    ]
