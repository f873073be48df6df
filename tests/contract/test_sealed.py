"""The files of an upload: what is on disk decides, whatever ended the writing."""

import contextlib
import hashlib
import itertools
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.core.custody import UploadKeys
from gateway.core.errors import Misuse
from gateway.store import sealed as sealed_uploads
from gateway.store.blobs import BlobFolder, GrowingBlob
from gateway.store.sealed import SealedUpload
from keys.stream import CHUNK, TAG, new_stream_key
from keys.tail import OVERHEAD, new_tail_key
from tests.support.streams import opened, sealed

UPLOAD = "8c6a4f0e-6f6e-4a52-9d52-3a8f0c5f1b11"
MARK = b"Zitronenfalter "


def plain_of(size: int, mark: bytes = MARK) -> bytes:
    return (mark * (size // len(mark) + 1))[:size]


class Place:
    """The folder and the keys of one upload, whose process can end at any time."""

    def __init__(self, folder: Path, length: int) -> None:
        self.blobs = BlobFolder(folder / "blobs")
        self.blobs.prepare()
        self.length = length
        self.keys = UploadKeys(new_stream_key(), new_tail_key())
        self.stream, self.tail = self.blobs.outgoing(UPLOAD), self.blobs.tail(UPLOAD)

    def upload(self) -> SealedUpload:
        """Return the upload as a process finds it that has just started."""
        return SealedUpload(self.blobs, UPLOAD, self.length, self.keys)

    @contextlib.contextmanager
    def opened(self, upload: SealedUpload | None = None) -> Iterator[SealedUpload]:
        found = upload or self.upload()
        found.open()
        try:
            yield found
        finally:
            found.close()

    def take(self, plain: bytes, upload: SealedUpload | None = None, *, step: int = 1 << 30) -> int:
        """Bring what is missing of *plain*; return the offset that is acknowledged."""
        with self.opened(upload) as found:
            for begin in range(found.offset, len(plain), step):
                put(found, plain[begin : begin + step])
            found.settle()
            return found.offset

    def check_whole(self, plain: bytes) -> None:
        """Check that the upload is whole, *plain*, and sealed as anybody would seal it."""
        with self.opened() as found:
            assert found.is_whole
            assert found.plain_sha256 == hashlib.sha256(plain).hexdigest()
            assert found.blob_sha256 == hashlib.sha256(self.stream.read_bytes()).hexdigest()
        assert self.stream.read_bytes() == sealed(self.keys.stream, plain)
        assert opened(self.keys.stream, self.stream.read_bytes(), len(plain)) == plain


def put(upload: SealedUpload, piece: bytes) -> None:
    upload.hash(piece)
    upload.write(piece)


@pytest.mark.parametrize("size", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 2 * CHUNK + 7])
@pytest.mark.parametrize("step", [1 << 30, CHUNK, 700_001])
def test_it_is_sealed_as_a_stream_of_its_key(tmp_path, size, step):
    place, plain = Place(tmp_path, size), plain_of(size)
    assert place.take(plain, step=step) == size
    place.check_whole(plain)


def test_small_pieces_rest_sealed_and_are_kept_when_the_process_ends(tmp_path):
    plain = plain_of(CHUNK + 5000)
    place = Place(tmp_path, len(plain))
    upload = place.upload()
    for end in (1, 1000, 1001, CHUNK - 1, CHUNK, CHUNK + 1, CHUNK + 4000):
        assert place.take(plain[:end], upload) == end
        assert MARK.strip() not in place.stream.read_bytes() + place.tail.read_bytes()
        with place.opened() as found:
            assert found.offset == end, "after a restart"
        upload = upload if end % 2 else place.upload()
    assert place.stream.stat().st_size == CHUNK + TAG
    assert place.take(plain) == len(plain)
    place.check_whole(plain)


def test_a_tail_grows_by_what_came_and_goes_with_its_chunk(tmp_path):
    place, plain = Place(tmp_path, 2 * CHUNK), plain_of(2 * CHUNK)
    upload = place.upload()
    sizes = []
    for end in range(1024, 10 * 1024 + 1, 1024):
        place.take(plain[:end], upload)
        sizes.append(place.tail.stat().st_size)
    assert {after - before for before, after in itertools.pairwise(sizes)} == {sizes[0]}
    assert place.take(plain[:CHUNK], upload) == CHUNK
    assert place.tail.stat().st_size == 0


def test_a_tail_of_many_small_segments_is_written_anew(tmp_path, monkeypatch):
    monkeypatch.setattr(sealed_uploads, "_LONGEST_TAIL", 4096)
    place, plain = Place(tmp_path, CHUNK + 9), plain_of(CHUNK + 9)
    upload, renewed, longest = place.upload(), 0, 0
    for end in range(1, 301):
        before = place.tail.stat().st_ino if place.tail.exists() else None
        assert place.take(plain[:end], upload) == end
        renewed += before not in {None, place.tail.stat().st_ino}
        longest = max(longest, place.tail.stat().st_size)
        assert MARK.strip() not in place.tail.read_bytes()
        if end % 50 == 0:
            upload = place.upload()
    assert renewed >= 2
    assert longest < 4096 + 100
    assert [path.name for path in place.tail.parent.glob("*.tail")] == [place.tail.name]
    assert place.take(plain) == len(plain)
    place.check_whole(plain)


@pytest.mark.parametrize("step", ["append", "sync", "replace"])
def test_a_tail_is_kept_when_the_process_ends_while_another_is_written(tmp_path, monkeypatch, step):
    monkeypatch.setattr(sealed_uploads, "_LONGEST_TAIL", 500)
    place, plain = Place(tmp_path, CHUNK), plain_of(CHUNK)
    place.take(plain[:600])
    next_tail = place.blobs.next_tail(UPLOAD)
    next_tail.write_bytes(b"left by another crash")

    def ends(*_: object) -> None:
        if next_tail.stat().st_size == (0 if step == "append" else 12 + 700 + OVERHEAD):
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(BlobFolder if step == "replace" else GrowingBlob, step, ends)
        with pytest.raises(KeyboardInterrupt):
            place.take(plain[:700])
    with place.opened() as found:
        assert found.offset == 600
    assert place.take(plain[:700]) == 700
    assert not next_tail.exists()
    place.take(plain)
    place.check_whole(plain)


def test_a_tail_that_another_process_wrote_anew_is_known_by_where_it_ends(tmp_path, monkeypatch):
    place, plain = Place(tmp_path, CHUNK), plain_of(CHUNK)
    here = place.upload()
    for end in (100, 200):
        place.take(plain[:end], here)
    length = place.tail.stat().st_size
    monkeypatch.setattr(sealed_uploads, "_LONGEST_TAIL", 0)
    place.take(plain[: length - (place.tail.stat().st_size - 200) // 2])
    assert place.tail.stat().st_size == length, "as long as it was, and of another end"
    place.take(plain, here)
    with place.opened(here) as found:
        assert found.plain_sha256 == hashlib.sha256(plain).hexdigest()


def test_another_process_went_on(tmp_path):
    place, plain = Place(tmp_path, 3 * CHUNK), plain_of(3 * CHUNK)
    here, there = place.upload(), place.upload()
    assert place.take(plain[: CHUNK + 5], here) == CHUNK + 5
    assert place.take(plain[: 2 * CHUNK + 1], there) == 2 * CHUNK + 1
    assert place.take(plain[: 2 * CHUNK + 9], here) == 2 * CHUNK + 9
    assert place.take(plain, there) == 3 * CHUNK
    place.check_whole(plain)


def test_one_at_a_time(tmp_path):
    place = Place(tmp_path, 10)
    with place.opened(), pytest.raises(BlockingIOError):
        place.upload().open()
    assert place.take(b"0123456789") == 10


@pytest.mark.parametrize("torn", [1, TAG, CHUNK // 2, CHUNK + TAG - 1])
def test_a_torn_chunk_is_completed_by_the_same_content(tmp_path, torn):
    place, plain = Place(tmp_path, 3 * CHUNK), plain_of(3 * CHUNK)
    place.take(plain[: 2 * CHUNK])
    with place.stream.open("r+b") as file:
        file.truncate(CHUNK + TAG + torn)
    with place.opened() as found:
        assert found.offset == CHUNK
    assert place.take(plain) == 3 * CHUNK
    place.check_whole(plain)


@pytest.mark.parametrize("torn", [TAG, CHUNK // 2, CHUNK + TAG - 1])
def test_other_content_never_meets_a_torn_chunk(tmp_path, torn):
    place, plain = Place(tmp_path, 3 * CHUNK), plain_of(3 * CHUNK)
    place.take(plain[: 2 * CHUNK])
    with place.stream.open("r+b") as file:
        file.truncate(CHUNK + TAG + torn)
    before = place.stream.read_bytes()
    other = plain[:CHUNK] + plain_of(2 * CHUNK, b"other content")
    for _ in range(2):
        with pytest.raises(Misuse) as caught:
            place.take(other)
        assert (caught.value.status, caught.value.code) == (410, "other_content")
        assert place.stream.read_bytes() == before
    assert place.take(plain) == 3 * CHUNK


def test_a_chunk_that_does_not_open_counts_as_torn(tmp_path):
    place, plain = Place(tmp_path, 3 * CHUNK), plain_of(3 * CHUNK)
    place.take(plain[: 2 * CHUNK])
    altered = bytearray(place.stream.read_bytes())
    altered[-1] ^= 1
    place.stream.write_bytes(altered)
    with place.opened() as found:
        assert found.offset == CHUNK
    with pytest.raises(Misuse):
        place.take(plain)
    assert place.stream.read_bytes() == altered


@pytest.mark.parametrize("cut", [1, 12, 40, 900])
def test_a_torn_end_of_the_tail_was_never_acknowledged(tmp_path, cut):
    place, plain = Place(tmp_path, CHUNK), plain_of(CHUNK)
    upload = place.upload()
    place.take(plain[:500], upload)
    kept = place.tail.stat().st_size
    place.take(plain[:1500], upload)
    with place.tail.open("r+b") as file:
        file.truncate(place.tail.stat().st_size - cut)
    with place.opened() as found:
        assert found.offset == 500
    assert place.tail.stat().st_size == kept
    place.take(plain)
    place.check_whole(plain)


def test_a_tail_opens_at_its_place_alone(tmp_path):
    place, plain = Place(tmp_path / "one", CHUNK), plain_of(CHUNK)
    (tmp_path / "one").mkdir(exist_ok=True)
    place.take(plain[:500])
    moved = Place(tmp_path / "two", CHUNK)
    moved.keys = place.keys
    moved.blobs.tail("another").write_bytes(place.tail.read_bytes())
    other = SealedUpload(moved.blobs, "another", CHUNK, place.keys)
    other.open()
    assert other.offset == 0
    other.close()


@contextlib.contextmanager
def room_in_a_file(size: int) -> Iterator[None]:
    """Let no file of this process grow beyond *size*: the kernel stops the write where the room ends."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_keeps_what_was_acknowledged(tmp_path):
    place, plain = Place(tmp_path, 4 * CHUNK), plain_of(4 * CHUNK)
    upload = place.upload()
    assert place.take(plain[: CHUNK + 700], upload) == CHUNK + 700
    with room_in_a_file(2 * CHUNK + CHUNK // 2), pytest.raises(OSError, match="File too large"):
        place.take(plain, upload)
    assert place.stream.stat().st_size == 2 * CHUNK + CHUNK // 2
    with place.opened(upload) as found:
        assert found.offset == 2 * CHUNK, "what was sealed counts, and is more than was acknowledged"
    assert place.take(plain, upload) == 4 * CHUNK
    place.check_whole(plain)


def test_a_full_disk_keeps_a_tail(tmp_path):
    place, plain = Place(tmp_path, CHUNK), plain_of(CHUNK)
    upload = place.upload()
    assert place.take(plain[:700], upload) == 700
    with room_in_a_file(5000), pytest.raises(OSError, match="File too large"):
        place.take(plain[:9000], upload)
    with place.opened(upload) as found:
        assert found.offset == 700
    place.take(plain, upload)
    place.check_whole(plain)


Piece = tuple[int, str]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    length=st.sampled_from([0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK + 3]),
    pieces=st.lists(
        st.tuples(
            st.integers(0, CHUNK + CHUNK // 2) | st.integers(0, 3000),
            st.sampled_from(["go on", "settle", "end", "end in a chunk"]),
        ),
        max_size=8,
    ),
)
def test_pieces_and_restarts(tmp_path_factory, length: int, pieces: list[Piece]):
    """No acknowledged byte is lost, and no sealed form differs, whenever the process ends."""
    place, plain = Place(tmp_path_factory.mktemp("upload"), length), plain_of(length)
    acknowledged, upload = 0, place.upload()
    for size, then in pieces:
        with place.opened(upload) as found:
            begin = found.offset
            assert begin >= acknowledged
            put(found, plain[begin : begin + size])
            reached = found.offset
            if then in {"go on", "settle"}:
                found.settle()
                acknowledged = reached
        if then != "go on":
            upload = place.upload()
        whole_chunks = place.stream.stat().st_size
        if then == "end in a chunk" and acknowledged < reached // CHUNK * CHUNK:
            with place.stream.open("r+b") as file:
                file.truncate(whole_chunks - CHUNK // 3)
        if then.startswith("end"):
            with place.opened() as found:
                assert found.offset >= max(acknowledged, reached - CHUNK if then == "end" else 0)
    assert place.take(plain) == length
    place.check_whole(plain)
