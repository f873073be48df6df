"""A draft becomes a message: once, and only if it may be sent."""

import asyncio
import json
import uuid

import pytest

from gateway.core import custody
from gateway.core.envelope import open_envelope, parse_envelope
from gateway.core.message import verify_message
from gateway.core.strict import time_text
from gateway.peering.settlement import open_case
from gateway.ports import MessageFilter
from gateway.rows import CaseRow, ContentRow, Direction
from gateway.web.tokens import Scope
from keys.rest import Box
from tests.support.authorities import DAY_MS, NOW_MS, make_authority
from tests.support.hooks import MARK, PEER, US, draft, faulty, open_hook


@pytest.fixture
async def hook(tmp_path):
    async with open_hook(tmp_path) as opened:
        yield opened


def enquiry(case: str, **members):
    """A message that the side that made a request may send while it is pending."""
    return draft(
        kind="status.enquiry", case=case, body={"questions": ["When can an answer be expected?"]}, **members
    )


async def history_of(hook, case: str):
    row = await hook.store.get(CaseRow, PEER, case)
    return open_case(hook.party.keyring.storage, row)


async def test_a_draft_becomes_a_message(hook):
    answer = await hook("POST", "/messages", draft())
    assert answer.status == 201
    said = answer.json
    assert answer.headers["Location"] == f"/v1/messages/{said['id']}"
    assert (said["state"], said["findings"]) == ("queued", [])

    row = await hook.row(said["id"])
    assert (row.kind, row.case, row.created_ms) == ("request.mla", said["case"], NOW_MS)
    assert row.expires_ms == NOW_MS + 30 * DAY_MS
    (posted,) = await hook.store.due(PEER, NOW_MS, limit=9)
    assert posted.message.id == said["id"]

    envelope = parse_envelope(posted.envelope.body)
    assert (envelope.header.sender, envelope.header.recipient) == (US, PEER)
    content = open_envelope(envelope, make_authority(PEER).keyring.sealing)
    signed = verify_message(content.jws, hook.party.card.signing_keys())
    assert signed.sha256 == row.message_sha256
    assert MARK in signed.message.body["purpose"]
    kept = await hook.store.get(ContentRow, Direction.OUT, PEER, said["id"])
    box = Box(kept.wrapped_key, kept.ciphertext)
    assert custody.open_content(hook.party.keyring.storage, "out", PEER, said["id"], box) == content


async def test_a_new_case_asks_the_database_only_for_its_persons(hook, monkeypatch):
    await hook("GET", "/peers")  # the token is known now

    async def asked(*_args, **_kwargs):
        raise AssertionError("the way of a new case reads nothing else")

    for name in ("get", "get_many", "all", "messages", "messages_with_id"):
        monkeypatch.setattr(hook.store, name, asked)
    answer = await hook("POST", "/messages", draft(), headers={"Idempotency-Key": "k"})
    assert answer.status == 201


async def test_its_entry_names_the_bearer_and_no_content(hook):
    said = await hook.sent()
    (entry,) = await hook.logged(said["id"])
    assert (entry["event"], entry["outcome"], entry["peer"]) == ("submission.accepted", "ok", PEER)
    row = await hook.row(said["id"])
    assert entry["envelope_sha256"] == row.envelope_sha256
    assert entry["message_sha256"] == row.message_sha256
    tokens = (await hook("GET", "/tokens")).json["items"]
    assert entry["actor_ref"] in {one["id"] for one in tokens}
    assert set(entry) == {
        "v", "event", "entry_id", "time", "authority", "outcome", "peer", "message_id",
        "envelope_sha256", "message_sha256", "actor_ref",
    }  # fmt: skip


async def test_a_follower_names_what_went_before(hook):
    first = await hook.sent()
    second = await hook("POST", "/messages", enquiry(first["case"], in_reply_to=first["id"]))
    assert second.status == 201
    assert second.json["case"] == first["case"]
    content = (await hook("GET", f"/messages/{second.json['id']}/content")).json
    assert content["previous"] == (await hook.row(first["id"])).message_sha256
    assert content["case_head"] is None
    assert [step.id for step in (await history_of(hook, first["case"])).steps] == [
        first["id"],
        second.json["id"],
    ]


async def test_the_newest_of_the_other_side_is_the_case_head(hook):
    came = await hook.received()
    body = {
        "received_at": time_text(NOW_MS),
        "registered_ref": "QO-1",
        "request_sha256": came.signed.sha256,
        "attachments_readable": True,
        "language_ok": True,
        "first_completeness_view": {"view": "complete"},
        "case_officer": {"name": "Example Officer Two"},
        "next_update_by": "2026-12-23",
    }
    case = came.signed.message.case
    taken = draft(kind="acknowledgment", case=case, in_reply_to=came.id, body=body)
    said = await hook("POST", "/messages", taken)
    assert said.status == 201, said.body
    content = (await hook("GET", f"/messages/{said.json['id']}/content")).json
    assert content["case_head"] == came.signed.sha256
    assert content["previous"] is None


