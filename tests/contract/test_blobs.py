"""The folder of encrypted attachments."""

import hashlib
import os
from pathlib import Path

import pytest

from gateway.core.ids import AuthorityId, Digest
from gateway.store.blobs import BlobFolder
from tests.support.rows import OTHER, PEER

DATA = b"sealed bytes"
SHA256 = Digest(hashlib.sha256(DATA).hexdigest())
UPLOAD = "8c6a4f0e-6f6e-4a52-9d52-3a8f0c5f1b11"


@pytest.fixture
def blobs(tmp_path: Path) -> BlobFolder:
    folder = BlobFolder(tmp_path / "blobs")
    folder.prepare()
    return folder


def write(blobs: BlobFolder, target: Path, data: bytes = DATA) -> None:
    with blobs.growing(target) as blob:
        blob.append(data)


def age(path: Path, time_s: float) -> None:
    os.utime(path, (time_s, time_s))


def test_peers_do_not_share_blobs(blobs: BlobFolder):
    write(blobs, blobs.incoming(PEER, SHA256))

    assert not blobs.incoming(OTHER, SHA256).exists()
    assert not blobs.outgoing(SHA256).exists()


def test_a_blob_is_deleted_twice(blobs: BlobFolder):
    target = blobs.incoming(AuthorityId("qn-04.justice"), SHA256)
    write(blobs, target)

    blobs.delete(target)
    blobs.delete(target)

    assert not target.exists()


def test_a_start_leaves_what_is_there(blobs: BlobFolder):
    write(blobs, blobs.outgoing(UPLOAD))
    blobs.prepare()

    assert blobs.outgoing(UPLOAD).read_bytes() == DATA
    assert blobs.free_bytes() > 0


def test_a_size_is_told_of_what_is_there(blobs: BlobFolder):
    target = blobs.incoming(PEER, SHA256)
    for measure in (blobs.size_bytes, blobs.synced_bytes):
        assert measure(target) == 0
    write(blobs, target)
    for measure in (blobs.size_bytes, blobs.synced_bytes):
        assert measure(target) == len(DATA)


def test_what_is_told_as_durable_was_synced(blobs: BlobFolder, monkeypatch: pytest.MonkeyPatch):
    target, synced = blobs.incoming(PEER, SHA256), []
    write(blobs, target)
    monkeypatch.setattr(os, "fdatasync", lambda handle: synced.append(os.fstat(handle).st_ino))
    blobs.synced_bytes(target)
    assert synced == [target.stat().st_ino]


def test_idle_files_are_found_by_the_key_of_their_row(blobs: BlobFolder):
    old = [blobs.outgoing(UPLOAD), blobs.tail(UPLOAD), blobs.next_tail(UPLOAD), blobs.incoming(PEER, SHA256)]
    new = [blobs.outgoing("new"), blobs.incoming(OTHER, SHA256)]
    for path in old + new:
        write(blobs, path)
        age(path, 1000.0 if path in old else 3000.0)

    (found,) = blobs.idle_uploads(2000.0).items()
    assert (found[0], sorted(found[1])) == ((UPLOAD,), sorted(old[:3]))
    assert blobs.idle_blobs(2000.0) == {(PEER, SHA256): [old[3]]}


def test_what_somebody_appends_to_is_not_idle(blobs: BlobFolder):
    target = blobs.outgoing(UPLOAD)
    with blobs.growing(target):
        assert not blobs.delete_idle(target)
        assert target.exists()
    assert blobs.delete_idle(target)
    assert not target.exists()
    assert not blobs.delete_idle(target)


def test_a_blob_takes_the_name_of_another(blobs: BlobFolder):
    path, target = blobs.next_tail(UPLOAD), blobs.tail(UPLOAD)
    write(blobs, target, b"before")
    write(blobs, path)

    blobs.replace(path, target)

    assert target.read_bytes() == DATA
    assert not path.exists()


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
