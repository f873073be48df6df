"""What a draft of a kind looks like before it is filled in: its members, and the gaps.

A *template* has the members that the kind asks for. What the sender has to say is a *gap*, the
empty text, whatever the form of the value: nothing that only a person can decide has a value there.
"""

from collections.abc import Sequence
from dataclasses import replace

from gateway.core.machine import MACHINE
from schemas import outline
from schemas.outline import Member, Need

GAP = ""
"""Stands for what the sender has to fill in; no schema accepts it."""

_SIDES = ("requesting", "requested")
_NOT_OFFERED = frozenset({"override"})  # said when it is sent, once the findings are known


def sender(kind: str) -> str:
    """Return who may send *kind*: `requesting`, `requested` or `either`."""
    sides = {move.by for move in MACHINE.moves if move.kind == kind}
    return next((side for side in _SIDES if sides == {side}), "either")


def opens(kind: str) -> bool:
    """Say whether *kind* may be the first message of a case."""
    return any(move.kind == kind and MACHINE.initial.state in move.sources for move in MACHINE.moves)


def members(kind: str) -> tuple[Member, ...]:
    """Return the members of a template of *kind*; one that opens no case has to name its case."""
    found = [member for member in outline.draft(kind) if member.name not in _NOT_OFFERED]
    if not opens(kind):
        told = "The case that the message belongs to; this kind opens none."
        case = next(one for one in found if one.name == "case")
        found[found.index(case)] = replace(case, description=told, needs=(Need("required"),))
    return tuple(found)


def value(member: Member) -> object:
    """Return what stands for *member*, or for an item of it, where it is no object."""
    if member.fixed is not None:
        return member.fixed
    return GAP if member.default is None else member.default


def blank(found: Sequence[Member]) -> dict[str, object]:
    """Return an object with those of the members *found* that a draft usually has, with gaps."""
    holder: dict[str, object] = {}
    for member in found:
        if member.usual:
            item = blank(member.members) if member.is_object else value(member)
            holder[member.name] = [item] if member.many else item
    return holder
