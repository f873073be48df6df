"""The stages of intake, each at its border; their order is shown at the door (tests/doors)."""

import json
from dataclasses import replace
from typing import Any

import pytest

from gateway.core import intake
from gateway.core.case import History, add
from gateway.core.envelope import MAX_BYTES, Content, Envelope
from gateway.core.errors import PeerFault
from gateway.core.ids import Digest
from gateway.core.intake import Answered, Judged, Opened, Refused
from gateway.core.strict import sha256, time_text
from keys.signing import SigningKey
from tests.support.authorities import (
    DAY_MS,
    NOW_MS,
    Party,
    Posted,
    enquiry,
    make_authority,
    make_blob,
    message,
    payload,
    seal,
    sign_raw,
)

US, PEER, THIRD = (make_authority(name) for name in ("qm.moj", "qn.justice", "qo.justice"))


def parse(raw: bytes) -> Envelope:
    return intake.parse(raw, peer=PEER.id, me=US.id, keys=US.keyring.sealing)


def opened(envelope: Envelope) -> Opened | Refused:
    return intake.open_message(envelope, keys=US.keyring.sealing, signers=PEER.card.signing_keys())


def authentic(posted: Posted) -> Opened:
    found = opened(posted.envelope)
    assert isinstance(found, Opened)
    return found


def judged(posted: Posted, history: History = History()) -> Judged | Refused:  # noqa: B008 - it is frozen
    return intake.judge(authentic(posted), history, NOW_MS)


def code_of(fault: pytest.ExceptionInfo[PeerFault]) -> tuple[int, str]:
    return fault.value.status, fault.value.code


def test_size_comes_before_form() -> None:
    with pytest.raises(PeerFault) as fault:
        parse(b"{" * (MAX_BYTES + 1))
    assert code_of(fault) == (413, "too_large")
    with pytest.raises(PeerFault) as fault:
        parse(b"{" * MAX_BYTES)
    assert code_of(fault) == (400, "malformed")


@pytest.mark.parametrize(
    ("sender", "recipient", "code"),
    [(THIRD, PEER, "wrong_sender"), (PEER, THIRD, "wrong_recipient")],
)
def test_sender_then_recipient_then_key(sender: Party, recipient: Party, code: str) -> None:
    with pytest.raises(PeerFault) as fault:
        parse(message(sender, recipient).raw)
    assert code_of(fault) == (403, code)
    posted = message(PEER, US)
    with pytest.raises(PeerFault) as fault:
        intake.parse(posted.raw, peer=PEER.id, me=US.id, keys={})
    assert code_of(fault) == (421, "unknown_sealing_key")


def test_a_sound_envelope_is_what_was_sent() -> None:
    posted = message(PEER, US)
    assert parse(posted.raw) == posted.envelope
    assert authentic(posted).signed == posted.signed


def test_the_sixtieth_refusal_is_the_last() -> None:
    intake.check_refusals(intake.REFUSALS_PER_HOUR - 1)
    with pytest.raises(PeerFault) as fault:
        intake.check_refusals(intake.REFUSALS_PER_HOUR)
    assert code_of(fault) == (429, "too_many_refusals")


def test_a_refusal_before_the_message_is_known_names_no_message() -> None:
    posted = message(PEER, US)
    assert opened(replace(posted.envelope, sealed=posted.envelope.sealed[:-1])) == Refused("unopenable")
    assert opened(seal(PEER, US, "", plaintext=b"{}")) == Refused("unopenable")


def test_the_signature_comes_before_what_is_signed() -> None:
    raw = b'{"id":"of nothing"}'
    jws = sign_raw(PEER, raw)
    assert opened(seal(PEER, US, jws)) == Refused("schema", sha256(jws.encode()))
    forged = jws[:-4] + "AAAA"
    assert opened(seal(PEER, US, forged)) == Refused("bad_signature", sha256(forged.encode()))
    with pytest.raises(PeerFault) as fault:
        opened(seal(PEER, US, sign_raw(PEER, raw, key=SigningKey.generate())))
    assert code_of(fault) == (425, "unknown_signing_key")


@pytest.mark.parametrize("jws", ["", "a.b", "a.b.c.d", "!.!.!", "é.b.c"])
def test_what_does_not_even_look_like_a_message_was_not_sealed_by_this_protocol(jws: str) -> None:
    assert opened(seal(PEER, US, jws)) == Refused("unopenable")


def test_what_only_looks_like_a_message_has_no_signature() -> None:
    assert opened(seal(PEER, US, "aa.bb.cc")) == Refused("bad_signature", sha256(b"aa.bb.cc"))


@pytest.mark.parametrize(
    "changes", [{"id": "f47ac10b-58cc-4372-a567-0e02b2c3d479"}, {"from_": THIRD.id}, {"to": THIRD.id}]
)
def test_header_and_message_agree(changes: dict[str, str]) -> None:
    posted = message(PEER, US)
    jws = message(PEER, US, **({"id": posted.id} | changes)).signed.jws
    refused = opened(seal(PEER, US, jws, id_=posted.id))
    assert refused == Refused("header_mismatch", sha256(jws.encode()))


