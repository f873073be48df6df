"""Several processes: one on SQLite, several on PostgreSQL."""

import asyncio
import subprocess
import sys

import pytest

from gateway.core.errors import Misconfigured, Stale
from gateway.core.merkle import leaf_hash, root, verify_inclusion
from gateway.core.note import verify_checkpoint
from gateway.core.proof import parse_proof
from gateway.rows import AlarmRow
from gateway.store import SqlStore
from tests.contract.conftest import Place
from tests.support.ears import Ear
from tests.support.rows import OTHER, PEER, alarm, change, message
from tests.support.stores import SQLITE, log_identity

_HOLD = """
import sys
from pathlib import Path
from gateway.store.sqlite import FileLock
lock = FileLock(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


async def test_a_second_process_is_kept_out_of_a_file(tmp_path):
    place = Place(SQLITE, tmp_path)
    with subprocess.Popen(  # noqa: ASYNC220 - a process of our own, that only holds a lock
        [sys.executable, "-c", _HOLD, str(tmp_path / "gateway.db.lock")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as other:
        assert other.stdin is not None
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"

        with pytest.raises(Misconfigured, match="another process"):
            await place.open()
        other.stdin.close()

    await place.open()
    with pytest.raises(Misconfigured, match="another process"):
        await place.open()
    await place.close()


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("mysql://localhost/x", "store.url"),
        ("not a url", "store.url"),
        ("sqlite:///missing/folder/gateway.db", "store.url"),
        ("postgresql://nobody@127.0.0.1:1/x", "let us in"),
    ],
)
async def test_a_store_that_cannot_be_opened_says_so(tmp_path, url: str, says: str):
    with pytest.raises(Misconfigured, match=says):
        await Place(url, tmp_path).open()


async def test_a_file_that_is_no_database_says_so(tmp_path):
    (tmp_path / "gateway.db").write_bytes(b"something else entirely" * 100)

    with pytest.raises(Misconfigured, match="cannot be opened"):
        await Place(SQLITE, tmp_path).open()

    (tmp_path / "gateway.db").unlink()
    place = Place(SQLITE, tmp_path)
    await place.open()
    await place.close()


async def test_two_committers_on_one_database_make_one_log(postgres: Place):
    one, other = await postgres.open(), await postgres.open()

    async def fill(store: SqlStore, name: str) -> list[int]:
        indexes = []
        for n in range(20):
            recorded = await store.record(change(alarm(f"{name}{n}"), answers=n % 3 == 0))
            indexes.append(recorded.entries[0].index)
            if recorded.receipt:
                proof = parse_proof(recorded.receipt.proof)
                checkpoint = verify_checkpoint(proof.checkpoint, log_identity())
                leaf = leaf_hash(recorded.receipt.entry)
                verify_inclusion(leaf, proof.index, checkpoint.size, proof.hashes, checkpoint.root)
        return indexes

    found = await asyncio.gather(fill(one, "a"), fill(other, "b"), fill(one, "c"), fill(other, "d"))

    assert sorted(index for indexes in found for index in indexes) == list(range(80))
    assert len(await other.all(AlarmRow)) == 80
    checkpoint = await one.checkpoint()
    assert await other.checkpoint() == checkpoint, "signed by one, and found by the other"
    assert checkpoint.root == root([leaf_hash(entry.leaf) async for entry in other.leaves(0, 80)])


async def test_a_row_that_another_process_moved_is_stale(postgres: Place):
    one, other = await postgres.open(), await postgres.open()
    await one.record(change(alarm("a")))

    found = await asyncio.gather(
        one.record(change(alarm("a", version=1, detail="one"))),
        other.record(change(alarm("a", version=1, detail="other"))),
        return_exceptions=True,
    )

    assert sorted(isinstance(outcome, Stale) for outcome in found) == [False, True]
    assert not any(isinstance(outcome, Exception) and not isinstance(outcome, Stale) for outcome in found)


async def test_processes_that_start_together_agree_on_one_head(postgres: Place):
    stores = await asyncio.gather(*(postgres.open() for _ in range(4)))

    await asyncio.gather(*(store.record(change()) for store in stores))

    assert {(await store.checkpoint()).size for store in stores} == {4}


async def test_one_process_serves_a_peer_until_it_ends(postgres: Place):
    one, other = await postgres.open(), await postgres.open()

    assert await one.own_route(PEER)
    assert await one.own_route(PEER)
    assert not await other.own_route(PEER)
    assert await other.own_route(OTHER)

    postgres.stores.remove(one)
    await one.close()
    assert await other.own_route(PEER)


async def test_a_route_ends_with_its_connection(postgres: Place):
    one, other = await postgres.open(), await postgres.open()
    assert await one.own_route(PEER)

    session = one._database._routes._connection.get_server_pid()
    await postgres.tamper(f"SELECT pg_terminate_backend({session}, 5000)")

    assert await other.own_route(PEER)
    assert not await one.own_route(PEER)
    assert not await one.own_route(PEER), "connected anew, and not its route any more"


async def test_a_file_has_one_process_for_every_peer(tmp_path):
    place = Place(SQLITE, tmp_path)
    store = await place.open()

    assert await store.own_route(PEER)
    await place.close()


@pytest.fixture
def unpolled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is heard but what is told."""
    monkeypatch.setattr("gateway.store.postgres.POLL_S", 3600)


@pytest.mark.usefixtures("unpolled")
async def test_a_change_of_the_outbox_is_heard_before_its_caller_is_answered(place: Place):
    store = await place.open()
    answered: list[str] = []
    store.on_outbox_change(lambda: answered.append("outbox"))

    await store.record(change(message()))
    answered.append("caller")

    assert answered == ["outbox", "caller"]


@pytest.mark.usefixtures("unpolled")
async def test_what_cannot_be_due_wakes_nobody(place: Place):
    store = await place.open()
    ear = Ear(store)
    await store.record(change(alarm("a")))

    assert ear.count == 0


@pytest.mark.usefixtures("unpolled")
async def test_a_change_of_another_process_is_heard(postgres: Place):
    one, other = await postgres.open(), await postgres.open()
    ear = Ear(other)

    await one.record(change(message()))

    assert await ear.past(0) == 1


async def test_where_others_write_too_the_outbox_is_looked_at_all_the_same(
    postgres: Place, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("gateway.store.postgres.POLL_S", 0.01)
    ear = Ear(await postgres.open())

    assert await ear.past(1) >= 2
