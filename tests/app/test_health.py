"""What is well with a node, part by part."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from gateway.app.health import Health
from gateway.app.identity import Identity
from gateway.config import Keys, Limits, Settings, Storage
from gateway.core.entry import Draft
from gateway.core.errors import Unavailable
from gateway.ports import Change
from gateway.rows import PeerRow, WitnessRow
from gateway.store import SqlStore
from gateway.web.context import Check
from gateway.web.figures import Figures
from tests.support.hooks import Hook, open_hook

WELL = ("database", "log", "keys", "clock", "disk", "peers", "witnesses")


@dataclass
class Node:
    hook: Hook
    health: Health

    async def problems(self) -> dict[str, Check]:
        checks = await self.health.check()
        assert tuple(check.name for check in checks) == WELL
        return {check.name: check for check in checks if check.problem is not None}

    @property
    def store(self) -> SqlStore:
        return self.hook.store


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    (tmp_path / "vault").write_bytes(b"sealed")
    settings = Settings(
        store=Storage(url=f"sqlite:///{tmp_path}/gateway.db", blobs=tmp_path / "blobs"),
        keys=Keys(vault=tmp_path / "vault"),
        limits=Limits(free_disk_bytes=0),
    )
    async with open_hook(tmp_path) as hook:
        health = Health(
            settings=settings,
            store=hook.store,
            directory=hook.context.directory,
            identity=Identity(hook.party.keyring),
            clock=hook.clock,
            sentry=hook.sentry,
        )
        yield Node(hook, health)


async def test_nothing_is_wrong_and_looking_writes_nothing(node):
    before = node.hook.counts()
    assert await node.problems() == {}
    assert node.hook.counts() == before


async def test_a_log_that_is_broken_or_cannot_be_written(node, monkeypatch):
    async def full(_change):
        raise Unavailable("the disk of the database is full")

    with monkeypatch.context() as patched:
        patched.setattr(node.store, "record", full)
        assert await node.problems() == {"log": Check("log", "it cannot be written")}
    assert await node.problems() == {}
    node.store._committer.broken = "the committer has ended"
    assert await node.problems() == {"log": Check("log", "the committer has ended")}
    assert node.health.standing()["log_writable"] == 0


async def test_a_clock_that_has_jumped_is_told_as_such_and_not_as_a_log_that_cannot_be_written(node):
    node.hook.steady.stepped_ms -= 6 * 60_000
    assert set(await node.problems()) == {"clock"}
    node.hook.steady.stepped_ms = 0
    assert await node.problems() == {}


async def test_a_database_that_cannot_be_read_or_does_not_answer(node, monkeypatch):
    async def gone(_index):
        raise Unavailable("the database cannot be read")

    async def silent(_index):
        await asyncio.Event().wait()

    monkeypatch.setattr("gateway.app.health._ANSWER_S", 0.01)
    for database in (gone, silent):
        monkeypatch.setattr(node.store, "entry", database)
        assert await node.problems() == {"database": Check("database", "it cannot be read")}


async def test_a_disk_that_is_full_or_gone(node):
    limits = Limits(free_disk_bytes=2**60)
    node.health = replace(node.health, settings=node.health.settings.model_copy(update={"limits": limits}))
    assert (await node.problems())["disk"] == Check("disk", "less than limits.free_disk_bytes is free")
    gone = Storage(url="sqlite:////nowhere/gateway.db", blobs=Path("/nowhere"))
    node.health = replace(node.health, settings=node.health.settings.model_copy(update={"store": gone}))
    found = (await node.problems())["disk"]
    assert (found.problem, found.vital) == ("a folder of the node cannot be looked at", True)
    assert str(node.health.standing()["disk_free_bytes"]) == "nan"


async def test_keys_that_do_not_fit_the_card(node):
    node.health.identity.adopt(replace(node.hook.party.keyring, tls=()))
    found = (await node.problems())["keys"]
    assert found.vital
    assert "certificate" in str(found.problem)


async def test_a_key_store_that_is_gone_and_a_card_that_has_expired_stop_nothing_yet(node):
    node.hook.clock.time_ms = node.hook.party.card.expires_ms
    found = (await node.problems())["keys"]
    assert not found.vital
    assert "card renew" in str(found.problem)
    assert node.health.standing()["card_expires_seconds"] == 0
    node.health.settings.keys.vault.unlink()
    found = (await node.problems())["keys"]
    assert not found.vital
    assert "gone" in str(found.problem)


async def test_a_peer_that_cannot_be_reached_is_counted_and_stops_nothing(node):
    (row,) = await node.store.all(PeerRow)
    await node.store.record(Change(name="peer", puts=(replace(row, attempt=3, problem="unreachable"),)))
    await node.hook.context.directory.refresh()
    told = Check("peers", "1 of 1 active peers cannot be reached now", vital=False)
    assert await node.problems() == {"peers": told}
    assert row.authority not in str(told)
    standing = node.health.standing()
    assert (standing["peers_active"], standing["peers_unreachable"]) == (1, 1)


async def test_every_figure_of_what_stands_has_its_gauge(node):
    backlog = await node.store.backlog()
    text = Figures().exposition(backlog, 0, **node.health.standing()).decode()
    for name in node.health.standing():
        assert f"\nart18_{name} " in text


async def test_a_log_that_grows_and_nobody_cosigns(node):
    size = await node.store.log_size()
    row = WitnessRow(
        name="qp-justice.example/witness", version=0, size=size, cosigned_ms=node.hook.clock.time_ms
    )
    await node.store.record(Change(name="cosigned", puts=(row,)))
    node.hook.clock.time_ms += 3_600_001
    assert await node.problems() == {}
    await node.store.record(Change(name="test", entries=(Draft(event="log.read", outcome="ok"),)))
    assert await node.problems() == {
        "witnesses": Check("witnesses", "nobody has cosigned the log for an hour", vital=False)
    }
