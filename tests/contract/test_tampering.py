"""The log, changed behind the node's back: whatever it is, the examination says which entry.

The log of each test: 35 entries, ENTRY among them between the checkpoints of 11 and 16 entries.
"""

from collections.abc import Awaitable, Callable

import pytest

from gateway.core.errors import Misconfigured, Unavailable
from gateway.core.merkle import Frontier, leaf_hash
from gateway.core.soundness import Problem
from gateway.core.strict import b64
from gateway.ports import Change
from gateway.rows import CosignedRow
from gateway.store import SqlStore
from tests.contract.conftest import Place
from tests.support.rows import answer, change

ENTRY, BEFORE, BEHIND, LAST = 12, 11, 16, 34
OTHER = '(SELECT hash FROM nodes WHERE level = 3 AND "index" = 0)'
"""A hash that stands elsewhere."""
Tampering = Callable[[Place, SqlStore], Awaitable[None]]


async def grown(place: Place) -> SqlStore:
    """Open a store and grow the log; checkpoints are at 1, 6, 11, 16, 21, 26, 31 and 35."""
    store = await place.open()
    store._committer._sign_after_s = 3600  # no checkpoint but those of answers
    for number in range(21):
        place.clock.time_ms += 10
        if number % 3:
            await store.record(change(entries=2))
        else:
            await store.record(Change(name="receive", entries=(answer(),), answers=True))
    assert (await store.checkpoint()).size == LAST + 1
    return store


def sql(*statements: str) -> Tampering:
    """Return what executes *statements*."""

    async def tamper(place: Place, _store: SqlStore) -> None:
        for statement in statements:
            await place.tamper(statement)

    return tamper


def bytes_of(place: Place, data: bytes) -> str:
    return f"'\\x{data.hex()}'::bytea" if place.on_postgres else f"x'{data.hex()}'"


async def put_leaf(place: Place, index: int, leaf: bytes) -> None:
    await place.tamper(f'UPDATE entries SET leaf = {bytes_of(place, leaf)} WHERE "index" = {index}')


async def leaf_of(store: SqlStore, index: int) -> bytes:
    found = await store.entry(index)
    assert found is not None
    return bytes(found.leaf)


def altered(old: bytes, new: bytes) -> Tampering:
    """Return what replaces a part of the leaf of ENTRY."""

    async def tamper(place: Place, store: SqlStore) -> None:
        leaf = await leaf_of(store, ENTRY)
        assert old in leaf
        await put_leaf(place, ENTRY, leaf.replace(old, new))

    return tamper


async def put_tree(place: Place, store: SqlStore) -> Frontier:
    """Compute tree and head of the entries as they stand, as whoever can write to the database can."""
    leaves = [leaf_hash(bytes(one.leaf)) async for one in store.leaves(0, 1000)]
    frontier, made = Frontier().append(leaves)
    await place.tamper("DELETE FROM nodes")
    rows = ", ".join(f"({level}, {index}, {bytes_of(place, node)})" for level, index, node in made)
    await place.tamper(f'INSERT INTO nodes (level, "index", hash) VALUES {rows}')
    await place.tamper(f"UPDATE head SET size = {frontier.size}, root = {bytes_of(place, frontier.root())}")
    return frontier


def with_tree(*before: Tampering) -> Tampering:
    async def tamper(place: Place, store: SqlStore) -> None:
        for one in before:
            await one(place, store)
        await put_tree(place, store)

    return tamper


async def put_checkpoints(place: Place, store: SqlStore) -> None:
    """Write the new roots into every checkpoint: their signatures no longer hold."""
    leaves = [leaf_hash(bytes(one.leaf)) async for one in store.leaves(0, 1000)]
    for size in range(1, len(leaves) + 1):
        text = await store.checkpoint_at(size)
        if text is not None:
            lines = text.split("\n")
            lines[2] = b64(Frontier().append(leaves[:size])[0].root())
            new = "\n".join(lines)
            await place.tamper(f"UPDATE checkpoints SET text = '{new}' WHERE size = {size}")


async def forged_node(place: Place, store: SqlStore) -> None:
    """Alter ENTRY and its hash, but nothing above."""
    await altered(b'"ok"', b'"failed"')(place, store)
    node = leaf_hash(await leaf_of(store, ENTRY))
    await place.tamper(
        f'UPDATE nodes SET hash = {bytes_of(place, node)} WHERE level = 0 AND "index" = {ENTRY}'
    )


