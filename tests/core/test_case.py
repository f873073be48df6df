import pytest

import schemas
from gateway.core.case import (
    History,
    NotAllowed,
    PredecessorMissing,
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
from gateway.core.machine import MACHINE
from gateway.core.strict import sha256
from tests.support.cases import message_of, played
from tests.support.steps import PARTIES, A, B, Writer


def filed(*steps):
    write = Writer()
    return write, write.told(History(), (A, "request.mla"), *steps)


# -- replay


def test_who_asks_first_in_the_order_of_the_replay_is_the_requesting_side():
    write = Writer()
    opened = write.told(History(), (A, "consultation.open"))
    asked_b = write.step(opened, B, "draft.submit", created_ms=1)
    asked_a = write.step(opened, A, "request.mla", created_ms=9)
    found = replay(History((*opened.steps, asked_b, asked_a)))
    assert found.requesting == A
    assert found.crossed == {asked_b.sha256}


@pytest.mark.parametrize("number", schemas.samples())
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
    assert replay(history).standing.before == "closing"


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
    opening = ("consultation.open", *sorted(MACHINE.requesting))
    assert allowed(History(), PARTIES) == {A: opening, B: opening}
    assert newest(History(), A) is None


def test_what_each_side_may_send():
    write, history = filed()
    assert allowed(history, PARTIES) == {
        A: ("confidentiality.position", "correction", "status.enquiry", "supplement", "withdrawal"),
        B: ("acknowledgment", "confidentiality.cannot_comply", "correction", "misdirected", "notice.custody"),
    }
    ended = write.told(history, (A, "withdrawal", {"scope": "all"}))
    assert allowed(ended, PARTIES) == {A: ("closure",), B: ("closure",)}


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
