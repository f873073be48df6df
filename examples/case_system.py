"""A small case system of an authority, to learn from and to copy: it works with its gateway over the hook.

It sends requests, takes over what comes in, and follows what becomes of what it sent. Five rules let it
be down, be killed or be told twice at any moment, and still lose nothing and do nothing twice:

1. An event is a row before it is anything else, and its id is the key of the row. The webhook is answered
   after that commit, and an event that comes again changes nothing.
2. Webhooks are quick, the feed is sure. Whatever no webhook told is read from the feed: at each start, and
   each minute. Only the feed moves the cursor, together with the events that it gave.
3. An event is the reason to look, not the state: the state is asked for when its turn comes.
4. What came in is acknowledged after it was committed here. Then the sender gets a receipt that says so.
5. What goes out is a row with its Idempotency-Key before it is sent: the same command again sends nothing
   twice, even if the first was killed before it saw the answer.

It keeps what it gets in plain SQLite and files. A real case system protects them as the law asks.
"""

import argparse
import asyncio
import base64
import contextlib
import hashlib
import json
import mimetypes
import os
import sqlite3
import sys
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web
from standardwebhooks import Webhook, WebhookVerificationError

LOOK_S = 60.0  # how often the feed is read, whatever webhooks tell: one that failed may wait for 4 hours
AGAIN_S = 60.0  # when what the gateway refused is tried again; what is behind it does not wait
REACH_S = 2.0  # when a gateway that could not be reached is asked again
PIECE_BYTES = 1 << 20
TUS = {"Tus-Resumable": "1.0.0"}
OCTETS = {"Content-Type": "application/offset+octet-stream"}

SCHEMA = """
CREATE TABLE IF NOT EXISTS feed (seen TEXT);                  -- the cursor: one row
CREATE TABLE IF NOT EXISTS event (
    id INTEGER PRIMARY KEY, document TEXT NOT NULL,
    done INTEGER NOT NULL DEFAULT 0, due REAL NOT NULL DEFAULT 0, problem TEXT
);
CREATE TABLE IF NOT EXISTS message (
    number INTEGER PRIMARY KEY, direction TEXT NOT NULL, peer TEXT NOT NULL, id TEXT NOT NULL,
    kind TEXT NOT NULL, case_id TEXT NOT NULL, state TEXT NOT NULL, content TEXT,
    UNIQUE (direction, peer, id)                              -- ids are of senders: two may use the same
);
CREATE TABLE IF NOT EXISTS attachment (
    message INTEGER NOT NULL REFERENCES message, position INTEGER NOT NULL,
    name TEXT NOT NULL, sha256 TEXT NOT NULL, PRIMARY KEY (message, position)
);
CREATE TABLE IF NOT EXISTS submission (key TEXT PRIMARY KEY, draft TEXT NOT NULL, message TEXT);
"""


def open_database(file: Path) -> sqlite3.Connection:
    """Open the database. `with database:` is a transaction; it is on disk when the block ends."""
    database = sqlite3.connect(file, timeout=30)
    database.executescript(f"PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; {SCHEMA}")
    return database


class Refused(Exception):
    """The gateway answered with a problem: its `code` is stable, and each error says where it is."""

    def __init__(self, status: int, problem: Mapping[str, Any]) -> None:
        self.status, self.code = status, problem.get("code")
        errors = [f"  {one.get('pointer')}: {one.get('detail')}" for one in problem.get("errors", [])]
        super().__init__("\n".join([f"{status} {self.code}", *errors]))


