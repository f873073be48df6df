"""A node that kills itself with SIGKILL at the n-th passing of a named fail-point.

python -m tests.faults.node --config FILE --kill settle.before_commit:2
"""

import argparse
import os
import signal
from pathlib import Path

from gateway import config
from gateway.app.process import run


class Killer:
    """The probe that ends the process, as a power cut would: nothing is flushed or closed."""

    def __init__(self, point: str, passing: int) -> None:
        self._point, self._left = point, passing

    def reached(self, point: str) -> None:
        if point == self._point:
            self._left -= 1
            if self._left == 0:
                os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--kill", required=True, help="POINT:N")
    options = parser.parse_args()
    point, _, passing = options.kill.rpartition(":")
    run(config.load(options.config), probe=Killer(point, int(passing)))


if __name__ == "__main__":
    main()
