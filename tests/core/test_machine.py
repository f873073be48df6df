"""The table itself: what it says, what can be reached, and who may do it."""

from dataclasses import replace

import pytest

import schemas
from gateway.core.case import History, replay
from gateway.core.machine import MACHINE, Machine, Standing
from tests.support.steps import PARTIES, A, B, Writer, other, standings, values

TABLE = schemas.load("case-machine")
SIDES = {"A": A, "B": B}
OUTLINES = {
    "bank records, with a consultation before": """
        A consultation.open consulting, B consultation.reply consulting, A request.mla filed,
        B acknowledgment registered, B assignment review, A status.enquiry review, B status.report review,
        B decision.accept accepted, B execution.result(final=false) accepted,
        A execution.receipt_of_evidence accepted, B execution.result(final=true) executed,
        A closure closing, B closure.confirm(decision=agrees) closed""",
    "service of a summons": """
        A request.mla filed, B acknowledgment registered, B execution.result(final=true) executed,
        A closure closing, B closure.confirm(decision=agrees) closed""",
    "an oral request": """
        A request.oral_notice oral, B acknowledgment oral, A request.written_confirmation filed,
        B acknowledgment registered, B decision.accept accepted, B execution.result(final=true) executed,
        A closure closing, B closure.confirm(decision=agrees) closed""",
    "provisional arrest, extradition, surrender": """
        A request.provisional_arrest arrest_pending, B acknowledgment arrest_pending,
        B notice.custody(event=arrested) arrested, A request.extradition filed, B acknowledgment registered,
        B assignment review, B notice.defence_arguments review, A info.reply review,
        B notice.adverse_decision review, B assurance.request review, A assurance.give review,
        B decision.accept accepted, B surrender.postpone surrender_wait, A surrender.arrange accepted,
        B surrender.done executed, A closure closing, B closure.confirm(decision=agrees) closed""",
    "refusal, and reopened": """
        A request.mla filed, B acknowledgment registered, B info.request info_wait, A info.reply review,
        B consultation.mandatory consult, A consultation.position consult, B decision.refuse refused,
        A consultation.open refused, A reopen review, B decision.accept accepted,
        B execution.result(final=true) executed, A closure closing,
        B closure.confirm(decision=agrees) closed""",
    "confiscation, with conditions and costs": """
        A draft.submit draft, B draft.review draft, A request.confiscation filed, B acknowledgment registered,
        B assignment review, B costs.notice review, A costs.reply review, B conditions.offer conditions,
        A conditions.reply review, B decision.accept accepted, B execution.result(final=true) executed,
        B asset.disposal executed, A closure closing, B closure.confirm(decision=agrees) closed""",
    "transfer of proceedings": """
        A consultation.open consulting, B consultation.reply consulting, A request.transfer_proceedings filed,
        B acknowledgment registered, B assignment review, B decision.accept accepted,
        B execution.result(final=true) executed, B proceedings.outcome executed, A closure closing,
        B closure.confirm(decision=agrees) closed""",
    "transfer of a sentenced person, withdrawn": """
        A request.transfer_sentenced filed, B acknowledgment registered, B info.request info_wait,
        A info.reply review, B decision.accept accepted, A withdrawal(scope=all) withdrawn,
        B closure closing, A closure.confirm(decision=agrees) closed""",
    "spontaneous information": """
        A spontaneous.information informed, B acknowledgment informed, B spontaneous.feedback informed,
        B use.exculpatory_notice informed, A closure closing, B closure.confirm(decision=agrees) closed""",
    "postponement, confidentiality, consent to another use": """
        A request.mla filed, B acknowledgment registered, B confidentiality.cannot_comply registered,
        A confidentiality.position registered, B consultation.mandatory consult,
        A consultation.position consult, B decision.postpone postponed, B status.report postponed,
        B decision.accept accepted, B execution.result(final=true) executed, A use.consent_request executed,
        B use.consent_reply executed, A closure closing, B closure.confirm(decision=agrees) closed""",
    "an extradition granted in part": """
        A request.extradition filed, B acknowledgment registered, B decision.partial partial,
        A surrender.arrange partial, B surrender.postpone surrender_wait, B surrender.arrange partial,
        A surrender.done executed""",
    "held, let out on bail, gone": """
        A request.provisional_arrest arrest_pending, B notice.custody(event=detained) arrested,
        B notice.custody(event=bailed) arrest_pending, B notice.custody(event=escaped) arrest_pending,
        A request.extradition filed, B notice.custody(event=arrested) filed,
        B acknowledgment registered, B notice.custody(event=released) registered""",
}
"""Courses of cases: who sends what, and the state to which it leads."""


