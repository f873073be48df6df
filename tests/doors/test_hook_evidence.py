"""The evidence bundle at the hook: what the node holds of a message, and nothing of who read it."""

import pytest

from gateway.core.bundle import parse_bundle
from gateway.core.card import parse_card
from gateway.core.entry import Draft, parse_entry
from gateway.core.evidence import examine
from gateway.core.note import cosign
from gateway.core.proof import parse_receipt
from gateway.core.strict import sha256
from gateway.ports import Change
from gateway.rows import (
    THIS_ENTRY,
    BridgeRow,
    CardRow,
    ContentRow,
    CosignedRow,
    CoverRow,
    Direction,
    ReceiptRow,
)
from tests.support.authorities import NOW_MS, make_authority, pin
from tests.support.evidence import TestLog, roots
from tests.support.hooks import MARK, PEER, open_hook

THIRD = "qq.justice"


@pytest.fixture
async def hook(tmp_path):
    async with open_hook(tmp_path) as opened:
        yield opened


async def cosigned(hook, *authorities):
    """Have the log as it stands cosigned by the witnesses of peers."""
    newest = await hook.store.checkpoint()
    rows = []
    for authority in authorities:
        party = make_authority(authority)
        name = party.card.witness.name
        lines = cosign(newest, name, NOW_MS + 9000, party.keyring.witness)
        rows.append(
            CosignedRow(size=newest.size, witness=name, version=0, lines=lines, time_s=NOW_MS // 1000 + 9)
        )
    await hook.store.record(Change(name="cosigned", puts=tuple(rows)))
    return newest.size


async def receipted(hook, row, *, covered=True):
    """Let PEER's receipt about an outgoing message come, and be led to a cosigned checkpoint."""
    log = TestLog(make_authority(PEER))
    log.add(Draft(event="log.read", outcome="ok"))
    index = log.add(
        Draft(
            event="relay.accepted", outcome="ok", peer=hook.party.id, message_id=row.id,
            envelope_sha256=row.envelope_sha256, message_sha256=row.message_sha256,
        )
    )  # fmt: skip
    for _ in range(4):
        log.add(Draft(event="log.read", outcome="ok"))
    body = log.receipt(index, log.note(2), 2).encode()
    entry = Draft(
        event="receipt.recorded", outcome="ok", peer=row.peer, message_id=row.id,
        envelope_sha256=row.envelope_sha256, message_sha256=row.message_sha256,
        extra=(("stated", "relay.accepted"),),
    )  # fmt: skip
    kept = ReceiptRow(
        entry_sha256=sha256(log.leaves[index]), version=0, peer=row.peer, id=row.id,
        event="relay.accepted", body=body, recorded_ms=NOW_MS, entry=THIS_ENTRY,
    )  # fmt: skip
    await hook.store.record(Change(name="settle", entries=(entry,), puts=(kept,)))
    if covered:
        origin = make_authority(PEER).origin
        cover = CoverRow(origin=origin, size=6, version=0, text=log.note(6, hook.party), stored_ms=NOW_MS)
        bridge = BridgeRow(origin=origin, size=2, version=0, cover=6, proof=log.consistency(2, 6))
        await hook.store.record(Change(name="compare", puts=(cover, bridge)))


async def bundle_of(hook, message):
    answer = await hook("GET", f"/messages/{message}/evidence")
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "application/zip"
    assert f"evidence-{message}.zip" in answer.headers["Content-Disposition"]
    return answer.body


BOTH = roots(make_authority(PEER), make_authority("qo.justice"))


async def test_an_outgoing_message_with_the_peers_receipt(hook):
    said = await hook.sent()
    row = await hook.row(said["id"])
    await receipted(hook, row)
    size = await cosigned(hook, PEER)
    raw = await bundle_of(hook, said["id"])
    found = examine(raw, BOTH)
    assert found.failure is None
    assert found.holds
    logged = [(one.about["authority"], one.about["event"]) for one in found.findings if one.what == "logged"]
    assert logged == [
        ("qo.justice", "submission.accepted"),
        ("qo.justice", "receipt.recorded"),
        (PEER, "relay.accepted"),
    ]
    cosignatures = [
        (one.about["witness"], one.about["size"]) for one in found.findings if one.what == "cosigned"
    ]
    peers, ours = (make_authority(one).card.witness.name for one in (PEER, "qo.justice"))
    assert cosignatures == [(peers, size), (peers, size), (ours, 6)]
    assert not [one for one in found.findings if not one.proved]
    assert {part.role for part in parse_bundle(raw).parts} == {
        "message", "statement", "checkpoint", "consistency", "card", "reading",
    }  # fmt: skip


async def test_an_incoming_message_with_our_own_statements(hook):
    posted = await hook.received()
    assert (await hook("POST", f"/messages/{posted.id}/acknowledge")).status == 204
    await cosigned(hook, PEER)
    found = examine(await bundle_of(hook, posted.id), BOTH)
    assert found.holds
    assert [one.about["event"] for one in found.findings if one.what == "logged"] == [
        "relay.accepted",
        "content.handed_over",
    ]
    (signed,) = [one for one in found.findings if one.what == "signed"]
    assert signed.about["authority"] == PEER


async def test_what_is_not_cosigned_or_led_anywhere_yet_is_said_to_be_so(hook):
    said = await hook.sent()
    await receipted(hook, await hook.row(said["id"]), covered=False)
    found = examine(await bundle_of(hook, said["id"]), BOTH)
    assert found.holds
    assert [one.what for one in found.findings if not one.proved] == ["unwitnessed"] * 3


async def test_each_witness_is_shown_at_the_earliest_that_it_saw(hook):
    third = make_authority(THIRD)
    await pin(hook.store, third.card)
    await hook.context.directory.refresh()
    said = await hook.sent()
    first = await cosigned(hook, PEER)
    await hook.store.record(Change(name="test", entries=(Draft(event="log.read", outcome="ok"),) * 3))
    later = await cosigned(hook, THIRD, PEER)
    found = examine(await bundle_of(hook, said["id"]), BOTH.joined(roots(third)))
    assert found.holds
    seen = {one.about["witness"]: one.about["size"] for one in found.findings if one.what == "cosigned"}
    assert seen == {make_authority(PEER).card.witness.name: first, third.card.witness.name: later}


async def test_who_read_what_is_in_no_bundle_and_the_reading_is_logged(hook):
    said = await hook.sent()
    await hook("GET", f"/messages/{said['id']}/content")
    before = hook.counts()["entries"]
    raw = await bundle_of(hook, said["id"])
    assert hook.counts()["entries"] == before + 1
    entry = await hook.last()
    assert (entry["event"], entry["part"]) == ("content.read", "evidence")
    events = {parse_entry(parse_receipt(one.data).entry).event for one in parse_bundle(raw).of("statement")}
    assert events == {"submission.accepted"}


async def test_once_the_content_is_gone_the_digests_still_are_proved(hook):
    said = await hook.sent()
    row = await hook.row(said["id"])
    content = await hook.store.get(ContentRow, Direction.OUT, row.peer, row.id)
    await hook.store.record(Change(name="erase", deletes=(content,)))
    before = hook.counts()["entries"]
    raw = await bundle_of(hook, said["id"])
    assert hook.counts()["entries"] == before
    assert MARK.encode() not in raw
    found = examine(raw, BOTH)
    assert found.holds
    assert "content" in [one.what for one in found.findings if not one.proved]


async def test_cards_from_the_one_that_counted_to_the_newest(hook):
    said = await hook.sent()
    peer = make_authority(PEER)
    following = [peer.succeeded()]
    following.append(following[0].succeeded())
    for number, party in enumerate(following, 1):
        row = CardRow.of(party.card, NOW_MS + number * 1000)
        await hook.store.record(Change(name="pin", puts=(row,)))
    fork = peer.succeeded(issued_ms=NOW_MS + 5)
    await hook.store.record(Change(name="fork", puts=(CardRow.of(fork.card, 0),)))
    cards = [parse_card(one.data) for one in parse_bundle(await bundle_of(hook, said["id"])).of("card")]
    assert [(card.authority, card.sequence) for card in cards] == [
        ("qo.justice", 1), (PEER, 1), (PEER, 2), (PEER, 3),
    ]  # fmt: skip
    assert fork.card.sha256 not in {card.sha256 for card in cards}


async def test_a_message_that_is_not_here(hook):
    answer = await hook("GET", "/messages/5e0c8c1e-6a2c-4c0e-9b6e-4f0c1c1d2e3f/evidence")
    assert (answer.status, answer.code) == (404, "not_found")
