"""What peers say of our clock and of our log, and what becomes of it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import pytest

from gateway.core.errors import Unavailable
from gateway.core.ids import AuthorityId
from gateway.core.strict import time_text
from gateway.peering import standing as asking
from gateway.peering.directory import Directory
from gateway.peering.replies import PeerUnavailable
from gateway.peering.sentry import Sentry
from gateway.peering.standing import Seen, Standing
from gateway.ports import Change, EntryFilter
from gateway.rows import AlarmRow
from gateway.store import SqlStore
from gateway.workers.watchman import ALARM, Watchman
from tests.support.authorities import FixedClock, FixedEntropy, FixedSteady, Party, make_authority, pin
from tests.support.rows import change
from tests.support.stores import make_store

US = AuthorityId("qm.moj")
PEERS = [AuthorityId(id_) for id_ in ("qn.moj", "qo.moj", "qp.moj")]
OFF_MS = 6 * 60_000


@dataclass
class Peer:
    """What a client meets: a clock that is *ahead_ms* of ours, and what it holds of our log."""

    clock: FixedClock
    ahead_ms: int = 0
    held: str | None = None
    fault: Exception | None = None
    says: Callable[[], Any] | None = None
    hangs: bool = False
    asked: list[str] = field(default_factory=list)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    async def _reached(self) -> None:
        if self.hangs:
            await asyncio.Event().wait()
        if self.fault is not None:
            raise self.fault

    async def ping(self) -> dict[str, Any]:
        await self._reached()
        time = time_text(self.clock.time_ms + self.ahead_ms) if self.says is None else self.says()
        return {"authority": "qn.moj", "time": time, "version": "1"}

    async def held_checkpoint(self, origin: str) -> str | None:
        self.asked.append(origin)
        await self._reached()
        return self.held


@dataclass
class Post:
    """A node with three peers, and its watchman."""

    party: Party
    store: SqlStore
    clock: FixedClock
    steady: FixedSteady
    sentry: Sentry
    standing: Standing
    watchman: Watchman
    peers: dict[AuthorityId, Peer]

    async def round(self, *ahead_ms: int) -> None:
        """Go round with the first peers *ahead_ms* of our clock; the others cannot be reached."""
        for number, peer in enumerate(self.peers.values()):
            peer.fault = None if number < len(ahead_ms) else PeerUnavailable("unreachable")
            peer.ahead_ms = ahead_ms[number] if number < len(ahead_ms) else 0
        await self.watchman.round()
        await self.watchman.tell()

    async def alarms(self) -> list[str]:
        return [row.code for row in await self.store.all(AlarmRow)]

    async def told(self) -> int:
        return len(await self.store.entries(EntryFilter(event="alarm.raised")))

    async def write(self) -> None:
        await self.store.record(change())


@pytest.fixture
async def post(tmp_path: Path) -> AsyncIterator[Post]:
    party, clock, steady = make_authority(US), FixedClock(), FixedSteady()
    sentry = Sentry(clock, steady)
    sentry.admit()
    async with make_store(
        tmp_path, authority=US, origin=party.origin, signer=party.keyring.log, clock=clock,
        entropy=FixedEntropy(), guard=sentry,
    ) as store:  # fmt: skip
        peers = {id_: Peer(clock) for id_ in PEERS}
        for id_ in peers:
            await pin(store, make_authority(id_).card)
        directory = Directory(store, party.card)
        await directory.refresh()
        standing = Standing(store, directory)
        watchman = Watchman(
            store=store,
            directory=directory,
            dial=lambda peer: peers[peer.row.authority],  # type: ignore[arg-type,return-value]  # no network
            standing=standing,
            sentry=sentry,
            clock=clock,
        )
        yield Post(party, store, clock, steady, sentry, standing, watchman, peers)


# -- the clock


async def test_a_clock_that_agrees_with_most_peers_is_believed(post: Post):
    await post.round(0, OFF_MS, 1000)
    assert post.sentry.objection() is None
    await post.write()
    assert await post.told() == 0


async def test_a_clock_that_is_off_most_peers_signs_nothing_until_it_agrees(post: Post):
    await post.round(OFF_MS, OFF_MS, 0)
    with pytest.raises(Unavailable, match="off most peers"):
        await post.write()
    with pytest.raises(Unavailable, match="confirm-clock"):
        await post.store.checkpoint()
    assert await post.told() == 0, "that cannot be written either"

    await post.round()
    assert post.sentry.objection() is not None, "nobody says that it agrees"
    await post.round(0, 0, OFF_MS)
    assert post.sentry.objection() is None
    assert (await post.told(), await post.alarms()) == (1, [])
    await post.write()
    await post.round(0, 0, 0)
    assert await post.told() == 1


async def test_an_operator_can_confirm_a_clock_which_holds_until_it_agrees(post: Post):
    await post.round(OFF_MS)
    assert post.sentry.confirm()
    await post.round(OFF_MS)
    await post.write()
    assert (await post.told(), await post.alarms()) == (1, [ALARM])
    await post.round(OFF_MS, OFF_MS)
    assert (await post.told(), await post.alarms()) == (1, [ALARM])

    await post.round(0, 0)
    assert (await post.told(), await post.alarms()) == (1, [])
    await post.round(-OFF_MS)
    assert post.sentry.objection() is not None, "that is another disagreement"


def test_there_is_nothing_to_confirm_about_a_clock_that_is_believed():
    assert not Sentry(FixedClock(), FixedSteady()).confirm()


async def test_a_jump_signs_nothing_until_the_peers_agree_or_it_is_taken_back(post: Post):
    await post.write()
    post.clock.time_ms += OFF_MS
    with pytest.raises(Unavailable, match="jumped"):
        await post.write()
    post.clock.time_ms -= OFF_MS
    await post.write()

    post.clock.time_ms -= OFF_MS
    assert post.sentry.objection() is not None
    await post.round(OFF_MS)
    assert post.sentry.objection() is not None
    await post.round(0)
    assert post.sentry.objection() is None
    post.steady.time_ms += 86_400_000
    post.clock.time_ms += 86_400_000
    await post.write()


async def test_a_jump_can_be_confirmed_once(post: Post):
    post.clock.time_ms += OFF_MS
    assert post.sentry.confirm()
    await post.write()
    post.clock.time_ms += OFF_MS
    assert post.sentry.objection() is not None


async def test_a_confirmation_that_is_not_on_record_counts_for_nothing(post: Post):
    await post.round(OFF_MS)
    post.sentry.confirm()
    post.sentry.withdraw()
    assert post.sentry.objection() is not None


async def test_a_peer_that_tells_no_time_is_not_counted(post: Post):
    next(iter(post.peers.values())).says = lambda: "noon"
    await post.round(0, 0)
    post.peers[PEERS[0]].says = None
    await post.round(0, OFF_MS)
    assert post.sentry.objection() is None


# -- the log


def _make(folder: Path) -> None:
    folder.mkdir()


async def other_log(folder: Path, party: Party, entries: int, signer: Party | None = None) -> str:
    """Return the checkpoint of another log under the same name, and the keys of *signer* or the same."""
    _make(folder)
    async with make_store(
        folder, authority=US, origin=party.origin, signer=(signer or party).keyring.log
    ) as store:
        await store.record(change(entries=entries))
        return (await store.checkpoint()).text


async def test_peers_that_hold_what_is_here_agree(post: Post):
    checkpoint = await post.store.checkpoint()
    await post.write()
    post.peers[PEERS[0]].held = checkpoint.text
    assert not post.standing.agrees
    await post.round(0, 0)
    assert post.standing.agrees
    assert [post.standing.is_silent(id_) for id_ in PEERS] == [False, False, True]
    assert post.standing.found is None
    assert post.peers[PEERS[0]].asked == [post.party.origin]


@pytest.mark.parametrize("entries", [1, 9])
async def test_a_peer_that_holds_another_log_or_more_stops_the_node(post: Post, tmp_path: Path, entries: int):
    for _ in range(2):
        await post.write()
    await post.store.checkpoint()
    post.peers[PEERS[1]].held = await other_log(tmp_path / "copy", post.party, entries)
    await post.watchman.round()
    assert post.standing.found is not None
    assert (post.standing.found.peer, post.standing.found.known.size) == (PEERS[1], entries)
    assert PEERS[1] in str(post.standing.found)
    assert post.store.broken is not None
    assert PEERS[1] not in post.store.broken, "peers and monitoring are told it"
    with pytest.raises(Unavailable, match="old copy"):
        await post.write()
    await post.watchman.round()


async def test_our_size_is_read_after_the_answer(post: Post):
    """Another process of the authority may have signed meanwhile what the peer holds."""
    peer = post.peers[PEERS[0]]

    async def answer(_origin: str) -> str:
        await post.write()
        return (await post.store.checkpoint()).text

    peer.held_checkpoint = answer  # type: ignore[method-assign]
    await post.watchman.round()
    assert post.standing.found is None
    assert post.standing.agrees


async def test_what_others_signed_in_our_name_stops_nothing(post: Post, tmp_path: Path):
    post.peers[PEERS[0]].held = await other_log(tmp_path / "s", post.party, 9, make_authority("qo.moj"))
    post.peers[PEERS[1]].held = "no checkpoint"
    await post.watchman.round()
    assert (post.standing.found, post.standing.agrees, post.store.broken) == (None, False, None)


async def test_a_silent_peer_is_asked_when_it_is_met(post: Post, tmp_path: Path):
    await post.round()
    peer = post.peers[PEERS[0]]
    pinned = post.watchman._directory.peers[PEERS[0]]
    peer.fault = None
    await post.standing.met(pinned, peer)  # type: ignore[arg-type]
    await post.standing.met(pinned, peer)  # type: ignore[arg-type]
    assert len(peer.asked) == 2, "once in the round, once when it was met"
    peer.held = await other_log(tmp_path / "copy", post.party, 9)
    await post.standing.doubt(pinned, peer)  # type: ignore[arg-type]
    assert post.store.broken is not None


async def test_a_peer_that_falls_silent_again_has_been_heard(post: Post):
    await post.round(0)
    await post.round()
    assert not post.standing.is_silent(PEERS[0])
    assert await post.standing.look(post.peers[PEERS[2]], PEERS[2]) is Seen.SILENT  # type: ignore[arg-type]


async def test_peers_that_do_not_answer_in_time_are_silent(post: Post, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(asking, "ANSWER_S", 0.01)
    post.peers[PEERS[0]].hangs = True
    await post.round(0, 0)
    assert [post.standing.is_silent(id_) for id_ in PEERS] == [True, False, True]


async def test_a_suspended_peer_is_not_visited(post: Post):
    row = post.watchman._directory.peers[PEERS[0]].row
    await post.store.record(Change(name="peer", puts=(replace(row, state="suspended"),)))
    await post.watchman._directory.refresh()
    await post.round(0, 0)
    assert post.peers[PEERS[0]].asked == []
