"""The start of a node, in this process: what it records, and when."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from click.testing import CliRunner

from gateway.app import node
from gateway.app.identity import read_keyring
from gateway.app.node import Outside, Stopped, running
from gateway.app.own_card import read_card
from gateway.app.system import SystemEntropy
from gateway.cli.program import art18
from gateway.config import load
from gateway.core.card import fingerprint
from gateway.core.errors import Misconfigured, Stale
from gateway.core.ids import AuthorityId
from gateway.core.note import sign_checkpoint
from gateway.ports import Change, Unprobed
from gateway.rows import WitnessedRow
from tests.support.authorities import NOW_MS, FixedClock, FixedSteady, make_authority, pin
from tests.support.doors import Door, open_door
from tests.support.nodes import Place, eventually, set_up

OFF_MS = 6 * 60_000
US, PEER = AuthorityId("qo.justice"), AuthorityId("qn.justice")


@dataclass
class Machine:
    """A node that is started and stopped in this process, and its peer's door."""

    place: Place
    far: Door
    clock: FixedClock = field(default_factory=FixedClock)
    steady: FixedSteady = field(default_factory=FixedSteady)

    @contextlib.asynccontextmanager
    async def running(self, *, unwitnessed: str | None = None) -> AsyncIterator[node.Running]:
        outside = Outside(clock=self.clock, entropy=SystemEntropy(), probe=Unprobed(), steady=self.steady)
        async with running(load(Path(self.place.config)), outside, unwitnessed) as found:
            yield found

    async def ask(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        headers = {"Authorization": f"Bearer {self.place.token}"}
        url = f"http://127.0.0.1:{self.place.hook}{path}"
        async with (
            aiohttp.ClientSession() as session,
            session.request(method, url, json=body, headers=headers) as answer,
        ):
            raw = await answer.read()
            return answer.status, json.loads(raw) if raw else None

    async def events(self) -> list[str]:
        """Return the events of the log, but for those of reading it."""
        _, listed = await self.ask("GET", "/v1/audit/entries?limit=200")
        found = [json.loads(item["entry"])["event"] for item in listed["items"]]
        return [event for event in found if event != "log.read"]

    @property
    def origin(self) -> str:
        return read_card(load(Path(self.place.config)).keys.card).log.origin

    async def show(self, size: int | None) -> None:
        """Let the peer hold a checkpoint of *size* that our keys have signed; None for none."""
        settings = load(Path(self.place.config))
        card = read_card(settings.keys.card)
        keyring = await read_keyring(settings.keys)
        while True:
            row = await self.far.store.get(WitnessedRow, card.log.origin)
            change = Change(name="witness", deletes=() if row is None else (row,))
            if size is not None:
                checkpoint = sign_checkpoint(card.log.origin, size, b"x" * 32, NOW_MS, keyring.log)
                shown = WitnessedRow(
                    origin=card.log.origin, version=0 if row is None else row.version, peer=US, size=size,
                    text=checkpoint.text, cosignatures="", witnessed_ms=NOW_MS,
                )  # fmt: skip
                change = Change(name="witness", puts=(shown,))
            with contextlib.suppress(Stale):  # the node has just had another one cosigned
                await self.far.store.record(change)
                return


@pytest.fixture
async def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Machine]:
    """A node that has pinned its peer, and has been stopped."""
    monkeypatch.setattr(node, "_WATCH_S", 0.1)
    monkeypatch.setattr(node, "_STOP_S", 0.05)
    place = await asyncio.to_thread(set_up, tmp_path / "qo", US)
    async with open_door(tmp_path / "qn", make_authority(PEER)) as far:
        machine = Machine(place, far)
        card = read_card(load(Path(place.config)).keys.card)
        await pin(far.store, card)
        await far.context.directory.refresh()
        theirs = far.party.card
        async with machine.running():
            said = {"card": theirs.raw.decode(), "id": PEER, "fingerprint": fingerprint(theirs)}
            status, answer = await machine.ask("POST", "/v1/peers", said)
            assert status == 201, answer
        yield machine


async def test_a_start_is_recorded_once_the_peers_have_been_asked(machine: Machine):
    async with machine.running():
        assert (await machine.events())[-1] == "node.started"
        assert (await machine.ask("GET", "/readyz?verbose"))[0] == 200


async def test_while_the_clock_is_doubted_a_node_runs_and_records_nothing(machine: Machine):
    """Its doors are open, so that somebody can look, and say that the clock is right."""
    async with machine.running():
        before = await machine.events()
    machine.clock.time_ms += OFF_MS
    async with machine.running() as found:
        status, ready = await machine.ask("GET", "/readyz?verbose")
        assert (status, ready["checks"]["clock"]["ok"], ready["checks"]["log"]["ok"]) == (503, False, True)
        assert (await machine.ask("POST", f"/v1/peers/{PEER}/suspend"))[0] == 503
        done = await asyncio.to_thread(
            CliRunner().invoke,
            art18,
            ["audit", "confirm-clock", "--by", "Example Operator One", "--config", machine.place.config],
        )
        assert done.exit_code == 0, done.output

        async def started() -> bool:
            return (await machine.events())[len(before) :] == ["clock.confirmed", "node.started"]

        await eventually(started, timeout_s=20)
        assert not any(worker.done() for worker in found.workers)


async def test_an_old_copy_does_not_start_and_leaves_the_log_as_it_is(machine: Machine):
    async with machine.running():
        before = await machine.events()
    await machine.show(99)
    for override in (None, "there is nobody else"):
        with pytest.raises(Misconfigured, match=f"{PEER} holds a checkpoint of 99"):
            async with machine.running(unwitnessed=override):
                pass
    await machine.show(None)
    async with machine.running():
        assert await machine.events() == [*before, "node.started"]


async def test_a_node_that_meets_somebody_who_knows_more_is_stopped(machine: Machine):
    async with machine.running() as found:
        await machine.show(99)
        await machine.events()  # reading is logged: there is something to be cosigned
        await machine.ask("POST", "/v1/audit/witnesses")
        with pytest.raises(Stopped, match="old copy"):
            await asyncio.wait_for(found.until(asyncio.Event()), 20)


async def test_a_restored_node_insists_on_a_peer_that_knows_its_log(machine: Machine):
    mark = machine.place.folder / "restored"
    await asyncio.to_thread(mark.touch)
    await machine.show(None)
    with pytest.raises(Misconfigured, match="--unwitnessed REASON"):
        async with machine.running():
            pass
    assert await asyncio.to_thread(mark.exists)
    async with machine.running(unwitnessed="nobody is there yet"):
        assert not await asyncio.to_thread(mark.exists)
        assert (await machine.events())[-2:] == ["log.unwitnessed", "node.started"]
        await machine.ask("POST", "/v1/audit/witnesses")
        await eventually(partial(machine.far.store.get, WitnessedRow, machine.origin), timeout_s=20)

    await asyncio.to_thread(mark.touch)
    async with machine.running(unwitnessed="it is not needed"):
        assert not await asyncio.to_thread(mark.exists), "a peer agrees"
        assert (await machine.events()).count("log.unwitnessed") == 1
