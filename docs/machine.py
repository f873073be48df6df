"""Writes docs/case-machine.md from schemas/case-machine.json: two diagrams, and a table by state.

`make docs` runs it; a test compares what it would write with what is there.
"""

from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType

import schemas
from gateway.core.machine import MACHINE, Move

PAGE = Path(__file__).parent / "case-machine.md"
"""Where the page lies."""

_IN_HAND = "live"
"""The group of states that the diagram draws as one, and the matrix from inside."""
_LIVE = frozenset(schemas.load("case-machine")["groups"][_IN_HAND])
_FRAMES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "before a request": ("consulting", "draft"),
        "urgent": ("oral", "arrest_pending", "arrested"),
    }
)
"""States that the diagram draws in a frame; what can be done in all of them leaves the frame once."""
_STYLES = ("    classDef over fill:#e8e8e8,stroke:#777", "    classDef group fill:#dbe9f6,stroke:#35618e")
_ARROWS: Mapping[str, str] = {"requesting": "→", "requested": "←", "either": "↔", "other": "↔"}
_MANY = 3
"""So many kinds of one family between the same two states are drawn as the family."""
_TEXT = """\
<!-- Written by `make docs` from schemas/case-machine.json: change that. -->
# The case machine

Which side may send which kind of message in which state of a case, and where that leads. The
[table](../schemas/case-machine.json) is what the gateway runs; this page is drawn from it. What is not
here is not allowed.

`→` is sent by the requesting side, `←` by the requested side, `↔` by either. The requesting side is
who sent the first draft, request or spontaneous information; before that, who opened the case.

## The course of a case

An arrow from a frame is a move from each state in it; in a grey state the matter is over. *In hand* are
the states that the matrix below shows from inside. `request.*` stands for the kinds of request for which
no other arrow is drawn. Moves that leave the state as it is are in the table only. An objection to the
closure leads from `closing` back to the state before.

{course}

## A request in hand

From the state of a row to that of a column.

{in_hand}

## By state

What is sent in a state, by whom, and the state to which it leads; without one the state stays.

{table}
"""
Edges = dict[tuple[str, str], list[Move]]


def page() -> str:
    """Return the page."""
    edges = _edges()
    return _TEXT.format(course=_course(edges), in_hand=_matrix(edges), table=_table())


def write() -> None:
    """Write the page."""
    PAGE.write_text(page(), encoding="utf-8")


def _edges() -> Edges:
    """Return the moves between each two states; `before` is every state that leads to the present one."""
    found: Edges = {}
    for move in MACHINE.moves:
        for source in MACHINE.states:
            if source in move.sources and move.target not in {"same", source}:
                for target in _targets(move, source):
                    found.setdefault((source, target), []).append(move)
    return found


def _targets(move: Move, source: str) -> Iterable[str]:
    if move.target != "before":
        return (move.target,)
    into = frozenset().union(*(other.sources for other in MACHINE.moves if other.target == source))
    return [state for state in MACHINE.states if state in into and state != source]


def _course(edges: Edges) -> str:
    """Return the diagram in which all that is in hand is one state."""
    frame_of = {state: name for name, states in _FRAMES.items() for state in states}
    drawn: Edges = {}
    for (source, target), moves in edges.items():
        if source == "closing" and target not in MACHINE.final:
            continue
        end = _IN_HAND if target in _LIVE else target
        for move in moves:
            frame = frame_of.get(source)
            start = _IN_HAND if source in _LIVE else source
            if frame is not None and move.sources >= set(_FRAMES[frame]) and end not in _FRAMES[frame]:
                start = _id(frame)
            known = drawn.setdefault((start, end), [])
            if start != end and move not in known:
                known.append(move)
    lines = [
        "```mermaid",
        "stateDiagram-v2",
        "    direction TB",
        *_STYLES,
        f'    state "in hand" as {_IN_HAND}',
    ]
    for name, states in _FRAMES.items():
        lines += [f'    state "{name}" as {_id(name)} {{', *(f"        {state}" for state in states), "    }"]
    for (start, end), moves in drawn.items():
        if moves:
            begin = "[*]" if start == MACHINE.initial.state else start
            lines.append(f"    {begin} --> {end} : {'<br/>'.join(_labels(moves))}")
    over = {state for state in MACHINE.states if (state, "closing") in edges} - set(frame_of)
    lines.append(f"    class {','.join(sorted(over | MACHINE.final))} over")
    return "\n".join([*lines, f"    class {_IN_HAND} group", "```"])


def _id(name: str) -> str:
    return name.replace(" ", "_")


def _matrix(edges: Edges) -> str:
    """Return what leads out of each state in hand, by the state to which it leads."""
    rows = [state for state in MACHINE.states if state in _LIVE]
    columns = [state for state in MACHINE.states if any((row, state) in edges for row in rows)]
    lines = [f"| | {' | '.join(columns)} |", "| --- " * (len(columns) + 1) + "|"]
    for row in rows:
        cells = ("<br>".join(_labels(edges.get((row, column), ()))) for column in columns)
        lines.append(f"| **{row}** | {' | '.join(cells)} |")
    return "\n".join(lines)


def _labels(moves: Iterable[Move]) -> Iterator[str]:
    families: dict[tuple[str, str], list[Move]] = {}
    for move in moves:
        families.setdefault((_ARROWS[move.by], move.kind.partition(".")[0]), []).append(move)
    for (arrow, family), members in families.items():
        if len(members) >= _MANY:
            yield f"{arrow}\u00a0{family}.*"
        else:
            yield from (f"{arrow}\u00a0{move.kind}{_condition(move)}" for move in members)


def _condition(move: Move) -> str:
    values = [
        (member if value else f"not {member}") if isinstance(value, bool) else str(value)
        for member, some in move.when
        for value in some
    ]
    return f" ({', '.join(values)})" if values else ""


def _table() -> str:
    lines = ["| state | who | may send |", "| --- | --- | --- |"]
    for state, meaning in MACHINE.states.items():
        first = f"**{state}**<br>{meaning}"
        for by, arrow in _ARROWS.items():
            sent = [_sent(move, state) for move in MACHINE.moves if state in move.sources and move.by == by]
            if sent:
                lines.append(f"| {first} | {arrow} {by} | {'<br>'.join(sent)} |")
                first = ""
    return "\n".join(lines)


@cache
def _without(required: str) -> frozenset[str]:
    """Return the states in which a case can be that was never in *required*."""
    found = {MACHINE.initial.state}
    while True:
        more = {
            target
            for (source, target), moves in _edges().items()
            if source in found and any(move.requires != required for move in moves)
        }
        more -= found | {required}
        if not more:
            return frozenset(found)
        found |= more


def _sent(move: Move, state: str) -> str:
    text = f"`{move.kind}`{_condition(move)}"
    if move.of is not None:
        text += f" in a case of {', '.join(f'`{kind}`' for kind in sorted(move.of))}"
    if move.requires is not None and state in _without(move.requires):
        text += f" if it was once `{move.requires}`"
    if move.target == "before":
        return f"{text} ⇒ the state before"
    return text if move.target in {"same", state} else f"{text} ⇒ `{move.target}`"


if __name__ == "__main__":
    write()
