"""Attachments on their way out of the hook: ranges, and what is wrong with a file at rest."""

import asyncio

import aiohttp
import pytest
from aiohttp import web
from structlog.testing import capture_logs

from gateway.app.logs import KEYS
from gateway.ports import Change
from gateway.web import attachments
from gateway.web.attachments import DOWNLOADS
from keys.stream import CHUNK, TAG
from tests.support.authorities import make_blob
from tests.support.hooks import MARK, draft, open_hook

SEALED_CHUNK = CHUNK + TAG
PLAIN = (f"{MARK} ".encode() * (4 * CHUNK // 10))[: 3 * CHUNK + 5]


@pytest.fixture
async def hook(tmp_path):
    async with open_hook(tmp_path) as opened:
        yield opened


@pytest.fixture
async def came(hook):
    """Return where the attachment of a message that came in is asked for, and where it lies."""
    blob = make_blob(PLAIN)
    posted = await hook.received(blob)
    return f"/messages/{posted.id}/attachments/0", hook.context.blobs.incoming("qp.justice", blob.sha256)


async def read(hook, path, **headers):
    return await hook("GET", path, headers={name.replace("_", "-"): text for name, text in headers.items()})


@pytest.mark.parametrize("asked", ["lines=0-1", "0-1", ""])
async def test_a_unit_that_is_not_known_gives_the_whole(hook, came, asked):
    got = await read(hook, came[0], Range=asked)
    assert (got.status, got.body) == (200, PLAIN)
    assert "Content-Range" not in got.headers


async def test_a_range_holds_for_the_content_that_is_known(hook, came):
    etag = (await read(hook, came[0])).headers["ETag"]
    got = await read(hook, came[0], Range=f"bytes={CHUNK + 3}-", If_Range=etag)
    assert (got.status, got.body) == (206, PLAIN[CHUNK + 3 :])
    for other in ('"0"', f"W/{etag}", "Sat, 28 Nov 2026 12:00:00 GMT"):
        got = await read(hook, came[0], Range="bytes=9999999999-", If_Range=other)
        assert (got.status, len(got.body)) == (200, len(PLAIN))


@pytest.mark.parametrize("asked", ["bytes=0-", "bytes=0-0", "bytes=-1"])
async def test_an_empty_attachment_has_no_range(hook, asked):
    posted = await hook.received(make_blob(b""))
    path = f"/messages/{posted.id}/attachments/0"
    got = await read(hook, path, Range=asked)
    assert (got.status, got.headers["Content-Range"]) == (416, "bytes */0")
    assert (await read(hook, path)).body == b""


async def test_each_request_is_one_reading(hook, came):
    message = came[0].split("/")[2]
    before = len(await hook.logged(message))
    for start in (0, CHUNK, 2 * CHUNK + 1):
        await read(hook, came[0], Range=f"bytes={start}-")
    assert [entry["event"] for entry in (await hook.logged(message))[before:]] == ["content.read"] * 3


async def test_the_type_that_a_sender_claims_is_data_alone(hook):
    posted = await hook.received(make_blob(b"<script>", name='x".html'))
    got = await read(hook, f"/messages/{posted.id}/attachments/0")
    assert got.headers["Content-Type"] == "application/octet-stream"
    assert got.headers["Content-Disposition"].startswith('attachment; filename="x_.html"; ')
    assert got.headers["X-Content-Type-Options"] == "nosniff"
    content = (await hook("GET", f"/messages/{posted.id}/content")).json
    (listed,) = content["attachments"]
    assert (listed["name"], listed["media_type"]) == ('x".html', "text/plain")


# -- what is wrong with a file


def swapped(sealed):
    first, second, rest = (
        sealed[:SEALED_CHUNK],
        sealed[SEALED_CHUNK:][:SEALED_CHUNK],
        sealed[2 * SEALED_CHUNK :],
    )
    return second + first + rest


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        (lambda sealed: sealed[:-1], "truncated"),
        (lambda sealed: sealed[:SEALED_CHUNK], "truncated"),
        (lambda _: b"", "truncated"),
        (lambda sealed: sealed + b"\0", "extended"),
        (swapped, "reordered"),
        (lambda sealed: bytes([sealed[0] ^ 1]) + sealed[1:], "altered"),
        (lambda _: make_blob(PLAIN).sealed, "altered"),
        (None, "missing"),
    ],
)
async def test_the_operator_is_told_what_is_wrong_with_a_file(hook, came, spoil, code):
    path, file = came
    if spoil:
        file.write_bytes(spoil(file.read_bytes()))
    else:
        file.unlink()
    with capture_logs() as logs:
        got = await read(hook, path)
    assert (got.status, got.code) == (500, f"attachment_{code}")
    (line,) = [line for line in logs if line["event"] == "attachment.damaged"]
    assert (line["code"], line["peer"], line["index"]) == (code, "qp.justice", 0)
    assert line["message_id"] in path
    assert set(line) - {"log_level"} <= KEYS


