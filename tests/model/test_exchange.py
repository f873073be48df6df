"""Two authorities, an evil network, and crashes: nothing is lost, nothing twice, no receipt that lies.

The rules of the real node (submission, `core.delivery`, `core.intake`, settlement, release) run over
two stores in memory that keep the guarantees of `ports.Store`. What is posted may be lost, arrive
twice, late or out of order; answers likewise; either node may end right before or after any commit
and go on from its rows alone.
"""

import asyncio
import tempfile
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from gateway.core.delivery import Cancel, State
from gateway.core.entry import parse_entry
from gateway.core.errors import Misuse
from gateway.core.ids import AuthorityId
from gateway.core.merkle import leaf_hash, root
from gateway.core.proof import parse_receipt
from gateway.peering.client import Reply
from gateway.ports import Direction, MessageRow, NoticeRow, Outgoing, ReceiptRow, Unprobed
from gateway.store.blobs import BlobFolder
from gateway.web.release import release
from gateway.workers.outcomes import Outcomes
from gateway.workers.parts import Parts
from tests.support.authorities import DAY_MS, FixedClock, FixedEntropy, make_authority
from tests.support.memory import Crashed, Disk, MemoryStore
from tests.support.stations import Station

NAMES = (AuthorityId("qm.moj"), AuthorityId("qn.moj"))
SIDES = st.sampled_from([0, 1])
PICK = st.integers(min_value=0, max_value=1_000_000)
FINAL = {State.ACCEPTED, State.HANDED_OVER, State.REFUSED, State.EXPIRED, State.CANCELLED}


class Node:
    """One authority: a process that can end, over a disk that stays."""

    def __init__(self, name: AuthorityId, clock: FixedClock, blobs: BlobFolder) -> None:
        self.party, self.clock, self.blobs = make_authority(name), clock, blobs
        self.disk = Disk()
        self.crash_at: str | None = None
        self.start()

    def start(self) -> None:
        """Begin anew with nothing but the disk."""
        self.crash_at = None
        store = MemoryStore(self.party, self.clock, FixedEntropy(), disk=self.disk, probe=self._probe)
        self.store = store
        self.station = Station(self.party, store, self.clock, self.blobs)
        parts = Parts(
            store=store,
            blobs=self.blobs,
            directory=self.station.directory,
            keyring=lambda: self.party.keyring,
            dial=None,  # type: ignore[arg-type]  # the model is the network
            cards_wanted=lambda _: None,
            clock=self.clock,
            entropy=self.station.entropy,
            probe=Unprobed(),
        )
        self.outcomes = Outcomes(parts)

    def _probe(self, point: str) -> None:
        if self.crash_at is not None and point.endswith(self.crash_at):
            self.crash_at = None
            raise Crashed

    def messages(self, direction: Direction) -> list[MessageRow]:
        return [
            row
            for row in self.disk.rows.values()
            if isinstance(row, MessageRow) and row.direction is direction
        ]

    def rows(self, kind: type[Any]) -> list[Any]:
        return [row for row in self.disk.rows.values() if isinstance(row, kind)]

    def events(self) -> list[Any]:
        return [parse_entry(logged.leaf) for logged in self.disk.log]


