"""Authorities under measurement: real data folders, real nodes as processes."""

import json
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.bench.processes import Process, free_port


def art18(*words: str) -> str:
    """Run the command line; return what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "gateway", *words], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"art18 {words[0]} failed with {done.returncode}: {done.stderr}")
    return done.stdout


class Authority:
    """A node with its own data folder."""

    def __init__(self, folder: Path, authority: str, country: str) -> None:
        self.id, self.folder = authority, folder / country.lower()
        self.config = str(self.folder / "config.toml")
        federation, hook, console = free_port(), free_port(), free_port()
        art18(
            "init", str(self.folder), "--authority", authority, "--country", country, "--name", authority,
            "--domain", f"{country.lower()}.example", "--endpoint", f"https://127.0.0.1:{federation}",
            "--federation-port", str(federation), "--hook-port", str(hook), "--console-port", str(console),
        )  # fmt: skip
        self.hook = f"http://127.0.0.1:{hook}/v1"
        self.token = (self.folder / "cli.token").read_text().strip()

    def start(self) -> Process:
        argv = [sys.executable, "-m", "gateway", "run", "--config", self.config]
        return Process(self.id, argv, folder=self.folder, ready=3)

    def knows(self, other: "Authority") -> None:
        card = str(self.folder / f"{other.id}.card")
        art18("card", "export", card, "--config", other.config)
        shown = json.loads(art18("card", "show", "--output", "json", "--config", other.config))
        art18(
            "peers",
            "add",
            card,
            "--id",
            other.id,
            "--fingerprint",
            shown["fingerprint"],
            "--config",
            self.config,
        )

    def database(self) -> sqlite3.Connection:
        return sqlite3.connect(f"file:{self.folder / 'gateway.db'}?mode=ro", uri=True)

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}


@contextmanager
def authorities() -> Iterator[tuple[Path, Authority, Authority]]:
    """Give a folder with two authorities that have pinned each other; their nodes are down."""
    with tempfile.TemporaryDirectory(prefix="art18-bench-") as name:
        folder = Path(name)
        sender, recipient = Authority(folder, "qo.justice", "QO"), Authority(folder, "qp.justice", "QP")
        with recipient.start(), sender.start():  # the first start of each makes its tables
            sender.knows(recipient)
            recipient.knows(sender)
        yield folder, sender, recipient
