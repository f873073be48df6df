"""What a message is found to lack by its recipient's profile, by its case, and by other cases."""

import copy
import json

import pytest

from gateway.core.case import History, Step
from gateway.core.findings import Circumstances, findings, identities
from gateway.core.ids import AuthorityId, CaseId, Digest
from gateway.core.message import parse_common
from tests.support.authorities import make_authority
from tests.support.cases import blob, message_id, payload_of, played
from tests.support.profiles import make_profile

REQUESTING, REQUESTED = AuthorityId("qm.moj"), AuthorityId("qn.moj")
RECORDS, REFUSAL = played(11)[0][1].message.payload, played(11)[9][1].message.payload
MLA = {"accepted": ["es", "en"], "certified": True, "emergency": ["pt"]}
OTHER_CASE = CaseId("7d1f0f0e-2c52-4a57-9a43-0b7f3c2f9f11")


def profile(**members):
    """Return the profile of the requested side: it accepts what the sample does, but asks nothing."""
    everything = {"requirements": [], "languages": languages(), **members}
    return make_profile(make_authority(REQUESTED), **everything)


def languages(**members):
    types = ("mla", "confiscation", "extradition", "transfer_sentenced", "jit", "transfer_proceedings")
    return dict.fromkeys((*types, "spontaneous", "consultation"), MLA) | members


def accepts(channel="direct", *, via_gateway=True):
    taken = {"via_gateway": via_gateway, "channel": channel, "paper_original": "never"}
    return dict.fromkeys(languages(), taken)


def step(number, kind, by, **recorded):
    digest = Digest(f"{number:064x}")
    return Step(digest, message_id(number), by, kind, number, None, None, {}, recorded)


def case(*steps):
    return History(steps)


def told(payload, **circumstances):
    message = parse_common(json.dumps(payload).encode())
    found = findings(message, Circumstances(**circumstances))
    return {(one.severity, one.article, one.path) for one in found}


def message(kind, body, *, by=REQUESTING, to=REQUESTED, attachments=(), **members):
    draft = {
        "kind": kind,
        "to": to,
        "language": "en",
        "own_ref": "EX-1",
        "urgency": "normal",
        "handling": "normal",
        "body": body,
        "translations": [],
        **members,
        "authorised_by": {"name": "Example Officer One", "function": "Head of Unit"},
    }
    return payload_of(draft, sender=by, number=30, attachments=attachments)


def attachment(name, role):
    file = {"name": name, "media_type": "application/pdf", "role": role, "language": "en"}
    return file | {"size": 1, "sha256": "0" * 64, "blob": blob({"size": 1})}


def request(**members):
    return {**copy.deepcopy(dict(RECORDS)), **members}


# -- languages


def test_a_language_that_is_not_accepted_stops_number_1():
    assert told(request(), profile=profile()) == set()
    french = request(language="fr")
    french["body"] = {name: value for name, value in french["body"].items() if name != "purpose"} | {
        "purpose": "Établir où sont allés les profits."
    }
    assert told(french, profile=profile()) == {("error", "18(14)", "/language")}
    assert told(french) == set(), "without a profile nothing is known of languages"


def test_a_translation_into_an_accepted_language_will_do():
    translation = {"language": "es", "certified": True, "body": RECORDS["body"]}
    french = request(language="fr", translations=[translation])
    assert told(french, profile=profile()) == set()
    weak = request(language="fr", translations=[translation | {"certified": False}])
    assert told(weak, profile=profile()) == {("warning", "18(14)", "/translations/0/certified")}
    uncertified = profile(languages=languages(mla=MLA | {"certified": False}))
    assert told(weak, profile=uncertified) == set()
    assert told(weak) == set()


def test_an_emergency_may_come_in_more_languages():
    assert told(request(language="pt", urgency="emergency"), profile=profile()) == set()
    assert told(request(language="pt"), profile=profile()) == {("error", "18(14)", "/language")}
    assert told(request(language="fr", urgency="emergency"), profile=profile()) == {
        ("error", "18(14)", "/language")
    }


@pytest.mark.parametrize(
    ("tag", "accepted", "right"),
    [
        ("en", ["en-GB"], True),
        ("en-GB", ["en"], True),
        ("zh-Hans", ["zh"], True),
        ("zh-Hans", ["zh-Hant"], False),
        ("sr-Latn", ["sr-Cyrl"], False),
        ("e", ["en"], False),
    ],
)
def test_a_tag_that_only_says_more_is_the_same_language(tag, accepted, right):
    known = profile(languages=languages(mla={"accepted": accepted, "certified": False}))
    found = told(message("info.reply", {"answers": []}, language=tag), profile=known, history=filed())
    assert found == (set() if right else {("error", "18(14)", "/language")})


