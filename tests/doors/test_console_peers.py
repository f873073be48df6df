"""Peers in the console: how they are reached, what cards and profiles say, and what administrators change."""

from dataclasses import replace

import pytest

from gateway.cli.peers import _ADVICE
from gateway.core.account import Role
from gateway.core.card import fingerprint
from gateway.core.strict import sha256
from gateway.ports import Change
from gateway.rows import NEVER_PINNED, AccountRow, CardRow, ForkRow, PeerRow, WitnessRow
from gateway.web.console import words
from tests.support.authorities import NOW_MS, make_authority
from tests.support.consoles import open_console
from tests.support.doors import open_door
from tests.support.hooks import PEER, US
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


async def test_an_administrator_suspends_and_activates(console):
    await enter(console, Role.ADMIN)
    (account,) = await console.hook.store.all(AccountRow)
    before = console.hook.counts()["entries"]
    for verb, event, other in (
        ("suspend", "peer.suspended", "activate"),
        ("activate", "peer.activated", "suspend"),
    ):
        for _ in range(2):
            answer = await console.post(f"/peers/{PEER}/{verb}")
            assert (answer.status, answer.headers["Location"]) == (303, f"/peers/{PEER}")
        entry = await console.hook.last()
        assert (entry["event"], entry["peer"], entry["actor_ref"]) == (event, PEER, account.id)
        shown = await console.text(f"/peers/{PEER}")
        assert f'action="/peers/{PEER}/{other}"' in shown
        assert f'action="/peers/{PEER}/{verb}"' not in shown
    assert console.hook.counts()["entries"] == before + 2, "each once"


async def test_what_names_no_peer_changes_nothing(console):
    await enter(console, Role.ADMIN)
    before = console.hook.counts()
    for verb in ("suspend", "activate", "check"):
        assert (await console.post(f"/peers/qz.nobody/{verb}")).status == 404
        assert (await console.post(f"/peers/NOBODY/{verb}")).status == 400
    assert console.hook.counts() == before


@pytest.mark.parametrize("role", [role for role in Role if role is not Role.ADMIN])
async def test_others_are_offered_no_changes(console, role):
    await enter(console, role)
    assert f'action="/peers/{PEER}' not in await console.text(f"/peers/{PEER}")
    before = console.hook.counts()
    for verb in ("suspend", "activate", "check"):
        assert (await console.post(f"/peers/{PEER}/{verb}")).status == 403
    assert console.hook.counts() == before


async def test_a_connection_is_checked(tmp_path):
    async with (
        open_door(tmp_path / "peer", make_authority(PEER)) as door,
        open_console(tmp_path / "us", peers=(door.party.card,)) as console,
    ):
        await enter(console, Role.ADMIN)
        await console.text("/")  # the minute of use is written
        before = console.hook.counts()

        async def found() -> str:
            answer = await console.post(f"/peers/{PEER}/check")
            assert answer.status == 200
            return await answer.text()

        assert "The peer was not reached." in await found(), "we are not pinned there"
        await door.pin(make_authority(US))
        shown = await found()
        assert "The peer answers." in shown
        assert "Nothing is wrong." in shown
        door.clock.time_ms = console.hook.clock.time_ms + 6 * 60 * 1000
        assert words.PEER_PROBLEMS["clock_apart"] in await found()
        assert console.hook.counts() == before


def test_each_problem_that_the_command_line_explains_has_words():
    assert set(words.PEER_PROBLEMS) == set(_ADVICE)
