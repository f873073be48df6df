"""Writes docs/messages from the schemas and the case machine: one page for each kind, and an index.

`make docs` runs it; a test compares what it would write with what is there.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import schemas
from gateway.core.machine import MACHINE, Move
from gateway.core.template import members, sender
from schemas.outline import Member, Need, outline, walk
from schemas.wording import by_article, code, listed
from tests.support import bodies, conduct

FOLDER = Path(__file__).parent / "messages"
"""Where the pages lie."""

_SIDES: Mapping[str, str] = {
    "requesting": "requesting authority",
    "requested": "requested authority",
    "either": "either authority",
    "other": "the side that did not make the move into the present state",
}
_TARGETS: Mapping[str, str] = {"same": "no other state", "before": "the state before"}
_HEADS = ("Member", "Form", "Needed", "Article", "Meaning")
_READING = """\
*Required*: without it there is no message. *Demanded*: an article asks for it; a node does not send
without, unless an operator overrides that with a reason. *Expected*: a warning is told without.
`[]` stands for each item of a list. `art18 new KIND` prints a draft to fill in, `art18 validate FILE`
checks one."""


def pages() -> dict[str, str]:
    """Return every page by its file name."""
    return {"README.md": _index(), **{f"{kind}.md": _page(kind) for kind in sorted(schemas.KINDS)}}


def write() -> None:
    """Write the pages, and take away those of kinds that are no more."""
    found = pages()
    FOLDER.mkdir(exist_ok=True)
    for path in FOLDER.glob("*.md"):
        if path.name not in found:
            path.unlink()
    for name, text in found.items():
        (FOLDER / name).write_text(text, encoding="utf-8")


def _index() -> str:
    phases = schemas.load("case-machine")["phases"]
    lines = [
        _written_from("schemas/"),
        "# Messages",
        "",
        "Every kind of message, in the order in which a case has them. The tables are written from the",
        "[schemas](../../schemas/) and the case machine, which has a [page](../case-machine.md) of its own.",
        "",
        *_READING.splitlines(),
    ]
    for phase in phases:
        rows = [
            (f"[`{kind}`]({kind}.md)", schemas.load(f"kinds/{kind}")["title"], _SIDES[sender(kind)])
            for kind in phase["kinds"]
        ]
        lines += ["", f"## {phase['title']}", "", *_table(("Kind", "Title", "Sent by"), rows)]
    frame = [member for member in outline("draft").members if member.name != "body"]
    forms = [
        (one["title"].lower(), one["description"])
        for one in schemas.load("defs")["$defs"].values()
        if one.get("type", "object") != "object"
    ]
    states = [(code(state), meaning) for state, meaning in MACHINE.states.items()]
    lines += [
        *("", "## What every draft has", ""),
        "Beside the body, which its kind describes; a kind that opens no case has to name its `case`.",
        *("", *_members(frame)),
        *("", "## Forms", "", *_table(("Form", "Is"), forms)),
        *("", "## States of a case", "", *_table(("State", "Meaning"), states)),
    ]
    return _text(lines)


def _page(kind: str) -> str:
    schema = schemas.load(f"kinds/{kind}")
    body = next(member for member in members(kind) if member.name == "body")
    article = "" if body.article is None else f" · {by_article(body.article)}"
    lines = [
        _written_from(f"schemas/kinds/{kind}.json"),
        f"# {schema['title']}",
        "",
        f"`{kind}`{article} · [schema](../../schemas/kinds/{kind}.json) · [all kinds](README.md)",
        "",
        schema["description"],
        *("", "## Who sends it, and when", ""),
        *_table(("Sent by", "In the state", "Leads to", "If"), _moves(kind)),
        *("", "## Members of the body", ""),
        *(f"{note}\n" for note in body.notes),
        *(_members(body.members) if body.members else ["The body has no members."]),
        *("", "## Example of a body", "", "```json"),
        json.dumps(_example(kind), ensure_ascii=False, indent=2),
        "```",
    ]
    return _text(lines)


def _moves(kind: str) -> Iterator[Sequence[str]]:
    for move in MACHINE.moves:
        if move.kind == kind:
            sources = ", ".join(code(state) for state in MACHINE.states if state in move.sources)
            target = _TARGETS.get(move.target) or code(move.target)
            yield _SIDES[move.by], sources, target, " and ".join(_conditions(move))


def _conditions(move: Move) -> Iterator[str]:
    for member, values in move.when:
        yield f"{code(member)} is {listed(map(code, values))}"
    if move.requires is not None:
        yield f"the case was once {code(move.requires)}"
    if move.of is not None:
        yield f"the case has {listed(map(code, sorted(move.of)))}"


def _members(found: Sequence[Member]) -> list[str]:
    """Return a table of the members *found*, and of all that these hold."""
    rows = []
    for path, member in walk(found):
        needs = "; ".join(_need(need, member) for need in member.needs) or "optional"
        meaning = " ".join([f"**{member.title}.** {member.description}", *member.notes])
        rows.append((code(_path(path, found)), _form(member), needs, member.article or "", meaning))
    return _table(_HEADS, rows)


def _need(need: Need, member: Member) -> str:
    """Return *need* in words, without the article that the row has anyway."""
    return replace(need, article=None).words if need.article == member.article else need.words


def _path(path: Sequence[str], found: Sequence[Member]) -> str:
    names = []
    for name in path:
        member = next(one for one in found if one.name == name)
        names.append(f"{name}[]" if member.many else name)
        found = member.members
    return ".".join(names)


def _form(member: Member) -> str:
    form = f"one of {listed(map(code, member.codes))}" if member.codes else member.form
    if member.default is not None:
        form += f"; else {code(member.default)}"
    return f"list, each {form}" if member.many else form


def _example(kind: str) -> object:
    """Return a body of *kind*: of a sample case in English, the one that the tests build, or any."""
    found = {
        draft["language"]: draft["body"]
        for number in reversed(schemas.samples())
        for draft in (step["draft"] for step in schemas.sample(number)["steps"])
        if draft["kind"] == kind
    }
    built = {**conduct.BODIES, **bodies.BODIES}
    if "en" in found or kind not in built:
        return found.get("en") or next(iter(found.values()))
    return built[kind]()


def _written_from(source: str) -> str:
    return f"<!-- Written by `make docs` from {source}; change it there. -->\n"


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    cells = [heads, ["---"] * len(heads), *rows]
    lines = (" | ".join(cell.replace("|", "\\|") for cell in row) for row in cells)
    return [f"| {line} |" for line in lines]


def _text(lines: Iterable[str]) -> str:
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    write()
