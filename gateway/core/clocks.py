"""The clocks of a case: how long practice waits for what is to come next (schemas/clocks.json).

A table, and one walk over the replayed history. It knows no clock by name. A clock belongs to the
message that started it, and runs until another message stops it or the case leaves the states in
which it runs. It begins when that message was signed, which both sides read alike.
"""

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from typing import Any

import schemas
from gateway.core.case import History, Outcome, Step
from gateway.core.errors import Malformed
from gateway.core.ids import AuthorityId, MessageId, parse_message_id
from gateway.core.machine import Scalar
from gateway.core.strict import as_list, as_text, parse_json, parse_time

DAY_MS = 24 * 3_600_000
SHORTEST_MS = 3_600_000
"""Of the period of any clock: the settings allow none that is shorter."""
LOOK_NOW_MS = 0
"""In a case's `clock_ms`: what stands on record as run out is to be compared with what runs."""

Key = tuple[str, MessageId]
"""One clock of a case: its name, and the message that started it."""


@dataclass(frozen=True, slots=True)
class Match:
    """Messages of one of these kinds that have these recorded members."""

    kinds: frozenset[str]
    when: tuple[tuple[str, tuple[Scalar, ...]], ...]

    def fits(self, step: Step) -> bool:
        """Return whether *step* is such a message."""
        return step.kind in self.kinds and all(
            step.recorded.get(member) in values for member, values in self.when
        )


@dataclass(frozen=True, slots=True)
class Start:
    """What starts a clock, and when that runs out; see the notes in clocks.json."""

    match: Match
    said: str | None
    after: str | None
    since: str | None
    most: str | None

    def began_ms(self, step: Step) -> int:
        """Return when the period of a clock that *step* starts begins."""
        said_ms = None if self.since is None else _time(step.recorded.get(self.since))
        return step.created_ms if said_ms is None else min(said_ms, step.created_ms)

    def due_ms(self, step: Step, began_ms: int, periods: Mapping[str, int]) -> int | None:
        """Return when it runs out, or None: the message names no time, and there is no period."""
        due_ms = None if self.said is None else _time(step.recorded.get(self.said))
        if due_ms is None and self.after is not None:
            due_ms = began_ms + periods[self.after]
        if due_ms is None or self.most is None:
            return due_ms
        return min(due_ms, began_ms + periods[self.most])


@dataclass(frozen=True)
class Definition:
    """One clock of the table; see the notes in clocks.json."""

    name: str
    title: str
    description: str
    article: str
    acts: str
    starts: tuple[Start, ...] = ()
    stops: tuple[Match, ...] = ()
    states: frozenset[str] | None = None
    goes_on: bool = False

    @cached_property
    def kinds(self) -> frozenset[str]:
        """The kinds of messages that start or stop it."""
        return frozenset().union(
            *(start.match.kinds for start in self.starts), *(one.kinds for one in self.stops)
        )

    @property
    def code(self) -> str:
        """The code of its alarm."""
        return code_of(self.name)

    def side(self, sender: AuthorityId, recipient: AuthorityId) -> AuthorityId:
        """Return who is to act: *sender* or *recipient* of the message that started it."""
        return sender if self.acts == "sender" else recipient


@dataclass(frozen=True, slots=True)
class Clock:
    """A clock that runs in a case, or has run out there and was not stopped."""

    definition: Definition
    started: Step
    began_ms: int
    due_ms: int

    @property
    def key(self) -> Key:
        """Its name, and the message that started it."""
        return self.definition.name, self.started.id


@dataclass(frozen=True, slots=True)
class Table:
    """The clocks of a case, and that of each outgoing message."""

    case: tuple[Definition, ...]
    delivery: Definition
    after: str
    """The setting that says how long the clock of an outgoing message runs."""

    @classmethod
    def of(cls, table: Mapping[str, Any], states: Mapping[str, list[str]]) -> "Table":
        """Return the clocks that *table*, in the notation of clocks.json, describes.

        *states* are the groups of states that the case machine has.
        """
        delivery = table["delivery"]
        return cls(
            case=tuple(_definition(row, table["groups"], states) for row in table["case"]),
            delivery=_definition(delivery, table["groups"], states),
            after=delivery["after"],
        )

    @property
    def settings(self) -> frozenset[str]:
        """Every setting that a clock asks for."""
        starts = [start for definition in self.case for start in definition.starts]
        named = {name for start in starts for name in (start.after, start.most) if name is not None}
        return frozenset({self.after, *named})


