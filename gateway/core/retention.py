"""How long content is kept, and what keeps it longer: policies by kind and age, and what bars an erasure.

A policy erases nothing: it says what is due, and two operators decide. The first rule whose pattern fits a
kind counts; a kind without a rule is kept for ever.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase

DAY_MS = 24 * 3_600_000


class Since(StrEnum):
    """From when the days of a rule count."""

    CLOSED = "closed"
    RECORDED = "recorded"


@dataclass(frozen=True, slots=True)
class Rule:
    """Content of messages of `kinds` (a pattern, like `request.*`) is due so many days after `since`."""

    kinds: str
    days: int
    since: Since


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What a decision needs of a message.

    Attributes:
        taken: our system has taken it over, or it went out.
        unfinished: its delivery has not ended.
        closed_ms: when its case was closed, None while it is not.
        held: a legal hold is on its case.
    """

    kind: str
    taken: bool
    unfinished: bool
    recorded_ms: int
    closed_ms: int | None
    held: bool
    erased: bool


class Bar(StrEnum):
    """Why the content of a message is not to be erased now."""

    ERASED = "erased"
    HELD = "held"
    UNFINISHED = "unfinished"
    NOT_TAKEN = "not_taken"
    CASE_OPEN = "case_open"
    KEPT = "kept"
    EARLY = "early"


def bar_of(facts: Facts, *, not_taken: bool) -> Bar | None:
    """Return what bars an erasure that somebody asks for by name, or None.

    With *not_taken* it is no bar that our case system has not taken over what came in.
    """
    return _standing(facts, not_taken=not_taken) or (Bar.CASE_OPEN if facts.closed_ms is None else None)


def due_bar(facts: Facts, rules: Sequence[Rule], now_ms: int, *, not_taken: bool) -> Bar | None:
    """Return why a message is not due by *rules* at *now_ms*, or None if it is."""
    standing = _standing(facts, not_taken=not_taken)
    if standing is not None:
        return standing
    rule = next((rule for rule in rules if fnmatchcase(facts.kind, rule.kinds)), None)
    if rule is None:
        return Bar.KEPT
    since_ms = facts.closed_ms if rule.since is Since.CLOSED else facts.recorded_ms
    if since_ms is None:
        return Bar.CASE_OPEN
    return Bar.EARLY if now_ms < since_ms + rule.days * DAY_MS else None


def _standing(facts: Facts, *, not_taken: bool) -> Bar | None:
    if facts.erased:
        return Bar.ERASED
    if facts.held:
        return Bar.HELD
    if facts.unfinished:
        return Bar.UNFINISHED
    return None if facts.taken or not_taken else Bar.NOT_TAKEN
