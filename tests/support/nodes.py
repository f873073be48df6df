"""Real node processes for tests: set up, started, asked through the hook, ended by their id."""

import asyncio
import json
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import aiohttp

from keys.passwords import LEAST
from keys.vault import read_passphrase, read_vault, write_vault

READY_DOORS = 2


def free_port() -> int:
    """Return a loopback port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def art18(*words: str, code: int = 0) -> str:
    """Run the command line as a user would; return standard output."""
    done = subprocess.run(
        [sys.executable, "-m", "gateway", *words], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == code, f"art18 {words[0]}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@dataclass(frozen=True)
class Place:
    """A data folder of an authority and the ports of its doors."""

    folder: Path
    id: str
    federation: int
    hook: int

    @property
    def config(self) -> str:
        return str(self.folder / "config.toml")

    @property
    def token(self) -> str:
        return (self.folder / "cli.token").read_text().strip()

    def copied(self, folder: Path) -> "Place":
        """Return the same authority with a copy of its data folder."""
        shutil.copytree(self.folder, folder)
        return replace(self, folder=folder)


def set_up(folder: Path, authority: str) -> Place:
    """Make a data folder with the real `init`."""
    place = Place(folder=folder, id=authority, federation=free_port(), hook=free_port())
    country = authority[:2].upper()
    art18(
        "init", str(folder), "--authority", authority, "--country", country, "--name", f"Example {country}",
        "--domain", f"{authority.replace('.', '-')}.example",
        "--endpoint", f"https://127.0.0.1:{place.federation}",
        "--federation-port", str(place.federation), "--hook-port", str(place.hook),
    )  # fmt: skip
    cheapen(folder)
    return place


def cheapen(folder: Path) -> None:
    """Let the key store of a node cost little to open: it is opened at every start."""
    vault, passphrase = folder / "vault", read_passphrase(folder / "passphrase")
    write_vault(vault, read_vault(vault, passphrase), passphrase, strength=LEAST, replace=True)


class Node:
    """One node process, and a client of its hook."""

    def __init__(self, place: Place, child: subprocess.Popen[str]) -> None:
        self.place, self._child = place, child

    @classmethod
    async def started(cls, place: Place, *, kill: str | None = None) -> "Node":
        """Start the node; with *kill* (`POINT:N`) it ends itself there."""
        module = ["gateway", "run"] if kill is None else ["tests.faults.node"]
        argv = [sys.executable, "-m", *module, "--config", place.config]
        if kill is not None:
            argv += ["--kill", kill]
        return cls(place, await asyncio.to_thread(cls._started, argv, place))

    @classmethod
    def _started(cls, argv: list[str], place: Place) -> subprocess.Popen[str]:
        with (place.folder / "node.log").open("ab") as log:
            child = subprocess.Popen(
                argv, stdout=subprocess.PIPE, stderr=log, stdin=subprocess.DEVNULL, text=True
            )
        cls._wait_ready(child, place)
        return child

    @staticmethod
    def _wait_ready(child: subprocess.Popen[str], place: Place) -> None:
        assert child.stdout is not None
        ready = 0
        for line in child.stdout:
            ready += line.startswith("ready ")
            if ready == READY_DOORS:
                return
        log = (place.folder / "node.log").read_text()[-3000:]
        raise AssertionError(f"{place.id} ended with {child.wait()} before it was ready:\n{log}")

    async def died(self) -> int:
        """Return the exit code once the process has ended."""
        return await asyncio.to_thread(self._child.wait, 60)

    @property
    def running(self) -> bool:
        return self._child.poll() is None

    async def stop(self) -> int:
        """End the process by its id and return its exit code."""
        if self.running:
            self._child.send_signal(signal.SIGTERM)
        try:
            return await asyncio.to_thread(self._child.wait, 30)
        except subprocess.TimeoutExpired:
            self._child.kill()
            raise
        finally:
            if self._child.stdout is not None:
                self._child.stdout.close()

    async def call(
        self, method: str, path: str, body: object = None, *, headers: dict[str, str] | None = None
    ) -> tuple[int, object]:
        """Ask the hook; return status and decoded JSON (or None)."""
        async with (
            aiohttp.ClientSession() as session,
            session.request(
                method,
                f"http://127.0.0.1:{self.place.hook}/v1{path}",
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


async def eventually(what: Callable[[], object], *, timeout_s: float = 30) -> None:
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
