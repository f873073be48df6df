"""A large attachment from `POST /uploads` to the other side, beside a bare upload in the same minutes.

The bare program (tests/bench/receiver.py) takes one upload over TLS, hashes it with SHA-256, writes
it and syncs it: what no gateway can leave out of one of its three ways. Each way is timed alone:
the upload until it is whole, the message until its receipt is stored (all bytes brought, opened and
compared with what was signed), the download until its digest is compared. While another one
travels, small messages go the same way, one at a time, beside the same ones on idle nodes.
"""

import asyncio
import hashlib
import json
import os
import ssl
import statistics
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from tests.bench import pair
from tests.bench.messages import RECEIPTS, draft, until_receipts
from tests.bench.nodes import Authority, authorities
from tests.bench.processes import Process, free_port, now_ms, percentile

PIECE = 1 << 20
MIB = 1 << 20
SMALL = 200
LARGE_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_read=600)


def measured(size_mib: int) -> dict[str, object]:
    """Return the figures for an attachment of *size_mib*, in MiB, seconds and milliseconds."""
    with authorities() as (folder, sender, recipient):
        pair.certificate(folder)
        source, sha256 = _made(folder / "source", size_mib)
        port = free_port()
        receiver = [sys.executable, "-m", "tests.bench.receiver", str(folder), str(port)]
        with (
            Process("bare", receiver, folder=folder) as bare,
            recipient.start() as node_b,
            sender.start() as node_a,
        ):
            context = ssl.create_default_context(cafile=folder / "cert.pem")
            context.check_hostname = False

            async def timed() -> dict[str, object]:
                async with aiohttp.ClientSession(timeout=LARGE_TIMEOUT) as session:
                    way = Way(session, sender, recipient, source, size_mib * MIB)
                    return await _timed(way, Bare(session, f"https://127.0.0.1:{port}/", context, sha256))

            results = {"size_mib": size_mib} | asyncio.run(timed())
            results["peak_mib"] = {p.name: round(p.peak_mib(), 1) for p in (node_a, node_b, bare)}
    return results


def lines(results: dict[str, object]) -> Iterator[str]:
    """Yield what the figures say."""
    rates, peaks = results["mib_per_s"], results["peak_mib"]
    assert isinstance(rates, dict)
    assert isinstance(peaks, dict)
    bare = rates["bare"]
    yield f"An attachment of {results['size_mib']} MiB (target of each: 0.69 of a bare TLS upload):"
    for name in ("upload", "transfer", "download"):
        yield f"  {name}: {rates[name]:.0f} MiB/s, {rates[name] / bare:.2f} of the bare {bare:.0f}"
    yield (
        f"  small messages, p99: {results['small_p99_ms']} ms while it travels,"
        f" {results['small_p99_ms_idle']} ms idle: {results['small_p99_ratio']} times (target: under 5)"
    )
    for name, peak in peaks.items():
        yield f"  peak memory of {name} since it was ready: {peak} MiB (target: under 150)"


def _made(path: Path, size_mib: int) -> tuple[Path, str]:
    digest, block = hashlib.sha256(), bytearray(os.urandom(PIECE))
    with path.open("wb") as file:
        for number in range(size_mib):
            block[:8] = number.to_bytes(8, "big")
            file.write(block)
            digest.update(block)
        file.flush()
        os.fsync(file.fileno())
    return path, digest.hexdigest()


async def _pieces(path: Path) -> AsyncIterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(PIECE):
            yield piece


