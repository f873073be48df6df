"""Attachments at the federation door (protocol §7)."""

import asyncio
import errno
import itertools
import os
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from gateway.config import Limits
from gateway.core.envelope import MEDIA_TYPE
from gateway.core.strict import sha256
from gateway.peering.client import BLOB_TYPE, PeerClient
from gateway.ports import Change
from gateway.rows import BlobRow
from gateway.web.answers import Answer
from gateway.web.openings import Openings
from gateway.web.reception import Reception
from tests.support.authorities import (
    NOW_MS,
    Party,
    make_authority,
    make_blob,
    message,
)
from tests.support.doors import (
    ENVELOPES,
    Caller,
    Door,
    Said,
    calling,
    open_door,
    put_blob,
)

MIB = 1 << 20


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


async def test_a_blob_whose_recipient_was_killed_before_it_was_recorded_becomes_whole(
    door: Door, client: PeerClient, peer: Party, tmp_path: Path
) -> None:
    sealed = make_blob(b"z" * 2_000_000).sealed
    for path in (tmp_path / "blob", here := door.context.blobs.incoming(peer.id, sha256(sealed))):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(sealed)
    row = BlobRow(peer=peer.id, sha256=sha256(sealed), version=0, size_bytes=len(sealed), received_ms=NOW_MS)
    await door.context.store.record(Change(name="blob", puts=(row,)))
    assert (await client.put_blob(sha256(sealed), len(sealed), tmp_path / "blob")).status == 204
    found = await door.context.store.get(BlobRow, peer.id, sha256(sealed))
    assert found is not None
    assert found.whole_ms is not None
    assert here.read_bytes() == sealed


async def offset(call: Caller, sealed: bytes) -> int:
    """Return how much of *sealed* the door says that it has."""
    said = await call("HEAD", f"/v1/blobs/{sha256(sealed)}")
    assert said.status == 200
    return int(said.headers["Upload-Offset"])


async def patch(
    call: Caller,
    sealed: bytes,
    begin: int,
    piece: bytes | None = None,
    *,
    body: AsyncIterator[bytes] | None = None,
    length: int | None = None,
) -> Said:
    """Bring a *piece* of *sealed* that begins at *begin*; without one, all the rest, or a *body*."""
    sent = body or (sealed[begin:] if piece is None else piece)
    headers = {"Upload_Offset": str(begin), "Upload_Length": str(length or len(sealed))}
    return await call("PATCH", f"/v1/blobs/{sha256(sealed)}", sent, BLOB_TYPE, **headers)


