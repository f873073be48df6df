"""Profiles in the store: kept for ever, and one of an authority's in force."""

import asyncio
from dataclasses import replace

import pytest

from gateway.core.errors import Stale
from gateway.core.profile import Profile
from gateway.peering.directory import Directory
from gateway.peering.profiles import Publisher
from gateway.ports import EntryFilter
from gateway.rows import CurrentProfileRow, ProfileRow
from gateway.store import SqlStore
from tests.support.authorities import NOW_MS, FixedClock, make_authority
from tests.support.profiles import content, make_profile
from tests.support.rows import change

PARTY = make_authority("qn.justice")


def rows(profile: Profile, version: int = 0) -> tuple[ProfileRow, CurrentProfileRow]:
    current = CurrentProfileRow(
        authority=profile.authority, version=version, sequence=profile.sequence, sha256=profile.sha256
    )
    return ProfileRow.of(profile, NOW_MS), current


async def test_every_profile_is_kept_and_the_newest_is_in_force(store: SqlStore):
    first, second = make_profile(PARTY), make_profile(PARTY, sequence=2)
    await store.record(change(*rows(first)))
    await store.record(change(*rows(second, version=1)))
    assert await store.all(CurrentProfileRow) == [replace(rows(second)[1], version=2)]
    for one in (first, second):
        kept = await store.get(ProfileRow, one.authority, one.sequence, one.sha256)
        assert kept == replace(rows(one)[0], version=1)
        assert kept.body == one.jws.encode()


async def test_two_profiles_do_not_follow_one(store: SqlStore):
    await store.record(change(*rows(make_profile(PARTY))))
    await store.record(change(*rows(make_profile(PARTY, sequence=2), version=1)))
    other = make_profile(PARTY, sequence=2, reviewed="2026-11-20")
    with pytest.raises(Stale):
        await store.record(change(*rows(other, version=1)))
    assert await store.get(ProfileRow, other.authority, 2, other.sha256) is None


async def test_those_who_publish_at_once_get_a_sequence_each(store: SqlStore):
    directory = Directory(store, PARTY.card)
    await directory.refresh()
    publisher = Publisher(store, directory, PARTY.keyring, FixedClock())
    made = await asyncio.gather(*(publisher.publish(content(PARTY.id), "someone") for _ in range(4)))
    assert sorted(one.sequence for one in made) == [1, 2, 3, 4]
    assert directory.own_profile is not None
    assert directory.own_profile.sequence == 4
    assert len(await store.entries(EntryFilter(event="profile.published"))) == 4
