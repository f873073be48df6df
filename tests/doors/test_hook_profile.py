"""The own profile at the hook, and those of peers."""

import json
from dataclasses import replace

import pytest

from gateway.core.card import fingerprint
from gateway.core.profile import verify_profile
from gateway.rows import ProfileRow
from gateway.web.tokens import Scope
from keys.signing import SigningKey
from tests.support.authorities import make_authority
from tests.support.doors import open_door
from tests.support.hooks import PEER, US, open_hook
from tests.support.profiles import content, make_profile, record_profile


@pytest.fixture
async def hook(tmp_path):
    async with open_hook(tmp_path / "us") as opened:
        yield opened


async def test_a_profile_is_published_logged_and_shown(hook):
    assert (await hook("GET", "/profile")).code == "not_found"
    for sequence in (1, 2):
        answer = await hook("POST", "/profile", content(US))
        assert (answer.status, answer.json["sequence"]) == (201, sequence)
        raw = answer.json["jws"].encode()
        found = verify_profile(raw, hook.party.id, hook.party.card.signing_keys())
        assert found.payload == answer.json["profile"]
        assert {**found.payload, **content(US)} == found.payload
        assert found.issued_ms == hook.clock.now_ms()
        entry = await hook.last()
        assert (entry["event"], entry["profile_sequence"]) == ("profile.published", sequence)
        assert entry["profile_sha256"] == answer.json["profile_sha256"] == found.sha256
        assert entry["actor_ref"]
        assert (await hook("GET", "/profile")).json == answer.json
    assert len(await hook.store.all(ProfileRow)) == 2


async def test_a_profile_survives_a_restart(tmp_path):
    async with open_hook(tmp_path) as hook:
        made = (await hook("POST", "/profile", content(US))).json
    async with open_hook(tmp_path) as hook:
        assert (await hook("GET", "/profile")).json == made
        assert (await hook("POST", "/profile", content(US))).json["sequence"] == 2


async def test_every_mistake_is_told_with_its_place(hook):
    before = hook.counts()
    wrong = content(US, reviewed="today", oral={"accepted": True}, usual_days={"acknowledge": 1})
    for query in ("", "?dry_run=true"):
        answer = await hook("POST", f"/profile{query}", wrong)
        assert (answer.status, answer.code) == (422, "schema")
        assert [error["pointer"] for error in answer.json["errors"]] == ["/oral", "/reviewed", "/usual_days"]
    for body, status, pointer in (
        (content(US, sequence=7), 422, "/sequence"),
        (content(US, time_zone="Europe/Nowhere"), 422, "/time_zone"),
        (content(US, time_zone=7), 422, "/time_zone"),
        (content(US, country="QP"), 422, "/country"),
        (b"[]", 400, None),
        (b'{"v":1,"v":1}', 400, None),
    ):
        sent = body if isinstance(body, bytes) else json.dumps(body).encode()
        answer = await hook("POST", "/profile", sent, headers={"Content-Type": "application/json"})
        assert answer.status == status, answer.body
        assert [error["pointer"] for error in answer.json.get("errors", ())] == ([pointer] if pointer else [])
    large = [
        {"id": f"r{n}", "type": "mla", "mandatory": False, "text": {"fr": "x" * 9000}} for n in range(25)
    ]
    answer = await hook("POST", "/profile", content(US, requirements=large))
    assert (answer.status, answer.code) == (422, "schema")
    assert "262144 bytes" in answer.json["detail"]
    assert hook.counts() == before
    assert hook.context.directory.own_profile is None


async def test_a_dry_run_says_what_would_be_published(hook):
    await hook("POST", "/profile", content(US))
    before = hook.counts()
    answer = await hook("POST", "/profile?dry_run=true", content(US, reviewed="2026-11-20"))
    assert (answer.status, answer.json["dry_run"], answer.json["sequence"]) == (200, True, 2)
    assert answer.json["profile"]["reviewed"] == "2026-11-20"
    assert hook.counts() == before
    assert (await hook("GET", "/profile")).json["sequence"] == 1
    assert (await hook("POST", "/profile?dry_run=perhaps", content(US))).status == 400


