import random
from collections import deque
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

import schemas
from gateway.core.case import (
    History,
    NotAllowed,
    PredecessorMissing,
    Step,
    UnknownCaseHead,
    add,
    allowed,
    check_received,
    drop,
    may_send,
    newest,
    replay,
    set_counts,
    step_of,
)
from gateway.core.errors import Malformed
from gateway.core.ids import AuthorityId
from gateway.core.machine import MACHINE, Machine, Standing
from gateway.core.strict import sha256
from tests.support.cases import message_id, message_of, played

A, B = AuthorityId("qo.justice"), AuthorityId("qp.justice")
PARTIES = (A, B)
DECIDING = {
    "closure.confirm": [{"decision": "agrees"}, {"decision": "objects"}],
    "execution.result": [{"final": True}, {"final": False}],
    "withdrawal": [{"scope": "all"}, {"scope": "part"}],
}


def other(side):
    return B if side == A else A


def bodies(kind):
    return DECIDING.get(kind, [{}])


@dataclass
class Writer:
    """Numbers steps, and tells what their sender holds."""

    number: int = 0

    def step(self, history, by, kind, when=None, *, created_ms=None, **links):
        self.number += 1
        links = {"previous": newest(history, by), "case_head": newest(history, other(by))} | links
        return Step(
            sha256=sha256(b"%d" % self.number),
            id=message_id(self.number),
            by=by,
            kind=kind,
            created_ms=self.number if created_ms is None else created_ms,
            when=when or {},
            **links,
        )

    def told(self, history, *steps):
        """Return *history* after *steps*, each (by, kind, when?), none of them crossing."""
        for by, kind, *when in steps:
            step = self.step(history, by, kind, *when)
            may_send(history, by, message_of(step, other(by)))
            check_received(history, step)
            history = add(history, step)
        return history


def filed(*steps):
    write = Writer()
    return write, write.told(History(), (A, "request.mla"), *steps)


# -- the machine


def reachable(machine=MACHINE):
    """Return every standing that the two sides can reach, with the moves between them."""
    found = {machine.initial: {}}
    ahead = deque(found)
    while ahead:
        standing = ahead.popleft()
        for side in PARTIES:
            for kind in machine.kinds:
                for when in bodies(kind):
                    moved = machine.step(standing, side, kind, when)
                    if moved is None:
                        continue
                    found[standing][side, kind, tuple(when.items())] = moved
                    if moved not in found:
                        found[moved] = {}
                        ahead.append(moved)
    return found


STANDINGS = reachable()


def test_the_machine_speaks_of_the_kinds_that_have_schemas():
    assert set(MACHINE.kinds) == schemas.KINDS
    assert set(MACHINE.requesting) <= schemas.KINDS


def test_the_machine_speaks_of_its_states_only():
    targets = {move.target for move in MACHINE.moves} - {"same", "before_closing"}
    sources = frozenset().union(*(move.sources for move in MACHINE.moves))
    assert targets | sources <= set(MACHINE.states)
    assert MACHINE.final <= set(MACHINE.states)
    assert {move.by for move in MACHINE.moves} <= {"requesting", "requested", "either", "other"}
    assert not MACHINE.final & sources


def test_what_decides_a_move_is_required_by_the_schema():
    for kind, names in MACHINE.deciding.items():
        body = schemas.load(f"kinds/{kind}")["$defs"]["body"]
        assert set(names) <= set(body.get("required", ())), kind
        values = [value for move in MACHINE.moves if move.kind == kind for _, value in move.when]
        for name in names:
            assert {value for (value,) in values} == set(body["properties"][name].get("enum", (True, False)))


def test_every_state_is_reached():
    assert {standing.state for standing in STANDINGS} == set(MACHINE.states)


def test_closed_is_reached_from_every_standing():
    closed = {standing for standing in STANDINGS if standing.state in MACHINE.final}
    while True:
        more = {one for one, moves in STANDINGS.items() if one not in closed and closed & set(moves.values())}
        if not more:
            break
        closed |= more
    assert closed == set(STANDINGS)


def test_no_message_of_the_wrong_side_is_allowed():
    for standing, moves in STANDINGS.items():
        for (side, kind, _), moved in moves.items():
            row = {move.by for move in MACHINE.moves if move.kind == kind}
            if row == {"requested"}:
                assert side != moved.requesting
            elif row == {"requesting"}:
                assert side == moved.requesting
            elif row == {"other"}:
                assert side != standing.mover
            else:
                assert row == {"either"}