def filed(kind="request.mla"):
    return case(step(1, kind, REQUESTING, urgency="normal"))


def test_what_completes_a_request_is_in_the_language_of_its_type():
    known = profile(languages=languages(extradition=MLA | {"accepted": ["es"]}))
    supplement = message("supplement", {"changes": [], "reason": "More.", "supersedes_sha256": f"{1:064x}"})
    assert told(supplement, profile=known, history=filed()) == set()
    assert told(supplement, profile=known, history=filed("request.extradition")) == {
        ("error", "18(14)", "/language")
    }


@pytest.mark.parametrize("kind", ["consultation.open", "draft.submit", "status.enquiry", "withdrawal"])
def test_consultations_drafts_and_the_rest_may_come_in_any_language(kind):
    assert told(message(kind, {"scope": "all"}, language="fr"), profile=profile(), history=filed()) == set()


# -- channels


@pytest.mark.parametrize(
    ("kind", "cooperation", "article"),
    [
        ("request.mla", "mla", "18(13)"),
        ("request.confiscation", "confiscation", "13(3)"),
        ("request.extradition", "extradition", "16"),
        ("request.provisional_arrest", "extradition", "16"),
        ("request.transfer_sentenced", "transfer_sentenced", "17"),
        ("request.jit", "jit", "19"),
        ("request.transfer_proceedings", "transfer_proceedings", "21"),
        ("spontaneous.information", "spontaneous", "18(4)"),
        ("consultation.open", "consultation", "practice"),
    ],
)
def test_a_type_that_is_not_accepted_stops_number_7(kind, cooperation, article):
    sent, place = message(kind, {}), ("error", article, "/kind")
    assert place not in told(sent, profile=profile(accepts=accepts()))
    others = {name: taken for name, taken in accepts().items() if name != cooperation}
    spoken = {name: one for name, one in languages().items() if name != cooperation}
    assert place in told(sent, profile=profile(accepts=others, languages=spoken))
    assert place not in told(sent)


def test_diplomatic_channels_alone():
    diplomatic = profile(accepts=accepts("diplomatic_only", via_gateway=False))
    assert told(request(), profile=diplomatic) == {("error", "18(13)", "/kind")}
    assert told(message("info.reply", {}), profile=diplomatic, history=filed()) == set()
    for channel in ("diplomatic_copy", "interpol_urgent"):
        assert told(request(), profile=profile(accepts=accepts(channel))) == set()
    other = profile(accepts=accepts(via_gateway=False))
    assert told(request(), profile=other) == {("error", "18(13)", "/kind")}


def test_requirements_that_can_be_checked():
    text = {"en": "This is required."}
    paths = {
        "there": "/body/proceeding/reference",
        "each": "/body/measures/*/procedure",
        "deep": "/body/nothing/of/the/kind",
        "through": "/language/of/a/text",
        "people": None,
    }
    asked = [
        {"id": name, "type": "mla", "text": text, "mandatory": name == "each"}
        | ({} if path is None else {"path": path})
        for name, path in paths.items()
    ]
    asked.append({"id": "other", "type": "jit", "text": text, "mandatory": True, "path": "/body/none"})
    found = findings(
        parse_common(json.dumps(request()).encode()), Circumstances(profile=profile(requirements=asked))
    )
    assert {(one.severity, one.path, dict(one.parameters)["requirement"]) for one in found} == {
        ("warning", "/body/measures/0/procedure", "each"),
        ("warning", "/body/nothing/of/the/kind", "deep"),
        ("warning", "/language/of/a/text", "through"),
    }


# -- deadlines


def test_a_deadline_shorter_than_usual_is_a_warning():
    known = profile(usual_days={"acknowledge": 1, "decide": 30})
    for day, expected in (
        ("2026-12-24", set()),
        ("2026-12-23", {("warning", "18(24)", "/body/deadline/date")}),
        ("2026-11-24", {("warning", "18(24)", "/body/deadline/date")}),
        ("2026-11-23", {("error", "18(24)", "/body/deadline/date")}),
    ):
        sent = request()
        sent["body"]["deadline"] = {"date": day, "reason": "The hearing."}
        assert told(sent, profile=known) == expected


def test_a_deadline_without_a_reason_stops_number_10():
    sent = request()
    sent["body"]["deadline"] = {"date": "2027-11-24"}
    assert told(sent, profile=profile()) == {("error", "18(24)", "/body/deadline/reason")}


