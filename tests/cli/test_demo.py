"""`make demo` as it is started: two real nodes, one case, every check held."""

import subprocess
import sys

import pytest


def demo(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "gateway.cli.demo", *words],
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )


@pytest.mark.parametrize(("words", "receipts"), [((), 10), (("--case", "11"), 28)])
def test_the_demo_holds(words, receipts):
    done = demo(*words)
    assert done.returncode == 0, done.stdout
    assert done.stdout.endswith("Every check held.\n")
    assert done.stdout.count("✓ receipt: ") == receipts
    assert "\x1b" not in done.stdout


def test_a_case_that_there_is_not_is_usage():
    assert demo("--case", "99").returncode == 2
