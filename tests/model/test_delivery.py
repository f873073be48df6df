"""Two authorities, a network that loses, repeats, delays and reorders, and processes that crash.

Both sides run the real rules from submission to receipt, over stores in memory that keep the promises
of `ports.Store`. What hypothesis draws is when what happens; what must hold stands in the invariants
and, once the network has healed, in `teardown`.
"""

import asyncio
import contextlib
import itertools
import random
import tempfile
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from enum import Enum, auto
from functools import cache
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from gateway.core.case import History, replay
from gateway.core.delivery import Cancel, Retry, State
from gateway.core.entry import parse_entry
from gateway.core.envelope import parse_envelope
from gateway.core.errors import Misuse
from gateway.core.ids import AuthorityId, Digest, MessageId
from gateway.core.proof import Receipt, parse_receipt
from gateway.core.strict import sha256
from gateway.peering.replies import PeerUnavailable, Reply
from gateway.peering.settlement import open_case
from gateway.ports import Outgoing
from gateway.rows import (
    AnswerRow,
    CaseRow,
    ContentRow,
    Direction,
    EnvelopeRow,
    MessageRow,
    NoticeRow,
    ReceiptRow,
)
from gateway.store.blobs import BlobFolder
from gateway.web.release import release
from gateway.workers.lanes import Lanes
from gateway.workers.parts import Parts
from gateway.workers.route import Route
from keys.sealing import SealingKey
from tests.support.authorities import DAY_MS, PERIODS_MS, FixedClock, Party, make_authority
from tests.support.memory import Crashed, Disk, MemoryStore
from tests.support.stations import GONE, LOST, Station

ONE, OTHER = AuthorityId("qm.moj"), AuthorityId("qn.moj")
SIDES = (ONE, OTHER)
FINAL_BODIES = {State.ACCEPTED, State.HANDED_OVER, State.REFUSED, State.EXPIRED}
OPEN = {State.QUEUED, State.UNDETERMINED}
REPORT = {"stage": "registered", "next_update_by": "2027-01-31"}
MINUTE_MS = 60_000


class Fault(Enum):
    """What the network does to one request."""

    NONE = auto()
    REQUEST_LOST = auto()
    ANSWER_LOST = auto()
    ANSWER_LATE = auto()
    TWICE = auto()
    LATE = auto()
    BUSY = auto()


class End(Enum):
    """How a case may begin badly."""

    REFUSED = auto()
    TAKEN_IN_DOUBT = auto()
    LOST_IN_DOUBT = auto()


class SeededEntropy:
    """Ids that are the same each time, so that an example can be played again."""

    def __init__(self) -> None:
        self._random = random.Random(18)

    def uuid4(self) -> str:
        return str(uuid.UUID(int=self._random.getrandbits(128), version=4))

    def jitter(self) -> float:
        return self._random.random()


@cache
def sealing_keys() -> tuple[SealingKey, ...]:
    return tuple(SealingKey.generate() for _ in range(3))


def other(side: AuthorityId) -> AuthorityId:
    return OTHER if side == ONE else ONE


class Network:
    """The client that *side* has of the other: faults come in the order in which they were drawn."""

    def __init__(self, world: "World", side: AuthorityId) -> None:
        self.world, self.side = world, side

    async def close(self) -> None:
        pass

    async def _call(self, sound: Callable[[Station], Awaitable[Any]]) -> Any:
        world = self.world
        fault = world.faults.pop(0) if world.faults else Fault.NONE
        if fault is Fault.REQUEST_LOST:
            raise GONE
        if fault is Fault.BUSY:
            return Reply(503, code="unavailable", retry_after_s=1)
        if fault is Fault.LATE:
            world.late.append((other(self.side), sound))
            raise LOST
        if fault is Fault.TWICE:
            await world.ask(other(self.side), sound)
        answer = await world.ask(other(self.side), sound)
        if fault is Fault.ANSWER_LOST:
            raise LOST
        return answer

    async def post_envelope(self, raw: bytes) -> Reply:
        return (await self.post_batch([raw]))[0]

    async def post_batch(self, raws: Sequence[bytes]) -> list[Reply]:
        self.world.check_posts(self.side, raws)
        world, side = self.world, self.side
        posted = [world.outgoing(side, raw) for raw in raws]

        async def sound(there: Station) -> list[Reply]:
            replies = await there.receive(side, raws)
            if late:
                world.answers += [(side, *pair) for pair in zip(posted, replies, strict=True)]
                raise LOST
            return replies

        late = bool(world.faults) and world.faults[0] is Fault.ANSWER_LATE
        answer = await self._call(sound)
        return [answer] * len(raws) if isinstance(answer, Reply) else answer

    async def close_message(self, id_: MessageId, envelope: Digest) -> Reply:
        found: Reply = await self._call(lambda there: there.close(self.side, id_, envelope))
        return found

    async def post_receipt(self, receipt: Receipt) -> Reply:
        found: Reply = await self._call(lambda there: there.take_receipt(self.side, receipt))
        return found


