"""keys.stream: attachments come back whole and in order, or not at all (protocol §7)."""

import hashlib

import pytest
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from keys import stream
from keys.errors import CannotOpen, KeyFault, MalformedToken
from keys.stream import (
    CHUNK,
    TAG,
    check_length,
    chunk_count,
    new_stream_key,
    open_chunk,
    seal_chunk,
    sealed_size,
)
from tests.support.streams import chunks_of, opened, sealed

KEY = bytes(range(32))
SIZES = [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 2 * CHUNK + 1]
SEALED_CHUNK = CHUNK + TAG


def content(size):
    return hashlib.shake_128(b"content").digest(size)


def as_long_as(blob):
    """Return the size that the length of *blob* pretends: then nothing is wrong by its length alone."""
    return max(0, len(blob) - TAG * len(chunks_of(blob)))


PLAIN = content(2 * CHUNK + 1)
SEALED = sealed(KEY, PLAIN)


@pytest.mark.parametrize("size", SIZES)
def test_round_trip(size):
    blob = sealed(KEY, content(size))
    assert opened(KEY, blob, size) == content(size)
    assert len(blob) == sealed_size(size)
    assert len(chunks_of(blob)) == chunk_count(size)


@pytest.mark.parametrize("size", SIZES)
def test_the_bytes_are_those_of_the_protocol(size):
    # Written from the words of protocol §7 alone: 11 bytes of counter, then 01 on the final chunk.
    data, cipher = content(size), ChaCha20Poly1305(KEY)
    parts = [data[at : at + CHUNK] for at in range(0, size, CHUNK)] or [b""]
    expected = b"".join(
        cipher.encrypt(
            index.to_bytes(11, "big") + (b"\x01" if index == len(parts) - 1 else b"\x00"), part, None
        )
        for index, part in enumerate(parts)
    )
    assert sealed(KEY, data) == expected


@pytest.mark.parametrize(
    ("size", "chunks", "length"),
    [
        (0, 1, 16),
        (1, 1, 17),
        (CHUNK, 1, CHUNK + 16),
        (CHUNK + 1, 2, CHUNK + 33),
        (2**42, 2**22, 2**42 + 2**26),
    ],
)
def test_chunks_and_length(size, chunks, length):
    assert chunk_count(size) == chunks
    assert sealed_size(size) == length


@pytest.mark.parametrize(
    "end", [0, 1, TAG - 1, TAG, CHUNK, SEALED_CHUNK, SEALED_CHUNK + TAG, 2 * SEALED_CHUNK, len(SEALED) - 1]
)
def test_truncation_is_refused(end):
    for size in (len(PLAIN), as_long_as(SEALED[:end])):
        with pytest.raises(CannotOpen):
            opened(KEY, SEALED[:end], size)


@pytest.mark.parametrize("more", [b"\x00", bytes(TAG), SEALED[-17:], SEALED[:SEALED_CHUNK]])
def test_extension_is_refused(more):
    for size in (len(PLAIN), as_long_as(SEALED + more)):
        with pytest.raises(CannotOpen):
            opened(KEY, SEALED + more, size)


def test_an_empty_final_chunk_after_another_is_refused():
    cipher = ChaCha20Poly1305(KEY)
    full = cipher.encrypt(stream._nonce(0, last=False), content(CHUNK), None)
    empty = cipher.encrypt(stream._nonce(1, last=True), b"", None)
    for size in (CHUNK, CHUNK + 1):
        with pytest.raises(CannotOpen):
            opened(KEY, full + empty, size)
    with pytest.raises(CannotOpen):
        open_chunk(KEY, 1, empty, last=True)


def test_other_orders_are_refused():
    first, second, last = chunks_of(SEALED)
    for order in (
        (second, first, last),
        (first, first, last),
        (second, last),
        (first, last),
        (first, second, second, last),
        (first, second),
        (last,),
    ):
        blob = b"".join(order)
        for size in (len(PLAIN), as_long_as(blob)):
            with pytest.raises(CannotOpen):
                opened(KEY, blob, size)


def test_chunks_of_another_stream_are_refused():
    alien = sealed(new_stream_key(), PLAIN)
    with pytest.raises(CannotOpen):
        opened(KEY, SEALED[:SEALED_CHUNK] + alien[SEALED_CHUNK:], len(PLAIN))


