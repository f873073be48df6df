"""The page about the machine, docs/case-machine.md, is what the table gives."""

import re

from docs.machine import PAGE, page
from gateway.core.machine import MACHINE


def test_the_page_is_current():
    assert PAGE.read_text(encoding="utf-8") == page(), "run `make docs`"


def test_the_diagram_shows_every_state_and_the_table_every_move():
    text = page()
    diagram = text.split("```")[1]
    shown = set(re.findall(r"\w+", diagram))
    matrix = text.split("## A request in hand")[1].split("## By state")[0]
    rows = set(re.findall(r"^\| \*\*(\w+)\*\*", matrix, re.MULTILINE))
    assert shown | rows >= set(MACHINE.states) - {MACHINE.initial.state}
    table = text.split("## By state")[1]
    for state in MACHINE.states:
        section = table.split(f"**{state}**")[1].split("**")[0]
        for move in MACHINE.moves:
            if state in move.sources:
                assert f"`{move.kind}`" in section, (state, move.kind)
