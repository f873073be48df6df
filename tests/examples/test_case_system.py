"""The example of a case system, as a process of its own, between two real nodes."""

import asyncio
import contextlib
import json
import os
import sqlite3
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import aiohttp
import pytest
from standardwebhooks import Webhook

import schemas
from tests.support.nodes import Node, art18, eventually, free_port, pinned, set_up

PROGRAM = Path(__file__).parents[2] / "examples" / "case_system.py"
SENDER, RECIPIENT = "qo.justice", "qp.justice"
MESSAGES = 200
AT_ONCE = 16
SUMMONS = "convocation.pdf"


@dataclass
class Example:
    """A case system of *node*: its folder, its webhook, its process."""

    node: Node
    folder: Path
    port: int = field(default_factory=free_port)
    webhook: str = ""
    _child: asyncio.subprocess.Process | None = None

    @classmethod
    def set_up(cls, node: Node, folder: Path) -> "Example":
        """Let the operator make its token, and a webhook for it."""
        made = cls(node, folder)
        folder.mkdir()
        config = ("--config", node.place.config, "--output", "json")
        scopes = ("--scope", "messages:read", "--scope", "messages:write")
        token = json.loads(art18("token", "create", *scopes, *config))
        (folder / "token").write_text(f"{token['token']}\n")
        added = json.loads(art18("webhooks", "add", made.url, *config))
        (folder / "secret").write_text(f"{added['secret']}\n")
        made.webhook = added["id"]
        return made

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/events"

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run it; in the end it is killed, as a power cut would."""
        child = self._child = await self._start("run", "--port", str(self.port), hooked=True)
        try:
            assert child.stdout is not None
            async with asyncio.timeout(60):
                assert (await child.stdout.readline()).startswith(b"ready ")
            yield
        finally:
            child.kill()
            await child.communicate()

    async def done(self, *words: str, hooked: bool = True, code: int = 0) -> str:
        """Run a command of it to its end; return what it prints."""
        child = await self._start(*words, hooked=hooked)
        async with asyncio.timeout(60):
            out, _ = await child.communicate()
        assert child.returncode == code, out.decode()
        return out.decode()

    async def _start(self, *words: str, hooked: bool) -> asyncio.subprocess.Process:
        where = ("--hook", f"http://127.0.0.1:{self.node.place.hook}") if hooked else ()
        return await asyncio.create_subprocess_exec(
            sys.executable, str(PROGRAM), *words, *where,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, cwd=self.folder,
            env={**os.environ, "PYTHONWARNINGS": "error"},
        )  # fmt: skip

    def rows(self, query: str) -> list[tuple]:
        """Return what its database has."""
        with contextlib.closing(sqlite3.connect(self.folder / "cases.db", timeout=30)) as database:
            return database.execute(query).fetchall()

    def messages(self, direction: str) -> list[tuple[str, str]]:
        """Return id and state of its messages, in the order in which they came there."""
        found = self.rows("SELECT direction, id, state FROM message ORDER BY number")
        return [(id_, state) for way, id_, state in found if way == direction]


def draft(**members: object) -> dict:
    """Return a sound request to the recipient."""
    return {**schemas.sample(2)["steps"][0]["draft"], "to": RECIPIENT, **members}


async def enabled(example: Example, *, now: bool) -> None:
    status, _ = await example.node.call("PATCH", f"/webhooks/{example.webhook}", {"enabled": now})
    assert status == 200


async def received(node: Node) -> list[str]:
    """Return the ids of what came in, in the order of the feed."""
    found, after = [], None
    while True:
        query = "" if after is None else f"&after={after}"
        status, page = await node.call("GET", f"/events?types=message.received&limit=500{query}")
        assert status == 200
        if page["after"] == after:
            return found
        found += [event["message"] for event in page["items"]]
        after = page["after"]


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """Two authorities whose webhooks may go to loopback."""
    folder = tmp_path_factory.mktemp("authorities")
    places = [set_up(folder / authority[:2], authority) for authority in (SENDER, RECIPIENT)]
    for place in places:
        config = Path(place.config)
        reach = '[hook]\nwebhook_networks = ["127.0.0.0/8"]\nwebhook_http = true\n'
        config.write_text(config.read_text().replace("[hook]\n", reach))
    return places


@pytest.fixture
async def nodes(places, tmp_path):
    """Their nodes, with fresh data, which have pinned each other."""
    async with contextlib.AsyncExitStack() as stack:
        started = []
        for place in places:
            node = await Node.started(place.copied(tmp_path / place.id))
            stack.push_async_callback(node.stop)
            started.append(node)
        await asyncio.to_thread(pinned, *started)
        yield started


async def test_a_request_with_an_attachment_goes_from_one_to_the_other(nodes, tmp_path):
    here, there = (Example.set_up(node, tmp_path / f"cases-{node.place.id}") for node in nodes)
    (here.folder / "draft.json").write_text(json.dumps(draft()))
    (here.folder / SUMMONS).write_bytes(schemas.sample_file(SUMMONS))
    async with here.running(), there.running():
        told = await here.done("send", "draft.json", "--attach", SUMMONS)
        message = told.split()[0]
        assert (await here.done("send", "draft.json", "--attach", SUMMONS)).split()[0] == message
        await eventually(lambda: there.messages("in") == [(message, "handed_over")])
        await eventually(lambda: here.messages("out") == [(message, "handed_over")])
    assert f"in   handed_over   request.mla               {SENDER}" in await there.done("list", hooked=False)
    (content,) = there.rows("SELECT content FROM message WHERE direction = 'in'")[0]
    assert json.loads(content)["body"] == draft()["body"]
    ((name, digest),) = there.rows("SELECT name, sha256 FROM attachment")
    assert name == SUMMONS
    assert (there.folder / "cases.db-files" / digest).read_bytes() == schemas.sample_file(SUMMONS)
    _, listed = await nodes[0].call("GET", "/messages?direction=out")
    assert [one["id"] for one in listed["items"]] == [message]


async def test_what_comes_while_it_is_down_is_there_once_in_order_and_acknowledged(nodes, tmp_path):
    sender, recipient = nodes
    example = Example.set_up(recipient, tmp_path / "cases")
    turns = asyncio.Semaphore(AT_ONCE)
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {sender.place.token}"}) as session:

        async def sent(number: int) -> str:
            async with (
                turns,
                session.post(f"{sender.place.base}/messages", json=draft(own_ref=f"QO-{number}")) as answer,
            ):
                assert answer.status == 201
                return (await answer.json())["id"]

        ids = await asyncio.gather(*map(sent, range(MESSAGES)))

    async def arrived() -> bool:
        return len(await received(recipient)) == MESSAGES

    await eventually(arrived)
    expected = await received(recipient)
    assert sorted(expected) == sorted(ids)
    await enabled(example, now=False)  # its next try could be hours away: only the feed tells
    async with example.running():
        await eventually(lambda: len(example.rows("SELECT 1 FROM message")) > MESSAGES // 4)
    async with example.running():  # it was killed in the middle
        await eventually(lambda: example.messages("in") == [(id_, "handed_over") for id_ in expected])
        await enabled(example, now=True)

        async def all_told() -> bool:
            _, webhook = await recipient.call("GET", f"/webhooks/{example.webhook}")
            _, page = await recipient.call("GET", f"/events?limit=500&after={webhook['after']}")
            return page["items"] == []

        await eventually(all_told)
        assert example.messages("in") == [(id_, "handed_over") for id_ in expected]
    _, page = await recipient.call("GET", "/messages?direction=in&state=available")
    assert page["items"] == []


async def test_an_event_that_comes_again_changes_nothing_and_a_wrong_signature_is_refused(nodes, tmp_path):
    sender, recipient = nodes
    example = Example.set_up(recipient, tmp_path / "cases")
    deliveries = f"/webhooks/{example.webhook}/deliveries"

    async def told() -> dict | None:
        """Return the delivery of the event once it was taken."""
        _, page = await recipient.call("GET", deliveries)
        found = [one for one in page["items"] if one["type"] == "message.received"]
        return found[0] if found and found[0]["state"] == "delivered" else None

    def all_done() -> bool:
        types = example.rows("SELECT document ->> 'type' FROM event WHERE done ORDER BY id")
        return types[-2:] == [("message.received",), ("content.handed_over",)]

    def kept() -> list[list[tuple]]:
        return [example.rows(f"SELECT * FROM {table}") for table in ("event", "message", "attachment")]  # noqa: S608 - names of our own

    async with example.running():
        await sender.call("POST", "/messages", draft())
        await eventually(all_done)
        await eventually(told)
        first, before = await told(), kept()
        status, _ = await recipient.call("POST", f"{deliveries}/{first['id']}/redeliver")
        assert status == 202

        async def told_again() -> bool:
            again = await told()
            return again is not None and again["changed"] > first["changed"]

        await eventually(told_again)
        assert (await told())["status"] == 204
        for secret, status in (("whsec_c3RyYW5nZXI=", 401), ((example.folder / "secret").read_text(), 204)):
            assert kept() == before
            assert await posted(example.url, secret.strip()) == status
        assert await posted(example.url, None) == 401
        await eventually(lambda: example.rows("SELECT done FROM event WHERE id = 999999") == [(1,)])
        assert len(kept()[0]) == len(before[0]) + 1
        _, reads = await recipient.call("GET", "/audit/entries?event=content.read")
        assert len(reads["items"]) == 1


async def posted(url: str, secret: str | None) -> int:
    """Post an event, signed with *secret* or not at all; return the status of the answer."""
    body, headers, now = '{"id":"999999","type":"webhook.ping"}', {}, datetime.now(UTC)
    if secret is not None:
        signature = Webhook(secret).sign("999999", now, body)
        headers = {
            "webhook-id": "999999",
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": signature,
        }
    async with aiohttp.ClientSession() as session, session.post(url, data=body, headers=headers) as answer:
        return answer.status
