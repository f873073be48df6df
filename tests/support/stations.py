"""Stations: what a node does without its doors, and the peer that a courier meets there.

A simulated peer answers by the rules of the real door (`web.reception`), unless a test scripts another
answer.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from gateway.config import Limits, Settings
from gateway.core import custody
from gateway.core.entry import Draft, parse_entry
from gateway.core.errors import Malformed, NotProved
from gateway.core.ids import AuthorityId, Digest, MessageId
from gateway.core.proof import Receipt
from gateway.core.standing import EVENT as EPOCH
from gateway.core.standing import epoch_of
from gateway.core.strict import sha256, time_text
from gateway.peering.directory import Directory, PinnedPeer
from gateway.peering.replies import PeerUnavailable, Reply
from gateway.peering.settlement import Settlement
from gateway.ports import Change, Entropy, EntryFilter, Store
from gateway.rows import THIS_ENTRY, BlobRow, Direction, MessageRow, NoticeRow, PeerRow, UploadRow
from gateway.store.blobs import BlobFolder
from gateway.web.context import Context
from gateway.web.problems import problem_of
from gateway.web.reception import Answer, Reception
from gateway.web.submission import Submission
from tests.support.authorities import (
    DAY_MS,
    PERIODS_MS,
    Blob,
    FixedClock,
    FixedEntropy,
    Party,
    card_row,
    pin,
)

REQUEST = {
    "kind": "request.mla",
    "language": "en",
    "own_ref": "EX-2026-001",
    "authorised_by": {"name": "Example Officer One", "function": "Head of Unit"},
    "body": {"purpose": "To learn what the court asks for."},
    "override": {"reason": "a test"},
}
ENQUIRY = {"kind": "status.enquiry", "body": {"questions": ["How does it stand?"]}}


async def _unused(*_: object) -> Any:
    raise AssertionError("a station has no use for this")


class Station:
    """An authority's rules and rows."""

    def __init__(
        self,
        party: Party,
        store: Store,
        clock: FixedClock,
        blobs: BlobFolder,
        entropy: Entropy | None = None,
    ) -> None:
        self.party, self.store, self.clock, self.blobs = party, store, clock, blobs
        self.entropy = entropy or FixedEntropy()
        self.directory = Directory(store, party.card)
        self.cards_wanted: list[AuthorityId] = []
        self.context = Context(
            settings=Settings(limits=Limits(free_disk_bytes=0)),
            store=store,
            blobs=blobs,
            directory=self.directory,
            keyring=lambda: self.party.keyring,
            reread_vault=_unused,
            adopt=_unused,
            dial=_unused,  # type: ignore[arg-type]  # nothing here dials from a door
            clock=clock,
            entropy=self.entropy,
            cards_wanted=self.cards_wanted.append,
        )
        self.reception = Reception(self.context)

    @property
    def id(self) -> AuthorityId:
        return self.party.id

    @property
    def settlement(self) -> Settlement:
        return Settlement(
            self.store, self.id, self.party.keyring.storage, self.clock, self.entropy, PERIODS_MS
        )

    async def pin(self, *others: Party) -> None:
        """Hold the ceremony with each of *others*."""
        for other in others:
            await pin(self.store, other.card)
        await self.directory.refresh()

    async def repin(self, other: Party) -> None:
        """Take the successor card of *other*."""
        row = await self.peer(other.id)
        moved = replace(row, sequence=other.card.sequence, card_sha256=other.card.sha256)
        await self.store.record(Change(name="pin", puts=(card_row(other.card, self.clock.now_ms()), moved)))
        await self.directory.refresh()

    async def peer(self, authority: AuthorityId) -> PeerRow:
        """Return the row of a peer."""
        row = await self.store.get(PeerRow, authority)
        assert row is not None
        return row

    async def message(self, peer: AuthorityId, id_: str, direction: Direction = Direction.OUT) -> MessageRow:
        """Return the row of a message."""
        row = await self.store.get(MessageRow, direction, peer, id_)
        assert row is not None
        return row

    async def submit(
        self, to: AuthorityId, *, case: str | None = None, lifetime_ms: int = 30 * DAY_MS, **members: Any
    ) -> MessageRow:
        """Hand in a request, or an enquiry in *case*; return its row."""
        draft = {**REQUEST, **(ENQUIRY if case else {}), "to": to, **members}
        draft["expires"] = time_text(self.clock.now_ms() + lifetime_ms)
        if case is not None:
            draft["case"] = case
        answer = await Submission(self.context, "test").submit(json.dumps(draft).encode(), None)
        return await self.message(to, json.loads(answer.body)["id"])

    async def upload(self, blob: Blob) -> dict[str, Any]:
        """Bring an attachment; return the member of a draft that names it."""
        id_ = self.entropy.uuid4()
        box = custody.box_upload(self.party.keyring.storage, id_, blob.key, sha256(blob.plain))
        row = UploadRow(
            id=id_,
            version=0,
            size_bytes=len(blob.plain),
            blob_sha256=blob.sha256,
            blob_size_bytes=len(blob.sealed),
            stored_ms=self.clock.now_ms(),
            wrapped_key=box.wrapped_key,
            ciphertext=box.ciphertext,
        )
        _write(self.blobs.outgoing(id_), blob.sealed)
        await self.store.record(Change(name="upload", puts=(row,)))
        member = blob.member()
        return {"upload": id_, **{name: member[name] for name in ("name", "media_type", "role", "language")}}

    async def hand_over(self, peer: AuthorityId, id_: MessageId) -> None:
        """Note that our own system took over a message of *peer*, which is told."""
        row = await self.message(peer, id_, Direction.IN)
        entry = Draft(
            event="content.handed_over",
            outcome="ok",
            peer=peer,
            message_id=id_,
            envelope_sha256=row.envelope_sha256,
            message_sha256=row.message_sha256,
        )
        notice = NoticeRow(entry=THIS_ENTRY, version=0, peer=peer, id=id_, state="queued")
        rows = (replace(row, state="handed_over"), notice)
        await self.store.record(Change(name="hand_over", entries=(entry,), puts=rows, answers=True))

    # -- as a peer sees it

    def _caller(self, authority: AuthorityId) -> PinnedPeer:
        return self.directory.peers[authority]

    async def receive(self, sender: AuthorityId, raws: Sequence[bytes]) -> list[Reply]:
        """Answer envelopes of *sender*."""
        return [_reply(answer) for answer in await self.reception.receive(self._caller(sender), raws)]

    async def close(self, sender: AuthorityId, id_: MessageId, envelope: Digest) -> Reply:
        """Answer what became of a message of *sender*."""
        return _reply(await self.reception.close(self._caller(sender), id_, envelope))

    async def take_receipt(self, recipient: AuthorityId, receipt: Receipt) -> Reply:
        """Take a later receipt about a message that went to *recipient*."""
        try:
            entry = parse_entry(receipt.entry)
            message = await self.message(recipient, str(entry.message_id))
            envelopes = await self.store.envelopes(message.id)
            logs = self._caller(recipient).logs
            statement = self.settlement.verify(receipt, message, envelopes, logs)
        except (NotProved, Malformed):
            return Reply(422, code="not_proved")
        await self.settlement.prove(message, statement, receipt)
        return Reply(204)

    async def take_blob(self, sender: AuthorityId, digest: Digest, path: Path) -> Reply:
        """Take an attachment of *sender*."""
        if await self.store.get(BlobRow, sender, digest) is None:
            sealed = _read(path)
            _write(self.blobs.incoming(sender, digest), sealed)
            row = BlobRow(
                peer=sender,
                sha256=digest,
                version=0,
                size_bytes=len(sealed),
                received_ms=self.clock.now_ms(),
                whole_ms=self.clock.now_ms(),
            )
            await self.store.record(Change(name="blob", puts=(row,)))
        return Reply(204)


