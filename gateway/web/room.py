"""Whether there is room for what is announced: on the disk, and in what uploads may take."""

import asyncio
from collections.abc import Sequence

from gateway.core.errors import Misuse, PeerFault
from gateway.rows import UploadRow
from gateway.web.context import Context

MOST_UNFINISHED = 1000
"""Uploads that may be under way: nobody brings more at a time, and forgotten ones are not for ever."""


async def check_room(context: Context, size_bytes: int) -> None:
    """Check that an upload which takes *size_bytes* sealed can be begun.

    What others have announced and not brought yet is counted as if it were there.

    Raises:
        Misuse: 429 `too_many_uploads`.
        PeerFault: 507 `storage_full`.
    """
    store, limits = context.store, context.settings.limits
    unfinished = await store.unfinished_uploads(limit=MOST_UNFINISHED)
    if len(unfinished) >= MOST_UNFINISHED:
        raise Misuse(429, "too_many_uploads", "other uploads have to end first")
    if await store.upload_bytes() + size_bytes > limits.upload_bytes:
        raise PeerFault(507, "storage_full")
    free_bytes = await asyncio.to_thread(_left_bytes, context, unfinished)
    if free_bytes - size_bytes < limits.free_disk_bytes:
        raise PeerFault(507, "storage_full")


def _left_bytes(context: Context, unfinished: Sequence[UploadRow]) -> int:
    """Return what of the disk is neither taken nor promised."""
    blobs = context.blobs
    coming = sum(max(row.blob_size_bytes - blobs.size_bytes(blobs.outgoing(row.id)), 0) for row in unfinished)
    return blobs.free_bytes() - coming
