"""keys.stream: attachments come back whole and in order, or not at all (protocol §7)."""

import hashlib
from itertools import pairwise

import pytest
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from hypothesis import given, settings
from hypothesis import strategies as st

from keys import stream
from keys.errors import CannotOpen, KeyFault, MalformedToken
from keys.stream import (
    CHUNK,
    TAG,
    StreamOpener,
    StreamSealer,
    new_stream_key,
    open_chunk,
    seal_chunk,
    sealed_size,
)

KEY = bytes(range(32))
SIZES = [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 2 * CHUNK + 1]
SEALED_CHUNK = CHUNK + TAG


def content(size):
    return hashlib.shake_128(b"content").digest(size)


def cut(data, places):
    edges = sorted({0, len(data), *(min(place, len(data)) for place in places)})
    return [data[start:end] for start, end in pairwise(edges)]


def seal(data, places=()):
    sealer = StreamSealer(KEY)
    sealed = b"".join(sealer.update(part) for part in cut(data, places)) + sealer.finish()
    return sealer, sealed


def open_all(sealed, places=(), key=KEY):
    opener = StreamOpener(key)
    plain = b"".join(opener.update(part) for part in cut(sealed, places)) + opener.finish()
    return opener, plain


def chunks(sealed):
    return [sealed[at : at + SEALED_CHUNK] for at in range(0, len(sealed), SEALED_CHUNK)]


PLAIN = content(2 * CHUNK + 1)
SEALED = seal(PLAIN)[1]


@pytest.mark.parametrize("size", SIZES)
@settings(deadline=None, max_examples=5)
@given(
    places=st.lists(st.integers(0, 2 * CHUNK + 50), max_size=6),
    others=st.lists(st.integers(0, 2 * CHUNK + 50), max_size=6),
)
def test_round_trip_however_it_is_cut(size, places, others):
    data = content(size)
    sealer, sealed = seal(data, places)
    opener, plain = open_all(sealed, others)
    assert plain == data
    assert len(sealed) == sealed_size(size) == sealer.blob_size
    assert sealer.plain_size == opener.plain_size == size
    assert sealer.blob_sha256 == hashlib.sha256(sealed).hexdigest()
    assert sealer.plain_sha256 == opener.plain_sha256 == hashlib.sha256(data).hexdigest()


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
    assert seal(data)[1] == expected


@pytest.mark.parametrize(("size", "sealed"), [(0, 16), (1, 17), (CHUNK, CHUNK + 16), (CHUNK + 1, CHUNK + 33)])
def test_sealed_size(size, sealed):
    assert sealed_size(size) == sealed


@pytest.mark.parametrize(
    "end", [0, 1, TAG - 1, TAG, CHUNK, SEALED_CHUNK, SEALED_CHUNK + TAG, 2 * SEALED_CHUNK, len(SEALED) - 1]
)
def test_truncation_is_refused(end):
    with pytest.raises(CannotOpen):
        open_all(SEALED[:end])


@pytest.mark.parametrize("more", [b"\x00", bytes(TAG), SEALED[-17:], SEALED[:SEALED_CHUNK]])
def test_extension_is_refused(more):
    with pytest.raises(CannotOpen):
        open_all(SEALED + more)


def test_an_empty_final_chunk_after_another_is_refused():
    cipher = ChaCha20Poly1305(KEY)
    full = cipher.encrypt(stream._nonce(0, last=False), content(CHUNK), None)
    empty = cipher.encrypt(stream._nonce(1, last=True), b"", None)
    with pytest.raises(CannotOpen):
        open_all(full + empty)
    with pytest.raises(CannotOpen):
        open_chunk(KEY, 1, empty, last=True)


def test_other_orders_are_refused():
    first, second, last = chunks(SEALED)
    for order in (
        (second, first, last),
        (first, first, last),
        (second, last),
        (first, last),
        (first, second, second, last),
        (first, second),
        (last,),
    ):
        with pytest.raises(CannotOpen):
            open_all(b"".join(order))


def test_chunks_of_another_stream_are_refused():
    other = StreamSealer(new_stream_key())
    alien = other.update(PLAIN) + other.finish()
    with pytest.raises(CannotOpen):
        open_all(SEALED[:SEALED_CHUNK] + alien[SEALED_CHUNK:])


@pytest.mark.parametrize(
    "position", [0, CHUNK, SEALED_CHUNK - 1, SEALED_CHUNK, len(SEALED) - 17, len(SEALED) - 1]
)
@pytest.mark.parametrize("bit", [0, 7])
def test_one_bit_altered_is_refused(position, bit):
    altered = bytearray(SEALED)
    altered[position] ^= 1 << bit
    with pytest.raises(CannotOpen):
        open_all(bytes(altered))


def test_another_key_does_not_open():
    with pytest.raises(CannotOpen):
        open_all(SEALED, key=new_stream_key())


def test_nothing_of_an_altered_chunk_leaves():
    altered = bytearray(SEALED)
    altered[SEALED_CHUNK + 5] ^= 1
    opener = StreamOpener(KEY)
    found = opener.update(bytes(altered[:SEALED_CHUNK])) + opener.update(
        bytes(altered[SEALED_CHUNK:][:CHUNK])
    )
    found += opener.update(bytes(altered[SEALED_CHUNK + CHUNK :][:TAG]))
    with pytest.raises(CannotOpen):
        opener.update(bytes(altered[2 * SEALED_CHUNK :]))
    assert found == PLAIN[:CHUNK]
    assert opener.plain_size == CHUNK