class Exchange(RuleBasedStateMachine):
    """What may happen between the two, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.clock = FixedClock()
        self.folder = tempfile.TemporaryDirectory()
        self.nodes: list[Node] = []
        self.promised: set[tuple[int, str]] = set()  # (side, id) of which the hook said 201
        self.on_the_way: list[tuple[int, Outgoing]] = []  # envelopes that may arrive, again and late
        self.answers: list[tuple[int, Outgoing, Reply]] = []  # answers likewise

    @initialize()
    def set_up(self) -> None:
        blobs = BlobFolder(Path(self.folder.name) / "blobs")
        self.nodes = [Node(name, self.clock, blobs) for name in NAMES]
        for node, other in zip(self.nodes, reversed(self.nodes), strict=True):
            self.loop.run_until_complete(node.station.pin(other.party))

    def teardown(self) -> None:
        if self.nodes:
            self.settle_down()
        self.loop.close()
        self.folder.cleanup()

    def run(self, step: Coroutine[Any, Any, Any]) -> Any:
        """Run a step; a process that crashes in it starts again. Returns None then."""
        try:
            return self.loop.run_until_complete(step)
        except Crashed:
            for node in self.nodes:
                if node.store.dead:
                    node.start()
                    self.loop.run_until_complete(node.station.directory.refresh())
            return None

    def pair(self, side: int) -> tuple[Node, Node]:
        return self.nodes[side], self.nodes[1 - side]

    # -- what people and their systems do

    @rule(side=SIDES, pick=PICK, new=st.booleans(), days=st.sampled_from([1, 2, 30]))
    def submit(self, side: int, pick: int, new: bool, days: int) -> None:
        here, there = self.pair(side)
        own = sorted({row.case for row in here.messages(Direction.OUT)})
        case = None if new or not own else own[pick % len(own)]
        try:
            row = self.run(here.station.submit(there.party.id, case=case, lifetime_ms=days * DAY_MS))
        except Misuse as fault:
            if fault.code != "not_allowed":  # the opening of the case was refused or cancelled
                raise
            return
        if row is not None:
            self.promised.add((side, row.id))

    @rule(side=SIDES, pick=PICK, let_go=st.booleans())
    def operate(self, side: int, pick: int, let_go: bool) -> None:
        here, _ = self.pair(side)
        held = sorted(
            (row for row in here.messages(Direction.OUT) if row.state == State.HELD), key=lambda r: r.id
        )
        if not held:
            return
        row = held[pick % len(held)]
        try:
            if let_go:
                self.run(release(here.station.context, row, "operator"))
            else:
                self.run(here.station.settlement.settle(row, Cancel(), actor_ref="operator"))
        except Misuse as fault:
            if fault.code not in {"not_allowed", "wrong_state"}:
                raise

    @rule(side=SIDES, pick=PICK)
    def hand_over(self, side: int, pick: int) -> None:
        here, there = self.pair(side)
        waiting = [row for row in here.messages(Direction.IN) if row.state == "available"]
        if waiting:
            self.run(here.station.hand_over(there.party.id, waiting[pick % len(waiting)].id))

    # -- what the network and the machines do

    @rule(
        side=SIDES, pick=PICK, fate=st.sampled_from(["arrives", "lost", "answer lost", "late", "answer late"])
    )
    def post(self, side: int, pick: int, fate: str) -> None:
        here, there = self.pair(side)
        due = self.run(here.store.due(there.party.id, self.clock.now_ms(), limit=64)) or []
        due = [one for one in due if one.message.expires_ms > self.clock.now_ms()]
        if not due:
            return
        one = due[pick % len(due)]
        self.on_the_way.append((side, one))
        if fate in {"lost", "late"}:
            return
        reply = self.arrive(side, one)
        if reply is None or fate == "answer lost":
            return
        if fate == "answer late":
            self.answers.append((side, one, reply))
        else:
            self.answered(side, one, reply)

    def arrive(self, side: int, one: Outgoing) -> Reply | None:
        here, there = self.pair(side)
        replies = self.run(there.station.receive(here.party.id, [one.envelope.body]))
        return None if replies is None else replies[0]

    def answered(self, side: int, one: Outgoing, reply: Reply) -> None:
        here, there = self.pair(side)
        peer = here.station.directory.peers[there.party.id]
        try:
            self.run(here.outcomes.posted(peer, one, reply))
        except Misuse as fault:
            if fault.code != "wrong_state":
                raise

    @precondition(lambda self: self.on_the_way)
    @rule(pick=PICK, keep=st.booleans())
    def arrive_late_or_again(self, pick: int, keep: bool) -> None:
        side, one = self.on_the_way[pick % len(self.on_the_way)]
        reply = self.arrive(side, one)
        if reply is not None and keep:
            self.answers.append((side, one, reply))

    @precondition(lambda self: self.answers)
    @rule(pick=PICK)
    def answer_late_or_again(self, pick: int) -> None:
        self.answered(*self.answers[pick % len(self.answers)])

    @rule(side=SIDES, lost=st.booleans())
    def ask_for_outcomes(self, side: int, lost: bool) -> None:
        here, there = self.pair(side)
        now_ms, name = self.clock.now_ms(), there.party.id
        rows = self.run(here.store.overdue(name, now_ms, limit=8)) or []
        rows = [*rows, *(self.run(here.store.unresolved(name, now_ms, limit=8)) or [])]
        for row in rows:
            if lost:
                self.run(here.outcomes.silent(row, "unreachable"))
                continue
            reply = self.run(there.station.close(here.party.id, row.id, row.envelope_sha256))
            if reply is not None:
                peer = here.station.directory.peers[name]
                self.run(here.outcomes.asked(peer, row, reply))

    @rule(side=SIDES, twice=st.booleans(), lost=st.booleans())
    def bring_notices(self, side: int, twice: bool, lost: bool) -> None:
        here, there = self.pair(side)
        due = self.run(here.store.notices_due(there.party.id, self.clock.now_ms(), limit=8)) or []
        for notice in due:
            receipt = self.run(here.store.receipt(notice.entry))
            for _ in range(1 + twice):
                reply = receipt and self.run(there.station.take_receipt(here.party.id, receipt))
            if reply is not None and not lost:
                self.run(here.outcomes.brought(notice, reply))

    @rule(ms=st.sampled_from([1_000, 60_000, 3_600_000, DAY_MS, 3 * DAY_MS]))
    def time_passes(self, ms: int) -> None:
        self.clock.time_ms += ms

    @rule(side=SIDES, point=st.sampled_from(["before_commit", "after_commit"]))
    def crash_soon(self, side: int, point: str) -> None:
        self.nodes[side].crash_at = point

    # -- what must hold whatever happened

    @invariant()
    def nothing_is_lost(self) -> None:
        for side, node in enumerate(self.nodes):
            known = {row.id for row in node.messages(Direction.OUT)}
            assert {id_ for owner, id_ in self.promised if owner == side} <= known

    @invariant()
    def nothing_is_taken_twice(self) -> None:
        for node in self.nodes:
            taken = [entry.message_id for entry in node.events() if entry.event == "relay.accepted"]
            assert len(taken) == len(set(taken))
            assert set(taken) == {row.id for row in node.messages(Direction.IN)}

    @invariant()
    def an_answer_is_true(self) -> None:
        for here, there in zip(self.nodes, reversed(self.nodes), strict=False):
            taken = {row.id: row for row in there.messages(Direction.IN)}
            for row in here.messages(Direction.OUT):
                if row.state in {State.ACCEPTED, State.HANDED_OVER}:
                    assert taken[row.id].message_sha256 == row.message_sha256
                if row.state in {State.EXPIRED, State.HELD, State.CANCELLED}:
                    assert row.id not in taken

    @invariant()
    def every_receipt_is_in_the_log_of_the_peer(self) -> None:
        for here, there in zip(self.nodes, reversed(self.nodes), strict=False):
            leaves = {logged.leaf for logged in there.disk.log}
            assert all(parse_receipt(row.body).entry in leaves for row in here.rows(ReceiptRow))

    @invariant()
    def the_logs_grow_only(self) -> None:
        for node in self.nodes:
            assert node.disk.frontier.root() == root([leaf_hash(one.leaf) for one in node.disk.log])

    @invariant()
    def cases_go_in_order(self) -> None:
        """Of each case, what was taken came in the order in which the sender let it go."""
        for here, there in zip(self.nodes, reversed(self.nodes), strict=False):
            sent = {row.id: row.entry for row in here.messages(Direction.OUT)}
            by_case: dict[str, list[int]] = {}
            for row in sorted(there.messages(Direction.IN), key=lambda row: row.entry):
                by_case.setdefault(row.case, []).append(sent[row.id])
            assert all(entries == sorted(entries) for entries in by_case.values())

    def settle_down(self) -> None:
        """The network heals: then everything that nobody holds back comes to its end."""
        for node in self.nodes:
            node.crash_at = None
        for _ in range(200):
            self.clock.time_ms += 1_800_001  # past every backoff
            for side in (0, 1):
                here, there = self.pair(side)
                self.ask_for_outcomes(side, lost=False)
                while due := [
                    one
                    for one in self.run(here.store.due(there.party.id, self.clock.now_ms(), limit=64))
                    if one.message.expires_ms > self.clock.now_ms()
                ]:
                    for one in due:
                        reply = self.arrive(side, one)
                        assert reply is not None
                        self.answered(side, one, reply)
                self.bring_notices(side, twice=True, lost=False)
            if self.at_rest():
                break
        assert self.at_rest()
        for check in (
            self.nothing_is_lost,
            self.nothing_is_taken_twice,
            self.an_answer_is_true,
            self.every_receipt_is_in_the_log_of_the_peer,
            self.cases_go_in_order,
        ):
            check()

    def at_rest(self) -> bool:
        return all(
            all(row.state in FINAL | {State.HELD} for row in node.messages(Direction.OUT))
            and all(row.state != "queued" for row in node.rows(NoticeRow))
            for node in self.nodes
        )


TestExchange = Exchange.TestCase
TestExchange.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
