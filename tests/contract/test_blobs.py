"""The folder of encrypted attachments."""

import hashlib
from pathlib import Path

import pytest

from gateway.core.ids import AuthorityId, Digest
from gateway.store.blobs import BlobFolder
from tests.support.rows import OTHER, PEER

DATA = b"sealed bytes"
SHA256 = Digest(hashlib.sha256(DATA).hexdigest())


@pytest.fixture
def blobs(tmp_path: Path) -> BlobFolder:
    folder = BlobFolder(tmp_path / "blobs")
    folder.prepare()
    return folder


def write(blobs: BlobFolder, target: Path) -> None:
    with blobs.writer() as writer:
        writer.write(DATA[:5])
        writer.write(DATA[5:])
        assert (writer.sha256, writer.size_bytes) == (SHA256, len(DATA))
        writer.keep(target)


@pytest.mark.parametrize("direction", ["incoming", "outgoing"])
def test_a_blob_that_was_kept_is_there_alone(blobs: BlobFolder, tmp_path: Path, direction: str):
    target = blobs.incoming(PEER, SHA256) if direction == "incoming" else blobs.outgoing(SHA256)

    write(blobs, target)

    assert target.read_bytes() == DATA
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [target]
    assert target.stat().st_mode & 0o077 == 0


def test_what_was_not_kept_is_gone(blobs: BlobFolder, tmp_path: Path):
    def broken_off() -> None:
        with blobs.writer() as writer:
            writer.write(DATA)
            raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        broken_off()

    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_peers_do_not_share_blobs(blobs: BlobFolder):
    write(blobs, blobs.incoming(PEER, SHA256))

    assert not blobs.incoming(OTHER, SHA256).exists()
    assert not blobs.outgoing(SHA256).exists()


def test_a_blob_is_kept_again_and_deleted_twice(blobs: BlobFolder):
    target = blobs.incoming(AuthorityId("qn-04.justice"), SHA256)
    write(blobs, target)
    write(blobs, target)

    blobs.delete(target)
    blobs.delete(target)

    assert not target.exists()


def test_a_start_forgets_what_a_crash_left_but_not_what_is_being_written(blobs: BlobFolder, tmp_path: Path):
    partial = tmp_path / "blobs" / "partial"
    (partial / "left").write_bytes(b"half")
    target = blobs.outgoing(SHA256)

    with blobs.writer() as writer:
        writer.write(DATA)
        BlobFolder(tmp_path / "blobs").prepare()
        assert len(list(partial.iterdir())) == 1
        writer.keep(target)

    assert target.read_bytes() == DATA
    assert blobs.free_bytes() > 0


def test_a_blob_grows_over_many_openings(blobs: BlobFolder):
    target = blobs.incoming(PEER, SHA256)
    with blobs.growing(target) as blob:
        blob.append(DATA[:5])
        blob.sync()

    with blobs.growing(target) as blob:
        assert blob.size_bytes == 5
        blob.append(memoryview(DATA)[5:])
        assert (blob.read(0, 99), blob.read(5, 3)) == (DATA, DATA[5:8])
        blob.truncate(6)
        blob.append(DATA[6:])

    assert target.read_bytes() == DATA
    assert target.stat().st_mode & 0o077 == 0


def test_one_at_a_time_lets_a_blob_grow(blobs: BlobFolder):
    target = blobs.outgoing(SHA256)
    with blobs.growing(target) as blob:
        with pytest.raises(BlockingIOError), BlobFolder(target.parents[1]).growing(target):
            pass
        blob.append(DATA)

    with blobs.growing(target) as blob:
        assert blob.size_bytes == len(DATA)


def test_a_passing_blob_has_no_name(blobs: BlobFolder, tmp_path: Path):
    with blobs.passing() as blob:
        blob.append(DATA)
        assert blob.read(0, 99) == DATA
        assert not [path for path in tmp_path.rglob("*") if path.is_file()]
