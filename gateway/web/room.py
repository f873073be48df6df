"""Whether there is room for what is announced: on the disk, and in what each may take of it.

What was announced and has not come yet counts as if it were there, so that the disk is not full before
somebody is told.
"""

import asyncio
import errno
from collections.abc import Sequence

from gateway.core.errors import Misuse, PeerFault
from gateway.core.ids import AuthorityId
from gateway.rows import BlobRow, UploadRow
from gateway.web.context import Context

MOST_UNFINISHED = 1000
"""Uploads that may be under way, and blobs: nobody brings more at a time, and forgotten ones go."""

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


def disk_fault(error: OSError) -> Exception:
    """Return what is said of *error* while writing: 507 `storage_full` if there was no room, else itself."""
    return PeerFault(507, "storage_full") if error.errno in _FULL else error


async def check_upload_room(context: Context, size_bytes: int) -> None:
    """Check that an upload which takes *size_bytes* sealed can be begun.

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
    arriving = await store.arriving_blobs(limit=MOST_UNFINISHED)
    await _check_disk(context, size_bytes, unfinished, arriving)


async def check_blob_room(context: Context, peer: AuthorityId, size_bytes: int) -> None:
    """Check that a blob of *size_bytes* can be begun by *peer*.

    Raises:
        PeerFault: 413 `quota`, 507 `storage_full`.
    """
    store, limits = context.store, context.settings.limits
    unclaimed = await store.unclaimed_bytes()
    if unclaimed.get(peer, 0) + size_bytes > limits.peer_unclaimed_bytes:
        raise PeerFault(413, "quota")
    arriving = await store.arriving_blobs(limit=MOST_UNFINISHED)
    if sum(unclaimed.values()) + size_bytes > limits.unclaimed_bytes or len(arriving) >= MOST_UNFINISHED:
        raise PeerFault(507, "storage_full")
    unfinished = await store.unfinished_uploads(limit=MOST_UNFINISHED)
    await _check_disk(context, size_bytes, unfinished, arriving)


async def _check_disk(
    context: Context, size_bytes: int, unfinished: Sequence[UploadRow], arriving: Sequence[BlobRow]
) -> None:
    """Raise PeerFault, 507, unless what of the disk is neither taken nor promised has room."""
    blobs = context.blobs
    promised = [(row.blob_size_bytes, blobs.outgoing(row.id)) for row in unfinished]
    promised += [(row.size_bytes, blobs.incoming(row.peer, row.sha256)) for row in arriving]

    def left_bytes() -> int:
        return blobs.free_bytes() - sum(max(size - blobs.size_bytes(path), 0) for size, path in promised)

    if await asyncio.to_thread(left_bytes) - size_bytes < context.settings.limits.free_disk_bytes:
        raise PeerFault(507, "storage_full")
