"""Two sides that speak at once: nothing is refused, and both end in the same state (protocol §5)."""

import random
from collections import deque
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from gateway.core.case import (
    History,
    NotAllowed,
    Step,
    add,
    allowed,
    check_received,
    drop,
    may_send,
    replay,
    set_counts,
)
from gateway.core.ids import AuthorityId
from gateway.core.machine import MACHINE
from tests.support.cases import message_of
from tests.support.steps import PARTIES, A, B, Writer, led_to, other, standings, turns

STARTS = tuple(standing for standing in standings() if standing.opener == A)
"""Wherever a case can stand; who opened it minted its id, and is called A."""


ALIKE = {
    (
        standing.first,
        frozenset((turn, moved.state) for turn, moved in standings()[standing].items()),
    ): standing
    for standing in STARTS
}
"""Those of them that differ in what may be sent next, or where it leads."""


def options(history, side, *, moving=False):
    """Return what *side* may send now, each (kind, when); of what is *moving*, what changes the state."""
    standing = replay(history).standing
    found = []
    for _, kind, chosen in turns(side, allowed(history, PARTIES)[side]):
        moved = MACHINE.step(standing, side, kind, dict(chosen))
        if moved is not None and (not moving or moved.state != standing.state):
            found.append((kind, dict(chosen)))
    return found


# -- two messages


def pairs(standing):
    """Yield the history before, and two steps that cross: one of A and one of B, each pair there is."""
    write, before = led_to(standing)
    sent = {side: [write.step(before, side, *one) for one in options(before, side)] for side in PARTIES}
    for ours in sent[A]:
        for theirs in sent[B]:
            yield before, ours, theirs


def test_whichever_two_messages_cross_both_are_taken_and_both_sides_agree():
    crossing = set()
    for standing in ALIKE.values():
        for before, ours, theirs in pairs(standing):
            check_received(add(before, ours), theirs)
            check_received(add(before, theirs), ours)
            found = replay(History((*before.steps, ours, theirs)))
            assert found == replay(History((*before.steps, theirs, ours)))
            assert found.standing in standings()
            first = ours if standing.first == A else theirs
            assert first.sha256 not in found.crossed
            crossing |= {ours.kind, theirs.kind}
    never = {
        "request.oral_notice",
        "spontaneous.information",
        "closure.confirm",
    }  # the other has no move then
    assert crossing == set(MACHINE.kinds) - never


def test_a_withdrawal_of_the_whole_wins_over_whatever_crosses_it():
    crossed = set()
    for standing in ALIKE.values():
        for before, *both in pairs(standing):
            for withdrawal, answer in (both, both[::-1]):
                if withdrawal.kind == "withdrawal" and withdrawal.when["scope"] == "all":
                    found = replay(History((*before.steps, answer, withdrawal)))
                    assert found.state == "withdrawn"
                    assert found.crossed == {answer.sha256}
                    assert {withdrawal.sha256, answer.sha256} <= set(found.order)
                    crossed.add(answer.kind)
    assert crossed >= {"execution.result", "decision.accept", "decision.refuse", "surrender.done"}


def test_a_withdrawn_consent_crosses_the_transfer_and_the_case_is_closed():
    write = Writer()
    before = write.told(
        History(),
        *((A, "request.transfer_sentenced"), (B, "acknowledgment"), (B, "info.request"), (A, "info.reply")),
        (B, "decision.accept"),
    )
    withdrawal = write.step(before, A, "withdrawal", {"scope": "all"})
    result = write.step(before, B, "execution.result", {"final": True}, created_ms=0)
    for crossing in ((withdrawal, result), (result, withdrawal)):
        history = History((*before.steps, *crossing))
        assert (replay(history).state, replay(history).crossed) == ("withdrawn", {result.sha256})
        history = write.told(history, (B, "closure"), (A, "closure.confirm", {"decision": "agrees"}))
        assert replay(history).state == "closed"
        assert {withdrawal.sha256, result.sha256} <= set(replay(history).order)


# -- any number of messages


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
    arrived and every outcome is known, both stand in the same state, out of which the case can
    still be closed.
    """

    @initialize(standing=st.sampled_from(STARTS))
    def begin(self, standing):
        self.write, history = led_to(standing)
        self.sides = {side: Side(side, history) for side in PARTIES}

    @rule(
        side=st.sampled_from(PARTIES),
        choice=st.integers(0, 999),
        moving=st.booleans(),
        created_ms=st.integers(0, 6),
    )
    def send(self, side, choice, moving, created_ms):
        sender = self.sides[side]
        found = options(sender.history, side, moving=moving)
        if not found:
            return
        kind, when = found[choice % len(found)]
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
        for side in self.sides.values():
            assert History.decode(side.history.encode()) == side.history

    def teardown(self):
        for side in PARTIES:
            while self.sides[side].posted:
                self.arrive(side)
        for side in PARTIES:
            self.learn(side)
        ours, theirs = (replay(self.sides[side].history) for side in PARTIES)
        assert ours == theirs
        assert ours.standing in standings()


TwoSides.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
test_two_sides = TwoSides.TestCase


def crossing(seed, count=24):
    """Return the steps of two sides that post and hear in a random order, somewhere in a case."""
    dice = random.Random(seed)
    write, begun = led_to(dice.choice(STARTS))
    held = dict.fromkeys(PARTIES, begun)
    posted = {side: deque() for side in PARTIES}
    for _ in range(count):
        side = dice.choice(PARTIES)
        found = options(held[side], side, moving=dice.random() < 0.5)
        if posted[other(side)] and (not found or dice.random() < 0.4):
            held[side] = add(held[side], posted[other(side)].popleft())
        elif found:
            step = write.step(held[side], side, *dice.choice(found), created_ms=dice.randrange(5))
            held[side] = add(held[side], step)
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