class Gateway:
    """The hook of the gateway: what an integrator writes once."""

    def __init__(self, hook: str, session: aiohttp.ClientSession) -> None:
        self._base, self._session = f"{hook.rstrip('/')}/v1", session

    @contextlib.asynccontextmanager
    async def ask(self, method: str, path: str, **more: Any) -> AsyncIterator[aiohttp.ClientResponse]:  # noqa: ANN401 - what aiohttp takes
        """Give the answer while it is read. Raises Refused, aiohttp.ClientError or TimeoutError."""
        async with self._session.request(method, f"{self._base}{path}", **more) as answer:
            if not answer.ok:
                is_problem = answer.content_type == "application/problem+json"
                raise Refused(answer.status, await answer.json(content_type=None) if is_problem else {})
            yield answer

    async def get(self, path: str, **query: str) -> dict[str, Any]:
        """Return a document."""
        async with self.ask("GET", path, params=query) as answer:
            return dict(await answer.json())

    async def upload(self, file: Path) -> str:
        """Bring a file by tus 1.0.0 and return the `upload` that a draft names.

        HEAD says how much the gateway has, so a line that breaks does no harm; and in the end, the digest.
        """
        size, path = str(file.stat().st_size), "/uploads"  # noqa: ASYNC240 - a command that does only this
        async with self.ask("POST", path, headers={**TUS, "Upload-Length": size}) as answer:
            path += "/" + answer.headers["Location"].rpartition("/")[2]
        while True:
            async with self.ask("HEAD", path, headers=TUS) as answer:
                offset, digest = answer.headers["Upload-Offset"], answer.headers.get("Repr-Digest")
            if digest is not None:
                break
            with file.open("rb") as data, contextlib.suppress(aiohttp.ClientError, TimeoutError):
                data.seek(int(offset))
                headers = {**TUS, **OCTETS, "Upload-Offset": offset}
                async with self.ask("PATCH", path, data=data, headers=headers):
                    pass
        if digest != f"sha-256=:{base64.b64encode(bytes.fromhex(digest_of(file))).decode()}:":
            raise ValueError(f"{file} changed while it was brought")
        return path.rpartition("/")[2]


