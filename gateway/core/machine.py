"""The case machine: who may send which kind of message in which state (schemas/case-machine.json).

A table and one function over it. No row means that the move is not allowed. It knows neither
kinds nor states by name, and nothing of what crosses: that is `core.case`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

import schemas
from gateway.core.ids import AuthorityId

Scalar = str | int | bool
"""What a member that decides a move can hold."""


@dataclass(frozen=True, slots=True)
class Move:
    """One row of the table; see the notes in case-machine.json."""

    kind: str
    by: str
    sources: frozenset[str]
    target: str
    when: tuple[tuple[str, tuple[Scalar, ...]], ...] = ()
    requires: str | None = None
    of: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a case stands.

    Attributes:
        state: its state.
        before: the state that was left for this one, or None.
        mover: who made the move into this state, or None.
        opener: who made the first move, or None.
        requesting: who sent the first message that gives the role, or None.
        visited: which states it was in, of those that some move requires.
        kinds: which kinds moved it, of those that some move asks for.
    """

    state: str
    before: str | None = None
    mover: AuthorityId | None = None
    opener: AuthorityId | None = None
    requesting: AuthorityId | None = None
    visited: frozenset[str] = frozenset()
    kinds: frozenset[str] = frozenset()

    @property
    def first(self) -> AuthorityId | None:
        """Return who counts as the requesting side: by its role, or as who opened the case."""
        return self.requesting or self.opener


@dataclass(frozen=True, slots=True)
class Machine:
    """The table, indexed by state and kind."""

    initial: Standing
    final: frozenset[str]
    states: Mapping[str, str]
    kinds: tuple[str, ...]
    requesting: frozenset[str]
    moves: tuple[Move, ...]
    deciding: Mapping[str, tuple[str, ...]]
    required: frozenset[str]
    asked_for: frozenset[str]
    _rows: Mapping[tuple[str, str], tuple[Move, ...]] = field(repr=False)

    @classmethod
    def of(cls, table: Mapping[str, Any]) -> "Machine":
        """Return the machine that *table*, in the notation of case-machine.json, describes."""
        moves = tuple(_move(row, table["groups"]) for row in table["moves"])
        rows: dict[tuple[str, str], tuple[Move, ...]] = {}
        deciding: dict[str, tuple[str, ...]] = {}
        for move in moves:
            for source in move.sources:
                rows[source, move.kind] = (*rows.get((source, move.kind), ()), move)
            named = (*deciding.get(move.kind, ()), *(member for member, _ in move.when))
            deciding[move.kind] = tuple(sorted(set(named)))
        required = frozenset(move.requires for move in moves if move.requires is not None)
        return cls(
            initial=Standing(table["initial"], visited=required & {table["initial"]}),
            final=frozenset(table["final"]),
            states=MappingProxyType(dict(table["states"])),
            kinds=tuple(sorted(deciding)),
            requesting=frozenset(table["requesting"]),
            moves=moves,
            deciding=MappingProxyType(deciding),
            required=required,
            asked_for=frozenset().union(*(move.of or () for move in moves)),
            _rows=MappingProxyType(rows),
        )

    def members_of(self, kind: str, body: Mapping[str, Any]) -> dict[str, Scalar]:
        """Return those members of *body* on which a move of *kind* depends."""
        return {
            name: body[name] for name in self.deciding.get(kind, ()) if isinstance(body.get(name), str | int)
        }

    def step(
        self, standing: Standing, by: AuthorityId, kind: str, when: Mapping[str, Scalar]
    ) -> Standing | None:
        """Return where a message of *kind* leads, or None when it is not allowed."""
        for move in self._rows.get((standing.state, kind), ()):
            if self._applies(move, standing, by) and all(
                when.get(member) in values for member, values in move.when
            ):
                return self._moved(move, standing, by)
        return None

    def may(self, standing: Standing, by: AuthorityId, kind: str) -> bool:
        """Return whether *by* may send some message of *kind* now."""
        return any(self._applies(move, standing, by) for move in self._rows.get((standing.state, kind), ()))

    def _applies(self, move: Move, standing: Standing, by: AuthorityId) -> bool:
        if move.requires is not None and move.requires not in standing.visited:
            return False
        if move.of is not None and not move.of & standing.kinds:
            return False
        if move.by == "either":
            return True
        if move.by == "other":
            return standing.mover is not None and standing.mover != by
        if move.by == "requested":
            return standing.first is not None and standing.first != by
        gives_role = standing.requesting is None and move.kind in self.requesting
        return gives_role or standing.first is None or standing.first == by

    def _moved(self, move: Move, standing: Standing, by: AuthorityId) -> Standing:
        state = standing.state
        if move.target == "before":
            state = standing.before or standing.state
        elif move.target != "same":
            state = move.target
        requesting = standing.requesting
        if requesting is None and move.kind in self.requesting:
            requesting = by
        found = replace(
            standing,
            opener=standing.opener or by,
            requesting=requesting,
            kinds=standing.kinds | (self.asked_for & {move.kind}),
        )
        if state == standing.state:
            return found
        visited = standing.visited | (self.required & {state})
        return replace(found, state=state, before=standing.state, mover=by, visited=visited)


def _move(row: Mapping[str, Any], groups: Mapping[str, list[str]]) -> Move:
    return Move(
        kind=row["kind"],
        by=row["by"],
        sources=frozenset(_states(row["from"], groups)),
        target=row["to"],
        when=tuple(
            (member, tuple(value) if isinstance(value, list) else (value,))
            for member, value in row.get("when", {}).items()
        ),
        requires=row.get("requires"),
        of=frozenset(row["of"]) if "of" in row else None,
    )


def _states(names: Iterable[str], groups: Mapping[str, list[str]]) -> Iterable[str]:
    for name in names:
        if name.startswith("@"):
            yield from groups[name[1:]]
        else:
            yield name


MACHINE = Machine.of(schemas.load("case-machine"))
"""The machine of this version."""