# -- refusals and postponements


def consulted(about="refusal_18_21", by=REQUESTED):
    return case(*filed().steps, step(5, "consultation.mandatory", by, about=about))


def refusal(**body):
    changed = {name: value for name, value in REFUSAL["body"].items() if name[:12] != "consultation"}
    return {**REFUSAL, "body": changed | body}


def test_a_refusal_without_consultation_stops_number_5():
    expected = {("error", "18(26)", "/body/consultation_ref")}
    assert told(refusal(), history=filed()) == expected
    assert told(refusal(consultation_ref=message_id(5)), history=consulted()) == set()
    for history in (filed(), consulted("postponement_18_25"), consulted(by=REQUESTING)):
        assert told(refusal(consultation_ref=message_id(5)), history=history) == expected
    for reference in (message_id(1), "Call of 2 November"):
        assert told(refusal(consultation_ref=reference), history=consulted()) == expected
    assert told(refusal(consultation_ref=message_id(5))) == set(), "without its case nothing is known"


def test_a_consultation_that_did_not_go_out_does_not_count():
    held = step(5, "consultation.mandatory", REQUESTED, about="refusal_18_21")
    history = case(
        *filed().steps, Step(**{name: getattr(held, name) for name in Step.__slots__} | {"counts": False})
    )
    assert told(refusal(consultation_ref=message_id(5)), history=history) == {
        ("error", "18(26)", "/body/consultation_ref")
    }


def test_a_postponement_is_consulted_on_as_such():
    body = {
        "ground": "interferes_ongoing_18_25",
        "reason": "An investigation.",
        "review_at": "2027-01-01",
        "consultation_ref": message_id(5),
    }
    sent = message("decision.postpone", body, by=REQUESTED, to=REQUESTING)
    assert told(sent, history=consulted("postponement_18_25")) == set()
    assert told(sent, history=consulted()) == {("error", "18(26)", "/body/consultation_ref")}
    del body["consultation_ref"]
    assert told(sent, history=consulted("postponement_18_25")) == {
        ("error", "18(26)", "/body/consultation_ref")
    }


def test_a_refusal_in_part_is_consulted_on():
    part = {"measure_id": "m1", "ground": "18_21_b", "reasons": "x" * 40}
    body = {"granted": ["m2"], "refused": [part], "consultation_ref": message_id(5)}
    sent = message("decision.partial", body, by=REQUESTED, to=REQUESTING)
    assert told(sent, history=consulted()) == set()
    assert told(sent, history=filed()) == {("error", "18(26)", "/body/consultation_ref")}


def test_prohibited_grounds_in_part():
    refused = [
        {"measure_id": f"m{number}", "ground": ground, "reasons": "x" * 40}
        for number, ground in enumerate(("18_9_dual_criminality", "18_8_bank_secrecy", "18_22_fiscal"))
    ]
    sent = message("decision.partial", {"granted": ["m9"], "refused": refused}, by=REQUESTED, to=REQUESTING)
    assert told(sent, history=filed()) == {
        ("error", "18(8)", "/body/refused/1/ground"),
        ("error", "18(22)", "/body/refused/2/ground"),
    }


def test_the_refusal_of_an_extradition_is_consulted_on_whatever_its_ground():
    sent = refusal(grounds=[{"code": "16_10_national"}])
    expected = {("error", "16(16)", "/body/consultation_ref")}
    assert told(sent, history=filed()) == set()
    for kind in ("request.extradition", "request.provisional_arrest"):
        assert told(sent, history=filed(kind)) == expected
    after = case(step(2, "consultation.open", REQUESTING), *filed("request.extradition").steps)
    assert told(sent, history=after) == expected
    reasoned = refusal(grounds=[{"code": "16_10_national"}], consultation_omitted_reason="The law is clear.")
    assert told(reasoned, history=filed("request.extradition")) == set()
    named = refusal(grounds=[{"code": "16_10_national"}], consultation_ref=message_id(5))
    held = step(5, "consultation.mandatory", REQUESTED, about="refusal_extradition_16_16")
    assert told(named, history=case(*filed("request.extradition").steps, held)) == set()


def test_fiscal_matters_are_no_ground_of_refusing_extradition_either():
    sent = refusal(grounds=[{"code": "18_22_fiscal"}], consultation_omitted_reason="The law is clear.")
    assert told(sent, history=filed()) == {("error", "18(22)", "/body/grounds")}
    assert told(sent, history=filed("request.extradition")) == {("error", "16(15)", "/body/grounds")}


