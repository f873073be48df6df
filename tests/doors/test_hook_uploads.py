"""Attachments through the hook: in as uploads, out as they were, and never plain on the disk."""

import asyncio
import contextlib
import sqlite3

import pytest

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


async def test_an_upload_goes_with_one_message_only(hook):
    upload = await hook.upload(b"once")
    drafts = [draft(attachments=[member(upload)]) for _ in range(4)]
    answers = await asyncio.gather(*(hook("POST", "/messages", one) for one in drafts))
    assert sorted(answer.status for answer in answers) == [201, 422, 422, 422]
    assert {answer.code for answer in answers} == {None, "unknown_upload"}
    twice = await hook.upload(b"twice")
    answer = await hook("POST", "/messages", draft(attachments=[member(twice, "a"), member(twice, "b")]))
    assert (answer.status, answer.json["errors"][0]["pointer"]) == (422, "/attachments/1/upload")


async def test_what_is_not_whole_goes_with_no_message(hook):
    made = await ask(hook, "POST", "/uploads", b"12345", Upload_Length="10", Content_Type=OCTETS)
    id_ = made.headers["Location"].rpartition("/")[2]
    whole = await hook.upload(b"whole")
    answer = await hook("POST", "/messages", draft(attachments=[member(whole), member(id_, "b.txt")]))
    assert (answer.status, answer.code) == (409, "upload_unfinished")
    assert [flaw["pointer"] for flaw in answer.json["errors"]] == ["/attachments/1/upload"]
    path = f"/uploads/{id_}"
    assert (await ask(hook, "PATCH", path, b"67890", Upload_Offset="5", Content_Type=OCTETS)).status == 204
    await hook.sent(attachments=[member(whole), member(id_, "other.txt")])


async def test_nothing_plain_rests_anywhere(hook):
    upload = await hook.upload(plain_of(CHUNK + 1))
    said = await hook.sent(attachments=[member(upload, f"{MARK}.txt")], own_ref=MARK)
    came = await hook.received(make_blob(plain_of(9), name=f"{MARK}-2.txt"))
    for id_ in (said["id"], came.id):
        assert MARK in (await hook("GET", f"/messages/{id_}/content")).body.decode()
    assert MARK.encode() not in on_disk(hook)
    with contextlib.closing(sqlite3.connect(hook.folder / "gateway.db")) as database:
        assert MARK not in "\n".join(database.iterdump())
