"""The store: what `ports.Store` promises, on one of two databases."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import sqlalchemy as sa

from gateway.core.card import parse_card
from gateway.core.errors import Malformed, Misconfigured, Misuse, NotProved, Unavailable
from gateway.core.ids import AuthorityId
from gateway.core.merkle import EMPTY_ROOT
from gateway.core.note import Checkpoint, verify_checkpoint
from gateway.core.proof import Receipt
from gateway.ports import Change, Clock, Entropy, Examined, Guard, Meter, Probe, Recorded, Unmetered
from gateway.rows import NEVER_PINNED, CardRow
from gateway.store.batch import Pen
from gateway.store.committer import Committer
from gateway.store.database import BadRow, Database, Transaction
from gateway.store.examiner import Examiner
from gateway.store.feed import FeedReads
from gateway.store.ledger import ADD_HEAD, HEAD, HEAD_ID, LogStopped, opened_head
from gateway.store.metered import MeteredDatabase
from gateway.store.outbox import GrowthSignal, OutboxSignal
from gateway.store.reads import RowReads
from gateway.store.sqlite import SqliteDatabase
from gateway.store.trail import NEWEST, TrailReads
from keys.signing import LogKeys

_URL = "store.url: sqlite:///FILE or postgresql://USER@HOST/DATABASE"


class SqlStore(RowReads, TrailReads, FeedReads):
    """The rows and the audit log of one authority; see `ports.Store`.

    Made by `open_store`, and ended with `close`.
    """

    def __init__(
        self, database: Database, pen: Pen, committer: Committer, outbox: OutboxSignal, meter: Meter
    ) -> None:
        super().__init__(database)
        self._meter = meter
        self._pen = pen
        self._committer = committer
        self._outbox = outbox
        self._growth = GrowthSignal()

    @property
    def broken(self) -> str | None:
        """Why nothing can be written until the process starts anew; None while all is well."""
        return self._committer.broken

    def stop(self, reason: str) -> None:
        """Write and sign nothing more in this process; `broken` is *reason* from now on."""
        self._committer.stop(reason)

    async def record(self, change: Change) -> Recorded:
        """Return once *change* is durable. Raises Stale, Unavailable."""
        recorded = await self._committer.record(change)
        if recorded.entries:
            self._growth.notify()
        self._meter.recorded(change)
        return recorded

    async def receipt(self, index: int) -> Receipt:
        """Return entry *index* with a proof to the newest signed checkpoint that covers it."""
        receipt = await self._proved(index)
        if receipt is None and await self.entry(index) is not None:
            await self._committer.checkpoint()
            receipt = await self._proved(index)
        if receipt is None:
            raise Misuse(404, "no_such_entry", "the log has no entry with this index")
        return receipt

    async def checkpoint(self) -> Checkpoint:
        """Return the newest signed checkpoint of the own log, signing one if there is none newer."""
        ((size, signed, text),) = await self._database.fetch(NEWEST)
        if signed is not None and text is None:
            raise Unavailable("the newest checkpoint of the log is gone from the database")
        if signed == size:
            return verify_checkpoint(text, self._pen.identity)
        return await self._committer.checkpoint()

    async def examine(self, *, every_signature: bool = False) -> Examined:
        """Examine the whole log, row by row, under a checkpoint of it as it stands if one can be signed."""
        with suppress(Unavailable, Malformed, NotProved):  # what is wrong is what the examination finds
            await self.checkpoint()
        cards = [row for row in await self.all(CardRow) if row.authority == self._pen.authority]
        logs = [parse_card(row.body).log for row in cards if row.pinned_ms != NEVER_PINNED]
        examiner = Examiner(self._database, self._pen.authority, [*logs, self._pen.identity])
        return await examiner.examine(every_signature=every_signature)

    async def own_route(self, peer: str) -> bool:
        """Return whether this process is the one that delivers to *peer* now."""
        return await self._database.own_route(peer)

    def on_outbox_change(self, tell: Callable[[], None]) -> None:
        """Have *tell* called when something may have become due: a hint, before callers are answered."""
        self._outbox.listen(tell)

    def on_growth(self, tell: Callable[[], None]) -> None:
        """Have *tell* called when this process has added to the log."""
        self._growth.listen(tell)

    async def close(self) -> None:
        """Write what was handed in, sign the head, and close the database."""
        try:
            await self._committer.close()
        finally:
            self._pen.signing.shutdown()
            await self._database.close()


async def open_store(
    url: str,
    *,
    authority: AuthorityId,
    origin: str,
    signer: LogKeys,
    clock: Clock,
    entropy: Entropy,
    probe: Probe,
    data_dir: Path,
    meter: Meter | None = None,
    guard: Guard | None = None,
) -> SqlStore:
    """Return the store at *url*, its tables brought up to date.

    A relative path of a SQLite URL begins at *data_dir*. While *guard* objects, it can be read.

    Raises:
        Misconfigured: it cannot be opened, is in use, or belongs to another log.
    """
    database, outbox = await open_database(url, data_dir)
    signing = ThreadPoolExecutor(1, "store-signer")
    pen = Pen(authority=authority, origin=origin, signer=signer, clock=clock, probe=probe, signing=signing)
    try:
        await _claim(database, pen)
        head = await opened_head(database)
        await _check_signed(database, pen)
    except LogStopped as fault:
        await database.close()
        raise Misconfigured(f"store.url: {fault}") from None
    except BaseException:
        await database.close()
        raise
    meter = meter or Unmetered()
    committer = Committer(
        MeteredDatabase(database, meter), pen, entropy=entropy, outbox=outbox, head=head, guard=guard
    )
    return SqlStore(database, pen, committer, outbox, meter)


async def open_database(url: str, data_dir: Path) -> tuple[Database, OutboxSignal]:
    """Return the database at *url*, and what tells of its outbox. Raises Misconfigured."""
    try:
        parsed = sa.make_url(url)
    except sa.exc.ArgumentError:
        raise Misconfigured(_URL) from None
    if parsed.get_backend_name() == "sqlite" and parsed.database:
        return await SqliteDatabase.opened(data_dir / parsed.database), OutboxSignal()
    if parsed.get_backend_name() != "postgresql":
        raise Misconfigured(_URL)
    outbox = OutboxSignal()
    try:
        # asyncpg and greenlet are an extra, and take memory that a node on SQLite can do without.
        from gateway.store.postgres import PostgresDatabase  # noqa: PLC0415 - see above

        return await PostgresDatabase.opened(parsed, outbox), outbox
    except ImportError as error:
        raise Misconfigured('store.url: PostgreSQL needs the extra "postgres"') from error


async def _claim(database: Database, pen: Pen) -> None:
    """Make the head of an empty database, and check that it is this log's."""
    if not await database.fetch(HEAD):
        first = {"id": HEAD_ID, "authority": pen.authority, "origin": pen.origin}
        empty = {"size": 0, "root": EMPTY_ROOT, "time_ms": pen.clock.now_ms(), "signed": None}

        async def begin(transaction: Transaction) -> None:
            await transaction.write(ADD_HEAD, [{**first, **empty}])

        with suppress(BadRow):  # another process began it in this moment; what it wrote is compared below
            await database.transact(begin)
    _, authority, origin, *_ = (await database.fetch(HEAD))[0]
    if (authority, origin) != (pen.authority, pen.origin):
        raise Misconfigured(
            f"store.url: this database holds the log {origin} of {authority}, and the card names "
            f"{pen.origin}; if a new epoch was being opened, run art18 audit new-epoch again"
        )


async def _check_signed(database: Database, pen: Pen) -> None:
    """Check that what is signed is this log, by its own keys: one origin has one pair for ever."""
    ((_, signed, text),) = await database.fetch(NEWEST)
    if signed is None:
        return
    if text is None:
        raise Misconfigured("store.url: the newest checkpoint of the log in this database is gone")
    try:
        checkpoint = verify_checkpoint(text, pen.identity)
    except (Malformed, NotProved):
        raise Misconfigured("store.url: the log in this database was signed with other keys") from None
    try:
        root = await TrailReads(database).root(signed)
    except (Misuse, KeyError):  # it ends before, or its tree has holes
        root = b""
    if (checkpoint.size, checkpoint.root) != (signed, root):
        raise Misconfigured("store.url: the log in this database is another one than was signed")
