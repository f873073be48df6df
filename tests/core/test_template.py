import json
import re
import tomllib

import pytest

import schemas
from gateway.cli.toml import WIDTH, template_text
from gateway.core.template import GAP, blank, members, opens, sender
from gateway.web import drafts
from schemas import outline
from tests.support.filling import filled, judged

KINDS = sorted(schemas.KINDS)
UNUSED = re.compile(r"^#(?=[\w\[])", re.MULTILINE)
"""What marks a member that may be left out."""


def text(kind):
    return template_text(kind, members(kind))


def uncommented(kind):
    """Return the template with every member in use."""
    return tomllib.loads(UNUSED.sub("", text(kind)))


def paths(value, path=()):
    """Yield the path of every member of *value*, in lists too."""
    for item in value if isinstance(value, list) else [value]:
        if isinstance(item, dict):
            for name, member in item.items():
                yield (*path, name)
                yield from paths(member, (*path, name))


@pytest.mark.parametrize("kind", KINDS)
def test_a_template_is_toml_and_the_same_as_its_json(kind):
    assert tomllib.loads(text(kind)) == blank(members(kind))


@pytest.mark.parametrize("kind", KINDS)
def test_a_template_has_every_member_there_is(kind):
    expected = [path for path, _ in outline.walk(members(kind))]
    assert sorted(paths(uncommented(kind))) == sorted(expected)


@pytest.mark.parametrize("kind", KINDS)
def test_each_member_may_be_taken_into_use_by_itself(kind):
    """A scalar below no unused header can be uncommented alone, whatever else is."""
    lines = text(kind).splitlines()
    headers = [bool(re.match(r"^#\[", line)) for line in lines]
    for number, line in enumerate(lines):
        if re.match(r"^#\w", line):
            above = max((i for i in range(number) if re.match(r"^#?\[", lines[i])), default=None)
            if above is None or not headers[above]:
                changed = [*lines[:number], line[1:], *lines[number + 1 :]]
                tomllib.loads("\n".join(changed))


@pytest.mark.parametrize("kind", KINDS)
def test_a_template_fits_a_terminal(kind):
    assert max(map(len, text(kind).splitlines())) <= WIDTH + len("# ")


@pytest.mark.parametrize("kind", KINDS)
def test_a_template_explains_what_it_has(kind):
    told = " ".join(line.removeprefix("#").strip() for line in text(kind).splitlines())
    for _, member in outline.walk(members(kind)):
        assert f"{member.title}. {member.description}" in told
        assert all(str(value) in told for value in member.codes)


@pytest.mark.parametrize("kind", KINDS)
def test_gaps_are_told_and_a_template_that_is_filled_in_can_be_sent(kind):
    before = {one.path for one in judged(blank(members(kind))) if one.severity == "error"}
    assert {"/to", "/language", "/own_ref", "/authorised_by/name"} <= before
    draft = filled(kind)
    assert not [one for one in judged(draft) if one.severity == "error"]
    assert drafts.parse_draft(json.dumps(draft).encode()).members["kind"] == kind


def test_a_gap_is_nothing_but_a_gap():
    assert blank(members("status.report"))["body"]["next_update_by"] == GAP
    assert blank(members("closure.confirm"))["body"] == {"decision": GAP}
    answers = blank(members("info.reply"))["body"]
    assert answers == {"answers": [{"item_id": GAP, "text": GAP}], "partial": GAP}


def test_what_a_draft_may_have_is_what_the_hook_takes():
    schema = schemas.load("draft")
    assert set(schema["properties"]) == {*drafts._REQUIRED, *drafts._OPTIONAL}
    assert set(schema["required"]) == set(drafts._REQUIRED)
    defaults = {name: one["default"] for name, one in schema["properties"].items() if "default" in one}
    assert defaults == {name: value for name, value in drafts._DEFAULTS.items() if value != []}


def test_who_sends_and_who_opens():
    assert (sender("request.mla"), sender("acknowledgment"), sender("closure")) == (
        "requesting", "requested", "either",
    )  # fmt: skip
    assert opens("request.mla")
    assert not opens("withdrawal")


def test_a_kind_that_opens_no_case_has_to_name_it():
    assert "case" not in blank(members("request.mla"))
    assert blank(members("withdrawal"))["case"] == GAP
