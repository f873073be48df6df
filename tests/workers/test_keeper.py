from dataclasses import replace

from gateway.ports import Change
from gateway.rows import BlobRow
from gateway.workers.keeper import UNCLAIMED_MS, Keeper
from tests.support.authorities import FixedClock, make_authority
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
