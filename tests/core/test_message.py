import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

import schemas
from gateway.core.errors import Malformed
from gateway.core.message import (
    MAX_BYTES,
    MAX_LIFETIME_MS,
    MessageFault,
    check_schema,
    parse_common,
    parse_payload,
    sign_message,
    verify_message,
)
from gateway.core.strict import sha256, time_text
from keys.errors import KeyFault
from keys.signing import SigningKey
from tests.support.cases import played, signing_key

KEY = signing_key()
OTHERS = SigningKey.generate()
REQUEST = played(2)[0][1]
PAYLOAD = REQUEST.message.payload


def raw(**members):
    found = {**PAYLOAD, **{name.removesuffix("_"): value for name, value in members.items()}}
    return json.dumps({name: value for name, value in found.items() if value is not ...}).encode()


@pytest.mark.parametrize("number", schemas.samples())
def test_samples_are_valid(number):
    for step, signed in played(number):
        message = parse_payload(signed.message.raw)
        assert message == signed.message
        assert message.kind == step["draft"]["kind"]


def test_the_members_of_a_message():
    message = REQUEST.message
    assert (message.sender, message.recipient) == ("qo.justice", "qp.justice")
    assert message.previous is message.case_head is message.in_reply_to is None
    assert message.created_ms == 1_795_514_460_000
    assert message.body["measures"][0]["id"] == "m1"
    (attachment,) = message.attachments
    assert attachment.name == "convocation.pdf"
    assert attachment.sha256 == sha256(schemas.sample_file("convocation.pdf"))
    assert attachment.blob_size == attachment.size + 16


def test_what_was_signed_verifies():
    found = verify_message(REQUEST.jws, {KEY.kid: KEY.public})
    assert found == REQUEST
    assert found.sha256 == sha256(REQUEST.jws.encode())


def test_another_key_does_not_verify():
    with pytest.raises(KeyFault):
        verify_message(REQUEST.jws, {OTHERS.kid: OTHERS.public})
    with pytest.raises(KeyFault):
        verify_message(REQUEST.jws, {KEY.kid: OTHERS.public})


def test_an_unknown_kind_is_verified_before_it_is_refused():
    jws = KEY.sign_compact(raw(kind="request.unheard_of"), "art18-message+jws")
    message = verify_message(jws, {KEY.kid: KEY.public}).message
    with pytest.raises(MessageFault) as caught:
        check_schema(message)
    assert caught.value.reason == "unknown_kind"


@pytest.mark.parametrize(
    "members",
    [
        {"v": 2},
        {"v": True},
        {"v": ...},
        {"kind": ...},
        {"kind": ""},
        {"kind": "k" * 65},
        {"id": "A" * 36},
        {"case": None},
        {"from_": "QO"},
        {"to": ...},
        {"created": "2026-11-24T10:00:00Z"},
        {"expires": None},
        {"previous": ...},
        {"previous": "0"},
        {"case_head": ...},
        {"in_reply_to": "x"},
        {"body": []},
        {"attachments": ...},
        {"attachments": [{}]},
        {"attachments": [1]},
        {"attachments": [{**PAYLOAD["attachments"][0], "size": True}]},
    ],
    ids=str,
)
def test_what_is_not_a_message_at_all(members):
    with pytest.raises(Malformed):
        parse_common(raw(**members))


@pytest.mark.parametrize(
    ("members", "pointer"),
    [
        ({"language": "French"}, "/language"),
        ({"own_ref": ...}, ""),
        ({"urgency": "soon"}, "/urgency"),
        ({"further": 1}, ""),
        ({"authorised_by": {"name": "N"}}, "/authorised_by"),
        ({"translations": [{"language": "en", "certified": True}]}, "/translations/0"),
        ({"to": "qo.justice"}, "/to"),
        ({"attachments": PAYLOAD["attachments"] * 2}, "/attachments/1/name"),
        (
            {"attachments": [{**PAYLOAD["attachments"][0], "translation_of": "else.pdf"}]},
            "/attachments/0/translation_of",
        ),
        (
            {"translations": [{"language": "en", "certified": True, "attachment": "else.pdf"}]},
            "/translations/0/attachment",
        ),
        ({"expires": PAYLOAD["created"]}, "/expires"),
        ({"expires": time_text(REQUEST.message.created_ms + MAX_LIFETIME_MS + 1)}, "/expires"),
    ],
    ids=str,
)
def test_what_breaks_the_schema(members, pointer):
    with pytest.raises(MessageFault) as caught:
        parse_payload(raw(**members))
    assert caught.value.reason == "schema"
    assert [flaw.pointer for flaw in caught.value.flaws] == [pointer]


def test_ninety_days_are_allowed():
    parse_payload(raw(expires=time_text(REQUEST.message.created_ms + MAX_LIFETIME_MS)))


def test_a_translation_may_be_attached():
    translation = {"language": "en", "certified": True, "attachment": "convocation.pdf"}
    parse_payload(raw(translations=[translation]))


def test_a_legal_defect_is_not_a_fault():
    parse_payload(raw(body={}))


def test_the_limit_of_the_payload():
    short = len(raw(body={"purpose": ""}))
    with pytest.raises(Malformed):
        parse_common(raw(body={"purpose": "x" * (MAX_BYTES - short + 1)}))
    parse_common(raw(body={"purpose": "x" * (MAX_BYTES - short)}))


@pytest.mark.parametrize(
    "value",
    [float("nan"), object(), "\ud800", 1.5, 2**53],
    ids=["nan", "object", "surrogate", "float", "2^53"],
)
def test_what_json_has_no_form_for_is_not_signed(value):
    with pytest.raises(Malformed):
        sign_message({**PAYLOAD, "own_ref": value}, KEY)


def test_a_message_is_checked_before_it_is_signed():
    with pytest.raises(MessageFault):
        sign_message({**PAYLOAD, "urgency": "soon"}, KEY)


@given(at=st.integers(0, len(REQUEST.jws) - 1), to=st.sampled_from("ABab01-_."))
def test_no_altered_token_verifies(at, to):
    altered = REQUEST.jws[:at] + to + REQUEST.jws[at + 1 :]
    if altered == REQUEST.jws:
        return
    with pytest.raises((KeyFault, Malformed)):
        verify_message(altered, {KEY.kid: KEY.public})
