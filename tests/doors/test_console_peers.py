"""Peers in the console: how they are reached, and what their cards and profiles say."""

from dataclasses import replace

import pytest

from gateway.core.account import Role
from gateway.core.card import fingerprint
from gateway.core.strict import sha256
from gateway.ports import Change
from gateway.rows import NEVER_PINNED, CardRow, ForkRow, PeerRow, WitnessRow
from tests.support.authorities import NOW_MS, make_authority
from tests.support.consoles import open_console
from tests.support.hooks import PEER
from tests.support.profiles import make_profile, record_profile

HOSTILE = '"><script>alert(1)</script>'


@pytest.fixture
async def console(tmp_path):
    async with open_console(tmp_path) as opened:
        yield opened


async def enter(console, *roles: Role) -> None:
    await console.enrol("a.haddad", *roles)
    await console.sign_in("a.haddad")


async def change(console, **members: object) -> None:
    """Change the row of PEER."""
    row = await console.hook.store.get(PeerRow, PEER)
    await console.hook.store.record(Change(name="peer", puts=(replace(row, **members),)))
    await console.hook.context.directory.refresh()


@pytest.mark.parametrize("role", Role)
async def test_everybody_may_look_at_peers(console, role):
    await enter(console, role)
    assert '<a href="/peers">' in await console.text("/")
    shown = await console.text("/peers")
    assert f'<a href="/peers/{PEER}">' in shown
    assert "Reachable" in shown
    assert "Never" in shown
    assert fingerprint(make_authority(PEER).card) in await console.text(f"/peers/{PEER}")


async def test_the_list_says_how_each_peer_is_reached(console):
    await enter(console, Role.VIEWER)
    await change(console, attempt=2, next_ms=NOW_MS + 60_000, problem="unreachable")
    row = WitnessRow(name=make_authority(PEER).card.witness.name, version=0, size=1, cosigned_ms=NOW_MS)
    await console.hook.store.record(Change(name="witness", puts=(row,)))
    shown = await console.text("/peers")
    assert "Not reached" in shown
    assert "Never" not in shown
    assert "Next attempt" in await console.text(f"/peers/{PEER}")
    await change(console, state="suspended")
    assert "Suspended" in await console.text("/peers")


async def test_an_end_that_is_past_is_told(console):
    await enter(console, Role.VIEWER)
    assert "Expired" not in await console.text("/peers")
    console.hook.clock.time_ms = make_authority(PEER).card.expires_ms
    await console.sign_in("a.haddad")
    assert "Expired" in await console.text("/peers")
    assert "Expired" in await console.text(f"/peers/{PEER}")


async def test_a_peer_is_shown_with_its_card(console):
    await enter(console, Role.VIEWER)
    card, shown = make_authority(PEER).card, await console.text(f"/peers/{PEER}")
    for one in (
        card.sha256,
        card.log.origin,
        card.witness.name,
        *card.endpoints,
        *(key.kid for key in (*card.signing, *card.sealing)),
        *(sha256(one.der) for one in card.tls),
        f"art18 peers add FILE --id {PEER} --fingerprint F",
        "No profile of this peer is at hand",
    ):
        assert one in shown, one
    assert (await console.get("/peers/qz.nobody")).status == 404
    assert (await console.get("/peers/NOBODY")).status == 400


async def test_a_profile_says_what_the_peer_takes_and_asks_for(console):
    party = make_authority(PEER)
    names = {"en": "Ministry", "fr": f"Ministère {HOSTILE}"}
    await record_profile(console.hook.store, make_profile(party, names=names))
    await console.hook.context.directory.refresh()
    await enter(console, Role.VIEWER)
    assert "Ministry" in await console.text("/peers")
    shown = await console.text(f"/peers/{PEER}")
    payload = console.hook.context.directory.peers[PEER].profile.payload
    assert "Mutual legal assistance" in shown
    assert payload["contacts"]["general"]["email"] in shown
    for requirement in payload["requirements"]:
        assert f"<bdi>{requirement['text'].get('en', '')[:20]}" in shown
    await console.post("/account/language", {"language": "fr"})
    for path in ("/peers", f"/peers/{PEER}"):
        shown = await console.text(path)
        assert "Ministère &#34;&gt;&lt;script&gt;" in shown
        assert "<script>" not in shown


async def test_what_contradicts_is_shown_and_not_believed(console):
    await enter(console, Role.VIEWER)
    assert "contradict" not in await console.text(f"/peers/{PEER}")
    other = make_authority("qr.justice").card
    card = CardRow(
        authority=PEER, sequence=1, sha256=other.sha256, version=0, body=other.raw, pinned_ms=NEVER_PINNED
    )
    fork = ForkRow(
        origin=HOSTILE, size=1, code="two_roots", version=0, peer=PEER, first="a", second="b", found_ms=NOW_MS
    )
    await console.hook.store.record(Change(name="fork", puts=(card, fork)))
    shown = await console.text(f"/peers/{PEER}")
    assert other.sha256 in shown
    assert "Its audit log contradicts itself" in shown
    assert "<script>" not in shown
