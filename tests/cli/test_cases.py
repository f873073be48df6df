"""The sample cases, whole: each between two real nodes, sent and fetched by the command line, to its end."""

from io import StringIO
from itertools import groupby

import pytest
from rich.console import Console

import schemas
from gateway.cli.demo.authority import Authority
from gateway.cli.demo.story import Story


def parties(case: dict) -> tuple[str, str]:
    return case["parties"]["requesting"], case["parties"]["requested"]


CASES = sorted((schemas.sample(number) for number in range(1, 11)), key=parties)
TOGETHER = [list(cases) for _, cases in groupby(CASES, parties)]
"""Cases between the same two authorities are played one after another, between the same two nodes."""


@pytest.mark.parametrize("cases", TOGETHER, ids=lambda cases: "-".join(str(case["number"]) for case in cases))
def test_every_sample_case_is_played_to_its_end(cases, tmp_path):
    console = Console(file=StringIO(), soft_wrap=True)
    requesting, requested = (Authority(tmp_path, name) for name in parties(cases[0]))
    try:
        Story(console, requesting, requested).play(*cases)
    finally:
        for side in (requesting, requested):
            side.kill()
    steps = [step for case in cases for step in case["steps"]]
    assert all(case["steps"][-1]["state"] == "closed" for case in cases)
    told = console.file.getvalue()
    assert told.count("both sides: the case is closed") == len(cases)
    assert told.count("its body is what was drafted") == len(steps)
    assert told.count("as it was sent") == sum(len(step["attachments"]) for step in steps)
    assert told.count("✓ receipt: ") == 2 * len(steps)
    assert told.count("has fetched and verified profile 1") == 2
