import bisect
import json
import re
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

import schemas
from gateway.core.errors import Malformed, Untrusted
from gateway.core.profile import (
    MAX_BYTES,
    OWN_MEMBERS,
    TYPE,
    Acceptance,
    Evidence,
    Languages,
    Law,
    Oral,
    ProfileFault,
    UsualDays,
    cooperation_type,
    follows,
    sign_profile,
    verify_profile,
)
from gateway.core.strict import b64url, from_b64url, sha256, time_text
from keys.signing import SigningKey
from tests.support.authorities import NOW_MS, make_authority
from tests.support.profiles import content, make_profile

QN, QO = make_authority("qn.justice"), make_authority("qo.justice")
KEYS = QN.card.signing_keys()
COUNTRIES = sorted(
    path.stem.removeprefix("profile-")
    for path in Path(schemas.__file__).parent.glob("samples/profile-*.json")
)


def payload(**members):
    """Return the payload of a sound profile of qn.justice, with *members* set instead."""
    own = dict(zip(OWN_MEMBERS, (1, "profile", QN.id, 1, time_text(NOW_MS)), strict=True))
    found = {**own, **content(QN.id), **members}
    return {name: value for name, value in found.items() if value is not ...}


def signed(found, *, key=QN.signing, typ=TYPE):
    raw = found if isinstance(found, bytes) else json.dumps(found).encode()
    return key.sign_compact(raw, typ).encode()


def flaws(found):
    """Return the places where a soundly signed profile is wrong."""
    with pytest.raises(ProfileFault) as caught:
        verify_profile(signed(found), QN.id, KEYS)
    return [flaw.pointer for flaw in caught.value.flaws]


def changed(found, place, value):
    """Return a copy of *found* with *value* at the JSON pointer *place*; `...` takes it away."""
    found = json.loads(json.dumps(found))
    *path, last = place.split("/")[1:]
    holder = found
    for part in path:
        holder = holder[int(part) if isinstance(holder, list) else part]
    last = int(last) if isinstance(holder, list) else last
    if value is ...:
        del holder[last]
    else:
        holder[last] = value
    return found


# -- what holds


def test_a_profile_is_read_as_it_was_signed():
    made = make_profile(QN, sequence=7)
    found = verify_profile(made.jws.encode(), QN.id, KEYS)
    assert found == made
    assert (found.authority, found.sequence, found.issued_ms) == (QN.id, 7, NOW_MS)
    assert (found.kid, found.sha256) == (QN.signing.kid, sha256(made.jws.encode()))
    header, body, _ = made.jws.split(".")
    assert json.loads(from_b64url(header)) == {
        "alg": "Ed25519", "kid": QN.signing.kid, "typ": "art18-profile+jws",
    }  # fmt: skip
    assert json.loads(from_b64url(body)) == payload(sequence=7) == found.payload


def test_the_rules_get_what_they_need_in_types():
    found = make_profile(QN)
    assert found.accepts("mla") == Acceptance(True, "direct", "never")
    assert found.accepts("transfer_proceedings") == Acceptance(False, "diplomatic_only", "always")
    assert found.languages("mla") == Languages(("es", "en"), "es", False, ("pt",))
    assert found.languages("transfer_proceedings") == Languages(("es",), None, True, ())
    assert found.oral == Oral(True, 48)
    assert found.usual_days == UsualDays(5, 45)
    assert found.law == Law("coercive", "reasonable", "conditional", 40)
    assert found.evidence.max_bytes == 2 << 30
    assert found.evidence.formats[0] == "application/pdf"
    assert found.time_zone == "America/Montevideo"
    assert date(2027, 8, 25) in found.holidays
    assert [one.id for one in found.requirements("mla")] == [
        "file-number", "coercion-in-our-law", "account-holder",
    ]  # fmt: skip
    first, photograph = found.requirements("mla")[0], found.requirements("extradition")[0]
    assert (first.mandatory, first.path) == (True, "/body/proceeding/reference")
    assert (photograph.mandatory, photograph.path) == (False, None)
    assert set(photograph.text) == {"es", "en"}


def test_what_a_profile_is_silent_on_is_none():
    found = make_profile(QO)
    assert found.accepts("extradition") is None
    assert found.languages("extradition") is None
    assert found.oral == Oral(False, None)
    assert found.law == Law(None, None, None, None)
    assert found.evidence == Evidence(None, None, None)
    assert found.requirements("mla") == ()
    assert found.holidays == frozenset()


@pytest.mark.parametrize("country", COUNTRIES)
def test_every_sample_can_be_published(country):
    party = make_authority(f"{country}.justice")
    made = make_profile(party)
    assert verify_profile(made.jws.encode(), party.id, party.card.signing_keys()) == made


def test_there_is_a_sample_for_each_country_of_the_sample_cases():
    assert [f"q{letter}" for letter in "mnopqrstuvwxyz"] == COUNTRIES


