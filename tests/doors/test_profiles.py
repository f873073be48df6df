"""Profiles between two real doors: served, followed, and what a peer cannot do with them."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from unittest.mock import ANY

import pytest

from gateway.core.profile import MAX_BYTES, Profile
from gateway.peering.directory import Directory
from gateway.peering.profiles import Publisher, follow_profile
from gateway.peering.replies import PeerUnavailable
from gateway.peering.successors import follow
from gateway.ports import EntryFilter
from gateway.rows import AlarmRow, CurrentProfileRow, ProfileRow
from gateway.workers import cards
from gateway.workers.cards import CardKeeper
from keys.signing import SigningKey
from tests.support.authorities import Party, make_authority
from tests.support.doors import Door, calling, open_door
from tests.support.profiles import content, make_profile, record_profile

KEY = SigningKey.generate()


@pytest.fixture
async def door(tmp_path: Path, far: Door) -> AsyncIterator[Door]:
    """The door of qm.moj, which has pinned the first card of the far one."""
    async with open_door(tmp_path / "qm", make_authority("qm.moj")) as door:
        await door.pin(far.party)
        await far.pin(door.party)
        yield door


@pytest.fixture
async def far(tmp_path: Path) -> AsyncIterator[Door]:
    async with open_door(tmp_path / "qn", make_authority("qn.justice")) as door:
        yield door


def publisher(door: Door) -> Publisher:
    return Publisher(door.store, door.context.directory, door.party.keyring, door.clock)


def serve(far: Door, profile: Profile, *, raw: str | None = None) -> None:
    """Let the far door serve *profile*, whatever its sequence, or any text in its place."""
    served = profile if raw is None else replace(profile, jws=raw)
    far.context.directory._profiles = {far.party.id: served}


async def follow_once(door: Door, far: Door) -> Profile | None:
    directory = door.context.directory
    async with door.context.dial(directory.peers[far.party.id]) as client:
        await follow_profile(client, far.party.id, store=door.store, directory=directory, clock=door.clock)
    return known(door, far)


def known(door: Door, far: Door) -> Profile | None:
    return door.context.directory.peers[far.party.id].profile


async def alarms(door: Door) -> set[tuple[str, str]]:
    return {(row.code, row.detail) for row in await door.store.all(AlarmRow)}


def renewed(party: Party, *, keep: bool) -> Party:
    """Return *party* with a successor card that has KEY, beside the old signing key or in its place."""
    old = party.keyring.signing if keep else {}
    return party.succeeded(replace(party.keyring, signing={**old, KEY.kid: KEY}))


def take(far: Door, party: Party) -> None:
    """Let the far side use the successor card of *party*."""
    far.context.directory.replace_own(party.card)
    far.party = party


# -- the federation door


async def test_the_door_serves_the_profile_in_force(door: Door, far: Door):
    async with calling(far, door.party.keyring.tls[0]) as call:
        assert (await call("GET", "/v1/profile")).code == "not_found"
        first = await publisher(far).publish(content(far.party.id))
        answer = await call("GET", "/v1/profile")
        assert (answer.status, answer.body.decode()) == (200, first.jws)
        assert answer.headers["Content-Type"] == "application/jose"
        second = await publisher(far).publish(content(far.party.id, reviewed="2026-11-20"))
        assert second.sequence == first.sequence + 1
        assert (await call("GET", "/v1/profile")).body.decode() == second.jws
        before = far.counts()
        await call("GET", "/v1/profile")
        assert far.counts() == before, "reading it writes no entry"


# -- following


async def test_a_profile_is_pinned_when_its_sequence_has_grown(door: Door, far: Door):
    assert await follow_once(door, far) is None
    for sequence in (1, 2, 5):
        made = make_profile(far.party, sequence=sequence)
        serve(far, made)
        assert await follow_once(door, far) == made
        (entry, *_) = reversed(await door.store.entries(EntryFilter(event="profile.pinned")))
        assert b'"profile_sequence":%d' % sequence in entry.leaf
        assert made.sha256.encode() in entry.leaf
        before = door.counts()
        assert await follow_once(door, far) == made
        assert door.counts() == before
    kept = [row for row in await door.store.all(ProfileRow) if row.authority == far.party.id]
    assert [row.sequence for row in kept] == [1, 2, 5]
    assert not await alarms(door)


async def test_an_older_profile_changes_nothing(door: Door, far: Door):
    second = make_profile(far.party, sequence=2)
    serve(far, second)
    await follow_once(door, far)
    serve(far, make_profile(far.party, sequence=1))
    before = door.counts()
    assert await follow_once(door, far) == second
    assert door.counts() == before


async def test_a_second_profile_with_one_sequence_is_an_alarm_and_not_believed(door: Door, far: Door):
    first = make_profile(far.party, sequence=3)
    serve(far, first)
    await follow_once(door, far)
    serve(far, make_profile(far.party, sequence=3, reviewed="2026-11-20"))
    for _ in range(2):
        assert await follow_once(door, far) == first
        assert await alarms(door) == {("profile_fork", "sequence 3")}
    assert len(await door.store.entries(EntryFilter(event="profile.pinned"))) == 1
    assert door.counts()["profiles"] == 1
    fourth = make_profile(far.party, sequence=4)
    serve(far, fourth)
    assert await follow_once(door, far) == fourth


@pytest.mark.parametrize(
    "wrong",
    [
        lambda party, _: make_profile(party, key=KEY).jws,
        lambda _, other: make_profile(other).jws,
        lambda party, _: make_profile(party).jws[:-4] + "AAAA",
        lambda party, _: make_profile(party).jws + "\n",
        lambda party, _: party.card.raw.decode(),
        lambda *_: "",
        lambda *_: "é",
        lambda *_: "x" * MAX_BYTES,
    ],
    ids=["a-stranger", "another's", "altered", "line-end", "a-card", "empty", "not-ascii", "large"],
)
async def test_a_profile_that_does_not_verify_is_an_alarm(door: Door, far: Door, wrong):
    sound = make_profile(far.party)
    serve(far, sound)
    await follow_once(door, far)
    before = door.counts()
    serve(far, sound, raw=wrong(far.party, make_authority("qo.justice")))
    for _ in range(2):
        assert await follow_once(door, far) == sound
        assert await alarms(door) == {("profile_does_not_hold", "sequence 1")}
    raised = {"alarms": before["alarms"] + 1, "entries": before["entries"] + 1, "nodes": ANY}
    assert door.counts() == {**before, **raised}


async def test_a_peer_that_cannot_answer_raises_no_alarm(door: Door, far: Door):
    far.context.directory._profiles = None  # whatever the door does with it fails
    with pytest.raises(PeerUnavailable) as caught:
        await follow_once(door, far)
    assert caught.value.code == "internal"
    assert not await alarms(door)


async def test_a_profile_under_a_key_that_left_the_card_is_no_longer_believed(door: Door, far: Door):
    old = await publisher(far).publish(content(far.party.id))
    await follow_once(door, far)
    after = renewed(far.party, keep=False)
    take(far, after)
    peer = door.context.directory.peers[far.party.id]
    async with door.context.dial(peer) as client:
        await follow(client, peer.card, store=door.store, directory=door.context.directory, clock=door.clock)
    assert known(door, far) is None
    assert await follow_once(door, far) is None
    assert await alarms(door) == {("profile_does_not_hold", "no profile is known")}
    await publisher(far).renew()
    await follow_once(door, far)
    found = known(door, far)
    assert found is not None
    assert (found.sequence, found.kid) == (old.sequence + 1, KEY.kid)
    assert found.payload["accepts"] == old.payload["accepts"]


async def test_a_profile_is_signed_anew_only_when_its_key_has_left_the_card(far: Door):
    await publisher(far).renew()
    assert far.context.directory.own_profile is None
    first = await publisher(far).publish(content(far.party.id))
    take(far, renewed(far.party, keep=True))
    await publisher(far).renew()
    assert far.context.directory.own_profile == first


async def test_a_directory_that_starts_anew_reads_what_was_recorded(door: Door, far: Door):
    found = make_profile(far.party)
    own = await publisher(door).publish(content(door.party.id))
    serve(far, found)
    await follow_once(door, far)
    again = Directory(door.store, door.party.card)
    await again.refresh()
    assert again.peers[far.party.id].profile == found
    assert again.own_profile == own


async def test_a_recorded_profile_that_does_not_verify_is_not_given_out(door: Door, far: Door):
    await record_profile(door.store, make_profile(far.party, key=KEY))
    await door.context.directory.refresh()
    assert known(door, far) is None
    assert await door.store.get(CurrentProfileRow, far.party.id) is not None


# -- the keeper


@contextlib.asynccontextmanager
async def looking(door: Door) -> AsyncIterator[CardKeeper]:
    """Run a keeper of cards for a block; it looks as often as it is asked to."""
    context = door.context
    keeper = CardKeeper(store=door.store, directory=context.directory, dial=context.dial, clock=door.clock)
    task = asyncio.create_task(keeper.run())
    try:
        yield keeper
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


@pytest.fixture(autouse=True)
def _eager(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cards, "_SHORTEST_S", 0.0)


async def until(door: Door, what: Callable[[], bool]) -> None:
    """Wait until *what* holds; looked at whenever the directory has been read again."""
    directory, read = door.context.directory, asyncio.Event()
    refresh = directory.refresh

    async def told() -> None:
        await refresh()
        read.set()

    directory.refresh = told  # type: ignore[method-assign]  # so that the test learns of it
    try:
        async with asyncio.timeout(10):
            while not what():
                await read.wait()
                read.clear()
    finally:
        directory.refresh = refresh  # type: ignore[method-assign]  # as it was


async def test_the_keeper_fetches_profiles_at_start_and_when_it_is_asked(door: Door, far: Door):
    first = make_profile(far.party)
    serve(far, first)
    async with looking(door) as keeper:
        await until(door, lambda: known(door, far) == first)
        second = make_profile(far.party, sequence=2)
        serve(far, second)
        keeper.wanted(far.party.id)
        await until(door, lambda: known(door, far) == second)


async def test_a_profile_under_a_new_key_comes_with_the_card_that_has_it(door: Door, far: Door):
    after = renewed(far.party, keep=True)
    take(far, after)
    found = make_profile(after, key=KEY)
    serve(far, found)
    async with looking(door):
        await until(door, lambda: known(door, far) == found)
    assert found.kid == KEY.kid
    assert not await alarms(door)


async def test_a_suspended_peer_is_not_asked(door: Door, far: Door):
    serve(far, make_profile(far.party))
    await door.set_state(far.party, state="suspended")
    dialled: list[str] = []
    keeper = CardKeeper(
        store=door.store, directory=door.context.directory, dial=dialled.append, clock=door.clock
    )
    await keeper._look(far.party.id)
    assert not dialled
    assert known(door, far) is None
