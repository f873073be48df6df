"""Messages at the hook: lists, timelines, content, handover, and what is held."""

import asyncio
import json
from dataclasses import replace
from urllib.parse import urlsplit

import pytest

from gateway.core import delivery
from gateway.core.entry import parse_entry
from gateway.core.envelope import open_envelope, parse_envelope
from gateway.core.message import verify_message
from gateway.core.note import parse_head
from gateway.core.proof import SentEnvelope, parse_proof, parse_receipt, verify_receipt
from gateway.core.signed_note import parse_note
from gateway.core.strict import sha256, time_text
from gateway.peering.settlement import open_case
from gateway.ports import Change
from gateway.rows import BridgeRow, CaseRow, ContentRow, CosignedRow, Direction, NoticeRow, PeerRow
from gateway.web.tokens import Scope
from tests.support.authorities import DAY_MS, NOW_MS, make_authority
from tests.support.hooks import MARK, PEER, US, accepted, draft, open_hook, settlement_of

HOUR_MS = 3600 * 1000


@pytest.fixture
async def hook(tmp_path):
    async with open_hook(tmp_path) as opened:
        yield opened


def enquiry(case: str) -> dict[str, object]:
    body = {"questions": [f"When can an answer be expected? {MARK}"]}
    return draft(kind="status.enquiry", case=case, body=body)


async def lost(hook) -> dict[str, object]:
    """Let a request become undetermined, as the courier does when nobody answers in time."""
    said = await hook.sent(expires=time_text(NOW_MS + HOUR_MS))
    hook.clock.time_ms += HOUR_MS
    await settlement_of(hook).settle(await hook.row(said["id"]), delivery.Silent())
    return said


# -- lists


async def test_lists_filter_and_go_on(hook):
    sent = [await hook.sent() for _ in range(5)]
    came = await hook.received()
    first = await hook("GET", "/messages?limit=4")
    assert [one["id"] for one in first.json["items"]] == [came.id, *(one["id"] for one in sent[:1:-1])]
    assert first.headers["Link"].endswith('rel="next"')
    target = urlsplit(first.headers["Link"][1:].partition(">")[0])
    second = await hook.ask("GET", f"{target.path}?{target.query}")
    assert [one["id"] for one in second.json["items"]] == [sent[1]["id"], sent[0]["id"]]
    assert "Link" not in second.headers

    async def listed(query: str) -> list[str]:
        return [one["id"] for one in (await hook("GET", f"/messages?{query}")).json["items"]]

    assert await listed("direction=in") == [came.id]
    assert await listed("state=available&kind=request.mla") == [came.id]
    assert await listed(f"case={sent[2]['case']}") == [sent[2]["id"]]
    assert await listed(f"peer={PEER}&direction=out&limit=2") == [sent[4]["id"], sent[3]["id"]]
    assert await listed("peer=qz.nobody") == []


async def test_lists_and_states_open_nothing_and_log_nothing(hook):
    said = await hook.sent()
    before = hook.counts()
    for path in ("/messages", f"/messages/{said['id']}", f"/messages/{said['id']}/receipts", "/cases"):
        answer = await hook("GET", path)
        assert answer.status == 200
        assert MARK not in answer.body.decode()
    assert hook.counts() == before


async def test_a_message_has_its_story(hook):
    said = await hook.sent()
    shown = (await hook("GET", f"/messages/{said['id']}")).json
    row = await hook.row(said["id"])
    assert shown == {
        "id": said["id"],
        "case": said["case"],
        "direction": "out",
        "peer": PEER,
        "kind": "request.mla",
        "state": "queued",
        "created": "2026-11-18T11:06:40.000Z",
        "expires": "2026-12-18T11:06:40.000Z",
        "recorded": "2026-11-18T11:06:40.000Z",
        "in_reply_to": None,
        "message_sha256": row.message_sha256,
        "attempt": 0,
        "next_attempt": "2026-11-18T11:06:40.000Z",
        "problem": None,
        "erased": None,
        "findings": [],
        "receipts": 0,
        "timeline": [
            {
                "time": "2026-11-18T11:06:40.000Z",
                "event": "submission.accepted",
                "outcome": "ok",
                "by": US,
                "log": "qo-justice.example/audit/1",
                "entry": row.entry,
                "witnessed": False,
            }
        ],
    }