async def reordered(place: Place, store: SqlStore) -> None:
    """Let ENTRY and the one before it, of the same time, change places."""
    await sql(
        f'UPDATE entries SET "index" = 900 WHERE "index" = {ENTRY}',
        f'UPDATE entries SET "index" = {ENTRY} WHERE "index" = {ENTRY - 1}',
        f'UPDATE entries SET "index" = {ENTRY - 1} WHERE "index" = 900',
    )(place, store)


def moved_up(first: int, by: int) -> Tampering:
    return sql(
        f'UPDATE entries SET "index" = "index" + 1000 WHERE "index" >= {first}',
        f'UPDATE entries SET "index" = "index" - 1000 + {by} WHERE "index" >= 1000',
    )


async def deleted_and_closed_up(place: Place, store: SqlStore) -> None:
    await place.tamper(f'DELETE FROM entries WHERE "index" = {ENTRY}')
    await moved_up(ENTRY + 1, -1)(place, store)


async def inserted(place: Place, store: SqlStore) -> None:
    """Write ENTRY twice: those behind it move up."""
    await moved_up(ENTRY, 1)(place, store)
    await place.tamper(
        'INSERT INTO entries ("index", leaf, entry_id, event, peer, message_id, time_ms) '
        f"SELECT {ENTRY}, leaf, entry_id, event, peer, message_id, time_ms "
        f'FROM entries WHERE "index" = {ENTRY + 1}'
    )


async def swapped_checkpoints(place: Place, store: SqlStore) -> None:
    text = await store.checkpoint_at(BEFORE)
    await place.tamper(f"UPDATE checkpoints SET text = '{text}' WHERE size = {BEHIND}")


async def unsigned_checkpoint(place: Place, store: SqlStore) -> None:
    """Alter nothing but a signature of a checkpoint in the middle."""
    text = await store.checkpoint_at(BEHIND)
    assert text is not None
    lines = text.split("\n")
    lines[4] = lines[4][:-8] + ("AAAAAA==" if not lines[4].endswith("AAAAAA==") else "BBBBBB==")
    new = "\n".join(lines)
    await place.tamper(f"UPDATE checkpoints SET text = '{new}' WHERE size = {BEHIND}")


async def cosigned_checkpoint_gone(_place: Place, store: SqlStore) -> None:
    row = CosignedRow(size=33, witness="w.example", version=0, lines="", time_s=1)
    await store.record(Change(name="cosigned", puts=(row,)))


