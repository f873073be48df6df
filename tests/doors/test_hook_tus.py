"""Uploads by tus 1.0.0 over the hook: every rule of the protocol that a client can lean on."""

import asyncio
import base64
import contextlib
import hashlib
import resource
from email.utils import parsedate_to_datetime

import aiohttp
import pytest

from gateway.config import Limits
from gateway.rows import UNCLAIMED_MS, UploadRow
from gateway.web import room
from gateway.web.uploads import UPLOADS
from keys.stream import CHUNK, sealed_size
from tests.support.hooks import MARK, OCTETS, TUS, Hook, Said, open_hook
from tests.support.nodes import eventually

PATTERN = f"{MARK} ".encode()
DAY_MS = 24 * 3_600_000


@pytest.fixture
async def hook(tmp_path):
    async with open_hook(tmp_path) as opened:
        opened.client.app[UPLOADS]._holding.turns.patience_s = 0.05
        yield opened


def plain_of(size: int) -> bytes:
    return (PATTERN * (size // len(PATTERN) + 1))[:size]


async def ask(hook: Hook, method: str, path: str, body: bytes | None = None, **headers: str) -> Said:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return await hook(method, path, body, headers=TUS | named)


async def made(hook: Hook, length: int, body: bytes | None = None) -> str:
    """Begin an upload; return its path."""
    kind = {} if body is None else {"Content_Type": OCTETS}
    answer = await ask(hook, "POST", "/uploads", body, Upload_Length=str(length), **kind)
    assert answer.status == 201, answer.body
    assert answer.headers["Upload-Offset"] == str(len(body or b""))
    return answer.headers["Location"].removeprefix("/v1")


async def patch(hook: Hook, path: str, offset: int, body: bytes, **headers: str) -> Said:
    return await ask(hook, "PATCH", path, body, Upload_Offset=str(offset), Content_Type=OCTETS, **headers)


async def offset_of(hook: Hook, path: str) -> int:
    answer = await ask(hook, "HEAD", path)
    assert answer.status == 200
    return int(answer.headers["Upload-Offset"])


async def content(hook: Hook, path: str) -> bytes:
    """Send the upload with a message; return what the attachment is."""
    said = await hook.sent(
        attachments=[
            {
                "upload": path.rpartition("/")[2],
                "name": "a.bin",
                "media_type": "application/octet-stream",
                "role": "other",
                "language": "fr",
            }
        ]
    )
    return (await hook("GET", f"/messages/{said['id']}/attachments/0")).body


async def begun(hook: Hook, path: str, first: bytes, length: int):
    """Begin a PATCH of *length* bytes and bring *first*; return the request and what feeds it."""
    queue: asyncio.Queue[bytes | None] = asyncio.Queue()

    async def body():
        while (piece := await queue.get()) is not None:
            yield piece

    queue.put_nowait(first)
    headers = {"Authorization": f"Bearer {hook.token}", "Upload-Offset": "0", "Content-Type": OCTETS}
    sending = asyncio.create_task(
        hook.client.request(
            "PATCH", f"/v1{path}", data=body(), headers=TUS | headers | {"Content-Length": str(length)}
        )
    )
    locks, upload = hook.client.app[UPLOADS]._holding.turns._locks, path.rpartition("/")[2]
    await eventually(lambda: upload in locks and locks[upload].locked())
    return sending, queue


def files(hook: Hook) -> list[str]:
    return sorted(path.name for path in (hook.folder / "blobs").rglob("*") if path.is_file())


def on_disk(hook: Hook) -> bytes:
    """Return every byte of the data folder."""
    return b"".join(path.read_bytes() for path in sorted(hook.folder.rglob("*")) if path.is_file())


@contextlib.contextmanager
def room_in_a_file(size: int):
    """Let no file of this process grow beyond *size*."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("path", ["/uploads", "/uploads/8c6a4f0e-6f6e-4a52-9d52-3a8f0c5f1b11"])
async def test_the_server_says_what_it_does(hook, path):
    said = await hook("OPTIONS", path)
    assert said.status == 204
    assert said.headers["Tus-Version"] == "1.0.0"
    assert said.headers["Tus-Extension"] == "creation,creation-with-upload,termination,expiration,checksum"
    assert "sha1" in said.headers["Tus-Checksum-Algorithm"].split(",")


@pytest.mark.parametrize("size", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK + 11])
@pytest.mark.parametrize("with_creation", [True, False])
async def test_an_upload_of_any_size(hook, size, with_creation):
    plain = plain_of(size)
    path = await made(hook, size, plain if with_creation else None)
    if not with_creation and size:
        assert (await patch(hook, path, 0, plain)).headers["Upload-Offset"] == str(size)
    here = await ask(hook, "HEAD", path)
    assert (here.headers["Upload-Offset"], here.headers["Upload-Length"]) == (str(size), str(size))
    digest = base64.b64encode(hashlib.sha256(plain).digest()).decode()
    assert here.headers["Repr-Digest"] == f"sha-256=:{digest}:"
    assert files(hook) == [path.rpartition("/")[2]], "the tail went with its chunk"
    assert await content(hook, path) == plain


async def test_an_upload_comes_in_pieces_of_odd_sizes(hook):
    plain = plain_of(3 * CHUNK + 11)
    path, offset = await made(hook, len(plain)), 0
    for size in (5, 1024, CHUNK, 0, CHUNK + 9, 1, len(plain)):
        piece = plain[offset : offset + size]
        sent = await patch(hook, path, offset, piece)
        assert sent.status == 204
        offset += len(piece)
        assert sent.headers["Upload-Offset"] == str(offset)
        assert ("Repr-Digest" in sent.headers) == (offset == len(plain))
        here = await ask(hook, "HEAD", path)
        assert (here.headers["Upload-Offset"], here.headers["Upload-Length"]) == (
            str(offset),
            str(len(plain)),
        )
        assert here.headers["Cache-Control"] == "no-store"
        assert MARK.encode() not in on_disk(hook)
    assert await content(hook, path) == plain


async def test_what_came_outlives_the_process(tmp_path):
    plain = plain_of(2 * CHUNK + 500)
    async with open_hook(tmp_path) as hook:
        path = await made(hook, len(plain), plain[:10])
        await patch(hook, path, 10, plain[10 : CHUNK + 300])
    async with open_hook(tmp_path) as hook:
        assert await offset_of(hook, path) == CHUNK + 300
        assert MARK.encode() not in on_disk(hook)
        await patch(hook, path, CHUNK + 300, plain[CHUNK + 300 : -1])
    async with open_hook(tmp_path) as hook:
        assert (await patch(hook, path, len(plain) - 1, plain[-1:])).status == 204
        assert await content(hook, path) == plain


async def test_what_is_whole_on_disk_becomes_whole_by_the_next_look(hook):
    """As after a process that ended between the last sync and the row."""
    plain = plain_of(CHUNK + 3)
    path = await made(hook, len(plain))
    row = await hook.store.get(UploadRow, path.rpartition("/")[2])
    uploads = hook.client.app[UPLOADS]
    sealed = uploads._holding._fresh(row)
    sealed.open()
    sealed.hash(plain)
    sealed.write(plain)
    sealed.close()
    empty = await made(hook, 0)
    assert (await hook.store.get(UploadRow, row.id)).blob_sha256 is None
    assert (await patch(hook, path, len(plain), b"")).headers["Upload-Offset"] == str(len(plain))
    assert (await hook.store.get(UploadRow, row.id)).blob_sha256 is not None
    assert await content(hook, path) == plain
    assert await content(hook, empty) == b""


async def test_a_connection_that_breaks_leaves_what_came(hook):
    plain = plain_of(4 * CHUNK)
    path = await made(hook, len(plain))
    sending, _ = await begun(hook, path, plain[: 2 * CHUNK + 77], len(plain))
    uploads = hook.client.app[UPLOADS]
    place = hook.context.blobs.outgoing(path.rpartition("/")[2])
    await eventually(lambda: hook.context.blobs.size_bytes(place) >= CHUNK)
    sending.cancel()
    with contextlib.suppress(asyncio.CancelledError, aiohttp.ClientError):
        await sending
    uploads._holding.turns.patience_s = 5
    offset = await offset_of(hook, path)
    assert CHUNK <= offset <= 2 * CHUNK + 77
    assert (await patch(hook, path, offset, plain[offset:])).status == 204
    assert await content(hook, path) == plain


async def test_a_second_request_waits_for_a_moment_then_is_told(hook):
    path = await made(hook, 10)
    sending, queue = await begun(hook, path, b"01234", 10)
    for method in ("HEAD", "DELETE"):
        assert (await ask(hook, method, path)).status == 423
    said = await patch(hook, path, 0, b"0123456789")
    assert (said.status, said.code) == (423, "upload_busy")
    hook.client.app[UPLOADS]._holding.turns.patience_s = 5
    waiting = asyncio.create_task(ask(hook, "HEAD", path))
    queue.put_nowait(b"56789")
    queue.put_nowait(None)
    async with await sending as answer:
        assert answer.status == 204
    assert (await waiting).headers["Upload-Offset"] == "10"
    assert await content(hook, path) == b"0123456789"


async def test_another_process_has_it(hook):
    path = await made(hook, 10, b"01234")
    row = await hook.store.get(UploadRow, path.rpartition("/")[2])
    there = hook.client.app[UPLOADS]._holding._fresh(row)
    there.open()
    for said in (await ask(hook, "HEAD", path), await patch(hook, path, 5, b"56789")):
        assert said.status == 423
    there.hash(b"567")
    there.write(b"567")
    there.settle()
    there.close()
    assert await offset_of(hook, path) == 8
    assert (await patch(hook, path, 8, b"89")).status == 204
    assert await content(hook, path) == b"0123456789"


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
        (b"", {"Upload-Defer-Length": "1"}, 400, "malformed"),
        (b"", {"Upload-Length": "3", "Upload-Concat": "partial"}, 400, "malformed"),
        (b"123", {"Upload-Length": "3", "Content-Type": "text/plain"}, 415, "unsupported_media_type"),
        (b"123", {"Upload-Length": "2", "Content-Type": OCTETS}, 413, "too_large"),
        (b"123", {"Upload-Length": str(2**48), "Content-Type": OCTETS}, 507, "storage_full"),
        (
            b"123",
            {"Upload-Length": "3", "Content-Type": OCTETS, "Upload-Checksum": "crc32 AAAA"},
            400,
            "unknown_checksum",
        ),
        (
            b"123",
            {"Upload-Length": "3", "Content-Type": OCTETS, "Upload-Checksum": "sha1 AAAA"},
            400,
            "malformed",
        ),
        (
            b"123",
            {"Upload-Length": "3", "Content-Type": OCTETS, "Upload-Checksum": "md5 " + "A" * 22 + "=="},
            460,
            "checksum_mismatch",
        ),
    ],
)
async def test_a_wrong_upload_leaves_nothing(hook, body, headers, status, code):
    answer = await hook("POST", "/uploads", body, headers=TUS | headers)
    assert (answer.status, answer.code) == (status, code)
    assert (answer.headers["Tus-Resumable"], answer.headers["Tus-Version"]) == ("1.0.0", "1.0.0")
    assert hook.counts()["uploads"] == 0
    assert files(hook) == []


async def test_more_than_was_announced_is_refused_however_it_comes(hook):
    path = await made(hook, 10)
    assert (await patch(hook, path, 0, b"12345678901")).status == 413
    assert await offset_of(hook, path) == 0

    async def streamed():
        yield b"12345"
        yield b"678901"

    headers = {"Authorization": f"Bearer {hook.token}", "Upload-Offset": "0", "Content-Type": OCTETS}
    async with hook.client.request("PATCH", f"/v1{path}", data=streamed(), headers=TUS | headers) as answer:
        assert answer.status == 413
    assert (await ask(hook, "HEAD", path)).status == 404
    assert files(hook) == []


async def test_a_wrong_offset_says_the_right_one(hook):
    path = await made(hook, 10, b"12345")
    for offset in (0, 6):
        sent = await patch(hook, path, offset, b"6")
        assert (sent.status, sent.code, sent.json["offset"]) == (409, "wrong_offset", 5)
    await patch(hook, path, 5, b"67890")
    sent = await patch(hook, path, 10, b"1")
    assert (sent.status, sent.code) == (413, "too_large")
    assert (await patch(hook, path, 9, b"0")).code == "wrong_offset"
    assert (await ask(hook, "PATCH", path, b"", Upload_Offset="10")).code == "unsupported_media_type"
    assert (await hook("HEAD", path)).status == 412


async def test_uploads_are_deleted_until_a_message_carries_them(hook):
    part, whole, carried = await made(hook, 10, b"12345"), await made(hook, 5, b"whole"), await made(hook, 0)
    await content(hook, carried)
    for path in (part, whole):
        assert (await ask(hook, "DELETE", path)).status == 204
        assert (await ask(hook, "HEAD", path)).status == 404
        assert (await ask(hook, "DELETE", path)).status == 404
    assert (await ask(hook, "DELETE", carried)).code == "upload_claimed"
    assert files(hook) == [carried.rpartition("/")[2]]


@pytest.mark.parametrize("method", ["POST", "PATCH"])
async def test_a_client_that_knows_no_patch_says_it_in_a_header(hook, method):
    path = await made(hook, 5)
    sent = await ask(
        hook,
        "POST",
        path,
        b"12345",
        Upload_Offset="0",
        Content_Type=OCTETS,
        X_HTTP_Method_Override="PATCH",
    )
    assert (sent.status, sent.headers["Upload-Offset"]) == (204, "5")
    assert (await ask(hook, method, path, X_HTTP_Method_Override="DELETE")).status == 204
    assert (await ask(hook, "HEAD", path)).status == 404
    refused = await ask(hook, "POST", path)
    assert (refused.status, refused.headers["Allow"]) == (405, "DELETE,HEAD,OPTIONS,PATCH")
    assert (await ask(hook, "POST", "/uploads", X_HTTP_Method_Override="PATCH")).status == 405


# -- checksum


@pytest.mark.parametrize("algorithm", ["sha1", "md5", "sha256"])
async def test_a_checksum_that_does_not_hold_keeps_nothing(hook, algorithm):
    plain = plain_of(2 * CHUNK + 9)
    path = await made(hook, len(plain), plain[:5])
    before = on_disk(hook), files(hook)

    def checksum(data: bytes) -> str:
        return f"{algorithm} {base64.b64encode(hashlib.new(algorithm, data).digest()).decode()}"

    wrong = b"other" + plain[10:]
    sent = await patch(hook, path, 5, wrong, Upload_Checksum=checksum(plain[5:]))
    assert (sent.status, sent.code) == (460, "checksum_mismatch")
    assert (on_disk(hook), files(hook)) == before
    assert await offset_of(hook, path) == 5
    for begin, end in ((5, 5), (5, CHUNK + 100), (CHUNK + 100, len(plain))):
        sent = await patch(hook, path, begin, plain[begin:end], Upload_Checksum=checksum(plain[begin:end]))
        assert (sent.status, sent.headers["Upload-Offset"]) == (204, str(end))
    assert await content(hook, path) == plain


async def test_more_than_was_announced_with_a_checksum_keeps_nothing(hook):
    path = await made(hook, 10, b"01234")

    async def streamed():
        yield b"56789"
        yield b"0"

    digest = base64.b64encode(hashlib.sha1(b"567890").digest()).decode()  # noqa: S324 - what tus demands
    headers = {"Authorization": f"Bearer {hook.token}", "Upload-Offset": "5", "Content-Type": OCTETS}
    headers |= TUS | {"Upload-Checksum": f"sha1 {digest}"}
    async with hook.client.request("PATCH", f"/v1{path}", data=streamed(), headers=headers) as answer:
        assert answer.status == 413
    assert await offset_of(hook, path) == 5


# -- expiry


async def test_what_does_not_become_whole_in_time_is_gone(hook):
    path = await made(hook, 10, b"01234")
    for answer in (await ask(hook, "HEAD", path), await patch(hook, path, 5, b"5")):
        expires = parsedate_to_datetime(answer.headers["Upload-Expires"]).timestamp() * 1000
        assert expires == (hook.clock.now_ms() + UNCLAIMED_MS) // 1000 * 1000
        assert answer.headers["Upload-Expires"].endswith(" GMT")
    hook.clock.time_ms += UNCLAIMED_MS - 1
    assert await offset_of(hook, path) == 6
    hook.clock.time_ms += 1
    for answer in (await ask(hook, "DELETE", path), await patch(hook, path, 6, b"6789")):
        assert (answer.status, answer.code) == (410, "upload_expired")
    answer = await ask(hook, "HEAD", path)
    assert (answer.status, answer.headers.get("Upload-Offset")) == (410, None)


async def test_what_became_whole_has_its_time_anew_and_what_was_sent_stays(hook):
    path = await made(hook, 10, b"01234")
    hook.clock.time_ms += UNCLAIMED_MS - DAY_MS
    sent = await patch(hook, path, 5, b"56789")
    expires = parsedate_to_datetime(sent.headers["Upload-Expires"]).timestamp() * 1000
    assert expires == (hook.clock.now_ms() + UNCLAIMED_MS) // 1000 * 1000
    await content(hook, path)
    hook.clock.time_ms += 2 * UNCLAIMED_MS
    here = await ask(hook, "HEAD", path)
    assert (here.status, here.headers.get("Upload-Expires")) == (200, None)


# -- room


async def test_room_is_kept_for_what_was_announced(tmp_path):
    async with open_hook(tmp_path) as hook:
        free = hook.context.blobs.free_bytes()
        most = sealed_size(free // 2)
        path = await made(hook, free // 2)
        said = await ask(hook, "POST", "/uploads", Upload_Length=str(free - most + (64 << 20)))
        assert (said.status, said.code) == (507, "storage_full")
        await ask(hook, "DELETE", path)
        await made(hook, free // 2)
    limits = Limits(free_disk_bytes=0, upload_bytes=100)
    async with open_hook(tmp_path / "second", limits=limits) as hook:
        path = await made(hook, 60, b"1")
        said = await ask(hook, "POST", "/uploads", Upload_Length="20")
        assert (said.status, said.code) == (507, "storage_full")
        await patch(hook, path, 1, bytes(59))
        assert (await ask(hook, "POST", "/uploads", Upload_Length="20")).status == 507
        await content(hook, path)
        await made(hook, 20)
    async with open_hook(tmp_path / "third", limits=Limits(free_disk_bytes=2**60)) as hook:
        assert (await ask(hook, "POST", "/uploads", Upload_Length="1")).status == 507


async def test_not_every_upload_can_be_left_unfinished(hook, monkeypatch):
    monkeypatch.setattr(room, "MOST_UNFINISHED", 2)
    first, _ = await made(hook, 5), await made(hook, 5)
    said = await ask(hook, "POST", "/uploads", Upload_Length="5")
    assert (said.status, said.code) == (429, "too_many_uploads")
    await patch(hook, first, 0, b"12345")
    await made(hook, 5)


async def test_a_full_disk_keeps_what_was_acknowledged(hook):
    plain = plain_of(6 * CHUNK)
    path = await made(hook, len(plain), plain[: CHUNK + 50])
    with room_in_a_file(4 * CHUNK + CHUNK // 2):
        sent = await patch(hook, path, CHUNK + 50, plain[CHUNK + 50 :])
        assert (sent.status, sent.code) == (507, "storage_full")
        assert await offset_of(hook, path) == 4 * CHUNK
    assert (await patch(hook, path, 4 * CHUNK, plain[4 * CHUNK :])).status == 204
    assert await content(hook, path) == plain


async def test_other_content_than_what_is_sealed_is_refused_for_good(tmp_path):
    plain = plain_of(3 * CHUNK)
    async with open_hook(tmp_path) as hook:
        path = await made(hook, len(plain), plain[: 2 * CHUNK])
        with hook.context.blobs.outgoing(path.rpartition("/")[2]).open("r+b") as file:
            file.truncate(CHUNK + CHUNK // 2)
    async with open_hook(tmp_path) as hook:
        assert await offset_of(hook, path) == CHUNK
        sent = await patch(hook, path, CHUNK, bytes(2 * CHUNK))
        assert (sent.status, sent.code) == (410, "other_content")
        assert (await ask(hook, "HEAD", path)).status == 404
        assert files(hook) == []


async def test_what_is_remembered_is_bounded(hook, monkeypatch):
    monkeypatch.setattr("gateway.web.holding._MOST_REMEMBERED", 2)
    paths = [await made(hook, 10, b"01234") for _ in range(4)]
    assert len(hook.client.app[UPLOADS]._holding._remembered) == 2
    for path in paths:
        assert (await patch(hook, path, 5, b"56789")).status == 204
    assert hook.client.app[UPLOADS]._holding._remembered == {}
