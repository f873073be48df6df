"""The federation door of an authority, open on a loopback port with real TLS and a real store."""

import contextlib
import io
import json
import socket
import sqlite3
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from gateway.config import Limits, Settings
from gateway.core import case as cases
from gateway.core.case import History
from gateway.core.entry import Draft
from gateway.core.ids import AuthorityId
from gateway.core.proof import Receipt, SentEnvelope, Statement, parse_receipt, verify_receipt
from gateway.core.strict import sha256
from gateway.peering.client import BLOB_TYPE, PeerClient
from gateway.peering.directory import Directory
from gateway.peering.settlement import move_case
from gateway.peering.tls import admit, client_context, server_context
from gateway.ports import Change
from gateway.rows import THIS_ENTRY, CaseRow, Direction, EnvelopeRow, MessageRow
from gateway.store import SqlStore
from gateway.store.blobs import BlobFolder
from gateway.store.tables import metadata
from gateway.web.context import Context
from gateway.web.federation import federation_app
from keys.certificates import TlsKey
from tests.support.authorities import PERIODS_MS, FixedClock, FixedEntropy, Party, Posted, card_row, pin
from tests.support.stores import make_store

JSON = "application/json"
ENVELOPES = "/v1/envelopes"
BATCH = "/v1/envelopes/batch"
Counts = Mapping[str, int]


@dataclass
class Door:
    """An open door, and what stands behind it."""

    party: Party
    context: Context
    store: SqlStore
    folder: Path
    clock: FixedClock
    wanted: list[AuthorityId] = field(default_factory=list)

    @property
    def endpoint(self) -> str:
        return self.party.card.endpoints[0]

    async def pin(self, *parties: Party) -> None:
        """Hold the ceremony with each of *parties*."""
        for party in parties:
            await pin(self.store, party.card)
        await self.context.directory.refresh()

    async def set_state(self, peer: Party, **changes: Any) -> None:
        """Change the row of a pinned peer."""
        row = self.context.directory.peers[peer.id].row
        await self.store.record(Change(name="peer", puts=(replace(row, **changes),)))
        await self.context.directory.refresh()

    def counts(self) -> Counts:
        """Return how many rows each table has; the entries are the size of the log.

        Checkpoints are left out: a head is signed within a second whatever happens.
        """
        with contextlib.closing(sqlite3.connect(self.folder / "gateway.db")) as database:
            return {
                name: database.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0]  # noqa: S608 - own tables
                for name in metadata.tables
                if name != "checkpoints"
            }

    async def sent(self, message: Posted, peer: Party, *, state: str = "queued") -> MessageRow:
        """Record *message* as one that went from here to *peer*."""
        found, authority = message.signed.message, peer.id
        row = MessageRow(
            direction=Direction.OUT,
            peer=authority,
            id=message.id,
            version=0,
            kind=found.kind,
            case=found.case,
            in_reply_to=None,
            created_ms=found.created_ms,
            expires_ms=found.expires_ms,
            recorded_ms=found.created_ms,
            state=state,
            message_sha256=message.signed.sha256,
            envelope_sha256=message.envelope.sha256,
            entry=THIS_ENTRY,
        )
        envelope = EnvelopeRow(
            message_id=message.id, sha256=message.envelope.sha256, version=0, body=message.raw
        )
        opened = found.created_ms
        case = CaseRow(
            peer=authority, id=found.case, version=0, state="", opened_ms=opened, changed_ms=opened,
            wrapped_key=b"", history=b"",
        )  # fmt: skip
        history = cases.add(History(), cases.step_of(message.signed))
        moved = move_case(self.party.keyring.storage, case, history, opened, PERIODS_MS)
        entry = Draft(
            event="submission.accepted",
            outcome="ok",
            peer=authority,
            message_id=message.id,
            message_sha256=message.signed.sha256,
        )
        await self.store.record(Change(name="submit", entries=(entry,), puts=(row, envelope, moved)))
        return replace(row, version=1)


