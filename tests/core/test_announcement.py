"""Attempts to tell a webhook: when the next one is, and when it was the last."""

import itertools

import pytest

from gateway.core.announcement import (
    FIRST_MS,
    LASTS_MS,
    LONGEST_MS,
    Answer,
    Progress,
    State,
    step,
    wait_ms,
)

NEW = Progress(State.PENDING, 0, None, 0)
FAILURE, TAKEN, GONE = Answer(500, None, 1), Answer(204, None, 1), Answer(410, None, 1)


def test_waits_double_within_their_bounds():
    assert [wait_ms(attempt, 0.999999) for attempt in (1, 2, 3)] == [4_999, 9_999, 19_999]
    for attempt, jitter in itertools.product((0, 1, 5, 12, 40, 10**6), (0.0, 0.5, 0.999999)):
        assert FIRST_MS // 2 <= wait_ms(attempt, jitter) <= LONGEST_MS
    assert wait_ms(13, 0.0) == LONGEST_MS // 2


@pytest.mark.parametrize(
    ("answer", "taken"),
    [
        (Answer(200, None, 1), True),
        (Answer(299, None, 1), True),
        (Answer(199, None, 1), False),
        (Answer(300, None, 1), False),
        (Answer(None, "timeout", 1), False),
    ],
)
def test_only_2xx_is_taken(answer: Answer, taken: bool):
    assert answer.taken is taken
    after = step(NEW, answer, 1000, 0.5)
    assert after.state is (State.DELIVERED if taken else State.PENDING)
    assert (after.attempts, after.first_ms) == (1, 1000)


def test_gone_ends_it_at_once():
    assert step(NEW, GONE, 1000, 0.5).state is State.FAILED


def test_the_last_attempt_is_three_days_after_the_first():
    progress = step(NEW, FAILURE, 1000, 0.0)
    times = [1000]
    while progress.state is State.PENDING:
        times.append(progress.next_ms)
        progress = step(progress, FAILURE, progress.next_ms, 0.0)
    assert progress.state is State.FAILED
    assert times[-1] == 1000 + LASTS_MS
    assert progress.attempts == len(times)
    assert all(later > earlier for earlier, later in itertools.pairwise(times))


def test_after_a_long_stop_one_attempt_is_left():
    progress = step(NEW, FAILURE, 1000, 0.0)
    assert step(progress, FAILURE, 1000 + 2 * LASTS_MS, 0.0).state is State.FAILED
    assert step(progress, TAKEN, 1000 + 2 * LASTS_MS, 0.0).state is State.DELIVERED