def running(history: History, outcome: Outcome, periods: Mapping[str, int]) -> tuple[Clock, ...]:
    """Return the clocks of a case that nothing has stopped, the earliest due first.

    Args:
        history: the case.
        outcome: its replay.
        periods: milliseconds by the name of the setting.
    """
    found: dict[str, Clock] = {}
    for digest, state in zip(outcome.order, outcome.states, strict=True):
        if digest in outcome.crossed:
            continue
        step = history.by_digest[digest]
        for definition in CLOCKS.case:
            clock = found.pop(definition.name, None)
            if step.kind in definition.kinds:
                clock = _after(definition, clock, step, periods)
            if clock is not None and (definition.states is None or state in definition.states):
                found[definition.name] = clock
    return tuple(sorted(found.values(), key=lambda clock: (clock.due_ms, clock.key)))


def next_look_ms(clocks: Iterable[Clock], overdue: Collection[Key], now_ms: int) -> int | None:
    """Return when somebody is to look at a case in which *clocks* run: its `clock_ms`.

    That is when the first one runs out that is not *overdue*: on record as run out. At once, if
    one on record was stopped, or has more time now. None: there is nothing to look for.
    """
    due = {clock.key: clock.due_ms for clock in clocks}
    if any(key not in due or due[key] > now_ms for key in overdue):
        return LOOK_NOW_MS
    return min((due_ms for key, due_ms in due.items() if key not in overdue), default=None)


def code_of(name: str) -> str:
    """Return the code of the alarm of the clock *name*."""
    return f"clock_{name}"


def encode_keys(keys: Iterable[Key]) -> str | None:
    """Return *keys* as a JSON list for the row of the case; None if there are none."""
    found = sorted(keys)
    return json.dumps(found, separators=(",", ":")) if found else None


def parse_keys(text: str | None) -> frozenset[Key]:
    """Return the keys that *text* encodes. Raises Malformed."""
    if text is None:
        return frozenset()
    pairs = [as_list(pair) for pair in as_list(parse_json(text.encode()))]
    return frozenset((as_text(name), parse_message_id(message)) for name, message in pairs)


def _after(
    definition: Definition, clock: Clock | None, step: Step, periods: Mapping[str, int]
) -> Clock | None:
    """Return the clock of *definition* after *step*, before which it was *clock*."""
    for start in definition.starts:
        if start.match.fits(step):
            before = clock if definition.goes_on else None
            began_ms = start.began_ms(step) if before is None else before.began_ms
            due_ms = start.due_ms(step, began_ms, periods)
            if due_ms is None:
                return clock
            return Clock(definition, step if before is None else before.started, began_ms, due_ms)
    return None if any(stop.fits(step) for stop in definition.stops) else clock


def _time(value: object) -> int | None:
    """Return the time that a message says, or the last millisecond of the day; None if it says none.

    A peer can write a day that satisfies its schema and that no calendar here has: the year 0.
    """
    if not isinstance(value, str):
        return None
    try:
        if "T" in value:
            return parse_time(value)
        return (date.fromisoformat(value).toordinal() - _EPOCH + 1) * DAY_MS - 1
    except (Malformed, ValueError):
        return None


_EPOCH = date(1970, 1, 1).toordinal()


def _definition(
    row: Mapping[str, Any], groups: Mapping[str, list[str]], states: Mapping[str, list[str]]
) -> Definition:
    return Definition(
        name=row["name"],
        title=row["title"],
        description=row["description"],
        article=row["article"],
        acts=row["acts"],
        starts=tuple(
            Start(_match(one, groups), one.get("said"), one.get("after"), one.get("since"), one.get("most"))
            for one in row.get("starts", ())
        ),
        stops=tuple(_match(one, groups) for one in row.get("stops", ())),
        states=frozenset(_named(row["while"], states)) if "while" in row else None,
        goes_on=row.get("again") == "goes_on",
    )


def _match(row: Mapping[str, Any], groups: Mapping[str, list[str]]) -> Match:
    return Match(
        kinds=frozenset(_named(row["kinds"], groups)),
        when=tuple(
            (member, tuple(value) if isinstance(value, list) else (value,))
            for member, value in row.get("when", {}).items()
        ),
    )


def _named(names: Iterable[str], groups: Mapping[str, Iterable[str]]) -> Iterable[str]:
    for name in names:
        if name.startswith("@"):
            yield from groups[name[1:]]
        else:
            yield name


CLOCKS = Table.of(schemas.load("clocks"), schemas.load("case-machine")["groups"])
"""The clocks of this version."""
