"""What is due to be erased, and what bars it."""

import pytest

from gateway.core.case import History, forget, replay, step_of
from gateway.core.retention import DAY_MS, Bar, Facts, Rule, Since, bar_of, due_bar
from tests.support.cases import played

NOW = 1000 * DAY_MS
RULES = (
    Rule("request.*", 100, Since.CLOSED),
    Rule("status.enquiry", 10, Since.RECORDED),
    Rule("*", 500, Since.CLOSED),
)


def facts(**members):
    found = {
        "kind": "request.mla", "taken": True, "unfinished": False, "recorded_ms": 0,
        "closed_ms": NOW - 100 * DAY_MS, "held": False, "erased": False,
    }  # fmt: skip
    return Facts(**(found | members))


@pytest.mark.parametrize(
    ("members", "bar"),
    [
        ({}, None),
        ({"closed_ms": NOW - 100 * DAY_MS + 1}, Bar.EARLY),
        ({"closed_ms": None}, Bar.CASE_OPEN),
        ({"kind": "status.enquiry", "closed_ms": None}, None),
        ({"kind": "status.enquiry", "closed_ms": None, "recorded_ms": NOW - 9 * DAY_MS}, Bar.EARLY),
        ({"kind": "closure"}, Bar.EARLY),
        ({"kind": "closure", "closed_ms": NOW - 500 * DAY_MS}, None),
    ],
)
def test_the_first_rule_that_fits_says_when_it_is_due(members, bar):
    assert due_bar(facts(**members), RULES, NOW, not_taken=False) == bar


def test_without_a_rule_it_is_kept_for_ever():
    assert due_bar(facts(kind="closure"), RULES[:2], NOW, not_taken=False) is Bar.KEPT
    assert due_bar(facts(), (), NOW, not_taken=False) is Bar.KEPT


@pytest.mark.parametrize(
    ("members", "bar"),
    [
        ({"erased": True, "held": True}, Bar.ERASED),
        ({"held": True}, Bar.HELD),
        ({"unfinished": True}, Bar.UNFINISHED),
        ({"taken": False}, Bar.NOT_TAKEN),
        ({"taken": False, "unfinished": True}, Bar.UNFINISHED),
        ({}, None),
    ],
)
def test_what_bars_it_whoever_asks(members, bar):
    assert bar_of(facts(**members), not_taken=False) == bar
    assert due_bar(facts(**members), RULES, NOW, not_taken=False) == bar


def test_by_name_only_of_a_case_that_is_closed():
    assert bar_of(facts(closed_ms=None), not_taken=False) is Bar.CASE_OPEN
    assert bar_of(facts(kind="closure", closed_ms=NOW), not_taken=False) is None


def test_what_was_not_taken_over_goes_if_somebody_says_so():
    waiting = facts(taken=False)
    assert bar_of(waiting, not_taken=True) is None
    assert due_bar(waiting, RULES, NOW, not_taken=True) is None


def test_a_history_forgets_what_it_kept_and_not_where_it_stands():
    history = History(tuple(step_of(signed) for _, signed in played(1)))
    first = history.steps[0]
    assert first.recorded
    after = forget(history, first.sha256)
    assert after.steps[0].recorded == {}
    assert after.steps[1:] == history.steps[1:]
    assert replay(after) == replay(history)
    assert forget(after, "0" * 64) == after