# -- what is said to be of this case


@pytest.mark.parametrize(
    ("kind", "member"), [("acknowledgment", "request_sha256"), ("supplement", "supersedes_sha256")]
)
def test_what_is_acknowledged_or_changed_is_of_this_case(kind, member):
    sent = message(kind, {member: f"{1:064x}", "changes": []})
    expected = ("error", "practice", f"/body/{member}")
    assert expected not in told(sent, history=filed())
    sent["body"][member] = f"{2:064x}"
    assert expected in told(sent, history=filed()), "replayed from another case"
    assert expected not in told(sent)


# -- limits of use


def informed(*more, **restrictions):
    kept = {f"restrictions/{name}": value for name, value in restrictions.items()}
    return case(step(1, "spontaneous.information", REQUESTING, **kept), *more)


def feedback(used="proceedings", *, accepted=True):
    body = {"used": used, "conditions_accepted": accepted}
    return message("spontaneous.feedback", body, by=REQUESTED, to=REQUESTING)


def test_use_against_an_embargo_stops_number_9():
    embargo = {("error", "18(5)", "/body/used")}
    for used in ("inquiry", "proceedings", "request"):
        assert told(feedback(used), history=informed(until="2026-11-25")) == embargo
    assert told(feedback("none"), history=informed(until="2026-11-25")) == set()
    assert told(feedback(), history=informed(until="2026-11-24")) == set(), "it has ended"
    assert told(feedback(), history=informed()) == set()
    own = case(step(1, "spontaneous.information", REQUESTED, **{"restrictions/until": "2026-11-25"}))
    assert told(feedback(), history=own) == set(), "one's own information"


def test_use_without_accepting_the_restrictions():
    expected = {("error", "18(5)", "/body/conditions_accepted")}
    for restrictions in ({"confidential": True}, {"use_limits": True}, {"until": "2026-11-01"}):
        assert told(feedback(accepted=False), history=informed(**restrictions)) == expected
        assert told(feedback(accepted=True), history=informed(**restrictions)) == set()
    assert told(feedback(accepted=False), history=informed(confidential=False)) == set()
    assert told(feedback("none", accepted=False), history=informed(use_limits=True)) == set()


def test_consent_lifts_what_was_restricted():
    for granted, by, lifted in (
        (True, REQUESTING, True),
        (False, REQUESTING, False),
        (True, REQUESTED, False),
    ):
        reply = step(2, "use.consent_reply", by, granted=granted)
        history = informed(reply, until="2026-11-25", use_limits=True)
        assert (told(feedback(accepted=False), history=history) == set()) is lifted


# -- persons in other cases


def test_a_person_in_another_pending_case():
    person = RECORDS["body"]["persons"][1]
    (identity,) = [each for each, place in identities(parsed(request())).items() if place[-1] == 1]
    assert person["born"] in identity
    found = findings(parsed(request()), Circumstances(elsewhere={identity: OTHER_CASE}))
    assert [(one.severity, one.path, one.parameters) for one in found] == [
        ("warning", "/body/persons/1", (("case", OTHER_CASE),))
    ]
    assert told(request(), elsewhere={}) == set()


def test_two_forms_of_a_name_are_one_person():
    sent = request()
    sent["body"]["persons"] = [
        {"name": {"original": "Пример Четвёртый", "latin": "Primer Chetvyorty"}, "born": "1979-03-08"}
    ]
    known = dict.fromkeys(identities(parsed(sent)), OTHER_CASE)
    assert len(known) == 2
    assert told(sent, elsewhere=known) == {("warning", "18(24)", "/body/persons/0")}


def parsed(payload):
    return parse_common(json.dumps(payload).encode())


def identity_of(name, born="1990-01-20"):
    sent = request()
    sent["body"]["persons"] = [{"name": {"latin": name}, **({"born": born} if born else {})}]
    return set(identities(parsed(sent)))


@pytest.mark.parametrize(
    "name",
    ["EXEMPLE Deux", "deux exemple", "Exemple, Deux", "Éxemple  Deux", "Exemple-Deux", "\uff25xemple Deux"],
)
def test_names_are_compared_without_what_writers_do_differently(name):
    assert identity_of(name) == identity_of("Exemple Deux")


@pytest.mark.parametrize("name", ["Exemple Trois", "Exemple", "Exemple Deux Deux", "ExempleDeux"])
def test_other_names_are_other_persons(name):
    assert identity_of(name) != identity_of("Exemple Deux")


def test_vowel_signs_stay():
    assert identity_of("किम") != identity_of("काम")  # two words that differ in a vowel sign alone