@pytest.mark.parametrize(
    "position", [0, CHUNK, SEALED_CHUNK - 1, SEALED_CHUNK, len(SEALED) - 17, len(SEALED) - 1]
)
@pytest.mark.parametrize("bit", [0, 7])
def test_one_bit_altered_is_refused(position, bit):
    altered = bytearray(SEALED)
    altered[position] ^= 1 << bit
    with pytest.raises(CannotOpen):
        opened(KEY, bytes(altered), len(PLAIN))


def test_another_key_does_not_open():
    with pytest.raises(CannotOpen):
        opened(new_stream_key(), SEALED, len(PLAIN))


class TestOneChunk:
    def test_each_opens_alone(self):
        for index, chunk in enumerate(chunks_of(SEALED)):
            found = open_chunk(KEY, index, chunk, last=index == 2)
            assert found == PLAIN[index * CHUNK : (index + 1) * CHUNK]

    def test_an_altered_one_leaves_those_beside_it_alone(self):
        first, second, last = chunks_of(SEALED)
        with pytest.raises(CannotOpen):
            open_chunk(KEY, 1, flipped(second), last=False)
        assert open_chunk(KEY, 0, first, last=False) + open_chunk(KEY, 2, last, last=True) == (
            PLAIN[:CHUNK] + PLAIN[2 * CHUNK :]
        )

    def test_not_at_another_place_or_as_another_kind(self):
        first, _, last = chunks_of(SEALED)
        for index, chunk, final in ((1, first, False), (0, first, True), (2, last, False), (1, last, True)):
            with pytest.raises(CannotOpen):
                open_chunk(KEY, index, chunk, last=final)

    @pytest.mark.parametrize("size", [0, 1, CHUNK - 1, CHUNK + 1])
    def test_a_middle_chunk_is_full_and_no_more(self, size):
        # Soundly sealed, by a sender who does not keep to the form.
        chunk = ChaCha20Poly1305(KEY).encrypt(stream._nonce(0, last=False), content(size), None)
        with pytest.raises(CannotOpen):
            open_chunk(KEY, 0, chunk, last=False)

    def test_a_final_chunk_is_not_larger_than_full(self):
        chunk = ChaCha20Poly1305(KEY).encrypt(stream._nonce(0, last=True), content(CHUNK + 1), None)
        with pytest.raises(CannotOpen):
            open_chunk(KEY, 0, chunk, last=True)


SIZE = 4 * CHUNK + 7
WHOLE = sealed(KEY, content(SIZE))
PARTS = chunks_of(WHOLE)
FULL_TO_THE_END = sealed(KEY, content(5 * CHUNK))
ALIEN = chunks_of(sealed(bytes(32), content(SIZE)))


def flipped(chunk):
    return bytes([chunk[0] ^ 1]) + chunk[1:]


# What lies there, and what is said of it.
WRONG = [
    ("nothing", [], "truncated"),
    ("less than a tag", [WHOLE[:15]], "truncated"),
    ("the final chunk is missing", PARTS[:4], "truncated"),
    ("all but the first are missing", PARTS[:1], "truncated"),
    ("cut within the final chunk", [WHOLE[:-1]], "truncated"),
    ("cut within another chunk", [WHOLE[: 2 * SEALED_CHUNK + 99]], "truncated"),
    ("a byte follows", [*PARTS, b"\0"], "extended"),
    ("a chunk follows", [*PARTS[:4], PARTS[4], PARTS[4]], "extended"),
    ("two are swapped", [PARTS[0], PARTS[2], PARTS[1], *PARTS[3:]], "reordered"),
    ("a later one comes twice", [PARTS[3], *PARTS[1:]], "reordered"),
    ("an earlier one comes twice", [*PARTS[:3], PARTS[1], PARTS[4]], "reordered"),
    ("one of another stream", [*PARTS[:2], ALIEN[2], *PARTS[3:]], "altered"),
    ("the end of another stream", [*PARTS[:4], ALIEN[4]], "altered"),
    ("a bit of the first", [flipped(PARTS[0]), *PARTS[1:]], "altered"),
    ("a bit of the last", [*PARTS[:4], flipped(PARTS[4])], "altered"),
]