# -- content


async def test_content_is_given_as_it_was_signed_and_its_reading_is_logged_first(hook):
    came = await hook.received()
    reader = await hook.bearer(Scope.READ)
    hook.clock.time_ms += 1000
    content = await hook("GET", f"/messages/{came.id}/content", token=reader)
    assert content.body == came.signed.message.raw
    jws = await hook("GET", f"/messages/{came.id}/jws", token=reader)
    assert jws.body.decode() == came.signed.jws
    assert jws.headers["Content-Type"] == "application/jose"
    (_, *read) = await hook.logged(came.id)
    assert [one["event"] for one in read] == ["content.read", "content.read"]
    tokens = (await hook("GET", "/tokens")).json["items"]
    (me,) = [one["id"] for one in tokens if one["scopes"] == ["messages:read"]]
    assert {one["actor_ref"] for one in read} == {me}
    assert {one["message_sha256"] for one in read} == {came.signed.sha256}


async def test_nothing_is_read_that_cannot_be_logged(hook, monkeypatch):
    came = await hook.received()

    async def full(_change):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(hook.store, "record", full)
    for path in ("content", "jws"):
        answer = await hook("GET", f"/messages/{came.id}/{path}")
        assert answer.status == 500
        assert MARK not in answer.body.decode()


async def test_what_was_erased_is_gone(hook):
    said = await hook.sent()
    row = await hook.store.get(ContentRow, Direction.OUT, PEER, said["id"])
    await hook.store.record(Change(name="erase", deletes=(row,)))
    assert (await hook("GET", f"/messages/{said['id']}/content")).code == "erased"


# -- one id, two peers


async def test_an_id_that_two_peers_share_needs_the_peer(tmp_path):
    one, other = make_authority(PEER), make_authority("qr.justice")
    async with open_hook(tmp_path, peers=(one.card, other.card)) as hook:
        came = await hook.received()
        await hook.received(sender=other, id=came.id, case=came.signed.message.case)
        for path in ("", "/content", "/receipts"):
            answer = await hook("GET", f"/messages/{came.id}{path}")
            assert (answer.status, answer.code) == (409, "ambiguous")
        candidates = answer.json["candidates"]
        assert sorted(one["peer"] for one in candidates) == [PEER, "qr.justice"]
        shown = await hook("GET", f"/messages/{came.id}?peer=qr.justice")
        assert shown.json["peer"] == "qr.justice"
        taken = await hook("POST", f"/messages/{came.id}/acknowledge?peer=qr.justice")
        assert taken.status == 204
        assert (await hook("GET", f"/messages/{came.id}?peer={PEER}")).json["state"] == "available"
        case = f"/cases/{came.signed.message.case}"
        assert (await hook("GET", case)).code == "ambiguous"
        assert (await hook("GET", f"{case}?peer=qr.justice")).json["peer"] == "qr.justice"


# -- handover


async def test_taking_over_goes_to_the_sender_as_a_receipt(hook):
    came = await hook.received()
    answers = await asyncio.gather(*(hook("POST", f"/messages/{came.id}/acknowledge") for _ in range(5)))
    assert {answer.status for answer in answers} == {204}
    assert (await hook.row(came.id, Direction.IN)).state == "handed_over"
    (notice,) = await hook.store.notices_due(PEER, NOW_MS, limit=9)
    receipt = await hook.store.receipt(notice.entry)
    sent = SentEnvelope(
        message_id=came.id,
        sender=make_authority(PEER).id,
        recipient=hook.party.id,
        message_sha256=came.signed.sha256,
        envelopes=frozenset({came.envelope.sha256}),
    )
    statement = verify_receipt(receipt, sent, {hook.party.origin: hook.party.card.log})
    assert statement.event == "content.handed_over"
    assert statement.entry.actor_ref is None
    assert [one["event"] for one in await hook.logged(came.id)] == ["relay.accepted", "content.handed_over"]