def test_the_date_of_birth_tells_persons_apart():
    assert identity_of("Exemple Deux") != identity_of("Exemple Deux", "1990-01-21")
    assert identity_of("Exemple Deux", None) == set()
    assert identity_of("---") == set()


def test_only_requests_have_persons_to_recognise():
    consent = message("notice.consent_to_surrender", {"person": RECORDS["body"]["persons"][0]})
    assert identities(parsed(consent)) == {}


# -- papers and bases of requests of other types


def test_a_provisional_arrest_without_a_warrant_is_number_4():
    found = told(message("request.provisional_arrest", {}))
    assert ("error", "16(9)", "/body/warrant_or_judgment") in found
    found = told(message("request.provisional_arrest", {"warrant_or_judgment": {"type": "judgment"}}))
    assert ("error", "16(9)", "/body/warrant_or_judgment/exists") in found
    body = {"warrant_or_judgment": {"exists": True}}
    assert not {f"/body/{name}" for name in ("warrant_or_judgment", "warrant_or_judgment/exists")} & {
        path for _, _, path in told(message("request.provisional_arrest", body))
    }


def test_an_order_that_is_not_attached_is_number_6():
    enforce = {"mode": "enforce_order_13_1b"}
    assert ("error", "13(3)(b)", "/body/order") in told(message("request.confiscation", enforce))
    assert ("error", "13(3)(b)", "/body/order") not in told(
        message("request.confiscation", {"mode": "obtain_order_13_1a"})
    )
    place = "/body/order/certified_copy_attachment"
    unnamed = message("request.confiscation", enforce | {"order": {"final": True}})
    assert ("error", "13(3)(b)", place) in told(unnamed)
    body = enforce | {"order": {"certified_copy_attachment": "order.pdf"}}
    assert ("error", "18(14)", place) in told(message("request.confiscation", body))
    for role, right in (("court_order", True), ("judgment", True), ("other", False), ("translation", False)):
        sent = message("request.confiscation", body, attachments=[attachment("order.pdf", role)])
        assert (place not in {path for _, _, path in told(sent)}) is right
        assert (("error", "13(3)(b)", place) not in told(sent)) is right


def test_a_transfer_needs_consent_number_8():
    place = "/body/consent/given"
    for consent, right in (({"given": True}, True), ({"given": False}, False), ({}, False)):
        found = told(message("request.transfer_sentenced", {"consent": consent}))
        assert (("error", "17", place) not in found) is right
    assert ("error", "17", "/body/consent") in told(message("request.transfer_sentenced", {}))


@pytest.mark.parametrize(
    "instrument",
    [
        "UNTOC",
        "United Nations Convention against Transnational Organized Crime",
        "the United Nations Convention against Transnational Organised Crime of 15 November 2000",
        "Convention des Nations Unies contre la criminalité transnationale organisée",
        "Convención de las Naciones Unidas contra la Delincuencia Organizada Transnacional",
        "Convenção das Nações Unidas contra o Crime Organizado Transnacional",
        "Конвенция Организации Объединённых Наций против транснациональной организованной преступности",
        "《联合国打击跨国有组织犯罪公约》",
        "اتفاقية الأمم المتحدة لمكافحة الجريمة المنظمة عبر الوطنية",
    ],
)
def test_article_17_alone_transfers_nobody_number_8(instrument):
    expected = ("error", "17", "/body/legal_basis")
    alone = {"legal_basis": [{"instrument": instrument, "article": "17"}]}
    assert expected in told(message("request.transfer_sentenced", alone))
    treaty = {"instrument": "Convention on the Transfer of Sentenced Persons (CETS 112)", "article": "3"}
    both = {"legal_basis": [*alone["legal_basis"], treaty]}
    assert expected not in told(message("request.transfer_sentenced", both))


def test_an_agreement_of_two_states_on_transnational_crime_is_a_basis():
    basis = {"instrument": "Agreement of QM and QN on transnational organized crime", "article": "9"}
    found = told(message("request.transfer_sentenced", {"legal_basis": [basis]}))
    assert ("error", "17", "/body/legal_basis") not in found


def test_an_oral_request_where_none_is_agreed_to():
    refuses = profile(oral={"accepted": False})
    assert ("error", "18(14)", "/kind") in told(message("request.oral_notice", {}), profile=refuses)
    assert ("error", "18(14)", "/kind") not in told(message("request.oral_notice", {}), profile=profile())
    assert ("error", "18(14)", "/kind") not in told(message("request.oral_notice", {}))
