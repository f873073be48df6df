"""A profile at the command line: complete, readable in a terminal, and harmless."""

import io
import unicodedata

import pytest
from rich.console import Console

from gateway.cli.profile_text import describe_profile
from tests.support.authorities import make_authority
from tests.support.profiles import make_profile

COLUMNS = 100
HOSTILE = "evil\x1b[2J\u202e\x9b \u2028[bold red]x[/] :smile:"


def shown(profile, *, columns=COLUMNS):
    out = io.StringIO()
    console = Console(file=out, width=columns, markup=False, highlight=False, emoji=False)
    describe_profile(console, profile)
    return out.getvalue()


@pytest.mark.parametrize("country", [f"q{letter}" for letter in "mnopqrstuvwxyz"])
def test_a_profile_fits_into_a_terminal(country):
    profile = make_profile(make_authority(f"{country}.justice")).payload
    lines = shown(profile).splitlines()
    assert max(map(len, lines)) <= COLUMNS
    for name in profile["names"].values():
        assert any(name in line for line in lines)
    assert sum("not accepted" in line for line in lines) >= 8 - len(profile["accepts"])


def test_what_an_official_looks_for_is_there():
    text = shown(make_profile(make_authority("qn.justice")).payload, columns=400)
    for part in (
        "+999 1 555 0199",
        "Mon Tue Wed Thu 08:30-17:00; Fri 08:30-14:00 (America/Montevideo)",
        "when urgent, confirmed in writing within 48 hours",
        "acknowledges within 5 days, decides within 45 days",
        "es (preferred), en; in an emergency also pt",
        "diplomatic only",
        "must    Give the file number of the proceeding.",
        "own nationals extradited: if they return to serve the sentence",
        "at most 2,147,483,648 bytes each",
    ):
        assert part in text, part


def test_hostile_text_is_printed_plain():
    profile = dict(make_profile(make_authority("qn.justice")).payload)
    requirement = {"id": "x", "type": "mla", "mandatory": True, "text": {"en": f"one\n{HOSTILE}"}}
    profile |= {"names": {"en": HOSTILE}, "function": {"en": HOSTILE}, "requirements": [requirement]}
    profile["contacts"] = {"general": {"name": HOSTILE}}
    profile["legal_basis"] = {
        **profile["legal_basis"],
        "treaties": [{"instrument": HOSTILE, "types": ["mla"]}],
    }
    text = shown(profile, columns=400)
    odd = {c for c in text if c != "\n" and unicodedata.category(c) in {"Cc", "Cf", "Zl", "Zp"}}
    assert not odd
    assert text.count("[bold red]x[/] :smile:") == 5
    assert "one evil" in text