def test_what_was_answered_stands_for_the_same_envelope_and_the_same_message() -> None:
    posted, other = message(PEER, US), message(PEER, US)
    answered = Answered("relay.accepted", posted.envelope.sha256, posted.signed.sha256)
    assert intake.is_answered(posted.envelope, answered)
    assert not intake.is_answered(other.envelope, answered)
    assert intake.compare(authentic(posted), answered) is None
    assert intake.compare(authentic(other), answered) == Refused("conflict", other.signed.sha256)
    assert intake.compare(authentic(other), None) is None


def test_what_did_not_open_is_no_other_message() -> None:
    posted = message(PEER, US)
    answered = Answered("relay.refused", Digest("0" * 64), None)
    assert intake.compare(authentic(posted), answered) is None
    accepted = Answered("relay.accepted", posted.envelope.sha256, posted.signed.sha256)
    assert intake.compare(Refused("unopenable"), accepted) is None
    forged = Refused("bad_signature", Digest("0" * 64))
    assert intake.compare(forged, accepted) == Refused("conflict", Digest("0" * 64))


def test_close_has_refused_the_id_for_every_envelope() -> None:
    assert intake.is_answered(message(PEER, US).envelope, Answered("relay.unknown", Digest("0" * 64), None))


def test_a_message_expires_at_its_millisecond() -> None:
    posted = message(PEER, US, created=time_text(NOW_MS - DAY_MS), expires=time_text(NOW_MS + 1))
    assert isinstance(judged(posted), Judged)
    assert intake.judge(authentic(posted), History(), NOW_MS + 1) == Refused("expired", posted.signed.sha256)


@pytest.mark.parametrize(("ahead_ms", "wait_s"), [(1, 1), (1000, 1), (1001, 2), (DAY_MS, 300)])
def test_created_ahead(ahead_ms: int, wait_s: int) -> None:
    created = NOW_MS + intake.MAX_AHEAD_MS + ahead_ms
    posted = message(PEER, US, created=time_text(created), expires=time_text(created + DAY_MS))
    with pytest.raises(PeerFault) as fault:
        judged(posted)
    assert code_of(fault) == (425, "created_ahead")
    assert fault.value.retry_after_s == wait_s
    assert isinstance(intake.judge(authentic(posted), History(), NOW_MS + ahead_ms), Judged)


def test_the_case_is_judged_on_what_the_message_builds_on() -> None:
    first = message(PEER, US)
    step = judged(first)
    assert isinstance(step, Judged)
    history = add(History(), step.step)
    assert isinstance(judged(enquiry(first, PEER, US), history), Judged)
    with pytest.raises(PeerFault) as fault:
        judged(enquiry(first, PEER, US))
    assert code_of(fault) == (425, "predecessor_missing")
    unknown = message(PEER, US, case=first.signed.message.case, case_head="0" * 64)
    assert judged(unknown, history) == Refused("unknown_case_head", unknown.signed.sha256)
    twice = message(PEER, US, case=first.signed.message.case, previous=first.signed.sha256)
    assert judged(twice, history) == Refused("not_allowed", twice.signed.sha256)


def _with(member: dict[str, Any], *keys: Digest) -> Judged:
    posted = message(PEER, US, body={})
    signed = payload(PEER, US, id=posted.id, attachments=[member])
    found = opened(seal(PEER, US, sign_raw(PEER, _json(signed)), id_=posted.id))
    assert isinstance(found, Opened)
    content = Content(found.content.jws, dict.fromkeys(keys, bytes(32)))
    verdict = intake.judge(replace(found, content=content), History(), NOW_MS)
    assert isinstance(verdict, Judged)
    return verdict


def _json(value: object) -> bytes:
    return json.dumps(value).encode()


def test_blobs_are_those_that_were_signed() -> None:
    blob = make_blob(b"plain")
    found = _with(blob.member(), blob.sha256)
    refused = Refused("blob_mismatch", found.opened.signed.sha256)
    assert intake.check_blobs(found, {blob.sha256: len(blob.sealed)}) is None
    assert intake.check_blobs(found, {blob.sha256: len(blob.sealed) + 1}) == refused
    with pytest.raises(PeerFault) as fault:
        intake.check_blobs(found, {})
    assert (fault.value.code, fault.value.members) == ("blobs_missing", {"missing": [blob.sha256]})
    (attachment,) = found.opened.signed.message.attachments
    assert intake.check_attachment(found, attachment, sha256(b"plain")) is None
    assert intake.check_attachment(found, attachment, sha256(b"plaim")) == refused
    assert intake.check_attachment(found, attachment, "") == refused


@pytest.mark.parametrize("count", [0, 2])
def test_the_keys_are_those_of_the_blobs_and_no_others(count: int) -> None:
    blob = make_blob(b"plain")
    found = _with(blob.member(), *[blob.sha256, Digest("0" * 64)][:count])
    refused = intake.check_blobs(found, {blob.sha256: len(blob.sealed)})
    assert refused == Refused("blob_mismatch", found.opened.signed.sha256)