class CaseSystem:
    """Takes events, keeps messages, acknowledges them.

    Statements run in the event loop: each is short. One worker deals with one event at a time, in the order
    of the log; a large authority would take several, one for each case.
    """

    def __init__(self, gateway: Gateway, database: sqlite3.Connection, files: Path, secret: str) -> None:
        self._gateway, self._database, self._files = gateway, database, files
        self._webhook = Webhook(secret)
        self._news = asyncio.Event()

    # -- events come in

    async def hear(self, request: web.Request) -> web.Response:
        """Take an event that the gateway tells; 2xx says that it is committed here.

        The signature is verified over the very bytes that came, before they are parsed. To a wrong one the
        answer is 401: the gateway tries again for three days, time enough to mend a secret.
        """
        body = await request.read()
        try:
            event = self._webhook.verify(body, dict(request.headers))
        except (WebhookVerificationError, ValueError):
            return web.Response(status=401)
        with self._database:
            self._keep(event)
        self._news.set()
        return web.Response(status=204)

    async def follow(self) -> None:
        """Read what no webhook told: now, and each minute."""
        while True:
            try:
                await self._catch_up()
            except (aiohttp.ClientError, TimeoutError, Refused) as fault:
                if isinstance(fault, Refused) and fault.code == "no_such_event":
                    sys.exit("The gateway's log is shorter than what we have seen of it: was it put back?")
                print(f"the feed cannot be read ({fault!r}); again in {REACH_S:.0f} s")
                await asyncio.sleep(REACH_S)
            else:
                await asyncio.sleep(LOOK_S)

    async def _catch_up(self) -> None:
        """Read the feed from the cursor to its end.

        An answer can have no items and yet another cursor, so it is the cursor that tells the end. The
        gateway waits a second at the end, so that this does not spin while the log grows.
        """
        while True:
            row = self._database.execute("SELECT seen FROM feed").fetchone()
            after = {} if row is None else {"after": row[0]}
            page = await self._gateway.get("/events", limit="500", wait="1", **after)
            if page["after"] is None or after == {"after": page["after"]}:
                return
            with self._database:
                for event in page["items"]:
                    self._keep(event)
                self._database.execute("DELETE FROM feed")
                self._database.execute("INSERT INTO feed VALUES (?)", (page["after"],))
            self._news.set()

    def _keep(self, event: Mapping[str, Any]) -> None:
        """Note an event; one that is there already stays as it is."""
        row = (int(event["id"]), json.dumps(event))
        self._database.execute("INSERT OR IGNORE INTO event (id, document) VALUES (?, ?)", row)

    # -- events are dealt with

    async def work(self) -> None:
        """Deal with the events, one after another."""
        query = "SELECT id, document FROM event WHERE NOT done AND due <= ? ORDER BY id LIMIT 1"
        while True:
            self._news.clear()
            while row := self._database.execute(query, (time.time(),)).fetchone():
                await self._attend(row[0], json.loads(row[1]))
            with contextlib.suppress(TimeoutError):  # what was refused comes due by itself
                await asyncio.wait_for(self._news.wait(), AGAIN_S)

    async def _attend(self, number: int, event: Mapping[str, Any]) -> None:
        """Deal with one event; note that it is done, or what became of it."""
        done, due, problem = 1, 0.0, None
        try:
            await self._deal_with(event)
        except (aiohttp.ClientError, TimeoutError) as fault:
            print(f"the gateway cannot be reached ({fault!r}); again in {REACH_S:.0f} s")
            await asyncio.sleep(REACH_S)
            return
        except (Refused, ValueError) as fault:
            problem = str(fault)
            print(f"event {number}: {problem}")
            if not (isinstance(fault, Refused) and fault.status in {404, 410}):  # those stay as they are
                done, due = 0, time.time() + AGAIN_S
        with self._database:
            self._database.execute(
                "UPDATE event SET done = ?, due = ?, problem = ? WHERE id = ?", (done, due, problem, number)
            )

    async def _deal_with(self, event: Mapping[str, Any]) -> None:
        """Do what an event asks for. What is dealt with again comes to the same."""
        if event["type"] == "message.received":
            await self._take_over(event)
        elif event["type"].startswith("message."):
            which = {"peer": event["peer"], "direction": "out"}
            found = await self._gateway.get(f"/messages/{event['message']}", **which)
            with self._database:
                self._note(found)

    async def _take_over(self, event: Mapping[str, Any]) -> None:
        """Fetch a message with its attachments, commit them, and only then acknowledge it."""
        path, which = f"/messages/{event['message']}", {"peer": event["peer"], "direction": "in"}
        found = await self._gateway.get(path, **which)
        async with self._gateway.ask("GET", f"{path}/content", params=which) as answer:
            content = await answer.text()
        attached = list(enumerate(json.loads(content)["attachments"]))
        for position, one in attached:
            await self._fetch(f"{path}/attachments/{position}", which, one["sha256"])
        with self._database:
            number = self._note(found, content)
            self._database.executemany(
                "INSERT OR IGNORE INTO attachment VALUES (?, ?, ?, ?)",
                [(number, position, one["name"], one["sha256"]) for position, one in attached],
            )
        async with self._gateway.ask("POST", f"{path}/acknowledge", params=which):
            pass
        with self._database:
            self._note({**found, "state": "handed_over"})

    def _note(self, found: Mapping[str, Any], content: str | None = None) -> int:
        """Write down what the gateway says of a message; return its number here."""
        (number,) = self._database.execute(
            "INSERT INTO message (direction, peer, id, kind, case_id, state, content)"
            " VALUES (:direction, :peer, :id, :kind, :case, :state, :content)"
            " ON CONFLICT DO UPDATE SET state = excluded.state, content = coalesce(content, excluded.content)"
            " RETURNING number",
            {**found, "content": content},
        ).fetchone()
        return int(number)

    async def _fetch(self, path: str, which: Mapping[str, str], sha256: str) -> None:
        """Write an attachment to the file that its digest names: a name in a message is never a path."""
        file, part = self._files / sha256, self._files / f"{sha256}.part"
        if file.exists():
            return
        digest = hashlib.sha256()
        async with self._gateway.ask("GET", path, params=which) as answer:
            with part.open("wb") as written:
                async for piece in answer.content.iter_chunked(PIECE_BYTES):
                    digest.update(piece)
                    written.write(piece)
                written.flush()
                os.fsync(written.fileno())
        if digest.hexdigest() != sha256:
            raise ValueError("an attachment is not what its sender signed")
        part.rename(file)
        folder = os.open(self._files, os.O_RDONLY)
        os.fsync(folder)  # the name, too, is there after a power cut
        os.close(folder)


