import pytest

from gateway.cli.terminal import time_left
from gateway.core.strict import time_text

NOW_MS = 1_795_000_000_000
MINUTE_MS, HOUR_MS, DAY_MS = 60_000, 3_600_000, 86_400_000


@pytest.mark.parametrize(
    ("left_ms", "says"),
    [
        (2 * DAY_MS + 3 * HOUR_MS + 4 * MINUTE_MS, "2 days 3 hours left"),
        (DAY_MS + 5 * MINUTE_MS, "1 day 5 minutes left"),
        (HOUR_MS, "1 hour left"),
        (MINUTE_MS - 1, "less than a minute left"),
        (0, "ran out less than a minute ago"),
        (-90 * MINUTE_MS, "ran out 1 hour 30 minutes ago"),
        (-40 * DAY_MS, "ran out 40 days ago"),
    ],
)
def test_time_left_is_told_in_its_two_largest_units(left_ms: int, says: str):
    assert time_left(time_text(NOW_MS + left_ms), NOW_MS) == says
