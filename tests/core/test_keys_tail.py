"""keys.tail: a segment opens under its key, at its place, and else not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keys.errors import CannotOpen, MalformedToken
from keys.tail import OVERHEAD, new_tail_key, open_segment, seal_segment

KEY = new_tail_key()
SEGMENT = seal_segment(KEY, b"content", b"place")


@given(st.binary(max_size=2000), st.binary(max_size=100))
def test_round_trip(plaintext, context):
    sealed = seal_segment(KEY, plaintext, context)
    assert len(sealed) == len(plaintext) + OVERHEAD
    assert open_segment(KEY, sealed, context) == plaintext


def test_equal_segments_share_no_nonce():
    assert seal_segment(KEY, b"content", b"place")[:24] != SEGMENT[:24]


def test_a_segment_belongs_to_its_key_and_place():
    for key, context in ((new_tail_key(), b"place"), (KEY, b"Place"), (KEY, b""), (bytes(31), b"place")):
        with pytest.raises(CannotOpen):
            open_segment(key, SEGMENT, context)


def test_altered_or_cut_does_not_open():
    altered = [bytes([*SEGMENT[:at], SEGMENT[at] ^ 1, *SEGMENT[at + 1 :]]) for at in range(len(SEGMENT))]
    for found in (*altered, b"", SEGMENT[:23], SEGMENT[:24], SEGMENT[:-1], SEGMENT + b"0"):
        with pytest.raises(CannotOpen):
            open_segment(KEY, found, b"place")


def test_a_key_has_32_bytes():
    with pytest.raises(MalformedToken):
        seal_segment(bytes(31), b"", b"")
    assert len(KEY) == 32
