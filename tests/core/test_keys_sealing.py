"""keys.sealing: what is sealed to a key opens under it, with the same `info`, and else not."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keys import sealing
from keys.errors import CannotOpen, MalformedToken
from keys.sealing import (
    ENCAPSULATION_BYTES,
    OVERHEAD_BYTES,
    PUBLIC_BYTES,
    SealingKey,
    check_sealing_public,
    seal,
)
from keys.signing import kid

KEY, OTHER = SealingKey.generate(), SealingKey.generate()
PRIME = 2**255 - 19
# The u of the points of small order of curve25519 and of its twist, and their forms beyond the prime
# (RFC 7748 §7).
_ORDER_8 = (
    325606250916557431795983626356110631294008115727848805560023387167927233504,
    39382357235489614581723060781553021112529911719440698176882885853963445705823,
)
SMALL = (0, 1, PRIME - 1, PRIME, PRIME + 1, *_ORDER_8)


@settings(deadline=None, max_examples=40)
@given(st.binary(max_size=5000), st.binary(max_size=300))
def test_round_trip(plaintext, info):
    sealed = seal(KEY.public, plaintext, info)
    assert len(sealed) == len(plaintext) + OVERHEAD_BYTES
    assert KEY.open(sealed, info) == plaintext


def test_the_encapsulation_is_as_long_as_the_suite_says():
    assert sealing.hpke.KEM.MLKEM768_X25519.enc_length() == ENCAPSULATION_BYTES == 1088 + 32


def test_two_seals_share_nothing():
    one, two = seal(KEY.public, b"same", b""), seal(KEY.public, b"same", b"")
    assert one[:ENCAPSULATION_BYTES] != two[:ENCAPSULATION_BYTES]
    assert one[ENCAPSULATION_BYTES:] != two[ENCAPSULATION_BYTES:]


def test_a_key_comes_back_from_its_bytes():
    again = SealingKey.from_bytes(KEY.private_bytes())
    assert (again.public, again.kid, again.private_bytes()) == (KEY.public, KEY.kid, KEY.private_bytes())
    assert len(KEY.public) == PUBLIC_BYTES
    assert KEY.kid == kid("MLKEM768-X25519", KEY.public)
    assert again.open(seal(KEY.public, b"x", b"i"), b"i") == b"x"


SEALED = seal(KEY.public, b"content", b"info")


@pytest.mark.parametrize(
    ("key", "sealed", "info"),
    [
        (OTHER, SEALED, b"info"),
        (KEY, SEALED, b"Info"),
        (KEY, SEALED, b""),
        (KEY, SEALED[:-1], b"info"),
        (KEY, SEALED + b"\x00", b"info"),
        (KEY, SEALED[:ENCAPSULATION_BYTES], b"info"),
        (KEY, SEALED[: OVERHEAD_BYTES - 1], b"info"),
        (KEY, b"", b"info"),
        (KEY, SEALED[1:], b"info"),
    ],
)
def test_another_key_info_or_length_does_not_open(key, sealed, info):
    with pytest.raises(CannotOpen):
        key.open(sealed, info)


@pytest.mark.parametrize("length", [0, ENCAPSULATION_BYTES, OVERHEAD_BYTES - 1])
def test_what_cannot_hold_an_encapsulation_and_a_tag_is_not_tried(length):
    with pytest.raises(CannotOpen, match="shorter"):
        KEY.open(SEALED[:length], b"info")


# One position in each part: ML-KEM ciphertext, its end, X25519 share, its end, ciphertext, tag.
@pytest.mark.parametrize("position", [0, 500, 1087, 1088, 1119, 1120, 1126, len(SEALED) - 1])
@pytest.mark.parametrize("bit", range(8))
def test_one_bit_altered_does_not_open(position, bit):
    altered = bytearray(SEALED)
    altered[position] ^= 1 << bit
    with pytest.raises(CannotOpen):
        KEY.open(bytes(altered), b"info")


@pytest.mark.parametrize("u", SMALL)
def test_a_share_of_small_order_does_not_open(u):
    share = u.to_bytes(32, "little")
    with pytest.raises(CannotOpen):
        KEY.open(SEALED[:1088] + share + SEALED[1120:], b"info")


@pytest.mark.parametrize("u", SMALL)
def test_a_public_key_of_small_order_is_refused(u):
    bad = KEY.public[:1184] + u.to_bytes(32, "little")
    for refuse in (lambda: check_sealing_public(bad), lambda: seal(bad, b"", b"")):
        with pytest.raises(MalformedToken):
            refuse()


@pytest.mark.parametrize("coefficient", [3329, 4095])
def test_a_coefficient_that_is_not_reduced_is_refused(coefficient):
    # FIPS 203 §7.2: ByteEncode12(ByteDecode12(ek)) must give ek again; q is 3329.
    first = bytes([coefficient & 0xFF, coefficient >> 8 | KEY.public[1] & 0xF0])
    with pytest.raises(MalformedToken):
        check_sealing_public(first + KEY.public[2:])
    assert check_sealing_public(KEY.public) == KEY.public


@pytest.mark.parametrize("length", [0, 32, 1184, 1215, 1217])
def test_other_lengths_are_malformed(length):
    with pytest.raises(MalformedToken):
        check_sealing_public(KEY.public[:length].ljust(length, b"\x00"))


@pytest.mark.parametrize("length", [0, 32, 95, 97])
def test_private_keys_have_96_bytes(length):
    with pytest.raises(MalformedToken):
        SealingKey.from_bytes(bytes(length))