def test_the_other_side_has_a_move_for_each_that_one_has():
    mirrored = {A: B, B: A, None: None}
    for standing, moves in STANDINGS.items():
        twin = replace(
            standing,
            mover=mirrored[standing.mover],
            opener=mirrored[standing.opener],
            requesting=mirrored[standing.requesting],
        )
        assert {(mirrored[side], *rest) for side, *rest in moves} == {tuple(key) for key in STANDINGS[twin]}


SMALL = Machine.of(
    {
        "initial": "none",
        "final": [],
        "requesting": ["ask"],
        "groups": {"open": ["talk", "asked"]},
        "states": {},
        "moves": [
            {"kind": "hello", "by": "either", "from": ["none", "talk"], "to": "talk"},
            {"kind": "ask", "by": "requesting", "from": ["none", "talk"], "to": "asked"},
            {"kind": "hint", "by": "requesting", "from": ["@open"], "to": "same"},
            {"kind": "note", "by": "requested", "from": ["@open"], "to": "same"},
            {
                "kind": "part",
                "by": "either",
                "from": ["@open"],
                "to": "parted",
                "when": {"how": ["well", "ill"]},
            },
            {"kind": "again", "by": "either", "from": ["parted"], "to": "asked", "requires": "asked"},
            {"kind": "recall", "by": "either", "from": ["parted"], "to": "same", "of": ["ask", "hint"]},
        ],
    }
)


def small(*steps):
    standing = SMALL.initial
    for by, kind, *when in steps:
        found = SMALL.step(standing, by, kind, *(when or [{}]))
        if found is None:
            return None
        standing = found
    return standing


WELL = {"how": "well"}


@pytest.mark.parametrize(
    ("steps", "state"),
    [
        ([(A, "hello"), (B, "hello")], "talk"),
        ([(A, "hello"), (A, "hint")], "talk"),
        ([(A, "hello"), (B, "hint")], None),
        ([(A, "hello"), (B, "note")], "talk"),
        ([(A, "hello"), (A, "note")], None),
        ([(A, "hello"), (B, "ask")], "asked"),
        ([(A, "hello"), (B, "ask"), (A, "note")], "asked"),
        ([(A, "hello"), (B, "ask"), (B, "note")], None),
        ([(A, "ask"), (B, "part", WELL)], "parted"),
        ([(A, "ask"), (B, "part", {"how": "ill"})], "parted"),
        ([(A, "ask"), (B, "part", {"how": "so"})], None),
        ([(A, "ask"), (B, "part")], None),
        ([(A, "ask"), (B, "part", WELL), (B, "again")], "asked"),
        ([(A, "hello"), (B, "part", WELL), (B, "again")], None),
        ([(A, "hello"), (A, "hint"), (B, "part", WELL), (B, "recall")], "parted"),
        ([(A, "hello"), (B, "part", WELL), (B, "recall")], None),
        ([(A, "unheard_of")], None),
    ],
)
def test_the_notation(steps, state):
    found = small(*steps)
    assert (found and found.state) == state


def test_who_asks_first_in_the_order_of_the_replay_is_the_requesting_side():
    write = Writer()
    opened = add(History(), write.step(History(), A, "hello"))
    asked_b = write.step(opened, B, "ask", created_ms=1)
    asked_a = write.step(opened, A, "ask", created_ms=9)
    found = replay(History((*opened.steps, asked_b, asked_a)), machine=SMALL)
    assert found.requesting == A
    assert found.crossed == {asked_b.sha256}


# -- replay


@pytest.mark.parametrize("number", [2, 11])
def test_samples_are_legal_paths(number):
    parties, history = schemas.sample(number)["parties"], History()
    for step, signed in played(number):
        found = step_of(signed)
        may_send(history, parties[step["by"]], signed.message)
        check_received(history, found)
        history = add(history, found)
        outcome = replay(history)
        assert outcome.state == step["state"]
        assert outcome.requesting == parties["requesting"]
        assert not outcome.crossed
        assert History.decode(history.encode()) == history
    assert outcome.state in MACHINE.final


