"""Bringing messages with attachments: the blobs, then the envelope that names them (protocol §7).

Blobs can take hours, and what they open to is looked into before the envelope is answered. So these
messages go over connections of their own, some at a time (`lanes`), while the route goes on with those
that have none. One that cannot be brought backs off alone, even if it is the connection that breaks:
whether the peer is there at all, the route finds out.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from gateway.core.ids import MessageId
from gateway.peering.client import PeerClient
from gateway.peering.directory import PinnedPeer
from gateway.peering.replies import PeerUnavailable, Reply
from gateway.ports import Outgoing
from gateway.rows import UploadRow
from gateway.workers.parts import Parts
from gateway.workers.way import answer_of

_BROUGHT = 204
_MOST_LOOKED_AT = 64


@dataclass(frozen=True, slots=True)
class Carriage:
    """The messages with attachments on their way to one peer; `under_way` are those being brought."""

    parts: Parts
    under_way: set[MessageId] = field(default_factory=set)

    async def admitted(
        self, due: Sequence[Outgoing], free: Callable[[], None]
    ) -> list[tuple[Outgoing, list[UploadRow]]]:
        """Return those of *due* that have a lane now, with their uploads; each is to be brought.

        If there are others, *free* is called when they might have one.
        """
        waiting = [one for one in due if one.message.id not in self.under_way][:_MOST_LOOKED_AT]
        if not waiting:
            return []
        uploads: dict[MessageId | None, list[UploadRow]] = {}
        for upload in await self.parts.store.uploads_of([one.message.id for one in waiting]):
            uploads.setdefault(upload.claimed_by, []).append(upload)
        found = []
        for one in waiting:
            carried = uploads.get(one.message.id, [])
            if self.parts.lanes.enter(one.message.peer, _size_bytes(carried), free):
                self.under_way.add(one.message.id)
                found.append((one, carried))
        return found

    async def bring(self, peer: PinnedPeer, one: Outgoing, uploads: Sequence[UploadRow]) -> Reply:
        """Bring the blobs of a message, then its envelope, and leave its lane; return the answer to it.

        Where the envelope could not be posted, the answer is what stands in the way.
        """
        client = self.parts.dial(peer)
        try:
            reply = await self._bring_blobs(client, uploads)
            if reply.status != _BROUGHT:
                return reply
            self.parts.probe.reached("courier.before_post")
            reply = await answer_of(client.post_envelope(one.envelope.body or b""))
            self.parts.probe.reached("courier.after_post")
            return reply
        finally:
            self.under_way.discard(one.message.id)
            self.parts.lanes.leave(one.message.peer)
            await client.close()

    async def _bring_blobs(self, client: PeerClient, uploads: Sequence[UploadRow]) -> Reply:
        """Bring the blobs; return what stands in the way, or 204."""
        try:
            for upload in uploads:
                if upload.blob_sha256 is None:
                    return Reply(0, code="attachment_missing")
                path = self.parts.blobs.outgoing(upload.id)
                reply = await client.put_blob(upload.blob_sha256, upload.blob_size_bytes, path)
                if reply.status != _BROUGHT:
                    return reply
        except PeerUnavailable as fault:
            return Reply(0, code=fault.code)
        except OSError:
            return Reply(0, code="attachment_unreadable")
        return Reply(_BROUGHT) if uploads else Reply(0, code="attachment_missing")


def _size_bytes(uploads: Iterable[UploadRow]) -> int:
    return sum(upload.blob_size_bytes for upload in uploads)