class TestWhatIsWrong:
    @pytest.mark.parametrize(("there", "code"), [case[1:] for case in WRONG], ids=[case[0] for case in WRONG])
    def test_is_told_of_a_stream(self, there, code):
        with pytest.raises(CannotOpen) as raised:
            opened(KEY, b"".join(there), SIZE)
        assert raised.value.code == code

    @pytest.mark.parametrize(
        ("index", "chunk", "last", "code"),
        [
            (1, PARTS[2], False, "reordered"),
            (3, PARTS[0], False, "reordered"),
            (0, FULL_TO_THE_END[-SEALED_CHUNK:], False, "reordered"),
            (4, PARTS[3], True, "reordered"),
            (3, PARTS[3], True, "truncated"),
            (4, PARTS[4][:TAG], True, "truncated"),
            (1, PARTS[1][:-1], False, "truncated"),
            (1, PARTS[1] + b"\0", False, "extended"),
            (4, PARTS[4], False, "truncated"),
            (4, FULL_TO_THE_END[-SEALED_CHUNK:], False, "extended"),
            (1, ALIEN[1], False, "altered"),
            (4, flipped(PARTS[4]), True, "altered"),
        ],
    )
    def test_is_told_of_one_chunk(self, index, chunk, last, code):
        with pytest.raises(CannotOpen) as raised:
            open_chunk(KEY, index, chunk, last=last, chunks=5)
        assert raised.value.code == code

    @pytest.mark.parametrize(
        ("index", "chunk", "last", "code"),
        [
            (0, PARTS[3], False, "altered"),
            (3, PARTS[1], False, "reordered"),
            (1, PARTS[1], True, "truncated"),
            (2, WHOLE[-9:], True, "truncated"),
            (0, sealed(KEY, content(CHUNK)), False, "extended"),
        ],
    )
    def test_is_told_of_a_chunk_of_a_stream_that_may_end_there(self, index, chunk, last, code):
        with pytest.raises(CannotOpen) as raised:
            open_chunk(KEY, index, chunk, last=last)
        assert raised.value.code == code

    @pytest.mark.parametrize("chunks", [1, 3, 2**40])
    def test_is_looked_for_no_longer_than_opening_takes(self, monkeypatch, chunks):
        tried = []
        monkeypatch.setattr(stream, "_TRIES", 50)
        monkeypatch.setattr(stream, "_authentic", lambda _cipher, nonce, _chunk: tried.append(nonce))
        with pytest.raises(CannotOpen):
            open_chunk(KEY, 0, flipped(PARTS[0]), last=False, chunks=chunks)
        assert len(tried) == len(set(tried)) + (chunks == 1) <= min(chunks, 51) + 1

    @pytest.mark.parametrize(("more", "code"), [(-1, "truncated"), (1, "extended")])
    def test_is_told_by_the_length_alone(self, more, code):
        check_length(len(WHOLE), SIZE)
        with pytest.raises(CannotOpen) as raised:
            check_length(len(WHOLE) + more, SIZE)
        assert raised.value.code == code


def test_no_nonce_comes_twice():
    nonces = {stream._nonce(index, last=last) for index in (0, 1, 255, 256, 2**40) for last in (False, True)}
    assert len(nonces) == 10
    assert {len(nonce) for nonce in nonces} == {12}


@pytest.mark.parametrize(
    ("index", "size", "last"), [(0, 0, True), (0, 5, True), (1, 1, True), (0, CHUNK, False), (9, CHUNK, True)]
)
def test_a_chunk_sealed_alone_opens_alone(index, size, last):
    sealed = seal_chunk(KEY, index, bytes(size), last=last)
    assert open_chunk(KEY, index, sealed, last=last) == bytes(size)


@pytest.mark.parametrize(
    ("index", "size", "last"), [(0, CHUNK - 1, False), (1, 0, True), (0, CHUNK + 1, True), (0, 0, False)]
)
def test_no_chunk_has_another_length(index, size, last):
    with pytest.raises(KeyFault):
        seal_chunk(KEY, index, bytes(size), last=last)


@pytest.mark.parametrize("length", [0, 16, 31, 33])
def test_a_key_has_32_bytes(length):
    for use in (seal_chunk, open_chunk):
        with pytest.raises(MalformedToken):
            use(bytes(length), 0, bytes(16), last=True)
    assert len(new_stream_key()) == 32
    assert new_stream_key() != new_stream_key()