@contextlib.asynccontextmanager
async def open_door(
    folder: Path, party: Party, *, clock: FixedClock | None = None, limits: Limits | None = None
) -> AsyncIterator[Door]:
    """Open the door of *party*, whose first card names the port that it got."""
    clock, entropy = clock or FixedClock(), FixedEntropy()
    listener = socket.create_server(("127.0.0.1", 0))
    party = party.at(f"https://127.0.0.1:{listener.getsockname()[1]}")
    blobs = _blobs(folder)
    async with make_store(
        folder,
        authority=party.id,
        origin=party.origin,
        signer=party.keyring.log,
        clock=clock,
        entropy=entropy,
    ) as store:
        await store.record(Change(name="own_card", puts=(card_row(party.card),)))
        directory = Directory(store, party.card)
        await directory.refresh()
        wanted: list[AuthorityId] = []
        context = Context(
            settings=Settings(limits=limits or Limits(free_disk_bytes=0)),
            store=store,
            blobs=blobs,
            directory=directory,
            keyring=lambda: door.party.keyring,
            reread_vault=_never,
            adopt=_never,
            dial=lambda peer: PeerClient(peer.card, door.party.keyring.tls[0]),
            clock=clock,
            entropy=entropy,
            cards_wanted=wanted.append,
        )
        door = Door(party, context, store, folder, clock, wanted)
        tls = server_context(party.keyring.tls[0], directory.certificates())
        directory.on_change(lambda: admit(tls, directory.certificates()))
        runner = web.AppRunner(federation_app(context), access_log=None, shutdown_timeout=1)
        await runner.setup()
        await web.SockSite(runner, listener, ssl_context=tls).start()
        try:
            yield door
        finally:
            await runner.cleanup()


def _blobs(folder: Path) -> BlobFolder:
    folder.mkdir(exist_ok=True)
    blobs = BlobFolder(folder / "blobs")
    blobs.prepare()
    return blobs


async def _never(*_: object) -> Any:
    raise AssertionError("the federation door has no use for this")


@dataclass(frozen=True)
class Said:
    """An answer of the door, whatever it is."""

    status: int
    body: bytes
    headers: Mapping[str, str]

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str | None:
        """Return the code of a problem document; None of anything else."""
        if not self.headers.get("Content-Type", "").startswith("application/problem+json"):
            return None
        assert self.json["status"] == self.status
        return str(self.json["code"])


class Caller:
    """A peer that says whatever it likes."""

    def __init__(self, door: Door, session: aiohttp.ClientSession) -> None:
        self._door, self._session = door, session

    async def __call__(
        self, method: str, path: str, body: Any = None, media_type: str | None = None, **headers: str
    ) -> Said:
        """Ask; a header's underscores are hyphens."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if media_type is not None:
            named["Content-Type"] = media_type
        if isinstance(body, bytes):
            body = io.BytesIO(body)
        async with self._session.request(
            method, self._door.endpoint + path, data=body, headers=named, allow_redirects=False
        ) as answer:
            return Said(answer.status, await answer.read(), answer.headers)


@contextlib.asynccontextmanager
async def calling(door: Door, tls: TlsKey) -> AsyncIterator[Caller]:
    """Give a caller that shows the certificate of *tls*."""
    context = client_context(tls, [one.der for one in door.party.card.tls])
    connector = aiohttp.TCPConnector(ssl=context, limit=0)
    async with aiohttp.ClientSession(connector=connector, skip_auto_headers=["Content-Type"]) as session:
        yield Caller(door, session)


def proved(door: Door, peer: Party, posted: Posted, receipt: Receipt | bytes) -> Statement:
    """Return what a receipt of the door proves to the peer about what it posted."""
    sent = SentEnvelope(
        message_id=posted.id,
        sender=peer.id,
        recipient=door.party.id,
        message_sha256=posted.signed.sha256,
        envelopes=frozenset({posted.envelope.sha256}),
    )
    found = parse_receipt(receipt) if isinstance(receipt, bytes) else receipt
    return verify_receipt(found, sent, {door.party.origin: door.party.card.log})


async def put_blob(call: Caller, sealed: bytes, *, digest: str | None = None, **headers: str) -> Said:
    size = str(len(sealed))
    return await call(
        "PATCH",
        f"/v1/blobs/{digest or sha256(sealed)}",
        sealed,
        BLOB_TYPE,
        **{"Upload_Offset": "0", "Upload_Length": size, **headers},
    )
