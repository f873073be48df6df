"""The hook of an authority over real HTTP and a real store, and who asks it."""

import asyncio
import contextlib
import copy
import io
import json
import sqlite3
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from aiohttp.test_utils import TestClient, TestServer

import schemas
from gateway.config import Hook as HookSettings
from gateway.config import Limits, Settings
from gateway.core.card import Card
from gateway.core.entry import Draft
from gateway.core.ids import AuthorityId, MessageId
from gateway.peering.client import PeerClient
from gateway.peering.directory import Directory
from gateway.peering.sentry import Sentry
from gateway.peering.settlement import Settlement
from gateway.ports import Change, EntryFilter
from gateway.rows import BlobRow, Direction, MessageRow, PeerRow
from gateway.store import SqlStore
from gateway.store.blobs import BlobFolder
from gateway.store.tables import metadata
from gateway.web.context import Check, Context
from gateway.web.figures import Figures
from gateway.web.hook import hook_app
from gateway.web.reception import Answer, Reception
from gateway.web.tokens import Scope, new_token, token_row
from keys.vault import Keyring
from tests.support.authorities import (
    NOW_MS,
    PERIODS_MS,
    Blob,
    FixedClock,
    FixedEntropy,
    Party,
    PassingSteady,
    Posted,
    card_row,
    make_authority,
    message,
    pin,
)
from tests.support.contract import check_answer
from tests.support.stores import SQLITE, make_store

US = "qo.justice"
PEER = "qp.justice"
MARK = "Zitronenfalter"
"""A word that stands in content alone: where it is found, content was found."""

TUS = {"Tus-Resumable": "1.0.0"}
OCTETS = "application/offset+octet-stream"


def draft(**members: Any) -> dict[str, Any]:
    """Return a sound draft of a request to PEER; a member set to `...` is left out."""
    found = copy.deepcopy(schemas.sample(2)["steps"][0]["draft"])
    found["body"]["purpose"] += f" {MARK}."
    found |= {"to": PEER, "attachments": [], **members}
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


@dataclass
class Hook:
    """An open hook, what stands behind it, and a caller with every scope."""

    party: Party
    context: Context
    store: SqlStore
    folder: Path
    clock: FixedClock
    vault: Keyring
    sentry: Sentry
    steady: PassingSteady
    client: TestClient[Any, Any] = field(init=False)
    token: str = ""

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
        """Ask for any path; the answer is one that the contract knows."""
        bearer = self.token if token is None else token
        sent = {"Authorization": f"Bearer {bearer}"} if bearer else {}
        if body is not None and not isinstance(body, bytes):
            body, sent["Content-Type"] = json.dumps(body).encode(), "application/json"
        if isinstance(body, bytes):
            body = io.BytesIO(body)
        async with self.client.request(method, path, data=body, headers=sent | dict(headers or {})) as answer:
            said = Said(answer.status, await answer.read(), answer.headers)
        check_answer(method, path, said.status, said.headers, said.body)
        return said

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

    async def row(self, message_id: str, direction: Direction = Direction.OUT) -> MessageRow:
        """Return the row of a message to or from PEER."""
        found = await self.store.get(MessageRow, direction, PEER, message_id)
        assert found is not None
        return found

    async def change(self, row: MessageRow, **members: Any) -> None:
        """Change the row of a message, as the courier would."""
        await self.store.record(Change(name="settle", puts=(replace(row, **members),)))

    async def received(self, *blobs: Blob, sender: Party | None = None, **members: Any) -> Posted:
        """Let a sound request of *sender* (by default PEER) come in, with its *blobs*."""
        party = sender or make_authority(PEER)
        found = draft()
        request = {"kind": "request.mla", "body": found["body"], "language": found["language"]}
        posted = message(party, self.party, blobs=blobs, **(request | members))
        for blob in blobs:
            path = self.context.blobs.incoming(party.id, blob.sha256)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(blob.sealed)
            row = BlobRow(
                peer=party.id,
                sha256=blob.sha256,
                version=0,
                size_bytes=len(blob.sealed),
                received_ms=NOW_MS,
                whole_ms=NOW_MS,
            )
            await self.store.record(Change(name="blob", puts=(row,)))
        peer = self.context.directory.peers[party.id]
        (answer,) = await Reception(self.context).receive(peer, [posted.raw])
        assert isinstance(answer, Answer), answer
        assert answer.status == 201, answer
        return posted

    async def logged(self, message_id: str) -> list[dict[str, Any]]:
        """Return the entries about a message."""
        found = await self.store.entries(EntryFilter(message_id=MessageId(message_id)), limit=500)
        return [json.loads(one.leaf) for one in found]

    def counts(self) -> dict[str, int]:
        """Return how many rows each table has; heads that are signed in time are left out."""
        with contextlib.closing(sqlite3.connect(self.folder / "gateway.db")) as database:
            return {
                name: database.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0]  # noqa: S608 - own tables
                for name in metadata.tables
                if name != "checkpoints"
            }

    async def last(self) -> dict[str, Any]:
        """Return the newest entry of the log."""
        newest = await self.store.entry(self.counts()["entries"] - 1)
        assert newest is not None
        return json.loads(newest.leaf)


