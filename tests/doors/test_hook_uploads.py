"""Attachments through the hook: in by tus, out as they were, and never plain on the disk."""

import asyncio
import contextlib
import sqlite3

import aiohttp
import pytest

from gateway.config import Limits
from gateway.rows import UploadRow
from gateway.store.blobs import BlobWriter
from keys.stream import CHUNK, sealed_size
from tests.support.authorities import make_blob
from tests.support.hooks import MARK, OCTETS, TUS, draft, open_hook

PATTERN = f"{MARK} ".encode()


@pytest.fixture
async def hook(tmp_path):
    async with open_hook(tmp_path) as opened:
        yield opened


def plain_of(size: int) -> bytes:
    return (PATTERN * (size // len(PATTERN) + 1))[:size]


def member(upload: str, name: str = "statement.txt", **members: str) -> dict[str, str]:
    found = {"upload": upload, "name": name, "media_type": "text/plain", "role": "other", "language": "fr"}
    return found | members


async def ask(hook, method: str, path: str, body: bytes | None = None, **headers: str):
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return await hook(method, path, body, headers=TUS | named)


def on_disk(hook) -> bytes:
    """Return every byte of the data folder."""
    return b"".join(path.read_bytes() for path in sorted(hook.folder.rglob("*")) if path.is_file())


@pytest.mark.parametrize("size", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK])
async def test_an_attachment_comes_out_as_it_went_in(hook, size):
    plain = plain_of(size)
    upload = await hook.upload(plain)
    said = await hook.sent(attachments=[member(upload, "résumé «1».txt")])

    content = (await hook("GET", f"/messages/{said['id']}/content")).json
    (listed,) = content["attachments"]
    assert (listed["size"], listed["blob"]["size"]) == (size, sealed_size(size))
    got = await hook("GET", f"/messages/{said['id']}/attachments/0")
    assert (got.status, got.body) == (200, plain)
    assert got.headers["Content-Length"] == str(size)
    assert got.headers["Content-Type"] == "application/octet-stream"
    assert got.headers["ETag"] == f'"{listed["sha256"]}"'
    assert got.headers["X-Content-Type-Options"] == "nosniff"
    assert got.headers["Content-Disposition"] == (
        "attachment; filename=\"resume 1.txt\"; filename*=UTF-8''r%C3%A9sum%C3%A9%20%C2%AB1%C2%BB.txt"
    )
    entry = (await hook.logged(said["id"]))[-1]
    assert (entry["event"], entry["attachment"]) == ("content.read", 0)
    assert MARK.encode() not in on_disk(hook)
    assert (await hook("GET", f"/messages/{said['id']}/attachments/1")).code == "not_found"


async def test_an_attachment_of_a_peer_comes_out_as_it_was_signed(hook):
    blob = make_blob(plain_of(CHUNK + 7))
    came = await hook.received(blob)
    got = await hook("GET", f"/messages/{came.id}/attachments/0")
    assert got.body == blob.plain
    assert MARK.encode() not in on_disk(hook)


@pytest.mark.parametrize(
    ("asked", "start", "stop"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=5-9", 5, 10),
        (f"bytes={CHUNK - 1}-{CHUNK}", CHUNK - 1, CHUNK + 1),
        (f"bytes={CHUNK}-", CHUNK, 2 * CHUNK + 5),
        ("bytes=-3", 2 * CHUNK + 2, 2 * CHUNK + 5),
        ("bytes=-99999999", 0, 2 * CHUNK + 5),
        ("Bytes= 7-7 ", 7, 8),
        ("bytes=0-99999999", 0, 2 * CHUNK + 5),
    ],
)
async def test_a_range_is_opened_alone(hook, asked, start, stop):
    blob = make_blob(plain_of(2 * CHUNK + 5))
    came = await hook.received(blob)
    got = await hook("GET", f"/messages/{came.id}/attachments/0", headers={"Range": asked})
    assert (got.status, got.body) == (206, blob.plain[start:stop])
    assert got.headers["Content-Range"] == f"bytes {start}-{stop - 1}/{len(blob.plain)}"


@pytest.mark.parametrize(
    "asked",
    [
        "bytes=9-",
        "bytes=0-1,3-4",
        "bytes=5-2",
        "bytes=-",
        "bytes=-0",
        "bytes=a-b",
        "bytes=" + "9" * 5000 + "-",
    ],
)
async def test_a_range_that_is_not_there(hook, asked):
    came = await hook.received(make_blob(b"123456789"))
    got = await hook("GET", f"/messages/{came.id}/attachments/0", headers={"Range": asked})
    assert (got.status, got.code) == (416, "range_not_satisfiable")
    assert got.headers["Content-Range"] == "bytes */9"
    assert len(await hook.logged(came.id)) == 1


# -- tus


async def test_the_server_says_what_it_does(hook):
    said = await hook("OPTIONS", "/uploads")
    assert said.status == 204
    assert said.headers["Tus-Version"] == "1.0.0"
    assert said.headers["Tus-Extension"] == "creation,creation-with-upload,termination"


async def test_an_upload_comes_in_pieces_and_is_taken_up_where_it_ends(hook):
    plain = plain_of(3 * CHUNK + 11)
    made = await ask(hook, "POST", "/uploads", Upload_Length=str(len(plain)))
    assert (made.status, made.headers["Upload-Offset"]) == (201, "0")
    path = made.headers["Location"].removeprefix("/v1")
    offset = 0
    for size in (5, CHUNK, 0, CHUNK + 9, len(plain)):
        piece = plain[offset : offset + size]
        sent = await ask(hook, "PATCH", path, piece, Upload_Offset=str(offset), Content_Type=OCTETS)
        assert sent.status == 204
        offset += len(piece)
        assert sent.headers["Upload-Offset"] == str(offset)
        here = await ask(hook, "HEAD", path)
        assert (here.headers["Upload-Offset"], here.headers["Upload-Length"]) == (
            str(offset),
            str(len(plain)),
        )
        assert here.headers["Cache-Control"] == "no-store"
    said = await hook.sent(attachments=[member(path.rpartition("/")[2])])
    assert (await hook("GET", f"/messages/{said['id']}/attachments/0")).body == plain


async def test_a_connection_that_breaks_leaves_what_was_sealed(hook):
    plain = plain_of(4 * CHUNK)
    made = await ask(hook, "POST", "/uploads", Upload_Length=str(len(plain)))
    path = made.headers["Location"].removeprefix("/v1")

    async def broken():
        yield plain[: 2 * CHUNK]
        raise ConnectionResetError

    headers = {"Authorization": f"Bearer {hook.token}", "Upload-Offset": "0", "Content-Type": OCTETS}
    with contextlib.suppress(aiohttp.ClientError, ConnectionError):
        await hook.client.request("PATCH", f"/v1{path}", data=broken(), headers=TUS | headers)
    async with asyncio.timeout(5):
        while True:
            offset = int((await ask(hook, "HEAD", path)).headers["Upload-Offset"])
            rest = plain[offset:]
            sent = await ask(hook, "PATCH", path, rest, Upload_Offset=str(offset), Content_Type=OCTETS)
            if sent.status == 204:
                break
    said = await hook.sent(attachments=[member(path.rpartition("/")[2])])
    assert (await hook("GET", f"/messages/{said['id']}/attachments/0")).body == plain


@pytest.mark.parametrize(
    ("body", "headers", "status", "code"),
    [
        (
            b"123",
            {"Upload-Length": "3", "Content-Type": OCTETS, "Tus-Resumable": "0.2.2"},
            412,
            "tus_version",
        ),
        (b"123", {"Content-Type": OCTETS}, 400, "malformed"),
        (b"123", {"Upload-Length": "-3", "Content-Type": OCTETS}, 400, "malformed"),
        (b"123", {"Upload-Length": "9" * 16, "Content-Type": OCTETS}, 400, "malformed"),
        (b"123", {"Upload-Length": "3", "Content-Type": "text/plain"}, 415, "unsupported_media_type"),
        (b"123", {"Upload-Length": "2", "Content-Type": OCTETS}, 413, "too_large"),
        (b"123", {"Upload-Length": str(2**48), "Content-Type": OCTETS}, 507, "storage_full"),
    ],
)
async def test_a_wrong_upload_leaves_nothing(hook, body, headers, status, code):
    answer = await hook("POST", "/uploads", body, headers=TUS | headers)
    assert (answer.status, answer.code) == (status, code)
    assert answer.headers["Tus-Resumable"] == "1.0.0"
    assert hook.counts()["uploads"] == 0


async def test_more_than_was_announced_is_refused_however_it_comes(hook):
    made = await ask(hook, "POST", "/uploads", Upload_Length="10")
    path = made.headers["Location"].removeprefix("/v1")

    async def streamed():
        yield b"12345"
        yield b"678901"

    headers = {"Authorization": f"Bearer {hook.token}", "Upload-Offset": "0", "Content-Type": OCTETS}
    async with hook.client.request("PATCH", f"/v1{path}", data=streamed(), headers=TUS | headers) as answer:
        assert answer.status == 413
    assert (await ask(hook, "HEAD", path)).status == 404
    assert list((hook.folder / "blobs" / "partial").iterdir()) == []


async def test_a_wrong_offset_says_the_right_one(hook):
    made = await ask(hook, "POST", "/uploads", b"12345", Upload_Length="10", Content_Type=OCTETS)
    path = made.headers["Location"].removeprefix("/v1")
    for offset in ("0", "6"):
        sent = await ask(hook, "PATCH", path, b"6", Upload_Offset=offset, Content_Type=OCTETS)
        assert (sent.status, sent.code, sent.json["offset"]) == (409, "wrong_offset", 5)
    await ask(hook, "PATCH", path, b"67890", Upload_Offset="5", Content_Type=OCTETS)
    sent = await ask(hook, "PATCH", path, b"1", Upload_Offset="10", Content_Type=OCTETS)
    assert (sent.status, sent.code) == (413, "too_large")


async def test_uploads_are_deleted_until_a_message_carries_them(hook):
    part = await ask(hook, "POST", "/uploads", b"12345", Upload_Length="10", Content_Type=OCTETS)
    whole, carried = await hook.upload(b"whole"), await hook.upload(b"carried")
    await hook.sent(attachments=[member(carried)])
    for path in (part.headers["Location"].removeprefix("/v1"), f"/uploads/{whole}"):
        assert (await ask(hook, "DELETE", path)).status == 204
        assert (await ask(hook, "HEAD", path)).status == 404
        assert (await ask(hook, "DELETE", path)).status == 404
    assert (await ask(hook, "DELETE", f"/uploads/{carried}")).code == "upload_claimed"
    assert [path.name for path in (hook.folder / "blobs").rglob("*") if path.is_file()] == [
        (await hook.store.get(UploadRow, carried)).blob_sha256
    ]


async def test_an_upload_goes_with_one_message_only(hook):
    upload = await hook.upload(b"once")
    drafts = [draft(attachments=[member(upload)]) for _ in range(4)]
    answers = await asyncio.gather(*(hook("POST", "/messages", one) for one in drafts))
    assert sorted(answer.status for answer in answers) == [201, 422, 422, 422]
    assert {answer.code for answer in answers} == {None, "unknown_upload"}
    twice = await hook.upload(b"twice")
    answer = await hook("POST", "/messages", draft(attachments=[member(twice, "a"), member(twice, "b")]))
    assert (answer.status, answer.json["errors"][0]["pointer"]) == (422, "/attachments/1/upload")


async def test_what_is_not_whole_ends_with_the_process_and_after_an_hour(tmp_path):
    async with open_hook(tmp_path) as hook:
        made = await ask(hook, "POST", "/uploads", b"12345", Upload_Length="10", Content_Type=OCTETS)
        path = made.headers["Location"].removeprefix("/v1")
        hook.clock.time_ms += 3_600_001
        await ask(hook, "POST", "/uploads", Upload_Length="10")
        assert (await ask(hook, "HEAD", path)).status == 404
    async with open_hook(tmp_path):
        assert list((tmp_path / "blobs" / "partial").iterdir()) == []


async def test_a_full_disk_takes_nothing(tmp_path, monkeypatch):
    async with open_hook(tmp_path, limits=Limits(free_disk_bytes=2**60)) as hook:
        answer = await ask(hook, "POST", "/uploads", b"1", Upload_Length="1", Content_Type=OCTETS)
        assert (answer.status, answer.code) == (507, "storage_full")
    async with open_hook(tmp_path) as hook:

        def full(_self, _data):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(BlobWriter, "write", full)
        answer = await ask(hook, "POST", "/uploads", b"1", Upload_Length="1", Content_Type=OCTETS)
        assert (answer.status, answer.code) == (507, "storage_full")
        assert hook.counts()["uploads"] == 0
        assert list((tmp_path / "blobs" / "partial").iterdir()) == []


async def test_nothing_plain_rests_anywhere(hook):
    upload = await hook.upload(plain_of(CHUNK + 1))
    said = await hook.sent(attachments=[member(upload, f"{MARK}.txt")], own_ref=MARK)
    came = await hook.received(make_blob(plain_of(9), name=f"{MARK}-2.txt"))
    for id_ in (said["id"], came.id):
        assert MARK in (await hook("GET", f"/messages/{id_}/content")).body.decode()
    assert MARK.encode() not in on_disk(hook)
    with contextlib.closing(sqlite3.connect(hook.folder / "gateway.db")) as database:
        assert MARK not in "\n".join(database.iterdump())
