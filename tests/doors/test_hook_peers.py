"""Peers and cards at the hook: the ceremony, suspending, checking, renewing."""

import json
from dataclasses import replace

import pytest

from gateway.core.card import build_card, fingerprint, parse_card
from gateway.ports import Change
from gateway.rows import CardRow, PeerRow
from keys.signing import SigningKey
from keys.vault import Keyring
from tests.support.authorities import DAY_MS, NOW_MS, make_authority, next_tls, plan_of
from tests.support.doors import open_door
from tests.support.hooks import PEER, US, open_hook

THIRD = "qr.justice"


@pytest.fixture
async def hook(tmp_path):
    async with open_hook(tmp_path / "us", peers=()) as opened:
        yield opened


def ceremony(card, /, **members: str) -> dict[str, str]:
    found = {"card": card.raw.decode(), "id": card.authority, "fingerprint": fingerprint(card)}
    return found | members


def forged(raw: bytes) -> str:
    """Return a card with another signature."""
    found = json.loads(raw)
    signature = found["signatures"][0]["signature"]
    found["signatures"][0]["signature"] = signature[:-4] + ("AAAA" if signature[-4:] != "AAAA" else "BBBA")
    return json.dumps(found)


async def test_a_ceremony_pins_a_peer_and_is_logged(hook):
    card = make_authority(PEER).card
    assert (await hook("GET", "/peers")).json == {"items": []}
    answer = await hook("POST", "/peers", ceremony(card))
    assert answer.status == 201
    assert answer.headers["Location"] == f"/v1/peers/{PEER}"
    assert (answer.json["id"], answer.json["state"], answer.json["sequence"]) == (PEER, "active", 1)
    assert answer.json["card"].encode() == card.raw
    assert hook.context.directory.peers[PEER].card == card
    entry = await hook.last()
    assert (entry["event"], entry["peer"], entry["card_sha256"]) == ("peer.added", PEER, card.sha256)
    assert entry["actor_ref"]
    assert [one["id"] for one in (await hook("GET", "/peers?limit=5")).json["items"]] == [PEER]
    assert (await hook("GET", f"/peers/{PEER}")).json == answer.json

    before = hook.counts()
    again = await hook("POST", "/peers", ceremony(card, fingerprint=fingerprint(card).upper()))
    assert (again.status, again.json) == (200, answer.json)
    assert hook.counts() == before


async def test_what_was_not_confirmed_is_not_pinned(hook):
    card, other = make_authority(PEER).card, make_authority(THIRD).card
    before = hook.counts()
    for wrong, status, code in (
        (ceremony(card, fingerprint=fingerprint(other)), 422, "wrong_fingerprint"),
        (ceremony(card, id=THIRD), 422, "wrong_authority"),
        (ceremony(card, id="PEER"), 400, "malformed"),
        (ceremony(card, fingerprint="0000"), 422, "wrong_fingerprint"),
        (ceremony(card, card="{}"), 400, "malformed"),
        (ceremony(card, card=forged(card.raw)), 422, "untrusted"),
        (ceremony(hook.party.card), 409, "own_card"),
        ({"card": card.raw.decode()}, 400, "malformed"),
    ):
        answer = await hook("POST", "/peers", wrong)
        assert (answer.status, answer.code) == (status, code)
    assert hook.counts() == before
    assert hook.context.directory.peers == {}


async def test_no_key_is_pinned_for_two(hook):
    one, other = make_authority(PEER), make_authority(THIRD)
    assert (await hook("POST", "/peers", ceremony(one.card))).status == 201
    plan = replace(plan_of(other.card), signing=plan_of(one.card).signing)
    stolen = parse_card(build_card(plan, [other.root]))
    answer = await hook("POST", "/peers", ceremony(stolen))
    assert (answer.status, answer.code) == (409, "pinned_elsewhere")
    own = replace(plan_of(other.card), tls=plan_of(hook.party.card).tls)
    assert (await hook("POST", "/peers", ceremony(parse_card(build_card(own, [other.root]))))).status == 409


async def test_a_lost_root_is_a_new_ceremony_and_both_chains_are_kept(hook):
    before = make_authority(PEER)
    await hook("POST", "/peers", ceremony(before.card))
    root = SigningKey.generate()
    after = parse_card(build_card(replace(plan_of(before.card), root=(root.public,)), [root]))
    answer = await hook("POST", "/peers", ceremony(after))
    assert answer.status == 201
    peer = hook.context.directory.peers[PEER]
    assert peer.card == after
    assert {card.sha256 for card in peer.cards} == {before.card.sha256, after.sha256}
    assert (await hook.last())["event"] == "card.pinned"


async def test_an_older_card_is_no_ceremony(hook):
    before = make_authority(PEER)
    newer = before.succeeded()
    await hook("POST", "/peers", ceremony(newer.card))
    answer = await hook("POST", "/peers", ceremony(before.card))
    assert (answer.status, answer.code) == (409, "older_card")


