import os
import uuid
from dataclasses import replace

from gateway.ports import Change
from gateway.rows import UNCLAIMED_MS, BlobRow, UploadRow
from gateway.workers.keeper import Keeper
from tests.support.authorities import FixedClock, make_authority
from tests.support.rows import upload
from tests.support.stores import make_store
from tests.workers.conftest import PEER, SENDER, folder_of


async def test_only_what_nobody_claimed_in_time_is_swept(tmp_path):
    clock, party, folder = FixedClock(), make_authority(SENDER), folder_of(tmp_path / "here")
    now_ms = clock.now_ms()
    old = BlobRow(peer=PEER, sha256="a" * 64, version=0, size_bytes=3, received_ms=now_ms - UNCLAIMED_MS - 1)
    young = replace(old, sha256="b" * 64, received_ms=now_ms - UNCLAIMED_MS + 60_000)
    claimed = replace(old, sha256="c" * 64, claimed_by="00000000-0000-4000-8000-000000000000")
    async with make_store(
        tmp_path / "here", authority=SENDER, origin=party.origin, signer=party.keyring.log, clock=clock
    ) as store:
        for row in (old, young, claimed):
            path = folder.incoming(PEER, row.sha256)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"abc")
            await store.record(Change(name="blob", puts=(row,)))
        await Keeper(store=store, blobs=folder, clock=clock).sweep()
        kept = [row for row in (old, young, claimed) if await store.get(BlobRow, PEER, row.sha256)]
        assert kept == [young, claimed]
    assert [folder.incoming(PEER, row.sha256).exists() for row in (old, young, claimed)] == [
        False,
        True,
        True,
    ]


async def test_an_upload_goes_with_its_files_and_strays_go_alone(tmp_path):
    clock, party, folder = FixedClock(), make_authority(SENDER), folder_of(tmp_path / "here")
    now_ms = clock.now_ms()
    old = upload(blob_sha256=None, stored_ms=now_ms - UNCLAIMED_MS - 1)
    young = upload(blob_sha256=None, stored_ms=now_ms - UNCLAIMED_MS + 60_000)
    whole = upload(stored_ms=now_ms)
    unknown, busy, fresh = (str(uuid.uuid4()) for _ in range(3))
    async with make_store(
        tmp_path / "here", authority=SENDER, origin=party.origin, signer=party.keyring.log, clock=clock
    ) as store:
        for row in (old, young, whole):
            await store.record(Change(name="upload", puts=(row,)))
        for id_ in (old.id, young.id, whole.id, unknown, busy, fresh):
            for path in (folder.outgoing(id_), folder.tail(id_)):
                path.write_bytes(b"abc")
                age_s = 60 if id_ == fresh else 2 * 24 * 3600
                os.utime(path, (now_ms / 1000 - age_s,) * 2)
        with folder.growing(folder.outgoing(busy)):
            await Keeper(store=store, blobs=folder, clock=clock).sweep()
        assert [row.id for row in (old, young, whole) if await store.get(UploadRow, row.id)] == [
            young.id,
            whole.id,
        ]
    left = {path.name for path in folder.outgoing(old.id).parent.iterdir()}
    assert left == {young.id, f"{young.id}.tail", whole.id, busy, fresh, f"{fresh}.tail"}
