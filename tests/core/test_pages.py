"""The pages of docs/messages."""

import re

import schemas
from docs import pages


def test_the_pages_are_as_the_schemas_are_now():
    there = {path.name: path.read_text(encoding="utf-8") for path in pages.FOLDER.glob("*.md")}
    assert there == pages.pages(), "make docs writes them anew"


def test_every_kind_has_a_page_in_one_phase():
    phases = [kind for phase in schemas.load("case-machine")["phases"] for kind in phase["kinds"]]
    assert sorted(phases) == sorted(schemas.KINDS)


def test_links_lead_somewhere():
    for name, text in pages.pages().items():
        for target in re.findall(r"\]\(([^)]+)\)", text):
            assert (pages.FOLDER / target).resolve().exists(), (name, target)


def test_rows_have_as_many_cells_as_their_table():
    for name, text in pages.pages().items():
        for block in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
            counts = {len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}
            assert len(counts) == 1, (name, block)