@dataclass(frozen=True)
class Way:
    """The way of the file *source* from one authority to the other."""

    session: aiohttp.ClientSession
    sender: Authority
    recipient: Authority
    source: Path
    size_bytes: int

    async def upload(self) -> str:
        """Return the id of a whole upload."""
        tus = {**self.sender.headers, "Tus-Resumable": "1.0.0"}
        length = {"Upload-Length": str(self.size_bytes)}
        async with self.session.post(f"{self.sender.hook}/uploads", headers=tus | length) as answer:
            assert answer.status == 201, await answer.text()
            location = answer.headers["Location"]
        headers = {**tus, "Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"}
        url = self.sender.hook.removesuffix("/v1") + location
        async with self.session.patch(url, headers=headers, data=_pieces(self.source)) as answer:
            assert answer.status == 204, await answer.text()
        return location.rpartition("/")[2]

    async def send(self, upload: str) -> str:
        """Return the id of a message that carries *upload*."""
        attached = {
            "upload": upload,
            "name": "image.dd",
            "media_type": "application/octet-stream",
            "role": "other",
            "language": "en",
        }
        found = {**json.loads(draft(self.recipient.id)), "attachments": [attached]}
        url = f"{self.sender.hook}/messages"
        async with self.session.post(url, headers=self.sender.headers, json=found) as answer:
            assert answer.status == 201, await answer.text()
            return (await answer.json())["id"]

    async def until_accepted(self, message: str, look_s: float = 0.02) -> None:
        while True:
            url = f"{self.sender.hook}/messages/{message}"
            async with self.session.get(url, headers=self.sender.headers) as answer:
                state = (await answer.json())["state"]
            if state == "accepted":
                return
            assert state == "queued", state
            await asyncio.sleep(look_s)

    async def download(self, message: str) -> str:
        """Return the SHA-256 of what comes out."""
        digest = hashlib.sha256()
        url = f"{self.recipient.hook}/messages/{message}/attachments/0"
        async with self.session.get(url, headers=self.recipient.headers) as answer:
            assert answer.status == 200, await answer.text()
            async for piece in answer.content.iter_any():
                digest.update(piece)
        return digest.hexdigest()

    async def small(self, until: asyncio.Task[None] | None) -> list[float]:
        """Return the milliseconds from the draft to the stored receipt, one message at a time.

        SMALL of them, or as many as there is time for before *until* is done.
        """
        database, took = self.sender.database(), []
        stored = database.execute(RECEIPTS).fetchone()[0]
        body = draft(self.recipient.id)
        url = f"{self.sender.hook}/messages"
        headers = {**self.sender.headers, "Content-Type": "application/json"}
        while len(took) < SMALL if until is None else not until.done():
            begun = now_ms()
            async with self.session.post(url, headers=headers, data=body) as answer:
                assert answer.status == 201, await answer.text()
            await until_receipts(database, stored + 1)
            took.append(now_ms() - begun)
            stored += 1
        database.close()
        return took

    async def small_beside(self) -> list[float]:
        """Return the milliseconds of small messages while the attachment goes the same way once more."""
        message = await self.send(await self.upload())
        travelling = asyncio.create_task(self.until_accepted(message, look_s=0.2))
        took = await self.small(travelling)
        await travelling
        return took


@dataclass(frozen=True)
class Bare:
    """The bare program, at *url*."""

    session: aiohttp.ClientSession
    url: str
    context: ssl.SSLContext
    sha256: str

    async def upload(self, source: Path) -> float:
        """Return the milliseconds of one upload."""
        begun = now_ms()
        async with self.session.put(self.url, data=_pieces(source), ssl=self.context) as answer:
            assert (answer.status, await answer.text()) == (201, self.sha256)
        return now_ms() - begun


async def _timed(way: Way, bare: Bare) -> dict[str, object]:
    took = {"bare": [await bare.upload(way.source), await bare.upload(way.source)]}
    begun = now_ms()
    upload = await way.upload()
    took["upload"] = [now_ms() - begun]
    begun = now_ms()
    message = await way.send(upload)
    await way.until_accepted(message)
    took["transfer"] = [now_ms() - begun]
    begun = now_ms()
    assert await way.download(message) == bare.sha256, "another content came out"
    took["download"] = [now_ms() - begun]
    took["bare"].append(await bare.upload(way.source))
    idle, busy = await way.small(None), await way.small_beside()
    idle_p99, busy_p99 = percentile(idle, 0.99), percentile(busy, 0.99)
    rates = {name: way.size_bytes / MIB / (statistics.median(all_) / 1000) for name, all_ in took.items()}
    return {
        "mib_per_s": {name: round(rate, 1) for name, rate in rates.items()},
        "small_messages": len(busy),
        "small_p99_ms_idle": round(idle_p99, 1),
        "small_p99_ms": round(busy_p99, 1),
        "small_p99_ratio": round(busy_p99 / idle_p99, 2),
    }