class TestOneChunk:
    def test_each_opens_alone(self):
        for index, chunk in enumerate(chunks(SEALED)):
            found = open_chunk(KEY, index, chunk, last=index == 2)
            assert found == PLAIN[index * CHUNK : (index + 1) * CHUNK]

    def test_not_at_another_place_or_as_another_kind(self):
        first, _, last = chunks(SEALED)
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
WHOLE = seal(content(SIZE))[1]
PARTS = chunks(WHOLE)
OTHER = StreamSealer(bytes(32))
ALIEN = chunks(OTHER.update(content(SIZE)) + OTHER.finish())


def flipped(chunk):
    return bytes([chunk[0] ^ 1]) + chunk[1:]


# What lies there, what a reader of the signed size says, and what one who does not know it says.
WRONG = [
    ("nothing", [], "truncated", "truncated"),
    ("less than a tag", [WHOLE[:15]], "truncated", "truncated"),
    ("the final chunk is missing", PARTS[:4], "truncated", "truncated"),
    ("all but the first are missing", PARTS[:1], "truncated", "truncated"),
    ("cut within the final chunk", [WHOLE[:-1]], "truncated", "altered"),
    ("cut within another chunk", [WHOLE[: 2 * SEALED_CHUNK + 99]], "truncated", "altered"),
    ("a byte follows", [*PARTS, b"\0"], "extended", "altered"),
    ("a chunk follows", [*PARTS[:4], PARTS[4], PARTS[4]], "extended", "altered"),
    ("two are swapped", [PARTS[0], PARTS[2], PARTS[1], *PARTS[3:]], "reordered", "altered"),
    ("a later one comes twice", [PARTS[3], *PARTS[1:]], "reordered", "altered"),
    ("an earlier one comes twice", [*PARTS[:3], PARTS[1], PARTS[4]], "reordered", "reordered"),
    ("one of another stream", [*PARTS[:2], ALIEN[2], *PARTS[3:]], "altered", "altered"),
    ("the end of another stream", [*PARTS[:4], ALIEN[4]], "altered", "altered"),
    ("a bit of the first", [flipped(PARTS[0]), *PARTS[1:]], "altered", "altered"),
    ("a bit of the last", [*PARTS[:4], flipped(PARTS[4])], "altered", "altered"),
]


def _read(opener, parts, left):
    """Let what *opener* makes of *parts* leave, as a reader would."""
    for part in parts:
        left += opener.update(part)
    left += opener.finish()


class TestWhatIsWrong:
    @pytest.mark.parametrize(
        ("there", "known", "unknown"), [case[1:] for case in WRONG], ids=[case[0] for case in WRONG]
    )
    def test_is_told_of_a_stream(self, there, known, unknown):
        for size, code in ((SIZE, known), (None, unknown)):
            left = bytearray()
            with pytest.raises(CannotOpen) as raised:
                _read(StreamOpener(KEY, size), there, left)
            assert raised.value.code == code
            assert content(SIZE).startswith(left)

    def test_is_told_of_a_final_chunk_that_more_follows(self):
        full = seal(content(CHUNK))[1]
        for size in (None, CHUNK + 1):
            with pytest.raises(CannotOpen) as raised:
                StreamOpener(KEY, size).update(full + b"\0")
            assert raised.value.code == "extended"

    @pytest.mark.parametrize(
        ("index", "chunk", "last", "code"),
        [
            (1, PARTS[2], False, "reordered"),
            (3, PARTS[0], False, "reordered"),
            (0, seal(content(5 * CHUNK))[1][-SEALED_CHUNK:], False, "reordered"),
            (4, PARTS[3], True, "reordered"),
            (3, PARTS[3], True, "truncated"),
            (4, PARTS[4][:TAG], True, "truncated"),
            (1, PARTS[1][:-1], False, "truncated"),
            (1, PARTS[1] + b"\0", False, "extended"),
            (4, PARTS[4], False, "truncated"),
            (4, seal(content(5 * CHUNK))[1][-SEALED_CHUNK:], False, "extended"),
            (1, ALIEN[1], False, "altered"),
            (4, flipped(PARTS[4]), True, "altered"),
        ],
    )
    def test_is_told_of_one_chunk(self, index, chunk, last, code):
        with pytest.raises(CannotOpen) as raised:
            open_chunk(KEY, index, chunk, last=last, chunks=5)
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
        stream.check_length(len(WHOLE), SIZE)
        with pytest.raises(CannotOpen) as raised:
            stream.check_length(len(WHOLE) + more, SIZE)
        assert raised.value.code == code


def test_no_nonce_comes_twice():
    nonces = {stream._nonce(index, last=last) for index in (0, 1, 255, 256, 2**40) for last in (False, True)}
    assert len(nonces) == 10
    assert {len(nonce) for nonce in nonces} == {12}


def test_a_sealer_is_used_once():
    sealer = StreamSealer(KEY)
    sealer.finish()
    for again in (sealer.finish, lambda: sealer.update(b"")):
        with pytest.raises(KeyFault):
            again()


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
    for use in (StreamSealer, StreamOpener, lambda key: open_chunk(key, 0, bytes(16), last=True)):
        with pytest.raises(MalformedToken):
            use(bytes(length))
    assert len(new_stream_key()) == 32
    assert new_stream_key() != new_stream_key()