WIDE = (BEFORE, BEHIND)
"""Between two checkpoints: no more can be known where somebody computed the tree anew."""
ENTRIES = {
    "altered": (altered(b'"ok"', b'"failed"'), Problem.ALTERED, (ENTRY, ENTRY + 1)),
    "altered, out of form": (altered(b'"v":1', b'"v":2'), Problem.MALFORMED, (ENTRY, ENTRY + 1)),
    "of another authority": (altered(b"qm.moj", b"qz.moj"), Problem.AUTHORITY, (ENTRY, ENTRY + 1)),
    "earlier": (altered(b"T11:", b"T10:"), Problem.TIME, (ENTRY, ENTRY + 1)),
    "altered with its hash": (forged_node, Problem.TREE, (ENTRY, ENTRY + 2)),
    "deleted": (sql(f'DELETE FROM entries WHERE "index" = {ENTRY}'), Problem.MISSING, (ENTRY, ENTRY + 1)),
    "deleted, the gap closed": (deleted_and_closed_up, Problem.ALTERED, (ENTRY, ENTRY + 1)),
    "inserted": (inserted, Problem.ALTERED, (ENTRY + 1, ENTRY + 2)),
    "reordered": (reordered, Problem.ALTERED, (ENTRY - 1, ENTRY)),
    "truncated": (
        sql(f'DELETE FROM entries WHERE "index" >= {ENTRY}'),
        Problem.MISSING,
        (ENTRY, ENTRY + 1),
    ),
    "surplus": (
        sql(
            'INSERT INTO entries ("index", leaf, entry_id, event, peer, message_id, time_ms) '
            "SELECT 35, leaf, entry_id, event, peer, message_id, time_ms "
            'FROM entries WHERE "index" = 34'
        ),
        Problem.SURPLUS,
        (LAST + 1, LAST + 2),
    ),
    "event beside it": (
        sql(f"UPDATE entries SET event = 'log.read' WHERE \"index\" = {ENTRY}"),
        Problem.COLUMNS,
        (ENTRY, ENTRY + 1),
    ),
    "peer beside it": (
        sql(f'UPDATE entries SET peer = NULL WHERE "index" = {ENTRY}'),
        Problem.COLUMNS,
        (ENTRY, ENTRY + 1),
    ),
    "message beside it": (
        sql(f"UPDATE entries SET message_id = 'x' WHERE \"index\" = {ENTRY}"),
        Problem.COLUMNS,
        (ENTRY, ENTRY + 1),
    ),
    "id beside it": (
        sql(f"UPDATE entries SET entry_id = 'x' WHERE \"index\" = {ENTRY}"),
        Problem.COLUMNS,
        (ENTRY, ENTRY + 1),
    ),
    "time beside it": (
        sql(f'UPDATE entries SET time_ms = time_ms + 1 WHERE "index" = {ENTRY}'),
        Problem.COLUMNS,
        (ENTRY, ENTRY + 1),
    ),
}
ANEW = {
    "altered": (with_tree(altered(b'"ok"', b'"failed"')), Problem.ROOT, WIDE),
    "deleted": (with_tree(deleted_and_closed_up), Problem.ROOT, WIDE),
    "inserted": (with_tree(inserted), Problem.ROOT, WIDE),
    "reordered": (with_tree(reordered), Problem.ROOT, WIDE),
    "altered, checkpoints too": (
        with_tree(altered(b'"ok"', b'"failed"'), put_checkpoints),
        Problem.SIGNATURE,
        WIDE,
    ),
    "altered, checkpoints behind deleted": (
        with_tree(
            altered(b'"ok"', b'"failed"'),
            sql(f"DELETE FROM checkpoints WHERE size >= {BEHIND}", f"UPDATE head SET signed = {BEFORE}"),
        ),
        Problem.UNCOVERED,
        (15, 16),
    ),
}
TREE = {
    "leaf hash": (
        sql(f'UPDATE nodes SET hash = {OTHER} WHERE level = 0 AND "index" = {ENTRY}'),
        Problem.HASH,
        (ENTRY, ENTRY + 1),
    ),
    "leaf hash deleted": (
        sql(f'DELETE FROM nodes WHERE level = 0 AND "index" = {ENTRY}'),
        Problem.HASH,
        (ENTRY, ENTRY + 1),
    ),
    "node": (
        sql(f'UPDATE nodes SET hash = {OTHER} WHERE level = 2 AND "index" = 3'),
        Problem.TREE,
        (12, 16),
    ),
    "node deleted": (sql('DELETE FROM nodes WHERE level = 2 AND "index" = 3'), Problem.TREE, (12, 16)),
    "truncated": (
        sql('DELETE FROM nodes WHERE level = 0 AND "index" >= 12'),
        Problem.HASH,
        (ENTRY, ENTRY + 1),
    ),
    "surplus": (
        sql('INSERT INTO nodes (level, "index", hash) SELECT 5, 1, hash FROM nodes WHERE level = 5'),
        Problem.SURPLUS,
        (LAST + 1, LAST + 2),
    ),
}
HEADS = {
    "checkpoint of another size": (swapped_checkpoints, Problem.CHECKPOINT, WIDE),
    "root of a checkpoint": (
        sql(
            f"UPDATE checkpoints SET text = replace(text, '\n{BEHIND}\n', '\n{BEHIND}\nA') "
            f"WHERE size = {BEHIND}"
        ),
        Problem.SIGNATURE,
        WIDE,
    ),
    "checkpoint deleted": (
        sql(f"DELETE FROM checkpoints WHERE size = {BEHIND}"),
        Problem.UNCOVERED,
        (15, 16),
    ),
    "newest checkpoint deleted": (
        sql("DELETE FROM checkpoints WHERE size = 35"),
        Problem.UNCOVERED,
        (34, 35),
    ),
    "cosigned checkpoint gone": (cosigned_checkpoint_gone, Problem.UNCOVERED, (32, 33)),
    "checkpoint of entries to come": (
        sql("INSERT INTO checkpoints (size, text) SELECT 99, text FROM checkpoints WHERE size = 35"),
        Problem.SURPLUS,
        (LAST + 1, LAST + 2),
    ),
    "root of the head": (
        sql('UPDATE head SET root = (SELECT hash FROM nodes WHERE level = 3 AND "index" = 0)'),
        Problem.HEAD,
        None,
    ),
    "time of the head": (sql("UPDATE head SET time_ms = time_ms + 1"), Problem.HEAD, None),
    "size of the head": (sql("UPDATE head SET size = 34"), Problem.HEAD, None),
}
CASES = {
    f"{what}: {name}": case
    for what, cases in {"entry": ENTRIES, "tree anew": ANEW, "tree": TREE, "head": HEADS}.items()
    for name, case in cases.items()
}