class World:
    """Both sides: what survives on their disks, and the processes that run at present."""

    def __init__(self, folder: Path) -> None:
        self.blobs, self.entropy = BlobFolder(folder), SeededEntropy()
        self.clocks = {side: FixedClock() for side in SIDES}
        self.disks = {side: Disk() for side in SIDES}
        self.parties: dict[AuthorityId, Party] = {side: make_authority(side) for side in SIDES}
        self.keys = itertools.cycle(sealing_keys())
        self.stations: dict[AuthorityId, Station] = {}
        self.routes: dict[AuthorityId, Route] = {}
        self.faults: list[Fault] = []
        self.late: list[tuple[AuthorityId, Callable[[Station], Awaitable[Any]]]] = []
        self.answers: list[tuple[AuthorityId, Outgoing, Reply]] = []
        self.crash: tuple[AuthorityId, int, str] | None = None
        self.violations: list[str] = []

    async def begin(self) -> None:
        for side in SIDES:
            await self.start(side)
            await self.stations[side].pin(self.parties[other(side)])

    async def start(self, side: AuthorityId) -> None:
        """Start the process of *side* over its disk."""
        clock, entropy = self.clocks[side], self.entropy

        def probe(point: str) -> None:
            self.passed(side, point)

        store = MemoryStore(self.parties[side], clock, entropy, self.disks[side], probe)
        station = Station(self.parties[side], store, clock, self.blobs, entropy)
        await station.directory.refresh()
        self.stations[side] = station
        parts = Parts(
            store=store,
            blobs=self.blobs,
            directory=station.directory,
            keyring=lambda: station.party.keyring,
            dial=lambda _: Network(self, side),  # type: ignore[arg-type, return-value]
            lanes=Lanes(),
            cards_wanted=station.cards_wanted.append,
            clock=clock,
            periods=PERIODS_MS,
            entropy=entropy,
            probe=station.context.probe,
        )
        self.routes[side] = Route(parts, other(side), asyncio.Event())

    def passed(self, side: AuthorityId, point: str) -> None:
        """End the process of *side* where it was told to end."""
        if self.crash is None or self.crash[0] != side or not point.endswith(self.crash[2]):
            return
        _, left, when = self.crash
        self.crash = (side, left - 1, when) if left > 1 else None
        if self.crash is None:
            raise Crashed

    async def ask(self, side: AuthorityId, what: Callable[[Station], Awaitable[Any]]) -> Any:
        """Have *side* serve a request; it may crash over it, and starts again."""
        station = self.stations[side]
        try:
            return await what(station)
        except Crashed:
            await self.start(side)
            raise LOST from None

    async def act(self, side: AuthorityId, what: Callable[[Station], Awaitable[Any]]) -> None:
        """Have somebody at *side* do something, which the rules may forbid."""
        try:
            await what(self.stations[side])
        except Misuse:
            return
        except Crashed:
            await self.start(side)

    async def work(self, side: AuthorityId) -> None:
        """Let the courier of *side* do a round."""
        route = self.routes[side]
        with contextlib.suppress(Crashed):
            await route._guarded_round()
        await asyncio.gather(*route._under_way._tasks.values(), return_exceptions=True)
        if self.stations[side].store.dead:
            await self.start(side)
        if route._under_way.troubled:
            self.violations.append("something could not be recorded")

    def outgoing(self, side: AuthorityId, raw: bytes) -> Outgoing:
        """Return what the envelope *raw* is, as it stands on disk now."""
        id_ = parse_envelope(raw).header.id
        message = self.disks[side].rows[MessageRow, (Direction.OUT, other(side), id_)]
        envelope = self.disks[side].rows[EnvelopeRow, (id_, sha256(raw))]
        return Outgoing(message=message, envelope=envelope)  # type: ignore[arg-type]

    def check_posts(self, side: AuthorityId, raws: Sequence[bytes]) -> None:
        """Note what must not be posted."""
        for raw in raws:
            row = self.outgoing(side, raw).message
            before = [
                one
                for one in self.rows(side, MessageRow, direction=Direction.OUT, case=row.case, state="queued")
                if one.entry < row.entry
            ]
            if before:
                self.violations.append("a message was posted before one that precedes it in its case")
            if self.clocks[side].now_ms() >= row.expires_ms:
                self.violations.append("a message was posted after it expired")

    def rows(self, side: AuthorityId, kind: type[Any], **members: object) -> list[Any]:
        found = [
            row
            for (kept, _), row in self.disks[side].rows.items()
            if kept is kind and all(getattr(row, name) == value for name, value in members.items())
        ]
        return sorted(found, key=lambda row: getattr(row, "entry", 0))

    def sent(self, side: AuthorityId, *states: State) -> list[MessageRow]:
        rows = self.rows(side, MessageRow, direction=Direction.OUT)
        return [row for row in rows if not states or row.state in states]

    def history(self, side: AuthorityId, row: CaseRow) -> History:
        return open_case(self.parties[side].keyring.storage, row)