def turns_of(outline):
    for turn in outline.split(","):
        side, kind, state = turn.split()
        kind, _, condition = kind.removesuffix(")").partition("(")
        member, _, value = condition.partition("=")
        typed = {"true": True, "false": False}.get(value, value)
        yield SIDES[side], kind, {member: typed} if member else {}, state


# -- what the table says


def test_the_machine_speaks_of_the_kinds_that_have_schemas():
    assert set(MACHINE.kinds) == schemas.KINDS
    assert set(MACHINE.requesting) <= schemas.KINDS


def test_the_machine_speaks_of_its_states_only():
    targets = {move.target for move in MACHINE.moves} - {"same", "before"}
    sources = frozenset().union(*(move.sources for move in MACHINE.moves))
    assert targets | sources | MACHINE.required <= set(MACHINE.states)
    assert MACHINE.final <= set(MACHINE.states)
    assert {move.by for move in MACHINE.moves} <= {"requesting", "requested", "either", "other"}


def test_it_speaks_of_its_kinds_only():
    assert MACHINE.requesting | MACHINE.asked_for <= set(MACHINE.kinds)
    phases = [kind for phase in TABLE["phases"] for kind in phase["kinds"]]
    assert sorted(phases) == list(MACHINE.kinds)


def test_a_kind_has_one_sender():
    for kind in MACHINE.kinds:
        assert len({move.by for move in MACHINE.moves if move.kind == kind}) == 1, kind


def test_no_two_moves_compete():
    for kind in MACHINE.kinds:
        rows = [move for move in MACHINE.moves if move.kind == kind]
        for state in MACHINE.states:
            found = [move.when for move in rows if state in move.sources]
            assert len(set(found)) == len(found)
            assert () not in found or len(found) == 1


@pytest.mark.parametrize("kind", sorted(kind for kind, names in MACHINE.deciding.items() if names))
def test_what_decides_a_move_is_required_by_the_schema(kind):
    body = schemas.load(f"kinds/{kind}")["$defs"]["body"]
    for name, some in values(kind).items():
        assert name in body["required"]
        assert set(some) == set(body["properties"][name].get("enum", (True, False)))


# -- what can be reached


def test_every_state_is_reached():
    assert {standing.state for standing in standings()} == set(MACHINE.states)


def test_every_move_can_be_made():
    made = {
        (standing.state, kind, when) for standing, moves in standings().items() for _, kind, when in moves
    }
    for move in MACHINE.moves:
        for source in move.sources:
            assert any(
                (source, move.kind) == turn[:2]
                and dict(turn[2]).items() >= {name: some[0] for name, some in move.when}.items()
                for turn in made
            ), (source, move)


def test_closed_is_reached_from_every_standing():
    closed = {standing for standing in standings() if standing.state in MACHINE.final}
    while True:
        more = {
            one for one, moves in standings().items() if one not in closed and closed & set(moves.values())
        }
        if not more:
            break
        closed |= more
    assert closed == set(standings())


def test_no_case_stands_without_a_move_for_somebody():
    for standing, moves in standings().items():
        assert moves, standing


def test_either_side_alone_can_end_what_is_open():
    """But for `closing`, where the other is to answer, and what nobody began."""
    for side in PARTIES:
        done = {standing for standing in standings() if standing.state in {"none", "closing", "closed"}}
        while True:
            more = {
                standing
                for standing, moves in standings().items()
                if standing not in done
                and any(by == side and moved in done for (by, *_), moved in moves.items())
            }
            if not more:
                break
            done |= more
        assert done == set(standings())