async def run(gateway: Gateway, database: sqlite3.Connection, options: argparse.Namespace) -> None:
    """Take events until somebody ends the process, at whatever moment."""
    files = options.database.with_name(f"{options.database.name}-files")
    files.mkdir(mode=0o700, exist_ok=True)
    system = CaseSystem(gateway, database, files, options.secret_file.read_text().strip())
    app = web.Application()
    app.router.add_post("/events", system.hear)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", options.port).start()
    print(f"ready http://127.0.0.1:{options.port}/events", flush=True)
    async with asyncio.TaskGroup() as group:
        group.create_task(system.follow())
        group.create_task(system.work())


async def send(gateway: Gateway, database: sqlite3.Connection, options: argparse.Namespace) -> None:
    """Send a draft with its attachments. The same files again are the same message."""
    parts = [options.draft, *options.attach]
    key = hashlib.sha256("".join(map(digest_of, parts)).encode()).hexdigest()
    row = database.execute("SELECT draft FROM submission WHERE key = ?", (key,)).fetchone()
    if row is None:
        draft = json.loads(options.draft.read_text(encoding="utf-8"))
        draft.setdefault("attachments", [])
        for file in options.attach:
            kind = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
            about = {"name": file.name, "media_type": kind, "role": "other", "language": draft["language"]}
            draft["attachments"].append({"upload": await gateway.upload(file), **about})
        row = (json.dumps(draft, ensure_ascii=False),)
        with database:
            database.execute("INSERT INTO submission (key, draft) VALUES (?, ?)", (key, *row))
    headers = {"Idempotency-Key": key, "Content-Type": "application/json"}
    async with gateway.ask("POST", "/messages", data=row[0].encode(), headers=headers) as answer:
        sent = await answer.json()
    with database:
        database.execute("UPDATE submission SET message = ? WHERE key = ?", (sent["id"], key))
    print(f"{sent['id']}  {sent['state']}")


def show(database: sqlite3.Connection) -> None:
    """Print the messages, in the order in which they came here."""
    query = "SELECT direction, state, kind, peer, id FROM message ORDER BY number"
    for direction, state, kind, peer, id_ in database.execute(query):
        print(f"{direction:3}  {state:12}  {kind:24}  {peer:16}  {id_}")


def digest_of(file: Path) -> str:
    """Return the SHA-256 of a file, in hex."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def parsed() -> argparse.Namespace:
    """Return what the command line says."""
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--hook", default="http://127.0.0.1:8480", metavar="URL")
    common.add_argument("--token-file", type=Path, default=Path("token"), help="messages:read and :write")
    common.add_argument("--database", type=Path, default=Path("cases.db"))
    parser = argparse.ArgumentParser(description="A small case system over the hook of a gateway.")
    commands = parser.add_subparsers(dest="command", required=True)
    running = commands.add_parser("run", parents=[common], help="take what comes in, follow what went out")
    running.add_argument("--port", type=int, default=8500, help="where webhooks come in: /events")
    running.add_argument("--secret-file", type=Path, default=Path("secret"), help="of `art18 webhooks add`")
    sending = commands.add_parser("send", parents=[common], help="send a draft")
    sending.add_argument("draft", type=Path)
    sending.add_argument("--attach", type=Path, action="append", default=[], metavar="FILE")
    commands.add_parser("list", parents=[common], help="print the messages")
    return parser.parse_args()


async def main(options: argparse.Namespace) -> None:
    """Do what the command line says. A line to the gateway that is silent for 90 seconds is broken."""
    database = open_database(options.database)
    if options.command == "list":
        show(database)
        return
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=90)
    headers = {"Authorization": f"Bearer {options.token_file.read_text().strip()}"}
    async with aiohttp.ClientSession(timeout=timeout, headers=headers) as session:
        gateway = Gateway(options.hook, session)
        try:
            await (run if options.command == "run" else send)(gateway, database, options)
        except (aiohttp.ClientError, TimeoutError, Refused) as fault:
            sys.exit(f"the gateway: {fault}")


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main(parsed()))