async def test_publishing_takes_the_scope_of_an_administrator(hook):
    token = await hook.bearer(Scope.READ, Scope.WRITE, Scope.AUDIT)
    assert (await hook("POST", "/profile", content(US), token=token)).code == "wrong_scope"
    assert (await hook("GET", "/profile", token=token)).code == "not_found"


async def test_a_card_without_the_key_of_the_profile_brings_it_under_a_new_one(hook):
    made = (await hook("POST", "/profile", content(US))).json
    key = SigningKey.generate()
    hook.vault = replace(hook.party.keyring, signing={key.kid: key})
    after = hook.party.succeeded(hook.vault)
    for _ in range(2):  # the same card again changes nothing
        answer = await hook("POST", "/card", after.card.raw, headers={"Content-Type": "application/json"})
        assert answer.status == 200
        found = hook.context.directory.own_profile
        assert (found.sequence, found.kid) == (2, key.kid)
        assert found.payload["accepts"] == made["profile"]["accepts"]
    assert (await hook.last())["event"] == "profile.published"


async def test_the_profile_of_a_peer_is_shown(hook):
    shown = (await hook("GET", f"/peers/{PEER}")).json
    assert (shown["profile"], shown["profile_sha256"], shown["profile_sequence"]) == (None, None, None)
    found = make_profile(make_authority(PEER), sequence=4)
    await record_profile(hook.store, found)
    await hook.context.directory.refresh()
    shown = (await hook("GET", f"/peers/{PEER}")).json
    assert (shown["profile"], shown["profile_sha256"]) == (found.payload, found.sha256)
    assert [one["profile_sequence"] for one in (await hook("GET", "/peers")).json["items"]] == [4]


async def test_checking_a_peer_tells_of_its_profile(tmp_path):
    us, peer = make_authority(US), make_authority(PEER)
    wanted: list[str] = []
    async with (
        open_door(tmp_path / "peer", peer) as door,
        open_hook(tmp_path / "us", peers=(door.party.card,), wanted=wanted) as hook,
    ):

        async def checked() -> tuple[object, ...]:
            answer = (await hook("POST", f"/peers/{PEER}/check")).json
            assert answer["reachable"]
            return answer["profile_sequence"], answer["newer_profile"], answer["problems"]

        def serve(profile, **changes: str) -> None:
            door.context.directory._profiles = {peer.id: replace(profile, **changes)}

        await door.pin(us)
        assert await checked() == (None, None, [])
        first = make_profile(peer)
        serve(first)
        assert not wanted
        assert await checked() == (None, 1, [])
        assert wanted == [PEER]
        await record_profile(hook.store, first)
        await hook.context.directory.refresh()
        assert await checked() == (1, None, [])
        serve(make_profile(peer, sequence=3))
        assert await checked() == (1, 3, [])
        serve(make_profile(peer, reviewed="2026-11-20"))
        assert await checked() == (1, None, ["bad_profile"])
        serve(first, jws="no profile")
        assert await checked() == (1, None, ["bad_profile"])
        assert wanted == [PEER, PEER]


async def test_a_peer_that_was_pinned_or_activated_is_looked_at_soon(tmp_path):
    wanted: list[str] = []
    card = make_authority(PEER).card
    async with open_hook(tmp_path, peers=(), wanted=wanted) as hook:
        ceremony = {"card": card.raw.decode(), "id": PEER, "fingerprint": fingerprint(card)}
        await hook("POST", "/peers", ceremony)
        assert wanted == [PEER]
        await hook("POST", f"/peers/{PEER}/suspend")
        assert wanted == [PEER]
        await hook("POST", f"/peers/{PEER}/activate")
        assert wanted == [PEER, PEER]