async def test_what_is_altered_further_on_breaks_the_connection_and_nothing_of_it_leaves(hook, came):
    path, file = came
    altered = bytearray(file.read_bytes())
    altered[2 * SEALED_CHUNK + 9] ^= 1
    file.write_bytes(altered)
    headers = {"Authorization": f"Bearer {hook.token}"}
    got = bytearray()
    with capture_logs() as logs:
        async with hook.client.get(f"/v1{path}", headers=headers) as answer:
            assert answer.status == 200
            with pytest.raises(aiohttp.ClientError):
                await _read_into(got, answer)
    assert PLAIN[: 2 * CHUNK].startswith(got)
    assert [line["code"] for line in logs if line["event"] == "attachment.damaged"] == ["altered"]
    assert (await read(hook, path, Range=f"bytes=0-{2 * CHUNK - 1}")).body == PLAIN[: 2 * CHUNK]
    assert (await read(hook, path, Range=f"bytes={2 * CHUNK}-")).code == "attachment_altered"


async def _read_into(got, answer):
    async for piece in answer.content.iter_any():
        got += piece


# -- many at once


async def test_downloads_wait_for_each_other_and_a_reader_that_goes_makes_room(hook, came, monkeypatch):
    monkeypatch.setattr(hook.client.app[DOWNLOADS], "_slots", asyncio.Semaphore(1))
    headers = {"Authorization": f"Bearer {hook.token}"}
    answer = await hook.client.get(f"/v1{came[0]}", headers=headers)
    await answer.content.readexactly(10)
    waiting = asyncio.create_task(read(hook, came[0]))
    answer.close()
    assert (await waiting).body == PLAIN
    answers = await asyncio.gather(*(read(hook, came[0]) for _ in range(4)))
    assert [answer.body == PLAIN for answer in answers] == [True] * 4


async def test_a_download_that_gets_no_room_is_told_to_come_again(hook, came, monkeypatch):
    downloads = hook.client.app[DOWNLOADS]
    monkeypatch.setattr(downloads, "_slots", asyncio.Semaphore(1))
    monkeypatch.setattr(downloads, "_patience_s", 0)
    async with downloads.admit():
        got = await read(hook, came[0])
        assert (got.status, got.headers["Retry-After"]) == (503, "5")


async def test_a_reader_that_takes_nothing_is_let_go(hook, came, monkeypatch):
    async def stuck(_response, _piece):
        await asyncio.Event().wait()

    monkeypatch.setattr(attachments, "_STALL_S", 0)
    monkeypatch.setattr(web.StreamResponse, "write", stuck)
    with pytest.raises(aiohttp.ClientError):
        await read(hook, came[0])


# -- names that can never be


@pytest.mark.parametrize("name", ["..", "a/b", "a\\b", "a\nb", "gpj.\u202efdp.exe", "é" * 128])
async def test_a_draft_says_which_name_cannot_be(hook, name):
    named = [
        {"upload": await hook.upload(b"1"), "name": each, "media_type": "text/plain"}
        | {"role": "other", "language": "fr"}
        for each in ("a.txt", name)
    ]
    got = await hook("POST", "/messages", draft(attachments=named))
    assert (got.status, got.code) == (422, "schema")
    assert [one["pointer"] for one in got.json["errors"]] == ["/attachments/1/name"]
    assert name not in got.body.decode() or len(name) < 3


async def test_an_attachment_of_ours_whose_upload_is_gone_is_missing(hook):
    member = {"upload": await hook.upload(PLAIN), "name": "a.bin", "media_type": "text/plain"}
    sent = await hook.sent(attachments=[{**member, "role": "evidence", "language": "en"}])
    path = f"/messages/{sent['id']}/attachments/0?direction=out"
    assert (await read(hook, path)).body == PLAIN
    (upload,) = await hook.store.uploads_of([sent["id"]])
    await hook.store.record(Change(name="sweep", deletes=(upload,)))
    with capture_logs() as logs:
        got = await read(hook, path)
    assert (got.status, got.code) == (500, "attachment_missing")
    (line,) = [line for line in logs if line["event"] == "attachment.damaged"]
    assert (line["code"], line["message_id"], line["index"]) == ("missing", sent["id"], 0)
