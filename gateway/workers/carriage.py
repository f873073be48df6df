"""Bringing attachments: the envelope follows its blobs (protocol §7).

Blobs can take hours. So they go over connections of their own, some messages at a time (`lanes`), while
the route goes on with what has none. A message whose blobs cannot be brought backs off alone, even
if it is the connection that breaks: whether the peer is there at all, the route finds out.
"""

from collections.abc import Callable, Iterable, Sequence

from gateway.core.ids import MessageId
from gateway.peering.client import PeerUnavailable, Reply
from gateway.peering.directory import PinnedPeer
from gateway.rows import MessageRow, UploadRow
from gateway.workers.parts import Parts

_BROUGHT = 204
_MOST_LOOKED_AT = 64
_NO_ANSWER = 0


class Carriage:
    """The blobs on their way to one peer."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._brought: set[MessageId] = set()
        self.under_way: set[MessageId] = set()

    def has_brought(self, message: MessageRow) -> bool:
        """Return whether the peer has all blobs of *message*, as far as is known here."""
        return not message.attachments or message.id in self._brought

    def forget(self, message: MessageId) -> None:
        """Assume nothing more of the blobs of *message*."""
        self._brought.discard(message)

    async def admitted(
        self, messages: Sequence[MessageRow], free: Callable[[], None]
    ) -> list[tuple[MessageRow, list[UploadRow]]]:
        """Return those of *messages* that have a lane now, with their uploads; each is to be brought.

        If there are others, *free* is called when they might have one.
        """
        waiting = [one for one in messages if one.id not in self.under_way][:_MOST_LOOKED_AT]
        if not waiting:
            return []
        uploads: dict[MessageId | None, list[UploadRow]] = {}
        for upload in await self._parts.store.uploads_of([one.id for one in waiting]):
            uploads.setdefault(upload.claimed_by, []).append(upload)
        found = []
        for message in waiting:
            carried = uploads.get(message.id, [])
            if self._parts.lanes.enter(message.peer, _size_bytes(carried), free):
                self.under_way.add(message.id)
                found.append((message, carried))
        return found

    async def bring(self, peer: PinnedPeer, message: MessageRow, uploads: Sequence[UploadRow]) -> Reply:
        """Bring the blobs of *message* and leave its lane; return what stands in the way, or 204."""
        client = self._parts.dial(peer)
        try:
            for upload in uploads:
                if upload.blob_sha256 is None:
                    return Reply(_NO_ANSWER, code="attachment_missing")
                path = self._parts.blobs.outgoing(upload.id)
                reply = await client.put_blob(upload.blob_sha256, upload.blob_size_bytes, path)
                if reply.status != _BROUGHT:
                    return reply
        except PeerUnavailable as fault:
            return Reply(_NO_ANSWER, code=fault.code)
        except OSError:
            return Reply(_NO_ANSWER, code="attachment_unreadable")
        finally:
            self.under_way.discard(message.id)
            self._parts.lanes.leave(message.peer)
            await client.close()
        if not uploads:
            return Reply(_NO_ANSWER, code="attachment_missing")
        self._brought.add(message.id)
        return Reply(_BROUGHT)


def _size_bytes(uploads: Iterable[UploadRow]) -> int:
    return sum(upload.blob_size_bytes for upload in uploads)