def _reply(answer: Answer | Exception) -> Reply:
    if isinstance(answer, Answer):
        return Reply(answer.status, receipt=answer.receipt)
    problem = problem_of(answer)
    return Reply(problem.status, code=problem.code, retry_after_s=problem.retry_after_s)


def _read(path: Path) -> bytes:
    return path.read_bytes()


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


LOST = PeerUnavailable("timeout")
"""In a script: the request arrives, and its answer does not."""
GONE = PeerUnavailable("unreachable")
"""In a script: the request does not arrive."""

NO_EPOCH = Receipt(b"", "")
"""In a script: there is none."""

Scripted = Reply | Receipt | Exception | Callable[[], Any]


@dataclass
class SimulatedPeer:
    """What a client of the station *there* meets when *sender* calls: as `PeerClient`, without a network.

    `script` holds, by call, what the next ones get instead of a sound answer; a callable is called
    first, and what it returns counts (None: the sound answer). `calls` are the calls in order, each
    with how many envelopes it had or whom it was about.
    """

    there: Station
    sender: AuthorityId
    script: dict[str, list[Scripted | None]] = field(default_factory=dict)
    calls: list[tuple[str, Any]] = field(default_factory=list)
    posted: list[bytes] = field(default_factory=list)
    clients: int = 0
    closed: int = 0

    def dial(self, _peer: PinnedPeer) -> "SimulatedPeer":
        self.clients += 1
        return self

    async def close(self) -> None:
        self.closed += 1

    async def _called(self, name: str, about: Any, sound: Callable[[], Any]) -> Any:
        self.calls.append((name, about))
        scripted = self.script.get(name)
        answer = scripted.pop(0) if scripted else None
        if callable(answer):
            answer = answer()
            if hasattr(answer, "__await__"):
                answer = await answer
        if answer is None:
            return await sound()
        if answer is LOST:
            await sound()
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def post_envelope(self, raw: bytes) -> Reply:
        self.posted.append(raw)

        async def sound() -> Reply:
            return (await self.there.receive(self.sender, [raw]))[0]

        found: Reply = await self._called("post", 1, sound)
        return found

    async def post_batch(self, raws: Sequence[bytes]) -> list[Reply]:
        self.posted += raws
        answer = await self._called("batch", len(raws), lambda: self.there.receive(self.sender, raws))
        return [answer] * len(raws) if isinstance(answer, Reply) else answer

    async def close_message(self, id_: MessageId, envelope: Digest) -> Reply:
        found: Reply = await self._called("close", id_, lambda: self.there.close(self.sender, id_, envelope))
        return found

    async def post_receipt(self, receipt: Receipt) -> Reply:
        about = parse_entry(receipt.entry).message_id
        found: Reply = await self._called(
            "receipt", about, lambda: self.there.take_receipt(self.sender, receipt)
        )
        return found

    async def epoch(self, number: int | None = None) -> Receipt | None:
        store = self.there.store

        async def sound() -> Receipt | None:
            wanted = number or epoch_of(self.there.party.origin)
            for logged in await store.entries(EntryFilter(event=EPOCH)):
                if dict(parse_entry(logged.leaf).extra)["epoch"] == wanted:
                    return await store.receipt(logged.index)
            return None

        found: Receipt | None = await self._called("epoch", number, sound)
        return None if found is NO_EPOCH else found

    async def put_blob(self, digest: Digest, size: int, path: Path) -> Reply:
        found: Reply = await self._called(
            "blob", size, lambda: self.there.take_blob(self.sender, digest, path)
        )
        return found
