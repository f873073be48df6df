"""keys.rest: a box opens under its storage key, for its context, and else not."""

import hmac
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand
from hypothesis import given
from hypothesis import strategies as st

from keys.errors import CannotOpen, MalformedToken
from keys.rest import Box, StorageKey

KEY = StorageKey.generate()
BOX = KEY.seal(b"content", b"context")


@given(st.binary(max_size=2000), st.binary(max_size=100))
def test_round_trip(plaintext, context):
    assert KEY.open(KEY.seal(plaintext, context), context) == plaintext


def test_two_boxes_share_no_key_and_no_nonce():
    other = KEY.seal(b"content", b"context")
    assert other.wrapped_key[:24] != BOX.wrapped_key[:24]
    assert other.ciphertext != BOX.ciphertext
    with pytest.raises(CannotOpen):
        KEY.open(replace(BOX, wrapped_key=other.wrapped_key), b"context")


def test_a_box_belongs_to_its_key_and_place():
    for key, context in ((StorageKey.generate(), b"context"), (KEY, b"Context"), (KEY, b"")):
        with pytest.raises(CannotOpen):
            key.open(BOX, context)


@pytest.mark.parametrize("part", ["wrapped_key", "ciphertext"])
def test_altered_or_cut_does_not_open(part):
    whole = getattr(BOX, part)
    altered = [bytes([*whole[:at], whole[at] ^ 1, *whole[at + 1 :]]) for at in range(len(whole))]
    cut = [whole[:end] for end in (0, 1, 15, 16, 23, 24, len(whole) - 1) if end < len(whole)]
    for found in (*altered, *cut, whole + b"\x00"):
        with pytest.raises(CannotOpen):
            KEY.open(replace(BOX, **{part: found}), b"context")


def test_erasing_the_wrapped_key_erases_the_content():
    with pytest.raises(CannotOpen):
        KEY.open(Box(b"", BOX.ciphertext), b"context")


def test_a_key_comes_back_from_its_bytes():
    assert StorageKey(KEY.private_bytes()).open(BOX, b"context") == b"content"
    assert KEY.private_bytes().hex() not in repr(KEY)
    for length in (0, 31, 33):
        with pytest.raises(MalformedToken):
            StorageKey(bytes(length))


def test_equal_values_have_equal_pseudonyms_under_one_key_and_in_one_context():
    found = KEY.pseudonym(b"value", b"context")
    assert KEY.pseudonym(b"value", b"context") == found
    assert StorageKey(KEY.private_bytes()).pseudonym(b"value", b"context") == found
    others = [
        StorageKey.generate().pseudonym(b"value", b"context"),
        KEY.pseudonym(b"Value", b"context"),
        KEY.pseudonym(b"value", b"other"),
        KEY.pseudonym(b"tvalue", b"contex"),
    ]
    assert len({found, *others}) == 5


def test_a_pseudonym_is_hmac_sha256_under_a_key_of_its_own():
    key = StorageKey(bytes(range(32)))
    own = HKDFExpand(SHA256(), 32, b"art18/rest/pseudonym/v1").derive(bytes(range(32)))
    expected = hmac.digest(own, b"subject\x00value", "sha256").hex()
    assert key.pseudonym(b"value", b"subject") == expected
    assert len(expected) == 64