@pytest.mark.parametrize(
    ("members", "code", "pointer"),
    [
        ({"to": "qz.nobody"}, "unknown_peer", "/to"),
        ({"to": "nobody"}, "schema", "/to"),
        ({"kind": "request.pardon"}, "unknown_kind", None),
        ({"kind": ["request.mla"]}, "schema", None),
        ({"case": "8c6a4f0e-6f6e-4a52-9d52-3a8f0c5f1b11"}, "unknown_case", "/case"),
        ({"case": 7}, "schema", "/case"),
        ({"language": "français"}, "schema", "/language"),
        ({"authorised_by": {"name": "Example"}}, "schema", "/authorised_by"),
        ({"urgency": "at once"}, "schema", "/urgency"),
        ({"expires": "tomorrow"}, "schema", "/expires"),
        ({"expires": time_text(NOW_MS - 1)}, "schema", "/expires"),
        ({"expires": time_text(NOW_MS + 91 * DAY_MS)}, "schema", "/expires"),
        ({"own_ref": ...}, "schema", ""),
        ({"id": "8c6a4f0e-6f6e-4a52-9d52-3a8f0c5f1b11"}, "schema", ""),
        ({"previous": None}, "schema", ""),
        ({"override": {"reason": " "}}, "schema", "/override"),
        ({"in_reply_to": "that one"}, "schema", "/in_reply_to"),
        ({"attachments": [{"upload": "x"}]}, "schema", "/attachments/0"),
        (
            {
                "attachments": [
                    {
                        "upload": "8c6a4f0e-6f6e-4a52-9d52-3a8f0c5f1b11",
                        "name": "a.pdf",
                        "media_type": "application/pdf",
                        "role": "other",
                        "language": "fr",
                    }
                ]
            },
            "unknown_upload",
            "/attachments/0/upload",
        ),
    ],
)
async def test_a_wrong_draft_changes_nothing(hook, members, code, pointer):
    before = hook.counts()
    answer = await hook("POST", "/messages", draft(**members), headers={"Idempotency-Key": "k"})
    assert (answer.status, answer.code) == (422, code)
    if pointer is not None:
        assert pointer in [one["pointer"] for one in answer.json["errors"]]
    assert MARK not in answer.body.decode()
    assert hook.counts() == before


@pytest.mark.parametrize(
    ("body", "headers", "status", "code"),
    [
        (b"{", {}, 400, "malformed"),
        (b'{"kind":"a","kind":"b"}', {}, 400, "malformed"),
        (b"[]", {}, 400, "malformed"),
        (b'{"kind":1.5}', {}, 400, "malformed"),
        (b"{}", {"Content-Type": "text/plain"}, 415, "unsupported_media_type"),
        (b"{}", {"Content-Encoding": "identity"}, 415, "unsupported_media_type"),
        (b" " * ((1 << 20) + 1), {}, 413, "too_large"),
        (b"{}", {"Idempotency-Key": "two words"}, 400, "malformed"),
    ],
)
async def test_what_is_no_draft_changes_nothing(hook, body, headers, status, code):
    before = hook.counts()
    answer = await hook("POST", "/messages", body, headers={"Content-Type": "application/json"} | headers)
    assert (answer.status, answer.code) == (status, code)
    assert hook.counts() == before


async def test_what_the_case_does_not_allow_is_told_with_what_it_does(hook):
    said = await hook.sent()
    before = hook.counts()
    answer = await hook("POST", "/messages", draft(case=said["case"]))
    assert (answer.status, answer.code) == (409, "not_allowed")
    assert answer.json["state"] == "filed"
    assert "withdrawal" in answer.json["allowed"]
    assert hook.counts() == before


async def test_a_suspended_peer_gets_nothing(hook):
    assert (await hook("POST", f"/peers/{PEER}/suspend")).status == 200
    answer = await hook("POST", "/messages", draft())
    assert (answer.status, answer.code) == (409, "peer_suspended")


# -- findings


async def test_errors_stop_a_message_and_name_their_article(hook):
    before = hook.counts()
    answer = await hook("POST", "/messages", faulty())
    assert (answer.status, answer.code) == (422, "findings")
    (error,) = answer.json["errors"]
    assert error["pointer"] == "/body/purpose"
    assert error["detail"].startswith("18(15)(f): ")
    (finding,) = answer.json["findings"]
    assert (finding["article"], finding["severity"]) == ("18(15)(f)", "error")
    assert hook.counts() == before


async def test_an_override_sends_and_is_logged_with_a_reason_that_can_be_erased(hook):
    reason = f"The purpose follows by telephone: {MARK}"
    answer = await hook("POST", "/messages", faulty(override={"reason": reason}))
    assert answer.status == 201, answer.body
    assert [one["article"] for one in answer.json["findings"]] == ["18(15)(f)"]
    (entry,) = await hook.logged(answer.json["id"])
    assert entry["errors_overridden"] == 1
    assert entry["commitment"]
    assert MARK not in json.dumps(entry)
    shown = (await hook("GET", f"/messages/{answer.json['id']}")).json
    assert shown["findings"] == answer.json["findings"]


