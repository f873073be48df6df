"""The store of a node that does not run, opened to begin a new epoch of its log (protocol §9 "Start-up").

The tree grows on where it ends: its entries, their indexes and every proof of them stay what they are.
Origin and keys change with the first entry, in one transaction.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Self

from gateway.core.entry import Draft
from gateway.core.errors import GatewayFault, Misconfigured
from gateway.core.ids import AuthorityId
from gateway.ports import Change, Clock, Entropy, Recorded, Unprobed
from gateway.rows import Row
from gateway.store.batch import Pen, Waiting, Written, write_batch
from gateway.store.database import CommitUnknown, Database, Transaction
from gateway.store.feed import FeedReads
from gateway.store.ledger import HEAD, Head, LogStopped, locked_head, opened_head
from gateway.store.reads import RowReads
from gateway.store.store import open_database
from gateway.store.trail import TrailReads
from keys.signing import LogKeys


class StandingStore(RowReads, TrailReads, FeedReads):
    """A store to read, and to begin an epoch in; see `ports.Store` for the reads. Close it after use.

    Attributes:
        origin: the log's, as the database has it.
    """

    def __init__(self, database: Database, origin: str, head: Head) -> None:
        super().__init__(database)
        self.origin = origin
        self._head = head

    @classmethod
    async def opened(cls, url: str, *, authority: AuthorityId, data_dir: Path) -> Self:
        """Open the store of *authority* at *url*, which on SQLite keeps a node from starting.

        Raises:
            Misconfigured: it cannot be opened, is in use, has no log yet, or another authority's.
        """
        database, _ = await open_database(url, data_dir)
        try:
            return cls(database, await _origin(database, authority), await opened_head(database))
        except LogStopped as fault:
            await database.close()
            raise Misconfigured(f"store.url: {fault}") from None
        except BaseException:
            await database.close()
            raise

    @property
    def size(self) -> int:
        """How many entries the log has."""
        return self._head.size

    async def begin(
        self,
        authority: AuthorityId,
        origin: str,
        signer: LogKeys,
        draft: Draft,
        puts: Sequence[Row],
        *,
        clock: Clock,
        entropy: Entropy,
    ) -> Recorded:
        """Begin the epoch *origin*, signed by *signer*, with the entry *draft* and the rows *puts*.

        Raises:
            Misconfigured: the log has moved since it was opened: a node is writing it.
            Unavailable: the database cannot be written now; nothing was.
        """
        signing = ThreadPoolExecutor(1, "epoch-signer")
        pen = Pen(
            authority=authority, origin=origin, signer=signer, clock=clock, probe=Unprobed(),
            signing=signing, before=self.origin,
        )  # fmt: skip
        change = Change(name="epoch", entries=(draft,), puts=tuple(puts), answers=True)
        waiting = Waiting(change=change, entry_ids=(entropy.uuid4(),))

        async def work(transaction: Transaction) -> Written:
            now = await locked_head(transaction, self._head, self.origin, trusted=True)
            if now.size != self._head.size:
                raise LogStopped("the audit log grows: a node is still running")
            return await write_batch(transaction, pen, [waiting], self._head, trusted=True, cautious=True)

        try:
            written = await self._database.transact(work)
        except (CommitUnknown, LogStopped) as fault:
            raise Misconfigured(f"store.url: {fault}") from None
        finally:
            signing.shutdown()
        outcome = written.outcomes[0]
        if isinstance(outcome, GatewayFault):
            raise outcome
        assert isinstance(outcome, Recorded)  # noqa: S101 - only a Waiting that signs has another outcome
        self.origin, self._head = origin, written.head
        return outcome

    async def close(self) -> None:
        """Close the database; a node can start."""
        await self._database.close()


async def _origin(database: Database, authority: AuthorityId) -> str:
    found = await database.fetch(HEAD)
    if not found or found[0][1] != authority:
        raise Misconfigured(f"store.url: this database holds no log of {authority}")
    return str(found[0][2])
