"""A node in a process of its own, forked from one that has loaded everything: a start costs no imports.

With `kill` (`POINT:N`) it ends itself with SIGKILL at the n-th passing of a named fail-point.
"""

import os
import signal
import sys
from pathlib import Path

from gateway import config
from gateway.app.process import run
from gateway.core.errors import GatewayFault


class Killer:
    """The probe that ends the process, as a power cut would: nothing is flushed or closed."""

    def __init__(self, point: str, passing: int) -> None:
        self._point, self._left = point, passing

    def reached(self, point: str) -> None:
        if point == self._point:
            self._left -= 1
            if self._left == 0:
                os.kill(os.getpid(), signal.SIGKILL)


def serve(config_file: str, kill: str | None, unwitnessed: str | None = None) -> None:
    """Run the node of *config_file*; its `ready` lines go to node.ready beside it, its log to node.log."""
    folder = Path(config_file).parent
    for number, name, flags in (
        (1, "node.ready", os.O_TRUNC),
        (2, "node.log", os.O_APPEND),
    ):
        handle = os.open(folder / name, os.O_WRONLY | os.O_CREAT | flags, 0o600)
        os.dup2(handle, number)
        os.close(handle)
    sys.stdout = os.fdopen(1, "w", closefd=False)
    sys.stderr = os.fdopen(2, "w", closefd=False)
    probe = None
    if kill is not None:
        point, _, passing = kill.rpartition(":")
        probe = Killer(point, int(passing))
    try:
        run(config.load(Path(config_file)), probe=probe, unwitnessed=unwitnessed)
    except GatewayFault as fault:
        raise SystemExit(str(fault)) from None
