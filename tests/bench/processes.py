"""Processes under measurement: start, stop by id, CPU seconds and peak memory from /proc."""

import os
import signal
import socket
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Self

_TICKS = os.sysconf("SC_CLK_TCK")


def free_port() -> int:
    """Return a loopback port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Process:
    """One child process whose first lines say `ready`."""

    def __init__(self, name: str, argv: list[str], *, folder: Path, ready: int = 1) -> None:
        self.name = name
        self._log = (folder / f"{name}.log").open("wb")
        self._child = subprocess.Popen(
            argv,
            stdout=subprocess.PIPE,
            stderr=self._log,
            stdin=subprocess.DEVNULL,
            text=True,
        )
        self.ready_lines = [self._ready_line() for _ in range(ready)]
        self.reset_peak()

    def _ready_line(self) -> str:
        assert self._child.stdout is not None
        for line in self._child.stdout:
            if line.startswith("ready"):
                return line.strip()
        raise RuntimeError(f"{self.name} ended with {self._child.wait()} before it was ready")

    @property
    def pid(self) -> int:
        return self._child.pid

    def cpu_s(self) -> float:
        """User and system seconds so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return sum(int(field) for field in fields[11:13]) / _TICKS

    def reset_peak(self) -> None:
        """Make the peak of memory count from now."""
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")

    def peak_mib(self) -> float:
        """Peak resident memory since `reset_peak`, MiB."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) / 1024
        raise RuntimeError("no VmHWM in /proc")

    def stop(self, timeout_s: float = 20) -> int:
        """Ask the process to end, by its id; return its exit code."""
        if self._child.poll() is None:
            self._child.send_signal(signal.SIGTERM)
            try:
                self._child.wait(timeout_s)
            except subprocess.TimeoutExpired:
                self._child.kill()
                self._child.wait()
        if self._child.stdout is not None:
            self._child.stdout.close()
        self._log.close()
        return self._child.returncode

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def percentile(values: list[float], share: float) -> float:
    """Nearest-rank percentile; *share* in (0, 1]."""
    ordered = sorted(values)
    return ordered[max(0, min(len(ordered) - 1, round(share * len(ordered) + 0.5) - 1))]


def now_ms() -> float:
    """Milliseconds of a clock that only runs forward."""
    return 1000 * time.perf_counter()
