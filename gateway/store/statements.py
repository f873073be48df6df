"""Statements of SQLAlchemy Core, compiled once for each database and then run by its driver.

One text serves both databases. Going through SQLAlchemy's engine for each of the small
statements of a request costs several times the statement itself; what is gained by Core,
one way to say it and no string building, is kept.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import chain
from typing import Any

import sqlalchemy as sa

from gateway.store.tables import Kind


@dataclass(frozen=True, eq=False, slots=True)
class Statement:
    """A statement with named parameters.

    Attributes:
        columns: the ones that an UPDATE sets.
        brief: a SELECT of few rows that an index leads to.
    """

    clause: sa.Executable
    columns: tuple[str, ...] | None = None
    brief: bool = False


@dataclass(frozen=True, eq=False, slots=True)
class Lookup:
    """A SELECT of the rows whose `columns` are among the tuples given as keys.

    The keys are joined as a table of their own: SQLite scans for a tuple IN a list.
    """

    selected: tuple[sa.Column[Any], ...]
    columns: tuple[sa.Column[Any], ...]

    def clause(self, count: int) -> sa.Executable:
        """Return the statement for *count* keys."""
        keys = self.keys(count)
        matches = sa.and_(*(keys.c[column.name] == column for column in self.columns))
        return sa.select(*self.selected).select_from(keys.join(self.columns[0].table, matches))

    def keys(self, count: int) -> sa.CTE:
        """Return *count* keys as a table."""
        sample = tuple(0 if isinstance(column.type, sa.BigInteger) else "" for column in self.columns)
        named_keys = sa.values(*(sa.column(column.name, column.type) for column in self.columns), name="keys")
        return named_keys.data([sample] * count).cte("keys")


@dataclass(frozen=True, slots=True)
class Text:
    """The text of a statement for one database, and its parameters in their order."""

    sql: str
    names: tuple[str, ...]

    def arguments(self, values: Mapping[str, object]) -> tuple[object, ...]:
        """Return the *values* of one execution in order."""
        return tuple(map(values.__getitem__, self.names))

    def of_rows(self, count: int) -> str:
        """Return this INSERT of one row as one of *count* rows."""
        return self.sql + f", {self.sql[self.sql.rindex('(') :]}" * (count - 1)


class Texts:
    """The compiled statements of one database."""

    def __init__(self, dialect: sa.Dialect) -> None:
        self._dialect = dialect
        self._texts: dict[Statement | tuple[Lookup, int], Text] = {}

    def of(self, statement: Statement) -> Text:
        """Return the text of *statement*."""
        text = self._texts.get(statement)
        if text is None:
            text = self._texts[statement] = self._compiled(statement.clause, statement.columns)
        return text

    def lookup(self, lookup: Lookup, keys: Sequence[tuple[object, ...]]) -> tuple[str, tuple[object, ...]]:
        """Return text and arguments that find *keys*: at least one, each different.

        Keys of NULL, which equal nothing, fill up to a power of two: there are few different texts.
        """
        count = 1 << (len(keys) - 1).bit_length()
        text = self._texts.get((lookup, count))
        if text is None:
            text = self._texts[lookup, count] = self._compiled(lookup.clause(count), None)
        filling = (None,) * (len(lookup.columns) * (count - len(keys)))
        return text.sql, (*chain.from_iterable(keys), *filling)

    def _compiled(self, clause: sa.Executable, columns: tuple[str, ...] | None) -> Text:
        compiled: Any = clause.compile(  # type: ignore[attr-defined]  # every clause here is a ClauseElement
            dialect=self._dialect,
            column_keys=None if columns is None else list(columns),
        )
        return Text(compiled.string, tuple(compiled.positiontup))


LIMIT = sa.bindparam("limit", type_=sa.Integer)


def limited(select: sa.Select[Any]) -> Statement:
    """Return *select* up to the parameter `limit`; SQLAlchemy adds an OFFSET to it on SQLite."""
    return Statement(select.limit(LIMIT).offset(sa.literal_column("0")))


def named(column: sa.Column[Any], name: str | None = None) -> sa.ColumnElement[bool]:
    """Return the condition that *column* equals the parameter of its name, or *name*."""
    return column == sa.bindparam(name or column.name, type_=column.type)


def steered(columns: Sequence[sa.Column[Any]]) -> list[sa.ColumnElement[bool]]:
    """Return the conditions that each of *columns* equals the parameter of its name.

    The index of the first is to be used: the others are written so that none serves them. A planner
    that has not seen the data takes them for equally rare.
    """
    nothing: sa.ColumnElement[str] = sa.literal_column("''")
    return [
        sa.func.coalesce(column, nothing) == sa.bindparam(column.name, type_=column.type)
        if position
        else named(column)
        for position, column in enumerate(columns)
    ]


@cache
def insert(table: sa.Table) -> Statement:
    """Return the INSERT of whole rows."""
    return Statement(sa.insert(table))


@cache
def by_key(kind: Kind[Any]) -> Lookup:
    """Return the SELECT of whole rows by their keys."""
    return Lookup(tuple(kind.table.c), _key(kind))


@cache
def versions(kind: Kind[Any]) -> Lookup:
    """Return the SELECT of key and version of the rows among some keys."""
    return Lookup((*_key(kind), kind.table.c.version), _key(kind))


@cache
def update(kind: Kind[Any]) -> Statement:
    """Return the UPDATE of whole rows; the parameter `was` is the version that is replaced."""
    columns = tuple(name for name in kind.names if name not in kind.key)
    return Statement(sa.update(kind.table).where(*_row(kind)), columns)


@cache
def delete(kind: Kind[Any]) -> Statement:
    """Return the DELETE of rows at the version `was`."""
    return Statement(sa.delete(kind.table).where(*_row(kind)))


def _key(kind: Kind[Any]) -> tuple[sa.Column[Any], ...]:
    return tuple(kind.table.c[name] for name in kind.key)


def _row(kind: Kind[Any]) -> list[sa.ColumnElement[bool]]:
    return [*(named(column) for column in _key(kind)), named(kind.table.c.version, "was")]