# -- who may do it


def test_no_message_of_the_wrong_side_is_allowed():
    for standing, moves in standings().items():
        for (side, kind, _), moved in moves.items():
            (by,) = {move.by for move in MACHINE.moves if move.kind == kind}
            if by == "requested":
                assert side == other(standing.requesting or standing.opener)
            elif by == "requesting":
                assert side == moved.requesting
                assert standing.requesting in {None, side}
            elif by == "other":
                assert side == other(standing.mover)
            else:
                assert by == "either"


def test_the_requesting_side_stays_the_same():
    for standing, moves in standings().items():
        for (side, kind, _), moved in moves.items():
            if standing.requesting is not None:
                assert moved.requesting == standing.requesting
            else:
                assert moved.requesting == (side if kind in MACHINE.requesting else None)
            assert moved.opener == (standing.opener or side)


def test_the_other_side_has_a_move_for_each_that_one_has():
    mirrored = {A: B, B: A, None: None}
    for standing, moves in standings().items():
        twin = replace(
            standing,
            mover=mirrored[standing.mover],
            opener=mirrored[standing.opener],
            requesting=mirrored[standing.requesting],
        )
        assert {(mirrored[side], *rest) for side, *rest in moves} == set(standings()[twin])


def test_the_first_is_who_opened_before_roles_exist():
    assert Standing("talk", opener=A).first == A
    assert Standing("talk", opener=A, requesting=B).first == B


# -- courses of cases


@pytest.mark.parametrize("name", OUTLINES)
def test_a_course(name):
    write, history = Writer(), History()
    for by, kind, when, state in turns_of(OUTLINES[name]):
        history = write.sent(history, by, kind, when)
        outcome = replay(history)
        assert outcome.state == state, kind
        assert outcome.requesting == A
        assert not outcome.crossed


def test_the_courses_show_every_state():
    shown = {state for outline in OUTLINES.values() for *_, state in turns_of(outline)}
    assert set(MACHINE.states) - shown == {MACHINE.initial.state, "misdirected"}


@pytest.mark.parametrize(
    ("opened", "kind"),
    [
        ("A draft.submit draft", "draft.review"),
        ("A consultation.open consulting, B draft.submit draft", "draft.review"),
        ("A spontaneous.information informed", "acknowledgment"),
        ("A consultation.open consulting, B request.jit filed", "acknowledgment"),
    ],
)
def test_who_first_asks_or_informs_is_the_requesting_side(opened, kind):
    write, history = Writer(), History()
    for by, sent, when, _ in turns_of(opened):
        history = write.sent(history, by, sent, when)
    standing = replay(history).standing
    assert standing.requesting == by
    assert [side for side in PARTIES if MACHINE.may(standing, side, kind)] == [other(by)]


def test_what_was_never_filed_is_not_reopened():
    write = Writer()
    oral = write.told(History(), (A, "request.oral_notice"), (B, "decision.refuse"))
    assert not MACHINE.may(replay(oral).standing, A, "reopen")
    filed = write.told(History(), (A, "request.mla"), (B, "acknowledgment"), (B, "decision.refuse"))
    assert MACHINE.may(replay(filed).standing, A, "reopen")


def test_only_who_is_extradited_is_surrendered():
    for kind, surrendered in (("request.mla", False), ("request.extradition", True)):
        history = Writer().told(History(), (A, kind), (B, "acknowledgment"), (B, "decision.accept"))
        assert MACHINE.may(replay(history).standing, B, "surrender.done") is surrendered


# -- the notation


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
            {"kind": "back", "by": "other", "from": ["parted"], "to": "before"},
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
        ([(A, "ask"), (B, "part", WELL), (A, "back")], "asked"),
        ([(A, "hello"), (B, "part", WELL), (A, "back")], "talk"),
        ([(A, "hello"), (B, "part", WELL), (B, "back")], None),
        ([(A, "hint")], None),
        ([(A, "unheard_of")], None),
    ],
)
def test_the_notation(steps, state):
    found = small(*steps)
    assert (found and found.state) == state