def test_a_region_has_a_profile_of_its_own():
    region = make_authority("qn-04.justice")
    made = make_profile(region, territory="QN-04")
    assert made.authority == "qn-04.justice"
    with pytest.raises(ProfileFault) as caught:
        make_profile(region)
    assert [flaw.pointer for flaw in caught.value.flaws] == ["/country"]
    with pytest.raises(ProfileFault) as caught:
        make_profile(region, territory="QN-04", country="QM")
    assert [flaw.pointer for flaw in caught.value.flaws] == ["/territory"]


def test_every_kind_that_begins_something_has_its_type():
    types = schemas.load("profile")["$defs"]["cooperation_type"]["enum"]
    assert set(types) == set(schemas.codes()["cooperation_types"].values())
    for member in ("accepts", "languages"):
        assert list(schemas.load("profile")["properties"][member]["properties"]) == types
    for kind in schemas.KINDS:
        begins = kind.startswith("request.") or kind in {"spontaneous.information", "consultation.open"}
        assert not begins or cooperation_type(kind) is not None, kind
    for type_ in types:
        assert cooperation_type(f"request.{type_}") in {type_, None}
    assert cooperation_type("request.mla") == "mla"
    assert cooperation_type("request.provisional_arrest") == "extradition"
    assert cooperation_type("acknowledgment") is None


def test_every_member_of_a_profile_has_its_article():
    article = re.compile(r"\d+(\(\w+\))*((, | to )\(\w+\))*( and \(\w+\))?|practice")

    def check(schema, path):
        for name, member in schema.get("properties", {}).items():
            assert article.fullmatch(member["x-article"]), (*path, name)
            check(member, (*path, name))
        for name, member in schema.get("$defs", {}).items():
            check(member, (name,))

    check(schemas.load("profile"), ())


# -- the signature and the form


@pytest.mark.parametrize(
    ("raw", "error"),
    [
        (b"", Malformed),
        (b"a.b", Malformed),
        (signed(payload()) + b"\n", Malformed),
        (signed(payload()).replace(b".", b"..", 1), Malformed),
        (b"\xff" + signed(payload()), Malformed),
        (signed(payload(), typ="art18-message+jws"), Malformed),
        (signed(payload(), typ="art18-card+jws"), Malformed),
        (signed(payload(), key=SigningKey.generate()), Untrusted),
        (signed(payload(), key=QN.root), Untrusted),
        (signed(payload(), key=QO.signing), Untrusted),
        (signed(payload())[:-86] + signed(payload(sequence=2))[-86:], Untrusted),
        (signed(b"[]"), Malformed),
        (signed(b'{"v":1,"v":1}'), Malformed),
        (signed(json.dumps(payload()).encode() + b"x"), Malformed),
        (signed(payload(authority="qn.moj")), Untrusted),
        (signed({**payload(), "reviewed": "x" * MAX_BYTES}), Malformed),
    ],
    ids=[
        "empty", "two-parts", "line-end", "four-parts", "not-ascii", "a-message", "a-card", "a-stranger",
        "the-root", "another-authority's-key", "another's-signature", "no-object", "a-name-twice",
        "no-json", "another-authority", "too-large",
    ],
)  # fmt: skip
def test_what_is_not_signed_or_not_in_form_is_refused(raw, error):
    with pytest.raises(error) as caught:
        verify_profile(raw, QN.id, KEYS)
    assert type(caught.value) is error


def test_a_payload_that_was_replaced_is_refused():
    header, _, signature = signed(payload()).split(b".")
    other = b64url(json.dumps(payload(sequence=2)).encode()).encode()
    with pytest.raises(Untrusted):
        verify_profile(b".".join((header, other, signature)), QN.id, KEYS)


