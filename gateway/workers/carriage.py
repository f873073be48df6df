"""Bringing attachments: the envelope follows its blobs (protocol §7).

Blobs can take hours. So they go over a connection of their own, one message after the other, while
the route goes on with what has none. A message whose blobs cannot be brought backs off alone, even
if it is the connection that breaks: whether the peer is there at all, the route finds out.
"""

from gateway.core.ids import MessageId
from gateway.peering.client import PeerUnavailable
from gateway.peering.directory import PinnedPeer
from gateway.rows import MessageRow
from gateway.workers.parts import Parts
from gateway.workers.way import check

_BROUGHT = 204


class Carriage:
    """The blobs on their way to one peer."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._brought: set[MessageId] = set()

    def has_brought(self, message: MessageRow) -> bool:
        """Return whether the peer has all blobs of *message*, as far as is known here."""
        return not message.attachments or message.id in self._brought

    def forget(self, message: MessageId) -> None:
        """Assume nothing more of the blobs of *message*."""
        self._brought.discard(message)

    async def bring(self, peer: PinnedPeer, message: MessageRow) -> str | None:
        """Bring the blobs of *message*; return the code of what stands in the way, or None.

        Raises:
            Obstructed: the peer as a whole takes nothing now.
        """
        uploads = await self._parts.store.uploads_of([message.id])
        if not uploads:
            return "attachment_missing"
        client = self._parts.dial(peer)
        try:
            for upload in uploads:
                if upload.blob_sha256 is None:
                    return "attachment_missing"
                path = self._parts.blobs.outgoing(upload.id)
                reply = check(await client.put_blob(upload.blob_sha256, upload.blob_size_bytes, path))
                if reply.status != _BROUGHT:
                    return reply.code or "bad_answer"
        except PeerUnavailable as fault:
            return fault.code
        except OSError:
            return "attachment_unreadable"
        finally:
            await client.close()
        self._brought.add(message.id)
        return None