async def test_what_was_taken_over_stays_so_through_a_restart(tmp_path):
    async with open_hook(tmp_path) as hook:
        came, token = await hook.received(), hook.token
        assert (await hook("POST", f"/messages/{came.id}/acknowledge")).status == 204
        before = hook.counts()
    async with open_hook(tmp_path) as hook:
        assert (await hook("POST", f"/messages/{came.id}/acknowledge", token=token)).status == 204
        assert hook.counts()["notices"] == before["notices"] == 1
        assert [one["event"] for one in await hook.logged(came.id)] == [
            "relay.accepted",
            "content.handed_over",
        ]


async def test_only_what_came_in_is_taken_over(hook):
    said = await hook.sent()
    before = hook.counts()
    assert (await hook("POST", f"/messages/{said['id']}/acknowledge")).code == "wrong_direction"
    came = await hook.received()
    after = hook.counts()
    for verb in ("retry", "release", "cancel"):
        assert (await hook("POST", f"/messages/{came.id}/{verb}")).code == "wrong_direction"
    assert (await hook("GET", f"/messages/{came.id}/receipts")).code == "wrong_direction"
    assert hook.counts() == after != before


# -- delivery


async def test_retry_makes_the_next_attempt_due_and_ends_the_backoff_of_the_peer(hook):
    said = await hook.sent()
    row = await hook.row(said["id"])
    await hook.change(row, attempt=4, next_ms=NOW_MS + DAY_MS, problem="unavailable")
    peer = await hook.store.get(PeerRow, PEER)
    moved = replace(peer, attempt=3, next_ms=NOW_MS + DAY_MS, problem="unreachable")
    await hook.store.record(Change(name="peer", puts=(moved,)))

    answer = await hook("POST", f"/messages/{said['id']}/retry")
    assert (answer.status, answer.json["state"]) == (202, "queued")
    assert (await hook.row(said["id"])).next_ms == NOW_MS
    assert (await hook.store.get(PeerRow, PEER)).attempt == 0
    assert (await hook.last())["event"] == "delivery.retried"
    assert (await hook.last())["actor_ref"]


async def test_steps_that_the_state_does_not_have_are_refused(hook):
    said = await hook.sent()
    before = hook.counts()
    for verb in ("release", "cancel"):
        answer = await hook("POST", f"/messages/{said['id']}/{verb}")
        assert (answer.status, answer.code) == (409, "wrong_state")
    assert hook.counts() == before


async def test_a_message_behind_one_of_unknown_fate_is_held(hook):
    first = await lost(hook)
    second = await hook("POST", "/messages", enquiry(first["case"]))
    assert (second.status, second.json["state"]) == (201, "held")
    id_ = second.json["id"]
    row = await hook.row(id_)
    assert row.envelope_sha256 is None
    assert await hook.store.envelopes(id_) == []
    assert await hook.store.due(PEER, hook.clock.time_ms, limit=9) == []
    assert [one["event"] for one in await hook.logged(id_)] == ["submission.accepted", "delivery.held"]
    case = await hook.store.get(CaseRow, PEER, first["case"])
    assert case.state == "none"


async def test_another_case_is_not_held(hook):
    await lost(hook)
    assert (await hook.sent())["state"] == "queued"


