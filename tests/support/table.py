"""A table at which two stations play a sample case, draft by draft, through the doors' own rules."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import schemas
from gateway.core.strict import sha256, time_text
from gateway.peering.replies import Reply
from gateway.rows import CaseRow, MessageRow
from gateway.store.blobs import BlobFolder
from gateway.web.submission import Submission
from tests.support.authorities import Blob, FixedClock, FixedEntropy, make_authority, make_blob
from tests.support.memory import MemoryStore
from tests.support.profiles import make_profile, record_profile
from tests.support.stations import Station

_MINUTE_MS = 60_000


@dataclass
class Table:
    """The two sides of a sample case, with what they have sent each other."""

    clock: FixedClock
    sides: dict[str, Station]
    sent: list[dict[str, str]] = field(default_factory=list)

    def other(self, side: str) -> str:
        (found,) = self.sides.keys() - {side}
        return found

    async def fill(self, step: Mapping[str, Any], *, tampered: str | None = None) -> dict[str, Any]:
        """Return the draft of *step*, its attachments uploaded by its sender.

        What opens from the file *tampered* is not what the upload says of it.
        """
        plains = [schemas.sample_file(one["file"]) for one in step["attachments"]]
        draft = schemas.fill(
            step,
            to=self.sides[self.other(step["by"])].id,
            today=datetime.fromtimestamp(self.clock.now_ms() / 1000, UTC).date(),
            sent=self.sent,
            attached=[{"sha256": sha256(plain), "size": len(plain)} for plain in plains],
        )
        members = []
        for one, plain in zip(step["attachments"], plains, strict=True):
            blob = make_blob(_altered(plain) if one["file"] == tampered else plain, one["name"])
            upload = await self.sides[step["by"]].upload(Blob(blob.name, plain, blob.key, blob.sealed))
            said = {name: value for name, value in one.items() if name != "file"}
            members.append({**said, "upload": upload["upload"]})
        return {**draft, "attachments": members}

    async def submit(self, by: str, draft: Mapping[str, Any]) -> MessageRow:
        """Hand *draft* in at the side *by*; return the row of its message. Raises Misuse."""
        here = self.sides[by]
        self.clock.time_ms += _MINUTE_MS
        raw = json.dumps(draft).encode()
        answer = await Submission(here.context, "test").submit(raw, None)
        said = json.loads(answer.body)
        row = await here.message(self.sides[self.other(by)].id, said["id"])
        known = {"id": row.id, "case": row.case, "message_sha256": row.message_sha256}
        self.sent.append({**known, "created": time_text(row.created_ms)})
        return row

    async def raw(self, by: str, row: MessageRow) -> bytes:
        """Return the envelope in which the side *by* sends a message, byte for byte."""
        (envelope,) = await self.sides[by].store.envelopes(row.id)
        assert envelope.body is not None
        return envelope.body

    async def carry(self, by: str, row: MessageRow) -> Reply:
        """Take a message of the side *by* to the other one, and the receipt back; return the answer."""
        here, there = self.sides[by], self.sides[self.other(by)]
        for upload in await here.store.uploads_of([row.id]):
            await there.take_blob(here.id, upload.blob_sha256, here.blobs.outgoing(upload.id))
        (reply,) = await there.receive(here.id, [await self.raw(by, row)])
        assert reply.receipt is not None, reply
        envelopes = await here.store.envelopes(row.id)
        logs = here.directory.peers[there.id].logs
        statement = here.settlement.verify(reply.receipt, row, envelopes, logs)
        await here.settlement.prove(row, statement, reply.receipt)
        return reply

    async def play(self, step: Mapping[str, Any]) -> MessageRow:
        """Send *step* as it stands: it has no error, and the other side takes it."""
        row = await self.submit(step["by"], await self.fill(step))
        reply = await self.carry(step["by"], row)
        assert reply.status == 201
        return row

    async def states(self) -> tuple[str, ...]:
        """Return the state of the case on each side."""
        return tuple([(await self.case(side)).state for side in self.sides])

    async def case(self, side: str) -> CaseRow:
        """Return the row of the case on *side*."""
        peer = self.sides[self.other(side)].id
        row = await self.sides[side].store.get(CaseRow, peer, self.sent[0]["case"])
        assert row is not None
        return row


async def lay(folder: Path, parties: Mapping[str, str]) -> Table:
    """Return a table of *parties*, by side, who know each other and each other's sample profile."""
    clock = FixedClock()
    sides = {}
    for side, authority in parties.items():
        party = make_authority(authority)
        blobs = BlobFolder(folder / side)
        blobs.prepare()
        sides[side] = Station(party, MemoryStore(party, clock, FixedEntropy()), clock, blobs)
    for side, station in sides.items():
        await station.pin(*(other.party for name, other in sides.items() if name != side))
        for other in sides.values():
            await record_profile(station.store, make_profile(other.party))
        await station.directory.refresh()
    return Table(clock, sides)


def _altered(plain: bytes) -> bytes:
    return plain[:-1] + bytes([plain[-1] ^ 1])
