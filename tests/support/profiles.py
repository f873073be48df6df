"""Profiles for tests: the samples, as an authority of the tests publishes them."""

import copy
from typing import Any

import schemas
from gateway.core.entry import Draft
from gateway.core.profile import Profile, sign_profile
from gateway.ports import Change, Store
from gateway.rows import CurrentProfileRow, ProfileRow
from keys.signing import SigningKey
from tests.support.authorities import NOW_MS, Party


def content(authority: str, **members: Any) -> dict[str, Any]:
    """Return what the sample authority of that country says, with *members* set instead.

    A member set to `...` is left out.
    """
    country = authority[:2]
    found = copy.deepcopy(schemas.sample_profile(country)) | members
    return {name: value for name, value in found.items() if value is not ...}


def make_profile(
    party: Party, *, sequence: int = 1, issued_ms: int = NOW_MS, key: SigningKey | None = None, **members: Any
) -> Profile:
    """Return a sound profile of *party*, signed by *key* in place of the one it signs with."""
    found = content(party.id, **members)
    return sign_profile(
        found, key or party.signing, authority=party.id, sequence=sequence, issued_ms=issued_ms
    )


async def record_profile(store: Store, profile: Profile) -> None:
    """Record *profile* as the one in force; refresh the directory afterwards."""
    known = await store.get(CurrentProfileRow, profile.authority)
    row = CurrentProfileRow(
        authority=profile.authority,
        version=0 if known is None else known.version,
        sequence=profile.sequence,
        sha256=profile.sha256,
    )
    entry = Draft(event="profile.pinned", outcome="ok", peer=profile.authority)
    puts = (ProfileRow.of(profile, NOW_MS), row)
    await store.record(Change(name="profile", entries=(entry,), puts=puts))
