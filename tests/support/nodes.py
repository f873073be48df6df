"""Real node processes for tests: set up, started, asked through the hook, ended by their id."""

import asyncio
import contextlib
import json
import multiprocessing
import shutil
import socket
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing.process import BaseProcess
from pathlib import Path
from unittest import mock

import aiohttp
from click.testing import CliRunner

from gateway.app import epoch
from gateway.cli import card, foundation, program
from keys.passwords import LEAST
from tests.faults.node import serve

READY_DOORS = 3
_LOOK_S = 0.02
_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(["tests.faults.node", "gateway.app.node"])


def free_port() -> int:
    """Return a loopback port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def art18(*words: str) -> str:
    """Run a command as a user would, but in this process; return standard output."""
    done = CliRunner().invoke(program.art18, list(words))
    assert done.exit_code == 0, f"art18 {words[0]}: {done.exit_code}\n{done.output}"
    return done.stdout


@contextlib.contextmanager
def cheap_passphrases() -> Iterator[None]:
    """Let key stores that are made in this process cost little: what is tested is what is in them."""
    with contextlib.ExitStack() as patched:
        for module, name in (
            (foundation, "write_vault"),
            (foundation, "write_root"),
            (card, "write_vault"),
            (epoch, "write_vault"),
        ):
            cheap = partial(getattr(module, name), strength=LEAST)
            patched.enter_context(mock.patch.object(module, name, cheap))
        yield


@dataclass(frozen=True)
class Place:
    """A data folder of an authority and the ports of its doors."""

    folder: Path
    id: str
    federation: int
    hook: int
    console: int
    endpoint: int
    """The port that its card names: where peers call, perhaps over a line that leads to its own."""

    @property
    def config(self) -> str:
        return str(self.folder / "config.toml")

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.hook}/v1"

    @property
    def token(self) -> str:
        return (self.folder / "cli.token").read_text().strip()

    def elsewhere(self, folder: Path) -> "Place":
        """Return the same authority with a copy of its data folder, and doors at other ports."""
        place = replace(self.copied(folder), federation=free_port(), hook=free_port(), console=free_port())
        path = Path(place.config)
        text = path.read_text()
        for old, new in zip(self.ports, place.ports, strict=True):
            assert text.count(f"port = {old}\n") == 1
            text = text.replace(f"port = {old}\n", f"port = {new}\n")
        path.write_text(text)
        return place

    @property
    def ports(self) -> tuple[int, int, int]:
        return self.federation, self.hook, self.console

    def copied(self, folder: Path) -> "Place":
        """Return the same authority with a copy of its data folder."""
        shutil.copytree(self.folder, folder)
        return replace(self, folder=folder)


def set_up(folder: Path, authority: str, *, endpoint: int | None = None) -> Place:
    """Make a data folder with the real `init`; *endpoint* is a port that leads to the federation door."""
    federation = free_port()
    place = Place(folder, authority, federation, free_port(), free_port(), endpoint or federation)
    country = authority[:2].upper()
    with cheap_passphrases():
        art18(
            "init", str(folder), "--authority", authority, "--country", country, "--name",
            f"Example {country}", "--domain", f"{authority.replace('.', '-')}.example",
            "--endpoint", f"https://127.0.0.1:{place.endpoint}",
            "--federation-port", str(place.federation), "--hook-port", str(place.hook),
            "--console-port", str(place.console),
        )  # fmt: skip
    return place


class Node:
    """One node process, and a client of its hook."""

    def __init__(self, place: Place, child: BaseProcess) -> None:
        self.place, self._child = place, child

    @classmethod
    async def started(
        cls, place: Place, *, kill: str | None = None, unwitnessed: str | None = None
    ) -> "Node":
        """Start the node; with *kill* (`POINT:N`) it ends itself there."""
        return cls(place, await asyncio.to_thread(cls._started, place, kill, unwitnessed))

    @staticmethod
    def _started(place: Place, kill: str | None, unwitnessed: str | None) -> BaseProcess:
        lines = place.folder / "node.ready"
        lines.unlink(missing_ok=True)
        child = _FORKS.Process(target=serve, args=(place.config, kill, unwitnessed), daemon=True)
        child.start()
        while not lines.exists() or lines.read_text().count("ready ") < READY_DOORS:
            child.join(_LOOK_S)
            if child.exitcode is not None:
                log = (place.folder / "node.log").read_text()[-3000:]
                raise AssertionError(f"{place.id} ended with {child.exitcode} before it was ready:\n{log}")
        return child

    @property
    def pid(self) -> int:
        assert self._child.pid is not None
        return self._child.pid

    @property
    def running(self) -> bool:
        return self._child.exitcode is None

    async def died(self) -> int:
        """Return the exit code once the process has ended."""
        await asyncio.to_thread(self._child.join, 60)
        assert self._child.exitcode is not None
        return self._child.exitcode

    def kill(self) -> None:
        """End the process by its id, as a power cut would."""
        self._child.kill()

    async def stop(self) -> int:
        """End the process by its id and return its exit code."""
        if self.running:
            self._child.terminate()
        await asyncio.to_thread(self._child.join, 30)
        if self._child.exitcode is None:
            self._child.kill()
            raise TimeoutError(f"{self.place.id} does not stop")
        return self._child.exitcode

    async def call(
        self, method: str, path: str, body: object = None, *, headers: dict[str, str] | None = None
    ) -> tuple[int, object]:
        """Ask the hook; return status and decoded JSON (or None)."""
        async with (
            aiohttp.ClientSession() as session,
            session.request(
                method,
                f"{self.place.base}{path}",
                json=body,
                headers={"Authorization": f"Bearer {self.place.token}", **(headers or {})},
            ) as answer,
        ):
            raw = await answer.read()
            return answer.status, json.loads(raw) if raw else None


def pinned(one: Node, other: Node) -> None:
    """Let the operators of both nodes hold their ceremony."""
    for here, there in ((one.place, other.place), (other.place, one.place)):
        card = str(here.folder / f"{there.id}.card")
        art18("card", "export", card, "--config", there.config)
        shown = json.loads(art18("card", "show", "--output", "json", "--config", there.config))
        art18(
            "peers",
            "add",
            card,
            "--id",
            there.id,
            "--fingerprint",
            shown["fingerprint"],
            "--config",
            here.config,
        )


def two_places(folder: Path, one: str, other: str) -> tuple[Place, Place]:
    """Set up two authorities that have pinned each other, as folders to copy."""
    places = set_up(folder / one.partition(".")[0], one), set_up(folder / other.partition(".")[0], other)

    async def ceremony() -> None:
        nodes = [await Node.started(place) for place in places]
        try:
            await asyncio.to_thread(pinned, *nodes)
        finally:
            assert [await node.stop() for node in nodes] == [0, 0]

    asyncio.run(ceremony())
    return places


async def eventually(what: Callable[[], object], *, timeout_s: float = 90) -> None:
    """Wait until *what* (may be a coroutine function) gives something true; fail by the deadline.

    For other processes only, whose progress no clock of ours drives.
    """
    async with asyncio.timeout(timeout_s):
        while True:
            outcome = what()
            if asyncio.iscoroutine(outcome):
                outcome = await outcome
            if outcome:
                return
            await asyncio.sleep(0.05)


async def all_accepted(sender: Node, ids: Iterable[str]) -> bool:
    """Return whether the peer has accepted them all; each that it has not is tried again now."""
    done = True
    for id_ in ids:
        _, message = await sender.call("GET", f"/messages/{id_}")
        if message["state"] == "queued":
            done = False
            await sender.call("POST", f"/messages/{id_}/retry")
        else:
            assert message["state"] == "accepted"
    return done
