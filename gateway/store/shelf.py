"""The rows of one batch: each change judged on what the ones before it in the batch left.

However many changes of a batch move a row, it is written once, as the last one left it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from gateway.core.errors import Stale
from gateway.rows import THIS_ENTRY, Row
from gateway.store.database import BadRow, Transaction
from gateway.store.statements import delete, insert, update, versions
from gateway.store.tables import KINDS, Key, Kind

Slot = tuple[type[Row], Key]
"""A row's place: its kind and its key."""
Held = tuple[int, Row | None, int | None]
"""What stands there: a version, 0 for nothing; the row if this batch wrote it, and its entry."""


@dataclass(slots=True)
class Writes:
    """What becomes of one table: parameters of its three statements."""

    inserts: list[dict[str, Any]] = field(default_factory=list)
    updates: list[dict[str, Any]] = field(default_factory=list)
    deletes: list[dict[str, Any]] = field(default_factory=list)


class Shelf:
    """The rows that a batch touches: the versions in the database, and what is to be written."""

    def __init__(self, stored: dict[Slot, int]) -> None:
        self._stored = stored
        self._moved: dict[Slot, Held] = {}

    @classmethod
    async def laid_out(cls, transaction: Transaction, rows: Iterable[Row]) -> "Shelf":
        """Return the shelf for *rows*, their versions read with one query for each table.

        Nothing stands yet under a key that is an entry to come.
        """
        wanted: dict[type[Row], dict[Key, None]] = {}
        for row in rows:
            key = KINDS[type(row)].key_of(row)
            if key != (THIS_ENTRY,):
                wanted.setdefault(type(row), {})[key] = None
        stored: dict[Slot, int] = {}
        for kind, keys in wanted.items():
            for *key, version in await transaction.find(versions(KINDS[kind]), list(keys)):
                stored[kind, tuple(key)] = version
        return cls(stored)

    def move(self, puts: Sequence[Row], deletes: Sequence[Row], entry: int | None) -> None:
        """Take the rows of one change, or none of them; *entry* is the index of its first entry.

        Raises:
            Stale: a row stands at another version than the one it was judged on.
            BadRow: a row names the entry of a change that has none.
        """
        moved: dict[Slot, Held] = {}
        for row in puts:
            own = _own_entry(row, entry)
            moved[self._slot(row, moved, own)] = (row.version + 1, row, own)
        for row in deletes:
            moved[self._slot(row, moved, None)] = (0, None, None)
        self._moved.update(moved)

    def _slot(self, row: Row, moved: dict[Slot, Held], entry: int | None) -> Slot:
        key = KINDS[type(row)].key_of(row)
        slot = (type(row), (entry,) if entry is not None and key == (THIS_ENTRY,) else key)
        held = moved.get(slot) or self._moved.get(slot)
        if row.version != (held[0] if held else self._stored.get(slot, 0)):
            raise Stale(f"a row of {KINDS[type(row)].table.name} has moved")
        return slot

    async def write(self, transaction: Transaction) -> None:
        """Write what was taken: at most three statements for each table."""
        writes: dict[type[Row], Writes] = {}
        for (kind, key), held in self._moved.items():
            self._note(writes.setdefault(kind, Writes()), KINDS[kind], key, held)
        for kind, found in writes.items():
            if found.inserts:
                await transaction.write(insert(KINDS[kind].table), found.inserts)
            if found.updates:
                await transaction.write(update(KINDS[kind]), found.updates)
            if found.deletes:
                await transaction.write(delete(KINDS[kind]), found.deletes)

    def _note(self, writes: Writes, kind: Kind[Any], key: Key, held: Held) -> None:
        version, row, entry = held
        was = self._stored.get((kind.row, key), 0)
        if row is not None:
            values = kind.values(row)
            values["version"] = version
            if entry is not None:
                values["entry"] = entry
            if was:
                values["was"] = was
            (writes.updates if was else writes.inserts).append(values)
        elif was:
            writes.deletes.append({**dict(zip(kind.key, key, strict=True)), "was": was})


def _own_entry(row: Row, entry: int | None) -> int | None:
    """Return the index that *row* leaves open to be filled in, or None."""
    if getattr(row, "entry", None) != THIS_ENTRY:
        return None
    if entry is None:
        raise BadRow("a row names the entry of a change that has none")
    return entry