def test_a_step_keeps_only_the_members_that_decide():
    kept = {step_of(signed).kind: dict(step_of(signed).when) for _, signed in played(2)}
    assert kept == {
        "request.mla": {},
        "acknowledgment": {},
        "execution.result": {"final": True},
        "closure": {},
        "closure.confirm": {"decision": "agrees"},
    }


def test_a_withdrawal_that_crosses_a_result_wins():
    write, before = filed((B, "acknowledgment"))
    result = write.step(before, B, "execution.result", {"final": True}, created_ms=0)
    withdrawal = write.step(before, A, "withdrawal", {"scope": "all"})
    check_received(add(before, withdrawal), result)
    check_received(add(before, result), withdrawal)
    for steps in ((result, withdrawal), (withdrawal, result)):
        found = replay(History((*before.steps, *steps)))
        assert found.state == "withdrawn"
        assert found.crossed == {result.sha256}
        assert found.order[-2:] == (withdrawal.sha256, result.sha256)


def test_two_closures_that_cross_leave_one_to_answer():
    write, before = filed((B, "acknowledgment"), (B, "execution.result", {"final": True}))
    ours, theirs = write.step(before, A, "closure"), write.step(before, B, "closure")
    both = History((*before.steps, theirs, ours))
    assert replay(both).crossed == {theirs.sha256}
    assert allowed(both, PARTIES) == {A: (), B: ("closure.confirm",)}
    agreed = write.told(both, (B, "closure.confirm", {"decision": "agrees"}))
    assert replay(agreed).state == "closed"


def test_an_objection_leads_back():
    _, history = filed(
        (B, "acknowledgment"),
        (A, "withdrawal", {"scope": "all"}),
        (B, "closure"),
        (A, "closure.confirm", {"decision": "objects"}),
    )
    assert replay(history).state == "withdrawn"
    assert replay(history).before_closing == "closing"


def test_within_one_side_created_and_then_the_id_decide():
    write, before = filed((B, "acknowledgment"))
    part = {"scope": "part"}
    late, early = (write.step(before, A, "withdrawal", part, created_ms=when) for when in (50, 40))
    equal = [write.step(before, A, "withdrawal", part, created_ms=45) for _ in range(8)]
    found = replay(History((*before.steps, *reversed(equal), late, early)))
    assert found.order[2:] == tuple(step.sha256 for step in (early, *equal, late))


def test_an_empty_case():
    found = replay(History())
    assert (found.state, found.requesting, found.order) == ("none", None, ())
    assert allowed(History(), PARTIES) == {A: ("request.mla",), B: ("request.mla",)}
    assert newest(History(), A) is None


def test_what_each_side_may_send():
    _, history = filed((B, "acknowledgment"))
    assert allowed(history, PARTIES) == {
        A: ("info.reply", "status.enquiry", "withdrawal"),
        B: ("decision.accept", "decision.refuse", "execution.result", "info.request", "status.report"),
    }


# -- judging what arrives


def test_a_message_is_judged_by_its_ancestors_alone():
    write, before = filed((B, "acknowledgment"))
    result = write.step(before, B, "execution.result", {"final": True})
    after = add(before, result)
    check_received(after, write.step(before, A, "status.enquiry"))
    with pytest.raises(NotAllowed):
        check_received(after, write.step(after, A, "status.enquiry"))


def test_an_unknown_predecessor_is_missing():
    write, history = filed()
    with pytest.raises(PredecessorMissing):
        check_received(history, write.step(history, B, "acknowledgment", previous=sha256(b"unseen")))
    with pytest.raises(PredecessorMissing):  # a message, but not of the sender
        check_received(history, write.step(history, B, "acknowledgment", previous=newest(history, A)))


def test_an_unknown_case_head():
    write, history = filed((B, "acknowledgment"))
    with pytest.raises(UnknownCaseHead):
        check_received(history, write.step(history, B, "info.request", case_head=sha256(b"unseen")))
    with pytest.raises(UnknownCaseHead):  # a message, but of the sender itself
        check_received(history, write.step(history, B, "info.request", case_head=newest(history, B)))


def test_the_text_of_a_refusal_names_kind_and_state_only():
    write, history = filed()
    with pytest.raises(NotAllowed, match=r"^closure may not be sent by this side .* in the state filed$"):
        check_received(history, write.step(history, B, "closure"))


# -- what counts


