"""Lists use their indexes, and what delivery asks never does: a planner may not choose between them."""

import sqlite3
from collections.abc import Iterator

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import pysqlite

from gateway.core.ids import AuthorityId, CaseId
from gateway.ports import MessageFilter
from gateway.rows import Direction
from gateway.store import questions
from gateway.store.questions import list_of_cases, list_of_messages
from gateway.store.reads import filters
from gateway.store.statements import Statement, Texts
from gateway.store.tables import metadata
from gateway.store.trail import list_of_entries

TEXTS = Texts(pysqlite.dialect(paramstyle="qmark"))
ASKED = {
    "direction": Direction.IN,
    "peer": AuthorityId("qn.justice"),
    "kind": "request.mla",
    "case": CaseId("8c6a4f0e-6f6e-4a52-9d52-3a8f0c5f1b11"),
    "state": "available",
}


@pytest.fixture(scope="module")
def database() -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(":memory:", check_same_thread=False)
    metadata.create_all(sa.create_engine("sqlite://", creator=lambda: connection))
    yield connection
    connection.close()


def plan(database: sqlite3.Connection, statement: Statement) -> str:
    text = TEXTS.of(statement)
    rows = database.execute(f"EXPLAIN QUERY PLAN {text.sql}", [None] * len(text.names)).fetchall()
    return "\n".join(str(row[3]) for row in rows)


@pytest.mark.parametrize("paged", [False, True])
@pytest.mark.parametrize(
    ("names", "index"),
    [
        ((), "ix_messages_entry"),
        (("direction",), "ix_messages_list_direction"),
        (("peer",), "ix_messages_list_peer"),
        (("kind",), "ix_messages_list_kind"),
        (("state",), "ix_messages_list_state"),
        (("direction", "state"), "ix_messages_list_state"),
        (("peer", "state"), "ix_messages_list_state"),
        (("kind", "peer"), "ix_messages_list_kind"),
        (("peer", "direction"), "ix_messages_list_peer"),
        (("case",), "ix_messages_case_entry"),
        (("direction", "peer", "kind", "case", "state"), "ix_messages_case_entry"),
    ],
)
def test_a_list_of_messages_follows_an_index(database, names, index, paged):
    where = MessageFilter(**{name: ASKED[name] for name in names})
    told = plan(database, list_of_messages(tuple(filters(where)), paged=paged))
    assert f"USING INDEX {index}" in told
    assert "TEMP B-TREE" not in told


def test_a_state_in_which_most_messages_are_is_not_what_finds_few():
    peer = AuthorityId("qn.justice")
    assert next(iter(filters(MessageFilter(peer=peer, state="accepted")))) == "peer"
    assert next(iter(filters(MessageFilter(peer=peer, state="held")))) == "state"


@pytest.mark.parametrize("of_peer", [False, True])
def test_a_list_of_cases_follows_an_index(database, of_peer):
    told = plan(database, list_of_cases(of_peer=of_peer, paged=True))
    assert "TEMP B-TREE" not in told
    assert "SCAN cases" not in told
    assert not of_peer or told.count("ix_cases_peer_id") == 2


@pytest.mark.parametrize(
    ("names", "index"),
    [
        ((), "INTEGER PRIMARY KEY"),
        (("event",), "ix_entries_list_event"),
        (("peer",), "ix_entries_list_peer"),
        (("event", "peer"), "ix_entries_list_event"),
        (("message_id", "peer"), "ix_entries_message_id"),
    ],
)
@pytest.mark.parametrize("timed", [False, True])
@pytest.mark.parametrize("newest_first", [False, True])
def test_a_list_of_entries_follows_an_index(database, names, index, timed, newest_first):
    statement = list_of_entries(names, after=timed, before=timed, paged=True, newest_first=newest_first)
    told = plan(database, statement)
    assert f"SEARCH entries USING {'INDEX ' if index.startswith('ix') else ''}{index}" in told
    assert "TEMP B-TREE" not in told


def steps(database: sqlite3.Connection, statement: Statement, **values: object) -> int:
    """Return how many steps of its machine SQLite takes for a page of ten."""
    text, counted = TEXTS.of(statement), []
    database.set_progress_handler(lambda: counted.append(1), 1)
    rows = database.execute(text.sql, text.arguments({"limit": 10, **values})).fetchall()
    database.set_progress_handler(None, 0)
    assert len(rows) == 10
    return len(counted)


@pytest.mark.parametrize("filtered", [{}, {"event": "a"}, {"peer": "p"}])
@pytest.mark.parametrize("after", [False, True])
def test_a_page_deep_in_the_log_costs_what_the_first_costs(database, filtered, after):
    database.executemany(
        "INSERT OR REPLACE INTO entries VALUES (?, ?, ?, 'a', 'p', NULL, ?)",
        [(index, b"", str(index), index) for index in range(2000)],
    )
    statement = list_of_entries(tuple(filtered), after=after, before=False, paged=True)
    first, deep = (steps(database, statement, cursor=cursor, after_ms=5, **filtered) for cursor in (0, 1900))
    assert deep < first * 1.5


@pytest.mark.parametrize(
    "name", [name for name, found in vars(questions).items() if isinstance(found, Statement)]
)
def test_what_delivery_asks_does_without_the_indexes_of_lists(database, name):
    told = plan(database, getattr(questions, name))
    assert ("_list_" in told) == (name in {"BACKLOG", "MESSAGE_COUNTS"})
