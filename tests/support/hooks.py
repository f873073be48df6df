"""The hook of an authority over real HTTP and a real store, and who asks it."""

import contextlib
import copy
import json
import sqlite3
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from aiohttp.test_utils import TestClient, TestServer

import schemas
from gateway.config import Limits, Settings
from gateway.core.card import Card
from gateway.peering.client import PeerClient
from gateway.peering.directory import Directory
from gateway.ports import Change, Direction, MessageRow, PeerRow
from gateway.store import SqlStore
from gateway.store.blobs import BlobFolder
from gateway.store.tables import metadata
from gateway.web.context import Context
from gateway.web.hook import hook_app
from gateway.web.tokens import Scope, new_token, token_row
from keys.vault import Keyring
from tests.support.authorities import FixedClock, FixedEntropy, Party, card_row, make_authority, pin
from tests.support.stores import make_store

US = "qo.justice"
PEER = "qp.justice"
MARK = "Zitronenfalter"
"""A word that stands in content alone: where it is found, content was found."""

TUS = {"Tus-Resumable": "1.0.0"}
OCTETS = "application/offset+octet-stream"


def draft(**members: Any) -> dict[str, Any]:
    """Return a sound draft of a request to PEER; a member set to `...` is left out."""
    found = copy.deepcopy(schemas.sample(2)["steps"][0]["draft"])
    found |= {"to": PEER, "attachments": [], **members}
    found["body"]["purpose"] += f" {MARK}."
    return {name: value for name, value in found.items() if value is not ...}


def faulty(**members: Any) -> dict[str, Any]:
    """Return a draft that lacks what article 18(15)(f) asks for."""
    found = draft(**members)
    del found["body"]["purpose"]
    found["body"]["proceeding"]["subject"] += f" {MARK}."
    return found


@dataclass(frozen=True)
class Said:
    """An answer of the hook."""

    status: int
    body: bytes
    headers: Mapping[str, str]

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str | None:
        """Return the code of a problem document; None of anything else."""
        if self.headers.get("Content-Type") != "application/problem+json":
            return None
        found = self.json
        assert found["status"] == self.status
        assert found["type"] == f"urn:art18:problem:{found['code']}"
        assert found["title"]
        return str(found["code"])


class Hook:
    """An open hook, what stands behind it, and a caller with every scope."""

    def __init__(self, party: Party, context: Context, store: SqlStore, folder: Path, clock: FixedClock) -> None:
        self.party, self.context, self.store, self.folder, self.clock = party, context, store, folder, clock
        self.vault: Keyring = party.keyring
        self.client: TestClient[Any, Any]
        self.token = ""

    async def __call__(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        token: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Said:
        """Ask below `/v1`; *body* is bytes, or sent as JSON; *token* "" asks without one."""
        return await self.ask(method, f"/v1{path}", body, token=token, headers=headers)

    async def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        token: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Said:
        bearer = self.token if token is None else token
        sent = {"Authorization": f"Bearer {bearer}"} if bearer else {}
        if body is not None and not isinstance(body, bytes):
            body, sent["Content-Type"] = json.dumps(body).encode(), "application/json"
        async with self.client.request(method, path, data=body, headers=sent | dict(headers or {})) as answer:
            return Said(answer.status, await answer.read(), answer.headers)

    async def bearer(self, *scopes: Scope, expires_ms: int | None = None) -> str:
        """Return a fresh token, made behind the hook's back."""
        token = new_token()
        row = token_row(
            token,
            token_id=self.context.entropy.uuid4(),
            name="test",
            scopes=scopes,
            now_ms=self.clock.now_ms(),
            expires_ms=expires_ms,
        )
        await self.store.record(Change(name="token", puts=(row,)))
        return token

    async def sent(self, **members: Any) -> dict[str, Any]:
        """Submit a sound draft; return the answer."""
        answer = await self("POST", "/messages", draft(**members))
        assert answer.status == 201, answer.body
        return answer.json

    async def upload(self, plain: bytes) -> str:
        """Bring *plain* as an upload; return its id."""
        headers = {**TUS, "Upload-Length": str(len(plain)), "Content-Type": OCTETS}
        answer = await self("POST", "/uploads", plain, headers=headers)
        assert answer.status == 201, answer.body
        assert answer.headers["Upload-Offset"] == str(len(plain))
        return answer.headers["Location"].rpartition("/")[2]

    async def row(self, message: str) -> MessageRow:
        """Return the row of an outgoing message."""
        found = await self.store.get(MessageRow, Direction.OUT, PEER, message)
        assert found is not None
        return found

    async def change(self, row: MessageRow, **members: Any) -> None:
        """Change the row of a message, as the courier would."""
        await self.store.record(Change(name="settle", puts=(replace(row, **members),)))

    def counts(self) -> dict[str, int]:
        """Return how many rows each table has; heads that are signed in time are left out."""
        with contextlib.closing(sqlite3.connect(self.folder / "gateway.db")) as database:
            return {
                name: database.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0]  # noqa: S608 - own tables
                for name in metadata.tables
                if name != "checkpoints"
            }

    def events(self, since: int = 0) -> list[str]:
        """Return the events of the log, from index *since*."""
        with contextlib.closing(sqlite3.connect(self.folder / "gateway.db")) as database:
            rows = database.execute('SELECT leaf FROM entries WHERE "index" >= ? ORDER BY "index"', (since,))
            return [json.loads(leaf)["event"] for (leaf,) in rows]


@contextlib.asynccontextmanager
async def open_hook(
    folder: Path, *, peers: tuple[Card, ...] | None = None, limits: Limits | None = None
) -> AsyncIterator[Hook]:
    """Open the hook of US, where the cards *peers* (by default PEER's) are pinned."""
    party, clock, entropy = make_authority(US), FixedClock(), FixedEntropy()
    folder.mkdir(exist_ok=True)
    blobs = BlobFolder(folder / "blobs")
    blobs.prepare()
    async with make_store(
        folder, authority=party.id, origin=party.origin, signer=party.keyring.log, clock=clock, entropy=entropy
    ) as store:
        if not await store.all(PeerRow):
            await store.record(Change(name="own_card", puts=(card_row(party.card),)))
            for card in (make_authority(PEER).card,) if peers is None else peers:
                await pin(store, card)
        directory = Directory(store, party.card)
        await directory.refresh()

        async def reread_vault() -> Keyring:
            return hook.vault

        async def adopt(keyring: Keyring) -> None:
            hook.party = replace(hook.party, keyring=keyring, card=directory.own)

        context = Context(
            settings=Settings(limits=limits or Limits(free_disk_bytes=0)),
            store=store,
            blobs=blobs,
            directory=directory,
            keyring=lambda: hook.party.keyring,
            reread_vault=reread_vault,
            adopt=adopt,
            dial=lambda peer: PeerClient(peer.card, hook.party.keyring.tls[0]),
            clock=clock,
            entropy=entropy,
            checks=lambda: {"store": store.broken},
        )
        hook = Hook(party, context, store, folder, clock)
        hook.token = await hook.bearer(*Scope)
        async with TestClient(TestServer(hook_app(context))) as hook.client:
            yield hook
