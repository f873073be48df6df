"""What is well with a node and what is not, part by part: for `/readyz` and `/metrics`.

No text here names a party, a file or a message: who may not ask anything else may read it.
"""

import asyncio
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from gateway.app.identity import Identity
from gateway.config import Settings
from gateway.core.errors import Misconfigured, Unavailable
from gateway.peering.directory import Directory
from gateway.peering.sentry import Sentry
from gateway.ports import Change, Clock
from gateway.rows import WitnessRow
from gateway.store import SqlStore
from gateway.web.context import Check

_ANSWER_S = 2.0
"""How long the database may take: who asks for readiness asks again soon."""
_UNWITNESSED_MS = 3_600_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """The parts that can fail."""

    settings: Settings
    store: SqlStore
    directory: Directory
    identity: Identity
    clock: Clock
    sentry: Sentry

    async def check(self) -> Sequence[Check]:
        """Look at each part."""
        return (
            await self._database(),
            await self._log(),
            self._keys(),
            Check("clock", self.sentry.doubt()),
            Check("disk", await asyncio.to_thread(self._disk_problem)),
            self._peers(),
            await self._witnesses(),
        )

    def standing(self) -> Mapping[str, float]:
        """Return the figures of web.figures that are nowhere in the database."""
        active, unreachable = self._reached()
        free = float("nan")
        with suppress(OSError):
            free = min(shutil.disk_usage(folder).free for folder in self._folders())
        return {
            "log_writable": float(self.store.broken is None),
            "peers_active": active,
            "peers_unreachable": unreachable,
            "card_expires_seconds": (self.directory.own.expires_ms - self.clock.now_ms()) / 1000,
            "disk_free_bytes": free,
        }

    async def _database(self) -> Check:
        try:
            async with asyncio.timeout(_ANSWER_S):
                await self.store.entry(0)
        except (Unavailable, TimeoutError):
            return Check("database", "it cannot be read")
        return Check("database")

    async def _log(self) -> Check:
        """Let an empty transaction take the way of every other: through the committer, to the head."""
        if self.store.broken is not None:
            return Check("log", self.store.broken)
        if self.sentry.doubt() is not None:
            return Check("log")  # it is not the log that keeps it from being written
        try:
            async with asyncio.timeout(_ANSWER_S):
                await self.store.record(Change(name="ready"))
        except (Unavailable, TimeoutError):
            return Check("log", "it cannot be written")
        return Check("log")

    def _keys(self) -> Check:
        card, now_ms = self.directory.own, self.clock.now_ms()
        try:
            self.identity.tls(card, now_ms)
        except Misconfigured:
            return Check("keys", "the key store lacks the certificate that the card names")
        if not self.settings.keys.vault.is_file():
            return Check("keys", "the file of the key store is gone: no start without it", vital=False)
        if card.expires_ms <= now_ms:
            return Check("keys", "the card has expired: art18 card renew", vital=False)
        return Check("keys")

    def _disk_problem(self) -> str | None:
        try:
            free = min(shutil.disk_usage(folder).free for folder in self._folders())
        except OSError:
            return "a folder of the node cannot be looked at"
        short = free < self.settings.limits.free_disk_bytes
        return "less than limits.free_disk_bytes is free" if short else None

    def _folders(self) -> Iterator[Path]:
        """Yield the folders of attachments, and of the database where that is a file."""
        yield self.settings.store.blobs
        if (database := self.settings.store.file) is not None:
            yield database.parent

    def _peers(self) -> Check:
        active, unreachable = self._reached()
        told = f"{unreachable} of {active} active peers cannot be reached now" if unreachable else None
        return Check("peers", told, vital=False)

    async def _witnesses(self) -> Check:
        """Look how long the log has grown without anybody who saw it."""
        try:
            async with asyncio.timeout(_ANSWER_S):
                size = await self.store.log_size()
                rows = await self.store.all(WitnessRow)
        except (Unavailable, TimeoutError):
            return Check("witnesses", "they cannot be looked up", vital=False)
        if not rows or any(row.size == size for row in rows):
            return Check("witnesses")
        newest_ms = max(row.cosigned_ms or 0 for row in rows)
        late = self.clock.now_ms() - newest_ms > _UNWITNESSED_MS
        return Check("witnesses", "nobody has cosigned the log for an hour" if late else None, vital=False)

    def _reached(self) -> tuple[int, int]:
        """Return how many peers are served, and to how many of them the last attempt failed."""
        active = [peer.row for peer in self.directory.peers.values() if peer.active]
        return len(active), sum(row.attempt > 0 for row in active)
