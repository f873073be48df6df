"""A receiver of webhooks on loopback, a herald that tells it, and names that lead where a test wants."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from ipaddress import ip_network
from pathlib import Path
from typing import Any

from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.test_utils import TestServer

from gateway.core import custody
from gateway.core.address import Reach
from gateway.core.ids import MessageId
from gateway.peering.receivers import Receivers
from gateway.ports import Change, Probe, Unprobed
from gateway.rows import AlarmRow, AnnouncementRow, CursorRow, WebhookRow
from gateway.store import SqlStore
from gateway.workers.announcer import Announcer, HeraldParts
from tests.support import rows
from tests.support.authorities import FixedClock, FixedEntropy, Party, make_authority
from tests.support.stores import make_store

LOOPBACK = Reach((ip_network("127.0.0.0/8"),), plain_http=True)
SECRET = bytes(range(32))

Answering = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class Receiver:
    """An HTTP server that keeps what it was told; `answers` are given in turn, the last for ever."""

    answers: list[Answering]
    told: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    url: str = ""
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def reached(self, count: int) -> None:
        """Wait until it was told that many events."""
        async with self.changed:
            await self.changed.wait_for(lambda: len(self.told) >= count)

    async def take(self, request: web.Request) -> web.StreamResponse:
        headers = {name.lower(): value for name, value in request.headers.items()}
        body = await request.read()
        async with self.changed:
            self.told.append((headers, body))
            self.changed.notify_all()
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return await answer(request)

    @property
    def ids(self) -> list[str]:
        """The ids of what it was told, in order."""
        return [headers["webhook-id"] for headers, _ in self.told]


def says(status: int, **headers: str) -> Answering:
    """Return an answer with *status*."""

    async def answer(_request: web.Request) -> web.Response:
        return web.Response(status=status, headers=headers)

    return answer


@contextlib.asynccontextmanager
async def receiving(*answers: Answering) -> AsyncIterator[Receiver]:
    """Open a receiver on a free port."""
    receiver = Receiver([*answers] or [says(204)])
    app = web.Application()
    app.router.add_route("*", "/{rest:.*}", receiver.take)
    async with TestServer(app) as server:
        receiver.url = str(server.make_url("/hook"))
        yield receiver


class Names(AbstractResolver):
    """Gives each name the addresses of its next turn; the last turn is for ever."""

    def __init__(self, **turns: Iterable[list[str]]) -> None:
        self.turns = {name.replace("_", "."): list(found) for name, found in turns.items()}
        self.asked: list[str] = []

    async def resolve(
        self, host: str, port: int = 0, _family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        self.asked.append(host)
        turns = self.turns.get(host)
        if turns is None:
            raise OSError("no such name")
        found = turns.pop(0) if len(turns) > 1 else turns[0]
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for address in found
        ]

    async def close(self) -> None:
        """Keep nothing open."""


@dataclass
class Bench:
    """A store with a log, and what tells webhooks of it."""

    party: Party
    clock: FixedClock
    store: SqlStore
    receivers: Receivers
    probe: Probe = field(default_factory=Unprobed)

    @property
    def parts(self) -> HeraldParts:
        return HeraldParts(
            store=self.store,
            receivers=self.receivers,
            storage=lambda: self.party.keyring.storage,
            clock=self.clock,
            entropy=FixedEntropy(),
            probe=self.probe,
        )

    async def webhook(self, url: str, *, types: str = "", secrets: tuple[bytes, ...] = (SECRET,)) -> str:
        """Make a webhook that is told of what happens from now on; return its id."""
        row = rows.webhook(url=url, types=types)
        box = custody.box_webhook(self.party.keyring.storage, row.id, secrets)
        row = rows.webhook(
            id=row.id, url=url, types=types, wrapped_key=box.wrapped_key, ciphertext=box.ciphertext
        )
        await self.store.record(
            Change(
                name="webhook",
                entries=(rows.draft("token.created", peer=None),),
                puts=(row, rows.cursor(row)),
            )
        )
        return row.id

    async def happens(self, event: str = "submission.accepted", *, count: int = 1) -> list[str]:
        """Log that many entries of *event*; return their ids."""
        made = []
        for _ in range(count):
            entry = rows.draft(event, message_id=MessageId(rows.new_id()))
            recorded = await self.store.record(Change(name="test", entries=(entry,)))
            found = await self.store.event(recorded.entries[0].index)
            made += [] if found is None else [found.entry_id]
        return made

    def announcer(self, webhook: str) -> Announcer:
        """Return what tells *webhook*, as after a start of the node."""
        return Announcer(self.parts, webhook, asyncio.Event())

    async def tell(self, webhook: str) -> float | None:
        """Tell what can be told at this time."""
        return await self.announcer(webhook).round()

    async def deliveries(self, webhook: str) -> list[AnnouncementRow]:
        """Return what went to *webhook*, oldest event first."""
        return [*reversed(await self.store.announcements(webhook))]

    async def cursor(self, webhook: str) -> int:
        found = await self.store.get(CursorRow, webhook)
        assert found is not None
        return found.entry

    async def row(self, webhook: str) -> WebhookRow:
        found = await self.store.get(WebhookRow, webhook)
        assert found is not None
        return found

    async def alarms(self) -> list[tuple[str, str]]:
        return [(row.code, row.subject) for row in await self.store.all(AlarmRow)]

    def pass_by(self, ms: int) -> None:
        """Let time go by."""
        self.clock.time_ms += ms


@contextlib.asynccontextmanager
async def open_bench(folder: Path, *, timeout_s: float = 10.0, **parts: Any) -> AsyncIterator[Bench]:
    """Open a store and receivers on loopback; *timeout_s* is for an attempt."""
    clock, party = FixedClock(), make_authority("qm.moj")
    await asyncio.to_thread(folder.mkdir, exist_ok=True)
    async with make_store(
        folder, authority=party.id, origin=party.origin, signer=party.keyring.log, clock=clock
    ) as store:
        receivers = Receivers(**{"reach": LOOPBACK, "timeout_s": timeout_s} | parts)
        try:
            yield Bench(party, clock, store, receivers)
        finally:
            await receivers.close()