async def test_a_held_message_is_released_as_its_case_stands_then(hook):
    first = await lost(hook)
    held = (await hook("POST", "/messages", enquiry(first["case"]))).json
    before = hook.counts()
    answer = await hook("POST", f"/messages/{held['id']}/release")
    assert (answer.status, answer.code) == (409, "not_allowed")
    assert hook.counts() == before

    await accepted(hook, await hook.row(first["id"]))
    old = await hook.row(held["id"])
    hook.clock.time_ms += 2 * DAY_MS
    answer = await hook("POST", f"/messages/{held['id']}/release")
    assert (answer.status, answer.json["state"]) == (202, "queued")

    row = await hook.row(held["id"])
    assert row.message_sha256 != old.message_sha256
    assert (row.created_ms, row.expires_ms) == (hook.clock.time_ms, hook.clock.time_ms + 30 * DAY_MS)
    (posted,) = await hook.store.due(PEER, hook.clock.time_ms, limit=9)
    content = open_envelope(parse_envelope(posted.envelope.body), make_authority(PEER).keyring.sealing)
    signed = verify_message(content.jws, hook.party.card.signing_keys())
    assert (signed.message.id, signed.sha256) == (held["id"], row.message_sha256)
    assert signed.message.previous == (await hook.row(first["id"])).message_sha256
    assert (await hook("GET", f"/messages/{held['id']}/jws")).body.decode() == content.jws
    history = open_case(hook.party.keyring.storage, await hook.store.get(CaseRow, PEER, first["case"]))
    assert [step.sha256 for step in history.steps] == [signed.message.previous, signed.sha256]
    entry = (await hook.logged(held["id"]))[2]
    assert (entry["event"], entry["message_sha256"]) == ("delivery.released", signed.sha256)
    assert entry["actor_ref"]
    assert (await hook("POST", f"/messages/{held['id']}/release")).code == "wrong_state"


async def test_released_messages_go_in_the_order_of_their_release(hook):
    first = await lost(hook)
    one = (await hook("POST", "/messages", enquiry(first["case"]))).json
    two = (await hook("POST", "/messages", enquiry(first["case"]))).json
    assert (one["state"], two["state"]) == ("held", "held")
    await accepted(hook, await hook.row(first["id"]))
    for id_ in (two["id"], one["id"]):
        assert (await hook("POST", f"/messages/{id_}/release")).status == 202
    (posted,) = await hook.store.due(PEER, hook.clock.time_ms, limit=9)
    assert posted.message.id == two["id"]
    content = (await hook("GET", f"/messages/{one['id']}/content")).json
    assert content["previous"] == (await hook.row(two["id"])).message_sha256


async def test_two_who_release_at_once_release_once(hook):
    first = await lost(hook)
    held = (await hook("POST", "/messages", enquiry(first["case"]))).json
    await accepted(hook, await hook.row(first["id"]))
    path = f"/messages/{held['id']}"
    answers = await asyncio.gather(*(hook("POST", f"{path}/release") for _ in range(4)))
    assert sorted(answer.status for answer in answers) == [202, 409, 409, 409]
    events = [one["event"] for one in await hook.logged(held["id"])]
    assert events == ["submission.accepted", "delivery.held", "delivery.released"]
    assert len(await hook.store.envelopes(held["id"])) == 1


async def test_a_held_message_is_given_up(hook):
    first = await lost(hook)
    held = (await hook("POST", "/messages", enquiry(first["case"]))).json
    answer = await hook("POST", f"/messages/{held['id']}/cancel")
    assert (answer.status, answer.json["state"]) == (202, "cancelled")
    assert (await hook.last())["event"] == "delivery.cancelled"
    assert (await hook("POST", f"/messages/{held['id']}/release")).code == "wrong_state"
    await accepted(hook, await hook.row(first["id"]))
    assert (await hook("POST", "/messages", enquiry(first["case"]))).json["state"] == "queued"


