"""Profiles on their way: following a peer's, and publishing our own (protocol §4).

Like cards they are fetched apart from any verification of messages, and verified against pinned
cards alone.
"""

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass

from gateway.core.entry import Draft
from gateway.core.errors import Malformed, Stale, Unavailable, Untrusted
from gateway.core.ids import AuthorityId
from gateway.core.profile import OWN_MEMBERS, Profile, follows, sign_profile, verify_profile
from gateway.peering.alarms import raise_alarm
from gateway.peering.client import PeerClient
from gateway.peering.directory import Directory
from gateway.ports import Change, Clock, Store
from gateway.rows import CurrentProfileRow, ProfileRow
from keys.vault import Keyring

_TRIES = 16


async def follow_profile(
    client: PeerClient, authority: AuthorityId, *, store: Store, directory: Directory, clock: Clock
) -> None:
    """Record the profile of the pinned peer *authority* if its sequence has grown.

    One that does not verify under the pinned card, or says other things under the sequence of
    the profile in force, changes nothing and raises an alarm.

    Raises:
        PeerUnavailable: the peer cannot be reached.
    """
    raw = await client.profile()
    if raw is None:
        return
    row = await store.get(CurrentProfileRow, authority)
    await directory.refresh()  # after the row was read: what is judged is no older than its version
    peer = directory.peers[authority]
    known = peer.profile
    try:
        found = verify_profile(raw, authority, peer.card.signing_keys())
    except (Malformed, Untrusted):
        await raise_alarm(store, clock, "profile_does_not_hold", authority, _place(known))
        return
    try:
        newer = follows(found, known)
    except Untrusted:
        await raise_alarm(store, clock, "profile_fork", authority, _place(known))
        return
    if newer:
        entry = _entry("profile.pinned", found, peer=authority)
        with contextlib.suppress(Stale):  # another process recorded one meanwhile
            await _record(store, found, row, entry, clock)
        await directory.refresh()


@dataclass(frozen=True, slots=True)
class Publisher:
    """Signs and records the own profile; its sequence grows by one each time."""

    store: Store
    directory: Directory
    keyring: Keyring
    clock: Clock

    async def sign(self, content: Mapping[str, object]) -> Profile:
        """Return *content*, without OWN_MEMBERS, as it would be published now; record nothing.

        Raises:
            ProfileFault, Malformed: as `sign_profile`.
        """
        return self._sign(content, await self._current())

    async def publish(self, content: Mapping[str, object], actor: str | None = None) -> Profile:
        """Return the profile that says *content*, once it is recorded and in force.

        *actor* is the account in the audit entry.

        Raises:
            ProfileFault, Malformed: as `sign_profile`.
            Unavailable: it cannot be recorded now; nothing was.
        """
        for _ in range(_TRIES):
            row = await self._current()
            profile = self._sign(content, row)
            with contextlib.suppress(Stale):
                entry = _entry("profile.published", profile, actor_ref=actor)
                await _record(self.store, profile, row, entry, self.clock)
                await self.directory.refresh()
                return profile
        raise Unavailable("others are publishing profiles")

    async def renew(self) -> None:
        """Publish the profile in force anew if the own card has lost the key that signed it.

        Nobody who pins that card could verify it any more.
        """
        profile = self.directory.own_profile
        if profile is not None and profile.kid not in self.directory.own.signing_keys():
            content = {name: value for name, value in profile.payload.items() if name not in OWN_MEMBERS}
            await self.publish(content)

    async def _current(self) -> CurrentProfileRow | None:
        return await self.store.get(CurrentProfileRow, self.directory.own.authority)

    def _sign(self, content: Mapping[str, object], row: CurrentProfileRow | None) -> Profile:
        own, now_ms = self.directory.own, self.clock.now_ms()
        return sign_profile(
            content,
            self.keyring.signing[own.signing_kid(now_ms)],
            authority=own.authority,
            sequence=1 if row is None else row.sequence + 1,
            issued_ms=now_ms,
        )


async def _record(
    store: Store, profile: Profile, current: CurrentProfileRow | None, entry: Draft, clock: Clock
) -> None:
    """Put *profile* in the place of the *current* one. Raises Stale or Unavailable."""
    seen = await store.get(ProfileRow, profile.authority, profile.sequence, profile.sha256)
    moved = CurrentProfileRow(
        authority=profile.authority,
        version=0 if current is None else current.version,
        sequence=profile.sequence,
        sha256=profile.sha256,
    )
    kept = () if seen else (ProfileRow.of(profile, clock.now_ms()),)
    await store.record(Change(name="profile", entries=(entry,), puts=(moved, *kept)))


def _entry(
    event: str, profile: Profile, *, peer: AuthorityId | None = None, actor_ref: str | None = None
) -> Draft:
    extra = (("profile_sequence", profile.sequence), ("profile_sha256", profile.sha256))
    return Draft(event=event, outcome="ok", peer=peer, actor_ref=actor_ref, extra=extra)


def _place(known: Profile | None) -> str:
    return "no profile is known" if known is None else f"sequence {known.sequence}"