def test_a_refused_message_is_as_if_never_sent():
    write, before = filed((B, "acknowledgment"))
    withdrawal = write.step(before, A, "withdrawal", {"scope": "all"})
    after = set_counts(add(before, withdrawal), withdrawal.sha256, counts=False)
    assert replay(after).state == "registered"
    assert newest(after, A) == newest(before, A)
    assert drop(after, withdrawal.sha256) == before


def test_an_undetermined_message_counts_once_the_peer_builds_on_it():
    write, before = filed((B, "acknowledgment"))
    enquiry = write.step(before, A, "status.enquiry")
    asked = add(before, enquiry)
    report = write.step(asked, B, "status.report")
    unsure = set_counts(asked, enquiry.sha256, counts=False)
    assert enquiry.sha256 not in replay(unsure).order
    check_received(unsure, report)
    joined = add(unsure, report)
    assert enquiry.sha256 in replay(joined).order
    assert newest(joined, A) == enquiry.sha256
    with pytest.raises(ValueError, match="stays"):
        drop(joined, enquiry.sha256)


def test_one_that_was_accepted_after_all_becomes_the_newest():
    write, before = filed((B, "acknowledgment"))
    lost = write.step(before, A, "withdrawal", {"scope": "all"})
    unsure = set_counts(add(before, lost), lost.sha256, counts=False)
    enquiry = write.step(unsure, A, "status.enquiry")
    found = set_counts(add(unsure, enquiry), lost.sha256, counts=True)
    assert newest(found, A) == lost.sha256
    assert replay(found).state == "withdrawn"
    assert replay(found).crossed == {enquiry.sha256}


def test_what_the_peer_would_refuse_is_not_sent():
    write, before = filed((B, "acknowledgment"))
    lost = write.step(before, A, "withdrawal", {"scope": "all"})
    enquiry = write.step(before, A, "status.enquiry")
    peer = add(add(before, lost), enquiry)  # two branches, and a link of the peer names only one
    assert replay(peer).state == "withdrawn"
    closure = write.step(peer, B, "closure")
    assert closure.case_head == enquiry.sha256
    with pytest.raises(NotAllowed):
        may_send(peer, B, message_of(closure, A))


def test_counting_twice_changes_nothing():
    write, history = filed((B, "acknowledgment"))
    for step in history.steps:
        assert set_counts(history, step.sha256, counts=True) is history
    assert add(history, history.steps[0]) is history
    with pytest.raises(KeyError):
        set_counts(history, write.step(history, A, "withdrawal").sha256, counts=False)


# -- at rest


def test_a_history_is_a_value():
    _, history = filed((B, "acknowledgment"), (B, "execution.result", {"final": True}))
    history = set_counts(history, history.steps[1].sha256, counts=False)
    found = History.decode(history.encode())
    assert found == history
    assert found.encode() == history.encode()


GOOD = filed()[1].encode()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b'{"v":1}',
        b'{"v":2,"steps":[]}',
        b'{"v":1,"steps":[[]]}',
        b'{"v":1,"steps":{}}',
        GOOD.replace(b"true", b"1"),
        GOOD.replace(b"{},{}", b'{"a":[]},{}'),
        GOOD.replace(b"{},{}", b"[],{}"),
        GOOD.replace(b"{},{}", b"{},[]"),
        GOOD.replace(b"{},{}", b"{}"),
        GOOD.replace(b"null,null", b'null,"x"'),
        GOOD[:-1],
    ],
)
def test_what_is_no_history(data):
    assert data != GOOD
    with pytest.raises(Malformed):
        History.decode(data)


# -- any two sides


@dataclass
class Side:
    """One authority: its history, what it posted, and what it will hear of it later."""

    id: AuthorityId
    history: History = field(default_factory=History)
    posted: deque[Step] = field(default_factory=deque)
    unsure: list[Step] = field(default_factory=list)


