"""Attachments at the federation door (protocol §7)."""

import asyncio
import errno
from pathlib import Path
from typing import Any

import pytest

from gateway.config import Limits
from gateway.core.envelope import MEDIA_TYPE
from gateway.core.strict import sha256
from gateway.peering.client import PeerClient
from gateway.store.blobs import BlobWriter
from gateway.web import blobs
from gateway.web.answers import Answer
from gateway.web.openings import Openings
from gateway.web.reception import Reception
from tests.support.authorities import (
    Party,
    make_authority,
    make_blob,
    message,
)
from tests.support.doors import (
    ENVELOPES,
    Caller,
    Door,
    calling,
    open_door,
    put_blob,
)


async def test_a_blob_comes_in_one_piece(door: Door, call: Caller) -> None:
    sealed = make_blob(b"x" * 3_000_000).sealed
    path = f"/v1/blobs/{sha256(sealed)}"
    assert (await call("HEAD", path)).headers["Upload-Offset"] == "0"
    said = await put_blob(call, sealed)
    assert (said.status, said.headers["Upload-Offset"]) == (204, str(len(sealed)))
    here = await call("HEAD", path)
    assert (here.headers["Upload-Offset"], here.headers["Upload-Length"]) == (str(len(sealed)),) * 2
    before = door.counts()
    again = await put_blob(call, sealed)
    assert (again.status, again.code) == (409, "wrong_offset")
    assert again.headers["Upload-Offset"] == str(len(sealed))
    assert door.counts() == before


async def test_the_client_brings_a_blob_once(
    door: Door, client: PeerClient, peer: Party, tmp_path: Path
) -> None:
    sealed = make_blob(b"y" * 2_000_000).sealed
    path = tmp_path / "blob"
    path.write_bytes(sealed)
    for _ in range(2):
        assert (await client.put_blob(sha256(sealed), len(sealed), path)).status == 204
    assert door.context.blobs.incoming(peer.id, sha256(sealed)).read_bytes() == sealed


def _files(door: Door) -> list[Path]:
    return [path for path in (door.folder / "blobs").rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    ("status", "code", "headers"),
    [
        (460, "wrong_digest", {}),
        (409, "wrong_offset", {"Upload_Offset": "7"}),
        (400, "malformed", {"Upload_Offset": "-1"}),
        (400, "malformed", {"Upload_Length": "x"}),
        (400, "malformed", {"Upload_Length": "17"}),
        (415, "unsupported_media_type", {"Content_Encoding": "gzip"}),
    ],
)
async def test_a_blob_that_is_refused_leaves_nothing(
    door: Door, call: Caller, status: int, code: str, headers: dict[str, str]
) -> None:
    before = door.counts()
    said = await put_blob(call, b"z" * 16, digest="0" * 64, **headers)
    assert (said.status, said.code) == (status, code)
    assert door.counts() == before
    assert not _files(door)


async def test_the_quota_counts_what_is_on_its_way(tmp_path: Path, peer: Party) -> None:
    limits = Limits(free_disk_bytes=0, peer_unclaimed_bytes=100)
    async with open_door(tmp_path / "qm", make_authority("qm.moj"), limits=limits) as door:
        await door.pin(peer)
        async with calling(door, peer.keyring.tls[0]) as call:
            sent = [bytes([number]) * 40 for number in range(5)]
            said = await asyncio.gather(*(put_blob(call, one) for one in sent))
            assert sorted(one.status for one in said) == [204, 204, 413, 413, 413]
            assert {one.code for one in said if one.status == 413} == {"quota"}
            assert await door.store.unclaimed_bytes(peer.id) == 80


async def test_claimed_blobs_leave_the_quota(tmp_path: Path, peer: Party) -> None:
    limits = Limits(free_disk_bytes=0, peer_unclaimed_bytes=30)
    async with open_door(tmp_path / "qm", make_authority("qm.moj"), limits=limits) as door:
        await door.pin(peer)
        async with calling(door, peer.keyring.tls[0]) as call:
            for _ in range(3):
                blob = make_blob(b"1234")
                assert (await put_blob(call, blob.sealed)).status == 204
                raw = message(peer, door.party, blobs=[blob]).raw
                assert (await call("POST", ENVELOPES, raw, MEDIA_TYPE)).status == 201


async def test_a_full_disk_takes_no_blob_and_says_so_before_the_body(tmp_path: Path, peer: Party) -> None:
    limits = Limits(free_disk_bytes=1 << 60)
    async with open_door(tmp_path / "qm", make_authority("qm.moj"), limits=limits) as door:
        await door.pin(peer)
        path = tmp_path / "blob"
        path.write_bytes(bytes(8_000_000))
        before = door.counts()
        async with PeerClient(door.party.card, peer.keyring.tls[0]) as client:
            reply = await client.put_blob(sha256(path.read_bytes()), 8_000_000, path)
        assert (reply.status, reply.code) == (507, "storage_full")
        assert door.counts() == before
        assert not _files(door)


async def test_a_second_writer_is_busy(call: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    sealed, begun, go_on, copy = b"w" * 64, asyncio.Event(), asyncio.Event(), blobs._copy

    async def slowly(*arguments: Any) -> None:
        begun.set()
        await go_on.wait()
        await copy(*arguments)

    monkeypatch.setattr(blobs, "_copy", slowly)
    first = asyncio.create_task(put_blob(call, sealed))
    await begun.wait()
    second = await put_blob(call, sealed)
    assert (second.status, second.code, second.headers["Upload-Offset"]) == (409, "blob_busy", "0")
    go_on.set()
    assert (await first).status == 204


async def test_a_long_opening_goes_on_while_the_peer_is_told_to_ask_again(
    door: Door, call: Caller, peer: Party
) -> None:
    openings = Openings(patience_s=0)
    reception, pinned = Reception(door.context, openings), door.context.directory.peers[peer.id]
    blob = make_blob(b"v" * 5_000_000)
    await put_blob(call, blob.sealed)
    posted, before = message(peer, door.party, blobs=[blob]), door.counts()
    (first,) = await reception.receive(pinned, [posted.raw])
    assert getattr(first, "code", None) == "check_running"
    assert door.counts() == before
    await asyncio.gather(*openings._tasks.values())
    openings._patience_s = 20
    (second,) = await reception.receive(pinned, [posted.raw])
    assert isinstance(second, Answer)
    assert second.status == 201
    assert len(openings._tasks) == 1


async def test_a_disk_that_fills_up_while_writing(
    door: Door, call: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "no room")

    before = door.counts()
    monkeypatch.setattr(BlobWriter, "write", full)
    said = await put_blob(call, b"u" * 64)
    assert (said.status, said.code) == (507, "storage_full")
    assert door.counts() == before
    assert not _files(door)
    monkeypatch.undo()
    assert (await put_blob(call, b"u" * 64)).status == 204