async def test_suspending_and_activating_are_logged_once(hook):
    await hook("POST", "/peers", ceremony(make_authority(PEER).card))
    before = hook.counts()["entries"]
    for verb, state in (("suspend", "suspended"), ("activate", "active")):
        for _ in range(2):
            answer = await hook("POST", f"/peers/{PEER}/{verb}")
            assert (answer.status, answer.json["state"]) == (200, state)
        assert hook.context.directory.peers[PEER].active == (state == "active")
        assert (await hook.store.get(PeerRow, PEER)).state == state
        assert (await hook.last())["event"] == f"peer.{state.replace('active', 'activated')}"
    assert hook.counts()["entries"] == before + 2
    assert (await hook("POST", f"/peers/{THIRD}/suspend")).code == "not_found"


async def test_checking_a_peer_says_what_is_wrong(tmp_path):
    us = make_authority(US)
    wanted: list[str] = []
    async with (
        open_door(tmp_path / "peer", make_authority(PEER)) as door,
        open_hook(tmp_path / "us", peers=(door.party.card,), wanted=wanted) as hook,
    ):

        async def problems() -> list[str]:
            answer = await hook("POST", f"/peers/{PEER}/check")
            assert answer.status == 200
            return answer.json["problems"]

        before = hook.counts()
        assert await problems() in (["tls"], ["unreachable"])  # we are not pinned there
        await door.pin(us)
        answer = (await hook("POST", f"/peers/{PEER}/check")).json
        assert (answer["reachable"], answer["problems"]) == (True, [])
        assert answer["answer"]["authority"] == PEER
        door.clock.time_ms = hook.clock.time_ms + 6 * 60 * 1000
        assert await problems() == ["clock_apart"]
        door.clock.time_ms = hook.clock.time_ms
        assert wanted == []
        door.context.directory.replace_own(door.party.next_epoch().card)
        assert await problems() == ["newer_card"]
        assert wanted == [PEER], "and it is looked at soon"
        await door.set_state(us, state="suspended")
        assert await problems() == ["suspended"]
        assert hook.counts() == before


async def test_the_own_card_is_shown_with_its_fingerprint(hook):
    shown = (await hook("GET", "/card")).json
    card = hook.party.card
    assert shown["card"].encode() == card.raw
    assert (shown["fingerprint"], shown["sequence"]) == (fingerprint(card), 1)


async def renew(hook, raw: bytes):
    return await hook("POST", "/card", raw, headers={"Content-Type": "application/json"})


async def test_a_successor_card_is_taken_up_with_its_keys(hook):
    keyring = replace(next_tls(hook.party), signing=fresh_signing(hook.party.keyring))
    after = hook.party.succeeded(keyring)
    hook.vault = keyring
    answer = await renew(hook, after.card.raw)
    assert (answer.status, answer.json["sequence"]) == (200, 2)
    assert hook.context.directory.own == after.card
    assert hook.context.keyring() is keyring
    row = await hook.store.get(CardRow, US, 2, after.card.sha256)
    assert row.body == after.card.raw
    entry = await hook.last()
    assert (entry["event"], entry["card_sequence"]) == ("card.pinned", 2)

    before = hook.counts()
    again = await renew(hook, after.card.raw)
    assert (again.status, again.json) == (200, answer.json)
    assert hook.counts() == before


def fresh_signing(keyring: Keyring):
    key = SigningKey.generate()
    return {**keyring.signing, key.kid: key}


async def test_a_card_that_does_not_follow_changes_nothing(hook):
    party = hook.party
    keyring = replace(party.keyring, signing=fresh_signing(party.keyring))
    plan = replace(plan_of(party.card), sequence=2, previous=party.card.sha256)
    log = replace(party.card.log, origin="qo-justice.example/audit/2")
    before = hook.counts()
    for raw, status, code in (
        (party.succeeded(keyring).card.raw, 409, "keys_missing"),
        (build_card(replace(plan, sequence=3), [party.root]), 422, None),
        (build_card(replace(plan, log=log), [party.root]), 409, "other_log"),
        (make_authority(PEER).card.raw, 422, None),
        (b"{}", 400, "malformed"),
    ):
        answer = await renew(hook, raw)
        assert answer.status == status, answer.body
        assert code is None or answer.code == code
    assert hook.counts() == before
    assert hook.context.directory.own == party.card


async def test_a_peer_that_expired_is_told(tmp_path):
    card = make_authority(PEER).card
    async with open_hook(tmp_path, peers=(card,)) as hook:
        hook.clock.time_ms = card.expires_ms
        answer = (await hook("POST", f"/peers/{PEER}/check")).json
        assert (answer["reachable"], answer["problems"][0]) == (False, "card_expired")
        row = await hook.store.get(PeerRow, PEER)
        moved = replace(row, attempt=2, next_ms=NOW_MS + DAY_MS, problem="unreachable")
        await hook.store.record(Change(name="peer", puts=(moved,)))
        await hook.context.directory.refresh()
        shown = (await hook("GET", f"/peers/{PEER}")).json
        assert (shown["attempt"], shown["problem"]) == (2, "unreachable")