class TwoSides(RuleBasedStateMachine):
    """Each side sends whatever it may, whenever; what is posted arrives late, or nobody knows.

    Per sender the order is kept. Nothing that a side may send is ever refused, and when all has
    arrived and every outcome is known, both stand in the same state.
    """

    @initialize()
    def begin(self):
        self.write = Writer()
        self.sides = {side: Side(side) for side in PARTIES}
        self.send(A, 0, 0)

    @rule(side=st.sampled_from(PARTIES), choice=st.integers(0, 99), created_ms=st.integers(0, 6))
    def send(self, side, choice, created_ms):
        sender = self.sides[side]
        if not sender.history.steps and side == B:
            return  # who opens a case mints its id
        kinds = allowed(sender.history, PARTIES)[side]
        options = [(kind, when) for kind in kinds for when in bodies(kind)]
        if not options:
            return
        kind, when = options[choice % len(options)]
        step = self.write.step(sender.history, side, kind, when, created_ms=created_ms)
        try:
            may_send(sender.history, side, message_of(step, other(side)))
        except NotAllowed:
            return
        sender.history = add(sender.history, step)
        sender.posted.append(step)

    @rule(side=st.sampled_from(PARTIES))
    def arrive(self, side):
        if self.sides[side].posted:
            self.accept(self.sides[side].posted.popleft())

    def accept(self, step):
        recipient = self.sides[other(step.by)]
        check_received(recipient.history, step)
        recipient.history = add(recipient.history, step)

    @precondition(lambda self: any(side.posted for side in self.sides.values()))
    @rule(side=st.sampled_from(PARTIES), taken=st.booleans())
    def fall_silent(self, side, taken):
        """The peer took the message or did not; its sender cannot know, and gives up what waited."""
        sender = self.sides[side]
        if not sender.posted:
            return
        step, *waiting = sender.posted
        sender.posted.clear()
        for one in (step, *waiting):
            sender.history = set_counts(sender.history, one.sha256, counts=False)
        for one in waiting:
            sender.history = drop(sender.history, one.sha256)
        if taken:
            self.accept(step)
            sender.unsure.append(step)

    @rule(side=st.sampled_from(PARTIES))
    def learn(self, side):
        sender = self.sides[side]
        for step in sender.unsure:
            sender.history = set_counts(sender.history, step.sha256, counts=True)
        sender.unsure.clear()

    @invariant()
    def survives_the_disk(self):
        for side in getattr(self, "sides", {}).values():
            assert History.decode(side.history.encode()) == side.history

    def teardown(self):
        for side in PARTIES:
            while self.sides[side].posted:
                self.arrive(side)
        for side in PARTIES:
            self.learn(side)
        ours, theirs = (replay(self.sides[side].history) for side in PARTIES)
        assert ours == theirs
        assert ours.order == theirs.order


TwoSides.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
test_two_sides = TwoSides.TestCase


def crossing(seed, count=24):
    """Return the steps of two sides that post and hear in a random order."""
    dice, write = random.Random(seed), Writer()
    held = dict.fromkeys(PARTIES, History())
    posted = {side: deque() for side in PARTIES}
    while write.number < count:
        side = dice.choice(PARTIES)
        history = held[side]
        if posted[other(side)] and dice.random() < 0.4:
            held[side] = add(history, posted[other(side)].popleft())
            continue
        if not history.steps and side == B:
            continue
        options = [(kind, when) for kind in allowed(history, PARTIES)[side] for when in bodies(kind)]
        if not options:
            if not posted[other(side)] and not posted[side]:
                break
            held[side] = add(history, posted[other(side)].popleft()) if posted[other(side)] else history
            continue
        step = write.step(history, side, *dice.choice(options), created_ms=dice.randrange(5))
        held[side] = add(history, step)
        posted[side].append(step)
    return {step.sha256: step for side in PARTIES for step in held[side].steps}.values()


@settings(deadline=None)
@given(seed=st.integers(0, 10_000), order=st.randoms(use_true_random=False))
def test_the_state_depends_on_the_set_alone(seed, order):
    steps = list(crossing(seed))
    expected = replay(History(tuple(steps)))
    order.shuffle(steps)
    assert replay(History(tuple(steps))) == expected
    ancestors = {step.sha256: set(History(tuple(steps)).ancestors(step.links)) for step in steps}
    turn = {digest: index for index, digest in enumerate(expected.order)}
    assert all(turn[before] < turn[digest] for digest, known in ancestors.items() for before in known)


def test_crossing_happens_in_these_tests():
    assert any(replay(History(tuple(crossing(seed)))).crossed for seed in range(20))


def test_the_first_is_who_opened_before_roles_exist():
    assert Standing("talk", opener=A).first == A
    assert Standing("talk", opener=A, requesting=B).first == B