async def test_an_override_of_nothing_is_nothing(hook):
    answer = await hook("POST", "/messages", draft(override={"reason": "to be safe"}))
    (entry,) = await hook.logged(answer.json["id"])
    assert not {"errors_overridden", "commitment"} & set(entry)


async def test_a_dry_run_writes_nothing_and_says_what_would_be_found(hook):
    before = hook.counts()
    sound = await hook("POST", "/messages?dry_run=true", draft(), headers={"Idempotency-Key": "k"})
    assert (sound.status, sound.json) == (200, {"dry_run": True, "state": "queued", "findings": []})
    form = await hook("POST", "/messages?dry_run=true", draft(), headers={"Idempotency-Key": "two words"})
    assert (form.status, form.code) == (400, "malformed")
    wrong = await hook("POST", "/messages?dry_run=true", faulty())
    assert (wrong.status, wrong.code) == (422, "findings")
    over = await hook("POST", "/messages?dry_run=true", faulty(override={"reason": "practice"}))
    assert [one["article"] for one in over.json["findings"]] == ["18(15)(f)"]
    assert (await hook("POST", "/messages?dry_run=perhaps", draft())).code == "malformed"
    assert hook.counts() == before


# -- idempotency


async def test_one_key_makes_one_message_however_many_come_at_once(hook):
    headers = {"Idempotency-Key": str(uuid.uuid4())}
    first, *others = await asyncio.gather(
        *(hook("POST", "/messages", draft(), headers=headers) for _ in range(32)),
    )
    assert first.status == 201
    for other in others:
        if other.status == 409:
            assert (other.code, other.headers["Retry-After"]) == ("idempotency_in_flight", "1")
            other = await hook("POST", "/messages", draft(), headers=headers)  # noqa: PLW2901 - as it was told
        assert (other.status, other.body) == (201, first.body)
        assert other.headers["Location"] == first.headers["Location"]
        assert other.headers["Idempotent-Replayed"] == "true"
    assert "Idempotent-Replayed" not in first.headers
    assert len(await hook.store.messages(MessageFilter())) == 1
    assert hook.counts()["cases"] == 1
    assert len(await hook.logged(first.json["id"])) == 1


async def test_one_key_with_another_body_is_refused(hook):
    headers = {"Idempotency-Key": "k"}
    first = await hook("POST", "/messages", draft(), headers=headers)
    before = hook.counts()
    for other in (draft(own_ref="QO-2"), faulty()):
        answer = await hook("POST", "/messages", other, headers=headers)
        assert (answer.status, answer.code) == (422, "idempotency_key")
    assert hook.counts() == before
    assert (await hook("POST", "/messages", draft(), headers=headers)).body == first.body


async def test_a_key_belongs_to_its_bearer(hook):
    other = await hook.bearer(Scope.WRITE)
    hook.clock.time_ms += 1000  # tokens made elsewhere are known after a moment
    headers = {"Idempotency-Key": "k"}
    first = await hook("POST", "/messages", draft(), headers=headers)
    second = await hook("POST", "/messages", draft(), headers=headers, token=other)
    assert first.json["id"] != second.json["id"]


async def test_a_restart_keeps_the_answer(tmp_path):
    headers = {"Idempotency-Key": "k"}
    async with open_hook(tmp_path) as hook:
        token = hook.token
        first = await hook("POST", "/messages", draft(), headers=headers)
    async with open_hook(tmp_path) as hook:
        again = await hook("POST", "/messages", draft(), headers=headers, token=token)
        assert (again.status, again.body) == (201, first.body)
        assert len(await hook.store.messages(MessageFilter())) == 1


async def test_an_answer_is_the_stored_one_even_if_it_could_not_be_sent_again(hook):
    upload = await hook.upload(b"once")
    attached = {
        "upload": upload, "name": "a.txt", "media_type": "text/plain", "role": "other", "language": "fr"
    }  # fmt: skip
    headers = {"Idempotency-Key": "k"}
    first = await hook("POST", "/messages", draft(attachments=[attached]), headers=headers)
    assert first.status == 201
    again = await hook("POST", "/messages", draft(attachments=[attached]), headers=headers)
    assert (again.status, again.body) == (201, first.body)


async def test_many_in_one_case_at_once_keep_one_chain(hook):
    said = await hook.sent()
    answers = await asyncio.gather(*(hook("POST", "/messages", enquiry(said["case"])) for _ in range(8)))
    assert {answer.status for answer in answers} == {201}
    history = await history_of(hook, said["case"])
    assert len(history.steps) == 9
    links = [step.previous for step in history.steps]
    assert links == [None, *(step.sha256 for step in history.steps[:-1])]
