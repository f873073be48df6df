"""A bare pair of nodes: only the work that no gateway can leave out.

A parses and validates a request, signs it (Ed25519), seals it (HPKE, MLKEM768-X25519), commits,
and posts it to B over TLS 1.3 on kept-alive connections; B opens, verifies, validates,
commits and answers with a signed receipt; A verifies and commits that. Group commits, SQLite with
WAL and synchronous=FULL. No routing, no audit log, no retries, no keys at rest. It is the yardstick
for the real nodes, run in the same minutes.

    python -m tests.bench.pair A|B FOLDER PORT PEER_PORT
"""

import asyncio
import datetime as dt
import hashlib
import json
import os
import sqlite3
import ssl
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import aiohttp
import uvloop
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, hpke, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, mlkem, x25519

import schemas

SUITE = hpke.Suite(hpke.KEM.MLKEM768_X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.CHACHA20_POLY1305)


class Keys:
    """Keys from fixed seeds, so that both processes agree without files."""

    def __init__(self, who: str) -> None:
        seed = hashlib.sha256(b"bench" + who.encode()).digest()
        self.signing = ed25519.Ed25519PrivateKey.from_private_bytes(seed)
        self.verifying = self.signing.public_key()
        self.sealing = hpke.MLKEM768X25519PrivateKey(
            mlkem.MLKEM768PrivateKey.from_seed_bytes(seed + seed),
            x25519.X25519PrivateKey.from_private_bytes(seed),
        )
        self.sealing_public = self.sealing.public_key()


class Commits:
    """Group commit: callers wait; one thread writes what has gathered meanwhile."""

    def __init__(self, path: Path) -> None:
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=FULL")
        self._db.execute(
            "CREATE TABLE rows(kind TEXT, id BLOB, body BLOB, PRIMARY KEY(kind, id)) WITHOUT ROWID"
        )
        self._pending: list[tuple[tuple[str, bytes, bytes], asyncio.Future[None]]] = []
        self._wake = asyncio.Event()
        self._thread = ThreadPoolExecutor(1)
        self.task = asyncio.create_task(self._run())

    async def put(self, kind: str, key: bytes, body: bytes) -> None:
        done = asyncio.get_running_loop().create_future()
        self._pending.append(((kind, key, body), done))
        self._wake.set()
        await done

    def _write(self, rows: list[tuple[str, bytes, bytes]]) -> None:
        self._db.execute("BEGIN IMMEDIATE")
        self._db.executemany("INSERT INTO rows VALUES (?, ?, ?)", rows)
        self._db.execute("COMMIT")

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._wake.wait()
            self._wake.clear()
            batch, self._pending = self._pending, []
            if batch:
                await loop.run_in_executor(self._thread, self._write, [row for row, _ in batch])
                for _, done in batch:
                    done.set_result(None)


def node_b(folder: Path, port: int) -> web.Application:
    me, peer = Keys("B"), Keys("A")

    async def receive(request: web.Request) -> web.Response:
        raw = await request.read()
        plain = SUITE.decrypt(raw, me.sealing)
        peer.verifying.verify(plain[:64], plain[64:])
        schemas.validator("kinds/request.mla#/$defs/body").validate(json.loads(plain[64:])["body"])
        digest = hashlib.sha256(raw).digest()
        await request.app[COMMITS].put("in", digest, raw)
        receipt = json.dumps({"received": digest.hex(), "time": time.time()}).encode()
        return web.Response(body=me.signing.sign(receipt) + receipt)

    return application("b", folder, port, server_context(folder), [web.post("/in", receive)])


def server_context(folder: Path) -> ssl.SSLContext:
    """Return the TLS context of a server with the certificate in *folder*."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return context


def node_a(folder: Path, port: int, peer_port: int) -> web.Application:
    me, peer = Keys("A"), Keys("B")

    async def submit(request: web.Request) -> web.Response:
        body = await request.read()
        schemas.validator("kinds/request.mla#/$defs/body").validate(json.loads(body)["body"])
        sealed = SUITE.encrypt(me.signing.sign(body) + body, peer.sealing_public)
        digest = hashlib.sha256(sealed).digest()
        await request.app[COMMITS].put("out", digest, sealed)
        url = f"https://127.0.0.1:{peer_port}/in"
        async with request.app[SESSION].post(url, data=sealed) as answer:
            raw = await answer.read()
        peer.verifying.verify(raw[:64], raw[64:])
        if json.loads(raw[64:])["received"] != digest.hex():
            raise web.HTTPBadGateway
        await request.app[COMMITS].put("receipt", digest, raw)
        return web.Response(status=201)

    async def session(app: web.Application):
        context = ssl.create_default_context(cafile=folder / "cert.pem")
        context.check_hostname = False
        connector = aiohttp.TCPConnector(ssl=context, limit=64)
        async with aiohttp.ClientSession(connector=connector) as opened:
            app[SESSION] = opened
            yield

    app = application("a", folder, port, None, [web.post("/submit", submit)])
    app.cleanup_ctx.append(session)
    return app


COMMITS = web.AppKey("commits", Commits)
SESSION = web.AppKey("session", aiohttp.ClientSession)
PORT = web.AppKey("port", int)
CONTEXT = web.AppKey("context", object)


def application(name: str, folder: Path, port: int, context, routes) -> web.Application:
    app = web.Application(client_max_size=1 << 20)
    app.add_routes(routes)
    app[PORT], app[CONTEXT] = port, context

    async def commits(app: web.Application):
        app[COMMITS] = Commits(folder / f"{name}.db")
        yield
        app[COMMITS].task.cancel()

    app.cleanup_ctx.append(commits)
    return app


def certificate(folder: Path) -> None:
    """Write a self-signed certificate for the bare pair (its key may lie in the clear)."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "bare pair")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )


async def serve(app: web.Application) -> None:
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", app[PORT], ssl_context=app[CONTEXT]).start()  # type: ignore[arg-type]
    print(f"ready {app[PORT]}", flush=True)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(15, stop.set)
    await stop.wait()
    await runner.cleanup()


def main() -> None:
    role, folder, port, peer_port = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    app = node_b(folder, port) if role == "B" else node_a(folder, port, peer_port)
    uvloop.run(serve(app))


if __name__ == "__main__":
    os.umask(0o077)
    main()