SOME = dict(list(CASES.items())[::6])


@pytest.mark.parametrize("copied", ["sqlite"], indirect=True)
@pytest.mark.parametrize(("tamper", "problem", "where"), CASES.values(), ids=CASES)
async def test_what_was_changed_is_found_with_its_entry(place, tamper, problem, where):
    await find(place, tamper, problem, where)


@pytest.mark.parametrize("copied", ["postgres"], indirect=True)
@pytest.mark.parametrize(("tamper", "problem", "where"), SOME.values(), ids=SOME)
async def test_what_was_changed_is_found_on_postgresql_too(place, tamper, problem, where):
    await find(place, tamper, problem, where)


async def find(place: Place, tamper: Tampering, problem: Problem, where: tuple[int, int] | None) -> None:
    store = await grown(place)
    assert (await store.examine(every_signature=True)).fault is None
    await tamper(place, store)
    fault = (await store.examine()).fault
    assert fault is not None
    assert fault.problem is problem
    assert where is None or (fault.entry, fault.until) == where


@pytest.mark.parametrize("copied", ["sqlite"], indirect=True)
@pytest.mark.parametrize(("tamper", "problem", "where"), CASES.values(), ids=CASES)
async def test_a_node_that_starts_anew_finds_it_too(place, tamper, problem, where):
    store = await grown(place)
    await tamper(place, store)
    await place.close()
    try:
        store = await place.open()
    except Misconfigured:
        return
    found = (await store.examine()).fault
    assert found is not None
    assert found.problem is problem
    assert where is None or (found.entry, found.until) == where


async def test_a_signature_in_the_middle_is_looked_at_when_all_are(place):
    store = await grown(place)
    await unsigned_checkpoint(place, store)
    assert (await store.examine()).fault is None
    fault = (await store.examine(every_signature=True)).fault
    assert fault is not None
    assert (fault.problem, fault.entry, fault.until) == (Problem.SIGNATURE, *WIDE)


@pytest.mark.parametrize("name", ["altered", "deleted", "altered, checkpoints too"])
async def test_a_tree_computed_anew_does_not_start(place, name):
    store = await grown(place)
    await ANEW[name][0](place, store)
    await place.close()
    with pytest.raises(Misconfigured, match=r"another one than was signed|other keys|does not lead"):
        await place.open()


async def test_an_old_copy_is_not_written_to(place):
    """Whoever runs on knows better; a node that starts on it learns it from its peers."""
    store = await grown(place)
    await sql(
        f'DELETE FROM entries WHERE "index" >= {BEHIND}',
        f"DELETE FROM checkpoints WHERE size > {BEHIND}",
        f'DELETE FROM nodes WHERE ("index" + 1) * (1 << level) > {BEHIND}'.replace(
            "<< level", "<< CAST(level AS integer)"
        ),
    )(place, store)
    await put_tree(place, store)
    await place.tamper(f"UPDATE head SET signed = {BEHIND}")
    with pytest.raises(Unavailable, match="put back"):
        await store.record(change())
    assert store.broken


async def test_a_growing_log_is_examined_as_it_was(place):
    store = await grown(place)
    for _ in range(3):
        await store.record(change(entries=7))
        found = await store.examine(every_signature=True)
        assert found.fault is None
        await store.record(Change(name="receive", entries=(answer(),), answers=True))
    assert (await store.examine()).size == LAST + 1 + 24


async def test_an_empty_log_is_sound(place):
    found = await (await place.open()).examine(every_signature=True)
    assert found.fault is None
