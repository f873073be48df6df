"""Looking into the blobs of a message before it is accepted: all there, each opened in full.

That is rule 6 of protocol §1. The sender is told that they are not what was signed (`blob_mismatch`);
what exactly is wrong with one is for the operator of this node, and goes to the log: `truncated`,
`extended`, `reordered`, `altered`; `swapped`: it is the content of another attachment of the message, or
opens under its key; or `other_content`: it opens, and is not what was signed.
"""

import asyncio
import contextlib
from pathlib import Path

import structlog

from gateway.core import intake
from gateway.core.errors import PeerFault, Stale
from gateway.core.ids import AuthorityId
from gateway.core.intake import Judged, Refused
from gateway.core.message import Attachment
from gateway.ports import Change
from gateway.rows import BlobRow
from gateway.web.context import Context
from gateway.web.openings import Openings, Plain, opens_first

_log = structlog.get_logger(__name__)


class Inspection:
    """What is found in the blobs that peers brought."""

    def __init__(self, context: Context, openings: Openings) -> None:
        self._context = context
        self._store = context.store
        self._openings = openings

    async def blobs(self, authority: AuthorityId, judged: Judged) -> list[BlobRow] | Refused:
        """Return the rows of the blobs of a message of *authority*.

        Raises:
            PeerFault: 424 `blobs_missing`, 425 `check_running`.
        """
        attachments = judged.opened.signed.message.attachments
        keys = [(authority, one.blob_sha256) for one in attachments]
        rows = await self._store.get_many(BlobRow, keys) if keys else {}
        sizes = {row.sha256: row.size_bytes for row in rows.values() if row.whole_ms is not None}
        verdict = intake.check_blobs(judged, sizes)
        if verdict is not None:
            return verdict
        blob_keys = judged.opened.content.blob_keys
        async with self._openings.in_time():
            for attachment in attachments:
                path = self._context.blobs.incoming(authority, attachment.blob_sha256)
                try:
                    plain = await self._openings.open(
                        path, attachment.size, blob_keys[attachment.blob_sha256]
                    )
                except FileNotFoundError:
                    raise await self._lost(rows[authority, attachment.blob_sha256]) from None
                verdict = intake.check_attachment(judged, attachment, plain.sha256)
                if verdict is not None:
                    code = await asyncio.to_thread(_diagnosis, path, plain, attachment, judged)
                    message = judged.opened.signed.message.id
                    _log.warning("blob_refused", code=code, peer=authority, message_id=message)
                    return verdict
        return list(rows.values())

    async def _lost(self, row: BlobRow) -> PeerFault:
        """Return what is said of a blob whose file is gone: the peer is to bring it again."""
        _log.error("blob_lost", peer=row.peer)
        with contextlib.suppress(Stale):
            await self._store.record(Change(name="blob", deletes=(row,)))
        return PeerFault(424, "blobs_missing", members={"missing": [row.sha256]})


def _diagnosis(path: Path, plain: Plain, attachment: Attachment, judged: Judged) -> str:
    """Return what is wrong with a blob that is not what was signed. Blocks."""
    others = [
        one
        for one in judged.opened.signed.message.attachments
        if one.blob_sha256 != attachment.blob_sha256 or one.sha256 != attachment.sha256
    ]
    keys = {judged.opened.content.blob_keys[one.blob_sha256] for one in others}
    if plain.fault is None:
        return "swapped" if plain.sha256 in {one.sha256 for one in others} else "other_content"
    return "swapped" if any(opens_first(path, key) for key in keys) else plain.fault