sides = st.sampled_from(SIDES)
picks = st.integers(0, 7)
crashes = st.none() | st.tuples(sides, st.integers(1, 4), st.sampled_from(["before_commit", "after_commit"]))
faults = st.lists(st.sampled_from(Fault), max_size=4)


class Delivery(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.folder = tempfile.TemporaryDirectory()
        self.world = World(Path(self.folder.name))
        self.verified: set[Digest] = set()
        self.run(self.world.begin())

    def run(self, work: Any) -> None:
        self.runner.run(work)

    @rule(side=sides, lifetime_ms=st.sampled_from([MINUTE_MS, 20 * MINUTE_MS, 30 * DAY_MS]), crash=crashes)
    def open_a_case(self, side: AuthorityId, lifetime_ms: int, crash: Any) -> None:
        self.world.crash = crash
        self.run(self.world.act(side, lambda station: station.submit(other(side), lifetime_ms=lifetime_ms)))
        self.world.crash = None

    @rule(side=sides, end=st.sampled_from(End), followers=st.integers(0, 2))
    def open_a_case_that_goes_wrong(self, side: AuthorityId, end: End, followers: int) -> None:
        """What chance alone would seldom bring about: a refusal, or an end in doubt."""
        self.run(self.go_wrong(side, end, followers))

    async def go_wrong(self, side: AuthorityId, end: End, followers: int) -> None:
        world, there = self.world, other(side)
        station = world.stations[side]
        row = await station.submit(there, lifetime_ms=MINUTE_MS)
        for _ in range(followers):
            await station.submit(there, case=row.case, lifetime_ms=30 * DAY_MS)
        if end is End.REFUSED:
            world.clocks[there].time_ms += 2 * MINUTE_MS
            await world.work(side)
            return
        world.faults = [Fault.ANSWER_LOST if end is End.TAKEN_IN_DOUBT else Fault.REQUEST_LOST]
        await world.work(side)
        for clock in world.clocks.values():
            clock.time_ms += 2 * MINUTE_MS
        for _ in range(3):
            world.faults = [Fault.REQUEST_LOST] * 8
            await world.work(side)
            world.faults = []
            for clock in world.clocks.values():
                clock.time_ms += MINUTE_MS

    @precondition(lambda self: any(self.world.rows(side, CaseRow) for side in SIDES))
    @rule(
        side=sides,
        pick=picks,
        what=st.sampled_from(["status.enquiry", "withdrawal", "acknowledgment", "status.report"]),
        lifetime_ms=st.sampled_from([MINUTE_MS, 30 * DAY_MS]),
        crash=crashes,
    )
    def go_on_in_a_case(self, side: AuthorityId, pick: int, what: str, lifetime_ms: int, crash: Any) -> None:
        cases = sorted(self.world.rows(side, CaseRow), key=lambda row: (row.opened_ms, row.id))
        if not cases:
            return
        case = cases[pick % len(cases)]
        members: dict[str, Any] = {"kind": what, "lifetime_ms": lifetime_ms}
        if what == "withdrawal":
            members["body"] = {"scope": "all", "handling": "keep"}
        elif what == "status.report":
            members["body"] = REPORT
        elif what == "acknowledgment":
            members["body"] = self.acknowledging(side, case)
        self.world.crash = crash
        self.run(self.world.act(side, lambda station: station.submit(other(side), case=case.id, **members)))
        self.world.crash = None

    def acknowledging(self, side: AuthorityId, case: CaseRow) -> dict[str, Any]:
        steps = self.world.history(side, case).steps
        return {
            "received_at": "2026-11-18T09:00:00.000Z",
            "registered_ref": "QM-1/2026",
            "case_officer": {"function": "Desk Two"},
            "request_sha256": steps[0].sha256,
            "attachments_readable": True,
            "language_ok": True,
            "next_update_by": "2026-12-24",
        }

    @rule(side=sides, faults=faults, crash=crashes)
    def deliver(self, side: AuthorityId, faults: list[Fault], crash: Any) -> None:
        self.world.faults, self.world.crash = list(faults), crash
        self.run(self.world.work(side))
        self.world.faults, self.world.crash = [], None

    @precondition(lambda self: self.world.late)
    @rule(pick=picks, crash=crashes)
    def arrive_late(self, pick: int, crash: Any) -> None:
        side, request = self.world.late.pop(pick % len(self.world.late))
        self.world.crash = crash

        async def arrive() -> None:
            with contextlib.suppress(PeerUnavailable):
                await self.world.ask(side, request)

        self.run(arrive())
        self.world.crash = None

    @precondition(lambda self: self.world.answers)
    @rule(pick=picks)
    def an_answer_arrives_late(self, pick: int) -> None:
        """As one does that was meant for a process that has ended, or that a stalled one holds."""
        side, one, reply = self.world.answers.pop(pick % len(self.world.answers))

        async def arrive(station: Station) -> None:
            peer = station.directory.peers[other(side)]
            await self.world.routes[side]._outcomes.posted(peer, one, reply)

        self.run(self.world.act(side, arrive))

    @rule(ms=st.sampled_from([1_000, 20_000, 2 * MINUTE_MS, 30 * MINUTE_MS]))
    def let_time_go_by(self, ms: int) -> None:
        for clock in self.world.clocks.values():
            clock.time_ms += ms

    @rule(ms=st.sampled_from([-2 * MINUTE_MS, 0, 2 * MINUTE_MS]))
    def let_a_clock_be_wrong(self, ms: int) -> None:
        one, two = (self.world.clocks[side] for side in SIDES)
        one.time_ms = max(one.time_ms, two.time_ms + ms)  # no clock goes back

    @precondition(lambda self: any(self.world.sent(side, State.HELD) for side in SIDES))
    @rule(side=sides, pick=picks, go=st.booleans(), crash=crashes)
    def decide_on_a_held_message(self, side: AuthorityId, pick: int, go: bool, crash: Any) -> None:
        held = self.world.sent(side, State.HELD)
        if not held:
            return
        row = held[pick % len(held)]
        self.world.crash = crash
        if go:
            self.run(self.world.act(side, lambda station: release(station.context, row, "desk")))
        else:
            self.run(self.world.act(side, lambda station: station.settlement.settle(row, Cancel())))
        self.world.crash = None

    @rule(side=sides, pick=picks)
    def retry(self, side: AuthorityId, pick: int) -> None:
        waiting = self.world.sent(side, *OPEN)
        if waiting:
            row = waiting[pick % len(waiting)]
            self.run(self.world.act(side, lambda station: station.settlement.settle(row, Retry())))

    @rule(side=sides, pick=picks, crash=crashes)
    def take_over(self, side: AuthorityId, pick: int, crash: Any) -> None:
        found = self.world.rows(side, MessageRow, direction=Direction.IN, state="available")
        if found:
            row = found[pick % len(found)]
            self.world.crash = crash
            self.run(self.world.act(side, lambda station: station.hand_over(row.peer, row.id)))
            self.world.crash = None

    @rule(side=sides, keep=st.booleans())
    def take_another_sealing_key(self, side: AuthorityId, keep: bool) -> None:
        world, key = self.world, next(self.world.keys)
        party = world.parties[side]
        kept = party.keyring.sealing if keep else {}
        changed = party.succeeded(replace(party.keyring, sealing={**kept, key.kid: key}))
        world.parties[side] = changed
        self.run(world.start(side))

    @rule(side=sides)
    def learn_of_new_cards(self, side: AuthorityId) -> None:
        self.run(self.learn(side))

    async def learn(self, side: AuthorityId) -> None:
        station, newest = self.world.stations[side], self.world.parties[other(side)]
        if station.directory.peers[newest.id].card.sequence < newest.card.sequence:
            await station.repin(newest)

    # -- what holds at any time

    @invariant()
    def nothing_forbidden_was_done(self) -> None:
        assert not self.world.violations

    @invariant()
    def what_was_sent_is_where_its_state_says(self) -> None:
        for side in SIDES:
            there = other(side)
            for row in self.world.sent(side):
                state = State(row.state)
                answer = self.world.disks[there].rows.get((AnswerRow, (side, row.id)))
                taken = self.world.rows(there, MessageRow, direction=Direction.IN, peer=side, id=row.id)
                bodies = [e.body for e in self.world.rows(side, EnvelopeRow, message_id=row.id)]
                receipts = self.world.rows(side, ReceiptRow, peer=there, id=row.id)
                assert (ContentRow, (Direction.OUT, there, row.id)) in self.world.disks[side].rows
                if taken:
                    assert [(one.message_sha256, one.case) for one in taken] == [
                        (row.message_sha256, row.case)
                    ]
                if state in FINAL_BODIES:
                    assert receipts
                    assert not any(bodies)
                    assert answer is not None
                if state in OPEN:
                    assert all(bodies)
                    assert row.envelope_sha256 in {
                        e.sha256 for e in self.world.rows(side, EnvelopeRow, message_id=row.id)
                    }
                match state:
                    case State.ACCEPTED | State.HANDED_OVER:
                        assert len(taken) == 1
                    case State.REFUSED:
                        assert not taken
                        assert answer.event == "relay.refused"
                    case State.EXPIRED:
                        assert not taken
                        assert answer.event == "relay.unknown"
                    case State.HELD | State.CANCELLED:
                        assert answer is None
                        assert not bodies
                        assert not receipts
                    case _:
                        assert not receipts or state in FINAL_BODIES

    @invariant()
    def nothing_is_logged_twice(self) -> None:
        once = {
            "relay.accepted",
            "relay.refused",
            "relay.unknown",
            "relay.undetermined",
            "content.handed_over",
        }
        for side in SIDES:
            counts = Counter(
                (draft.event, draft.peer, draft.message_id)
                for draft in self.world.disks[side].drafts
                if draft.event in once
            )
            assert not counts or max(counts.values()) == 1

    @invariant()
    def every_receipt_holds_and_is_in_the_log_of_the_other(self) -> None:
        for side in SIDES:
            station, there = self.world.stations[side], other(side)
            for kept in self.world.rows(side, ReceiptRow):
                if kept.entry_sha256 in self.verified:
                    continue
                receipt = parse_receipt(kept.body)
                message = self.world.disks[side].rows[MessageRow, (Direction.OUT, kept.peer, kept.id)]
                envelopes = self.world.rows(side, EnvelopeRow, message_id=kept.id)
                logs = station.directory.peers[there].logs
                statement = station.settlement.verify(receipt, message, envelopes, logs)
                assert self.world.disks[there].log[statement.index].leaf == receipt.entry
                assert parse_entry(receipt.entry).event == kept.event
                self.verified.add(kept.entry_sha256)

    @invariant()
    def the_messages_of_a_case_were_taken_in_order(self) -> None:
        for side in SIDES:
            for case in self.world.rows(side, CaseRow):
                steps = self.world.history(side, case).steps
                place = {step.sha256: number for number, step in enumerate(steps)}
                for step in steps:
                    if step.by == other(side) and step.previous is not None:
                        assert place[step.previous] < place[step.sha256]

    # -- what holds in the end

    def teardown(self) -> None:
        try:
            self.run(self.heal())
            self.nothing_forbidden_was_done()
            self.what_was_sent_is_where_its_state_says()
            self.nothing_is_logged_twice()
            self.every_receipt_holds_and_is_in_the_log_of_the_other()
            self.both_sides_agree()
        finally:
            self.runner.close()
            self.folder.cleanup()

    async def heal(self) -> None:
        """Let what is late arrive, the cards be known and the network serve, until all is answered."""
        world = self.world
        for side, request in world.late:
            await world.ask(side, request)
        for _ in range(12):
            for clock in world.clocks.values():
                clock.time_ms = max(one.time_ms for one in world.clocks.values()) + DAY_MS
            for side in SIDES:
                await self.learn(side)
                for _ in range(4):
                    await world.work(side)
        for side in SIDES:
            assert not world.sent(side, *OPEN)
            assert not world.rows(side, NoticeRow, state="queued")
            assert not world.rows(side, NoticeRow, state="dropped")

    def both_sides_agree(self) -> None:
        world = self.world
        for row in world.rows(ONE, CaseRow):
            theirs = world.disks[OTHER].rows.get((CaseRow, (ONE, row.id)))
            mine = world.history(ONE, row)
            if theirs is None:
                assert not mine.effective
                continue
            twin = world.history(OTHER, theirs)
            assert {step.sha256 for step in mine.effective} == {step.sha256 for step in twin.effective}
            assert replay(mine).state == replay(twin).state == row.state == theirs.state
        for side in SIDES:
            handed = {
                (row.peer, row.id)
                for row in world.rows(other(side), MessageRow, state="handed_over")
                if row.direction is Direction.IN
            }
            assert {(side, row.id) for row in world.sent(side, State.HANDED_OVER)} == handed


TestDelivery = Delivery.TestCase
TestDelivery.settings = settings(
    max_examples=40,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