def with_text(characters):
    """Return a profile whose requirements have that many characters of text."""
    sizes = [9000] * (characters // 9000) + [characters % 9000 or 1]
    texts = [
        {"id": f"r{n}", "type": "mla", "mandatory": False, "text": {"en": "x" * size}}
        for n, size in enumerate(sizes)
    ]
    return payload(requirements=texts)


def test_the_limit_is_of_the_whole_token():
    sizes = range(150_000, 200_000)
    over = sizes[bisect.bisect_right(sizes, MAX_BYTES, key=lambda size: len(signed(with_text(size))))]
    verify_profile(signed(with_text(over - 1)), QN.id, KEYS)
    with pytest.raises(Malformed, match="larger than"):
        verify_profile(signed(with_text(over)), QN.id, KEYS)
    with pytest.raises(Malformed, match="once it is signed"):
        make_profile(QN, requirements=with_text(sizes[-1])["requirements"])


# -- the schema, and the rules between members


@pytest.mark.parametrize("name", schemas.load("profile")["required"])
def test_what_a_profile_must_have(name):
    assert flaws(payload(**{name: ...})) == [""]


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("/v", 2),
        ("/v", True),
        ("/type", "card"),
        ("/authority", "QN.justice"),
        ("/sequence", 0),
        ("/sequence", "1"),
        ("/issued", "2026-11-23T14:05:09Z"),
        ("/more", 1),
        ("/names", {}),
        ("/names/EN", "Ministry"),
        ("/names/en", "two\nlines"),
        ("/country", "qn"),
        ("/territory", "04"),
        ("/contacts/general", ...),
        ("/contacts/general/email", "nobody"),
        ("/contacts/urgent_24_7/phone", "555 0199"),
        ("/hours", []),
        ("/hours/0/days/0", "Monday"),
        ("/hours/0/from", "8:30"),
        ("/hours/0/until", "24:00"),
        ("/time_zone", "CET+1 "),
        ("/time_zone", "../../etc/passwd"),
        ("/holidays/0", "2026-02-30"),
        ("/accepts", {}),
        ("/accepts/mutual", {}),
        ("/accepts/mla/channel", "courier"),
        ("/accepts/mla/via_gateway", "yes"),
        ("/accepts/mla/paper_original", ...),
        ("/languages/mla/accepted", []),
        ("/languages/mla/accepted", ["es", "es"]),
        ("/languages/mla/preferred", "ES"),
        ("/languages/mla/certified", ...),
        ("/languages/mla/emergency", []),
        ("/oral/accepted", ...),
        ("/oral/confirm_within_hours", ...),
        ("/oral/confirm_within_hours", 0),
        ("/legal_basis/untoc_for_extradition", ...),
        ("/legal_basis/treaties/0/types", ["extraditions"]),
        ("/legal_basis/treaties/0/parties/0", "Q"),
        ("/requirements/0/path", "body/purpose"),
        ("/requirements/0/path", "/body/~2"),
        ("/requirements/0/id", "two words"),
        ("/requirements/0/text", {}),
        ("/requirements/0/mandatory", 1),
        ("/law/evidence_threshold", "probable"),
        ("/law/dual_criminality", True),
        ("/law/nationals_extraditable", True),
        ("/law/arrest_document_days", 41),
        ("/law/de_minimis/currency", ...),
        ("/law/de_minimis/amount", "5,000"),
        ("/evidence/formats/0", "PDF"),
        ("/evidence/max_bytes", -1),
        ("/usual_days/decide", ...),
        ("/usual_days/acknowledge", -1),
        ("/reviewed", "yesterday"),
    ],
)
def test_a_member_that_is_not_as_the_schema_says(place, value):
    found = flaws(changed(payload(), place, value))
    assert found
    assert all(place.startswith(flaw) or flaw.startswith(place) for flaw in found), found


@pytest.mark.parametrize(
    ("place", "value", "flaw"),
    [
        ("/country", "QM", "/country"),
        ("/hours/1/until", "08:30", "/hours/1/until"),
        ("/languages/mla", ..., "/languages"),
        ("/accepts/jit", ..., "/languages/jit"),
        ("/languages/mla/preferred", "fr", "/languages/mla/preferred"),
        ("/languages/mla/emergency", ["fr", "en"], "/languages/mla/emergency/1"),
        ("/requirements/1/id", "file-number", "/requirements/1/id"),
    ],
)
def test_members_that_contradict_each_other(place, value, flaw):
    assert flaws(changed(payload(), place, value)) == [flaw]


def test_a_requirement_is_about_a_type_that_is_accepted():
    found = changed(changed(payload(), "/accepts/confiscation", ...), "/languages/confiscation", ...)
    assert flaws(found) == ["/requirements/3/type"]


def test_a_consultation_needs_no_language():
    verify_profile(signed(changed(payload(), "/languages/consultation", ...)), QN.id, KEYS)


# -- signing


def test_what_the_node_fills_in_is_left_out():
    with pytest.raises(ProfileFault) as caught:
        make_profile(QN, v=1, issued=time_text(NOW_MS))
    assert [flaw.pointer for flaw in caught.value.flaws] == ["/v", "/issued"]


def test_only_a_sound_profile_is_signed():
    with pytest.raises(ProfileFault) as caught:
        make_profile(QN, oral={"accepted": True})
    assert [flaw.pointer for flaw in caught.value.flaws] == ["/oral"]
    for odd in ({"names": {"en": "\ud800"}}, {"names": {1, 2}}, {"usual_days": float("nan")}):
        with pytest.raises(Malformed):
            make_profile(QN, **odd)


def test_a_fault_repeats_nothing_of_the_profile():
    with pytest.raises(ProfileFault) as caught:
        sign_profile(
            content(QN.id, time_zone="Secret/zone 1", more="Secret"),
            QN.signing, authority=QN.id, sequence=1, issued_ms=NOW_MS,
        )  # fmt: skip
    assert "ecret" not in str(caught.value.flaws)


# -- which one is in force


def test_a_profile_follows_one_with_a_smaller_sequence():
    first, second, fifth = (make_profile(QN, sequence=number) for number in (1, 2, 5))
    assert follows(first, None)
    assert follows(second, first)
    assert follows(fifth, second)
    assert not follows(first, second)
    assert not follows(second, replace(second))
    with pytest.raises(Untrusted):
        follows(make_profile(QN, sequence=2, reviewed="2026-11-20"), second)