def _blobs(folder: Path) -> BlobFolder:
    folder.mkdir(exist_ok=True)
    blobs = BlobFolder(folder / "blobs")
    blobs.prepare()
    return blobs


@contextlib.asynccontextmanager
async def open_hook(
    folder: Path,
    *,
    peers: tuple[Card, ...] | None = None,
    limits: Limits | None = None,
    checks: tuple[Check, ...] = (),
    wanted: list[AuthorityId] | None = None,
    url: str = SQLITE,
    settings: HookSettings | None = None,
) -> AsyncIterator[Hook]:
    """Open the hook of US, where the cards *peers* (by default PEER's) are pinned.

    *wanted* is told of the peers whose cards and profiles are to be looked at. At one *url* of PostgreSQL
    several can be open, as the processes of one authority.
    """
    party, clock, entropy = make_authority(US), FixedClock(), FixedEntropy()
    steady = PassingSteady(clock)
    sentry = Sentry(clock, steady)
    sentry.admit()
    blobs = _blobs(folder)
    log = party.keyring.log
    figures = Figures()
    async with make_store(
        folder,
        url=url,
        authority=party.id,
        origin=party.origin,
        signer=log,
        clock=clock,
        entropy=entropy,
        meter=figures,
        guard=sentry,
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
            settings=Settings(hook=settings or HookSettings(), limits=limits or Limits(free_disk_bytes=0)),
            store=store,
            blobs=blobs,
            directory=directory,
            keyring=lambda: hook.party.keyring,
            reread_vault=reread_vault,
            adopt=adopt,
            dial=lambda peer: PeerClient(peer.card, hook.party.keyring.tls[0]),
            clock=clock,
            entropy=entropy,
            cards_wanted=(wanted if wanted is not None else []).append,
            check=lambda: asyncio.sleep(0, checks),
            figures=figures,
            sentry=sentry,
        )
        hook = Hook(party, context, store, folder, clock, party.keyring, sentry, steady)
        hook.token = await hook.bearer(*Scope)
        async with TestClient(TestServer(hook_app(context))) as hook.client:
            yield hook


async def accepted(hook: Hook, row: MessageRow) -> MessageRow:
    """Let PEER's receipt for an outgoing message come; return the message as it is then."""
    entry = Draft(
        event="relay.accepted",
        outcome="ok",
        peer=hook.party.id,
        message_id=row.id,
        envelope_sha256=row.envelope_sha256,
        message_sha256=row.message_sha256,
    )
    party, folder = make_authority(PEER), hook.folder / PEER
    folder.mkdir(exist_ok=True)
    async with make_store(
        folder, authority=party.id, origin=party.origin, signer=party.keyring.log, clock=hook.clock
    ) as store:
        recorded = await store.record(Change(name="receive", entries=(entry,), answers=True))
    receipt, settlement = recorded.receipt, settlement_of(hook)
    assert receipt is not None
    envelopes = await hook.store.envelopes(row.id)
    statement = settlement.verify(receipt, row, envelopes, {party.origin: party.card.log})
    return await settlement.prove(row, statement, receipt)


def settlement_of(hook: Hook) -> Settlement:
    """Return what applies events of delivery in the store of *hook*."""
    storage = hook.party.keyring.storage
    return Settlement(hook.store, hook.party.id, storage, hook.clock, hook.context.entropy, PERIODS_MS)
