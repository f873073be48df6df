import pytest

from gateway.core.drift import APART_MS, has_jumped, is_apart, offset_ms

FAR = APART_MS + 1


def test_an_offset_is_corrected_by_half_the_round_trip():
    assert offset_ms(1_000_000, 999_000, 1_001_000) == 0
    assert offset_ms(1_000_000, 900_000, 900_200) == 99_900
    assert offset_ms(1_000_000, 1_200_000, 1_200_000) == -200_000


@pytest.mark.parametrize(
    ("offsets", "apart"),
    [
        ([], False),
        ([APART_MS], False),
        ([FAR], True),
        ([-FAR], True),
        ([FAR, 0], False),
        ([FAR, 0, -FAR], True),
        ([FAR, 0, 0], False),
        ([FAR, FAR, 0, 0], False),
    ],
)
def test_most_must_be_far_away(offsets: list[int], apart: bool):
    assert is_apart(offsets) is apart


@pytest.mark.parametrize(("step_ms", "jumped"), [(0, False), (APART_MS, False), (FAR, True), (-FAR, True)])
def test_a_step_shows_against_the_boot_clock(step_ms: int, jumped: bool):
    boot_ms, ahead_ms = 50_000, 1_795_000_000_000
    later_ms = boot_ms + 86_400_000
    assert has_jumped(ahead_ms, ahead_ms + later_ms + step_ms, later_ms) is jumped
