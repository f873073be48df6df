"""One authority of the demo: its data folder, its node as a process, its command line."""

import contextlib
import io
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import schemas
from gateway.cli.hook import Hook
from gateway.cli.program import art18
from gateway.cli.session import Session
from gateway.cli.terminal import Terminal

_DOORS = 3
_READY_S = 30.0
_STOP_S = 20.0
_WAIT_S = 20.0
_LOOK_S = 0.05
_LAST_BYTES = 2000


class Broken(Exception):
    """A check of the demo does not hold."""


class Authority:
    """An authority with a node of its own; everything is done through its command line or its hook."""

    def __init__(self, parent: Path, authority: str) -> None:
        self.id = authority
        self.country = authority[:2].upper()
        self.folder = parent / authority
        self.config = self.folder / "config.toml"
        self.doors: dict[str, str] = {}
        self._node: subprocess.Popen[bytes] | None = None

    def set_up(self) -> str:
        """Run `art18 init`; return the fingerprint of the root key."""
        federation, hook, console = _free_ports(3)
        slug = self.id.partition(".")[2]
        options = {
            "authority": self.id,
            "country": self.country,
            "name": f"Central authority of {self.country}",
            "domain": f"{slug}.{self.country.lower()}.example",
            "endpoint": f"https://127.0.0.1:{federation}",
            "federation-port": str(federation),
            "hook-port": str(hook),
            "console-port": str(console),
        }
        words = [word for name, value in options.items() for word in (f"--{name}", value)]
        return str(self.art18("init", str(self.folder), *words)["fingerprint"])

    def art18(self, *words: str) -> dict[str, Any]:
        """Run a command of `art18` for this authority and return what it prints as JSON.

        Raises:
            ClickException: it failed.
        """
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            art18.main(
                ["--config", str(self.config), "--output", "json", *words],
                prog_name="art18",
                standalone_mode=False,
            )
        found: dict[str, Any] = json.loads(printed.getvalue())
        return found

    def publish(self) -> dict[str, Any]:
        """Run `art18 profile publish` with the country's sample profile; return what is in force."""
        name = f"profile-{self.country.lower()}.json"
        file = self.folder / name
        file.write_bytes(schemas.sample_file(name))
        return self.art18("profile", "publish", str(file))

    def hook(self) -> Hook:
        """Return the hook of the node."""
        return Session(self.config, Terminal(json=True)).hook()

    def start(self) -> None:
        """Start `art18 run`, in a session of its own: Ctrl-C is for the demo alone."""
        with (self.folder / "node.log").open("wb") as log:
            self._node = subprocess.Popen(  # noqa: S603 - our own program
                [sys.executable, "-m", "gateway", "run", "--config", str(self.config)],
                stdout=subprocess.PIPE,
                stderr=log,
                stdin=subprocess.DEVNULL,
                bufsize=0,  # what is read stays in step with what select sees
                env={**os.environ, "ART18_FEDERATION__HOST": "127.0.0.1"},
                start_new_session=True,
            )

    def until_ready(self) -> None:
        """Return once every door is open. Raises Broken."""
        node, deadline = self._running(), time.monotonic() + _READY_S
        assert node.stdout is not None  # noqa: S101 - it was started with a pipe
        while len(self.doors) < _DOORS:
            if not select.select([node.stdout], [], [], max(0.0, deadline - time.monotonic()))[0]:
                raise Broken(f"the node of {self.id} is not ready after {_READY_S:.0f} s")
            line = node.stdout.readline()
            if not line:
                raise Broken(f"the node of {self.id} ended with {node.wait()} before it was ready")
            _, door, address = line.decode().split()
            self.doors[door] = address

    def until(self, what: Callable[[], Mapping[str, Any] | None], *, failing: str) -> Mapping[str, Any]:
        """Return what *what* gives once it gives something; *failing* says what did not come."""
        deadline = time.monotonic() + _WAIT_S
        while time.monotonic() < deadline:
            found = what()
            if found is not None:
                return found
            time.sleep(_LOOK_S)
        raise Broken(f"{failing} after {_WAIT_S:.0f} s")

    def stop(self) -> None:
        """End the node by SIGTERM. Raises Broken unless it ends well and in time."""
        node = self._running()
        node.send_signal(signal.SIGTERM)
        try:
            code = node.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            raise Broken(f"the node of {self.id} does not stop") from None
        self.kill()
        if code:
            raise Broken(f"the node of {self.id} ended with {code}")

    def kill(self) -> None:
        """Leave no process behind, whatever happened."""
        if self._node is None:
            return
        if self._node.poll() is None:
            self._node.kill()
            self._node.wait()
        if self._node.stdout is not None:
            self._node.stdout.close()
        self._node = None
        self.doors.clear()

    def last_words(self) -> str:
        """Return the end of the node's log."""
        log = self.folder / "node.log"
        if not log.exists():
            return ""
        return f"-- {self.id}\n" + log.read_bytes()[-_LAST_BYTES:].decode("utf-8", "replace")

    def _running(self) -> subprocess.Popen[bytes]:
        if self._node is None:
            raise Broken(f"the node of {self.id} was not started")
        return self._node


def _free_ports(count: int) -> list[int]:
    """Return loopback ports that were free a moment ago."""
    with contextlib.ExitStack() as opened:
        probes = [opened.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]
