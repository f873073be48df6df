"""Who is in which other case: the one question that the index of persons answers."""

import pytest

from gateway.core.errors import Stale
from gateway.rows import CaseRow, SubjectRow
from gateway.store import SqlStore
from gateway.store.questions import ELSEWHERE
from gateway.store.sqlite import SqliteDatabase
from tests.contract.conftest import Place
from tests.support.authorities import make_authority
from tests.support.memory import MemoryStore
from tests.support.rows import OTHER, PEER, case, change, new_case, subject


def key(of: CaseRow, pseudonym: str = "someone") -> tuple[str, str, str]:
    return pseudonym, of.peer, of.id


async def test_another_pending_case_is_found(store: SqlStore):
    first, second = case(state="filed"), case(state="accepted", peer=OTHER)
    await store.record(change(first, second, subject(first), subject(second), subject(second, "other")))

    assert await store.elsewhere([key(first), key(second), key(second, "other")]) == {
        key(first): second.id,
        key(second): first.id,
    }


async def test_a_case_that_is_not_stored_yet_can_ask(store: SqlStore):
    known, new = case(state="filed"), case()
    await store.record(change(known, subject(known)))

    assert await store.elsewhere([key(new), key(new, "nobody")]) == {key(new): known.id}
    assert await store.elsewhere([]) == {}


@pytest.mark.parametrize("state", ["closed", "none"])
async def test_a_case_in_which_nothing_is_done_does_not_count(store: SqlStore, state: str):
    known, new = case(state=state), case()
    await store.record(change(known, subject(known)))

    assert await store.elsewhere([key(new)]) == {}


async def test_two_peers_may_use_one_id_of_a_case(store: SqlStore):
    shared = new_case()
    ours, theirs = case(id=shared, state="filed"), case(id=shared, peer=OTHER, state="closed")
    await store.record(change(ours, theirs, subject(ours), subject(theirs)))

    assert await store.elsewhere([key(ours), key(theirs)]) == {key(theirs): shared}


async def test_a_person_enters_a_case_once(store: SqlStore):
    known = case()
    await store.record(change(known, subject(known)))

    with pytest.raises(Stale):
        await store.record(change(subject(known)))
    assert await store.get(SubjectRow, *key(known)) == SubjectRow(
        pseudonym="someone", peer=PEER, case=known.id, version=1
    )


async def test_many_persons_are_asked_for_in_one_question(store: SqlStore):
    known, new = case(state="filed"), case()
    names = [f"{number:04}" for number in range(2000)]
    await store.record(change(known, *(subject(known, name) for name in names[::2])))

    found = await store.elsewhere([key(new, name) for name in names])
    assert found == {key(new, name): known.id for name in names[::2]}


async def test_the_store_in_memory_says_the_same(place: Place):
    store = await place.open()
    party = make_authority("qm.moj")
    memory = MemoryStore(party=party, clock=place.clock, entropy=None)  # type: ignore[arg-type]  # no entry is made
    rows = [case(state=state) for state in ("filed", "closed", "none", "executed")]
    for row, name in zip(rows, ("a", "b", "b", "b"), strict=True):
        await store.record(change(row, subject(row, name)))
        await memory.record(change(row, subject(row, name), entries=0))
    asked = [key(row, name) for row in (*rows, case()) for name in ("a", "b", "c")]

    assert await memory.elsewhere(asked) == await store.elsewhere(asked)


async def test_only_what_is_asked_for_is_read(place: Place):
    if place.on_postgres:
        pytest.skip("its plans depend on how much is stored")
    store = await place.open()
    database = store._database
    assert isinstance(database, SqliteDatabase)
    sql, values = database._texts.lookup(ELSEWHERE, [("someone", PEER, new_case())])
    plan = [step for *_, step in await database._read(f"EXPLAIN QUERY PLAN {sql}", values)]

    assert any(step.startswith("SEARCH other USING PRIMARY KEY (pseudonym=?)") for step in plan), plan
    assert not any(step.startswith(("SCAN other", "SCAN cases")) for step in plan), plan