async def test_a_first_opening_is_told_to_the_sender_once_and_without_who_it_was(hook):
    came = await hook.received()
    answers = await asyncio.gather(*(hook("POST", f"/messages/{came.id}/open") for _ in range(5)))
    assert {answer.status for answer in answers} == {204}
    opened = [one for one in await hook.logged(came.id) if one["event"] == "content.opened"]
    assert len(opened) == 1
    assert "actor_ref" not in opened[0]
    assert opened[0]["message_sha256"] == came.signed.sha256
    (notice,) = await hook.store.all(NoticeRow)
    assert (notice.peer, notice.id, notice.state) == (PEER, came.id, "queued")
    assert parse_entry((await hook.store.receipt(notice.entry)).entry).event == "content.opened"
    assert (await hook.row(came.id, Direction.IN)).state == "available"
    assert (await hook("POST", f"/messages/{came.id}/acknowledge")).status == 204
    assert (await hook("POST", f"/messages/{came.id}/open")).status == 204
    assert len(await hook.store.all(NoticeRow)) == 2
    said = await hook.sent()
    assert (await hook("POST", f"/messages/{said['id']}/open")).code == "wrong_direction"


async def test_receipts_are_given_as_they_came(hook):
    said = await hook.sent()
    await accepted(hook, await hook.row(said["id"]))
    shown = (await hook("GET", f"/messages/{said['id']}")).json
    assert (shown["state"], shown["receipts"]) == ("accepted", 1)
    assert [(one["event"], one["by"]) for one in shown["timeline"]] == [
        ("submission.accepted", US),
        ("receipt.recorded", US),
        ("relay.accepted", PEER),
    ]
    (item,) = (await hook("GET", f"/messages/{said['id']}/receipts")).json["items"]
    receipt = parse_receipt(json.dumps(item).encode())
    (row,) = await hook.store.receipts(PEER, said["id"])
    assert (receipt.encode(), sha256(receipt.entry)) == (row.body, row.entry_sha256)


async def test_each_moment_says_where_it_is_proved_and_whether_a_witness_saw_it(hook):
    said = await hook.sent()
    row = await accepted(hook, await hook.row(said["id"]))
    (kept,) = await hook.store.receipts(PEER, row.id)
    proof = parse_proof(parse_receipt(kept.body).proof)

    async def witnessed():
        shown = (await hook("GET", f"/messages/{said['id']}")).json["timeline"]
        return {(one["event"], one["log"], one["entry"]): one["witnessed"] for one in shown}

    own = "qo-justice.example/audit/1"
    expected = {
        ("submission.accepted", own, row.entry): False,
        ("receipt.recorded", own, kept.entry): False,
        ("relay.accepted", proof.origin, proof.index): False,
    }
    assert await witnessed() == expected
    name = make_authority(PEER).card.witness.name
    size = parse_head(parse_note(proof.checkpoint).text)[1]
    cosigned = CosignedRow(size=row.entry + 1, witness=name, version=0, lines="", time_s=1)
    bridge = BridgeRow(origin=proof.origin, size=size, version=0, cover=size, proof="")
    await hook.store.record(Change(name="test", puts=(cosigned, bridge)))
    assert [was for _, was in sorted((await witnessed()).items())] == [False, True, True]


# -- cases


async def test_a_case_tells_what_may_follow(hook):
    said = await hook.sent()
    came = await hook.received()
    listed = (await hook("GET", "/cases")).json["items"]
    assert {one["id"] for one in listed} == {said["case"], came.signed.message.case}
    assert (await hook("GET", "/cases?peer=qz.nobody")).json["items"] == []
    one = await hook("GET", "/cases?limit=1")
    assert one.json["items"] == listed[:1]
    assert 'rel="next"' in one.headers["Link"]

    shown = (await hook("GET", f"/cases/{said['case']}")).json
    assert (shown["state"], shown["requesting"], shown["peer"]) == ("filed", US, PEER)
    assert {"acknowledgment", "misdirected"} <= set(shown["allowed"][PEER])
    assert "withdrawal" in shown["allowed"][US]
    assert not {"acknowledgment", "misdirected"} & set(shown["allowed"][US])
    (message,) = shown["messages"]
    assert (message["id"], message["crossed"]) == (said["id"], False)
