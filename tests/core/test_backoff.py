import pytest

from gateway.core.backoff import FIRST_MS, LONGEST_MS, OPEN, Way, backoff_ms, obstructed

NOW_MS = 1_795_000_000_000


def test_the_backoff_doubles_up_to_its_cap():
    longest = [backoff_ms(attempt, 1.0) for attempt in range(1, 12)]
    assert longest[:6] == [FIRST_MS << n for n in range(6)]
    assert set(longest[6:]) == {LONGEST_MS}
    assert backoff_ms(10**9, 1.0) == LONGEST_MS


@pytest.mark.parametrize("jitter", [0, 0.25, 0.999])
def test_the_jitter_is_full_but_no_loop_runs_hot(jitter: float):
    assert backoff_ms(3, jitter) == max(1_000, int(4 * FIRST_MS * jitter))


def test_an_obstructed_way_opens_after_the_backoff():
    way = obstructed(obstructed(OPEN, "unreachable", NOW_MS, 0.5), "unavailable", NOW_MS, 0.5)
    assert way == Way(2, NOW_MS + FIRST_MS, "unavailable")
    assert not way.is_open(NOW_MS + FIRST_MS - 1)
    assert way.is_open(NOW_MS + FIRST_MS)
    assert OPEN.is_open(0)


def test_a_way_waits_as_long_as_the_peer_asks_within_the_cap():
    assert obstructed(OPEN, "rate_limited", NOW_MS, 0.1, retry_after_s=90).next_ms == NOW_MS + 90_000
    assert obstructed(OPEN, "rate_limited", NOW_MS, 0.1, retry_after_s=10**9).next_ms == NOW_MS + LONGEST_MS