def _files(door: Door) -> list[Path]:
    return [path for path in (door.folder / "blobs").rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    ("status", "code", "headers"),
    [
        (460, "wrong_digest", {}),
        (409, "wrong_offset", {"Upload_Offset": "7", "Upload_Length": "23"}),
        (400, "malformed", {"Upload_Offset": "-1"}),
        (400, "malformed", {"Upload_Length": "x"}),
        (413, "too_large", {"Upload_Length": "15"}),
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
            sent = [bytes([number]) * 40 for number in range(4)]
            said = await asyncio.gather(*(put_blob(call, one) for one in sent))
            assert sorted(one.status for one in said) == [204, 204, 413, 413]
            assert {one.code for one in said if one.status == 413} == {"quota"}
            assert await door.store.unclaimed_bytes() == {peer.id: 80}


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


async def test_all_peers_together_have_a_quota_too(tmp_path: Path, peer: Party, third: Party) -> None:
    limits = Limits(free_disk_bytes=0, unclaimed_bytes=60)
    async with open_door(tmp_path / "qm", make_authority("qm.moj"), limits=limits) as door:
        await door.pin(peer, third)
        for party, status in ((peer, 204), (third, 507)):
            async with calling(door, party.keyring.tls[0]) as call:
                assert (await put_blob(call, bytes(40))).status == status


async def test_a_second_writer_is_busy_and_told_what_is_there(call: Caller) -> None:
    sealed, come = b"w" * 3 * MIB, asyncio.Event()

    async def slowly() -> AsyncIterator[bytes]:
        yield sealed[: 2 * MIB]
        await come.wait()
        yield sealed[2 * MIB :]

    first = asyncio.create_task(patch(call, sealed, 0, body=slowly(), length=len(sealed)))
    while await offset(call, sealed) < 2 * MIB:
        pass
    second = await put_blob(call, sealed)
    assert (second.status, second.code, second.headers["Upload-Offset"]) == (409, "blob_busy", str(2 * MIB))
    come.set()
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


async def test_a_disk_that_fills_up_keeps_what_it_took(
    door: Door, call: Caller, peer: Party, monkeypatch: pytest.MonkeyPatch
) -> None:
    sealed, write, room = bytes(range(256)) * 20_000, os.write, 3_000_001

    def filled(handle: int, data: memoryview) -> int:
        left = room - os.fstat(handle).st_size
        if left <= 0:
            raise OSError(errno.ENOSPC, "no room")
        return write(handle, data[:left])

    monkeypatch.setattr(os, "write", filled)
    said = await put_blob(call, sealed)
    assert (said.status, said.code) == (507, "storage_full")
    assert await offset(call, sealed) == room
    said = await patch(call, sealed, room)
    assert (said.status, said.code) == (507, "storage_full")
    monkeypatch.undo()
    assert (await patch(call, sealed, room)).status == 204
    assert door.context.blobs.incoming(peer.id, sha256(sealed)).read_bytes() == sealed


async def test_a_blob_goes_on_where_it_ends(door: Door, call: Caller, peer: Party) -> None:
    sealed = make_blob(bytes(range(256)) * 12_000).sealed
    ends = [0, 1, MIB, MIB + 17, 2 * MIB + 5, len(sealed)]
    for begin, end in itertools.pairwise(ends):
        assert await offset(call, sealed) == begin
        said = await patch(call, sealed, begin, sealed[begin:end])
        assert (said.status, said.headers["Upload-Offset"]) == (204, str(end))
        row = await door.store.get(BlobRow, peer.id, sha256(sealed))
        assert row is not None
        assert (row.whole_ms is not None) == (end == len(sealed))
    assert door.context.blobs.incoming(peer.id, sha256(sealed)).read_bytes() == sealed


async def test_an_offset_that_is_elsewhere_is_told(call: Caller) -> None:
    sealed = bytes(100)
    await patch(call, sealed, 0, sealed[:40])
    for begin in (0, 39, 41):
        said = await patch(call, sealed, begin)
        assert (said.status, said.code, said.headers["Upload-Offset"]) == (409, "wrong_offset", "40")
    said = await patch(call, sealed, 40, sealed[40:60], length=99)
    assert (said.status, said.code) == (409, "wrong_length")
    assert await offset(call, sealed) == 40


async def test_another_process_goes_on_with_a_blob(tmp_path: Path, peer: Party) -> None:
    party, sealed = make_authority("qm.moj"), make_blob(bytes(3 * MIB)).sealed
    for begin, end in ((0, MIB + 1), (MIB + 1, 2 * MIB), (2 * MIB, len(sealed))):
        async with open_door(tmp_path / "qm", party) as door:
            if not begin:
                await door.pin(peer)
            async with calling(door, peer.keyring.tls[0]) as call:
                assert await offset(call, sealed) == begin
                assert (await patch(call, sealed, begin, sealed[begin:end])).status == 204
            party = door.party
    assert (tmp_path / "qm" / "blobs" / "in" / peer.id / sha256(sealed)).read_bytes() == sealed


async def test_what_came_before_a_cut_stays(door: Door, call: Caller) -> None:
    sealed = bytes(range(256)) * 20_000

    async def cut() -> AsyncIterator[bytes]:
        yield sealed[:3_000_000]
        while not any(path.stat().st_size for path in _files(door)):  # noqa: ASYNC110 - a thread writes it
            await asyncio.sleep(0.001)
        raise ConnectionResetError

    with pytest.raises(aiohttp.ClientError):
        await patch(call, sealed, 0, body=cut(), length=len(sealed))
    here = await offset(call, sealed)
    said = await patch(call, sealed, here)
    while said.status == 409:  # the door was still taking what had come when the connection went
        here = int(said.headers["Upload-Offset"])
        said = await patch(call, sealed, here)
    assert said.status == 204
    assert here > 0


async def test_a_peer_brings_some_blobs_at_once_and_not_any_number(door: Door, call: Caller) -> None:
    come = asyncio.Event()

    async def slowly() -> AsyncIterator[bytes]:
        yield b"x"
        await come.wait()

    running = [
        asyncio.create_task(patch(call, bytes([number]) * 9, 0, body=slowly(), length=9))
        for number in range(4)
    ]
    while len(await door.store.arriving_blobs(limit=9)) < len(running):  # noqa: ASYNC110 - other connections
        await asyncio.sleep(0.001)
    said = await put_blob(call, bytes(5))
    assert (said.status, said.code, said.headers["Retry-After"]) == (429, "rate_limited", "2")
    come.set()
    await asyncio.gather(*running)
    assert (await put_blob(call, bytes(6))).status == 204


SEALED = make_blob(os.urandom(3 * MIB)).sealed
CHUNK = MIB + 16
MANIPULATED = {
    "truncated": SEALED[:-1],
    "truncated by a chunk": SEALED[:-CHUNK],
    "extended": SEALED + b"x",
    "reordered": SEALED[CHUNK : 2 * CHUNK] + SEALED[:CHUNK] + SEALED[2 * CHUNK :],
    "altered": SEALED[:-1] + bytes([SEALED[-1] ^ 1]),
    "swapped": make_blob(os.urandom(3 * MIB)).sealed,
}


@pytest.mark.parametrize(
    ("how", "answer", "left"),
    [
        ("truncated", (204, None), len(SEALED) - 1),
        ("truncated by a chunk", (204, None), len(SEALED) - CHUNK),
        ("extended", (413, "too_large"), 0),
        ("reordered", (460, "wrong_digest"), 0),
        ("altered", (460, "wrong_digest"), 0),
        ("swapped", (460, "wrong_digest"), 0),
    ],
)
async def test_what_is_not_the_announced_blob_is_not_taken_for_it(
    call: Caller, how: str, answer: tuple[int, str | None], left: int
) -> None:
    """One that ends too early is not refused: the rest may come. Its envelope is told 424 meanwhile."""
    said = await patch(call, SEALED, 0, MANIPULATED[how])
    assert (said.status, said.code) == answer
    assert await offset(call, SEALED) == left


async def test_a_body_without_a_length_that_is_too_long(call: Caller) -> None:
    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield bytes(MIB)

    said = await patch(call, SEALED, 0, body=endless(), length=len(SEALED))
    assert (said.status, said.code) == (413, "too_large")
    assert await offset(call, SEALED) == 0
