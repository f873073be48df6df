"""Steps of cases that no message was made for, and every way in which a case can stand."""

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import product

from gateway.core.case import History, Step, add, check_received, may_send, newest
from gateway.core.ids import AuthorityId, Digest
from gateway.core.machine import MACHINE, Scalar, Standing
from gateway.core.strict import sha256
from tests.support.cases import message_id, message_of

A, B = AuthorityId("qo.justice"), AuthorityId("qp.justice")
PARTIES = (A, B)
Turn = tuple[AuthorityId, str, tuple[tuple[str, Scalar], ...]]
"""Who sends which kind, with which members that decide."""


def other(side: AuthorityId) -> AuthorityId:
    return B if side == A else A


@cache
def values(kind: str) -> Mapping[str, tuple[Scalar, ...]]:
    """Return each member that decides a move of *kind*, with every value that the table has."""
    found: dict[str, set[Scalar]] = {}
    for move in MACHINE.moves:
        if move.kind == kind:
            for member, some in move.when:
                found.setdefault(member, set()).update(some)
    return {member: tuple(sorted(some, key=str)) for member, some in found.items()}


def turns(side: AuthorityId, kinds: Iterable[str]) -> Iterable[Turn]:
    """Return what *side* can send of *kinds*, with every combination of the values that decide."""
    for kind in kinds:
        known = values(kind)
        for chosen in product(*known.values()):
            yield side, kind, tuple(zip(known, chosen, strict=True))


@cache
def standings() -> Mapping[Standing, Mapping[Turn, Standing]]:
    """Return every standing that the two sides can reach, with each move out of it.

    The search is exhaustive: a standing holds all that the machine looks at, and there are finitely
    many. What crosses reaches no other standing, since a replay is a path through the same moves.
    """
    found: dict[Standing, dict[Turn, Standing]] = {MACHINE.initial: {}}
    ahead = deque(found)
    while ahead:
        standing = ahead.popleft()
        for side in PARTIES:
            for turn in turns(side, MACHINE.kinds):
                moved = MACHINE.step(standing, side, turn[1], dict(turn[2]))
                if moved is not None:
                    found[standing][turn] = moved
                    if moved not in found:
                        found[moved] = {}
                        ahead.append(moved)
    return found


@cache
def paths() -> Mapping[Standing, tuple[Turn, ...]]:
    """Return a shortest way to every standing."""
    found: dict[Standing, tuple[Turn, ...]] = {MACHINE.initial: ()}
    for standing, moves in standings().items():  # in the order of the search: the nearest first
        for turn, moved in moves.items():
            found.setdefault(moved, (*found[standing], turn))
    return found


@dataclass
class Writer:
    """Numbers steps, and tells what their sender holds."""

    number: int = 0

    def step(
        self,
        history: History,
        by: AuthorityId,
        kind: str,
        when: Mapping[str, Scalar] | None = None,
        *,
        created_ms: int | None = None,
        **links: Digest | None,
    ) -> Step:
        self.number += 1
        links = {"previous": newest(history, by), "case_head": newest(history, other(by))} | links
        return Step(
            sha256=sha256(b"%d" % self.number),
            id=message_id(self.number),
            by=by,
            kind=kind,
            created_ms=self.number if created_ms is None else created_ms,
            when=when or {},
            **links,
        )

    def sent(self, history: History, by: AuthorityId, kind: str, when: Mapping[str, Scalar]) -> History:
        """Return *history* with a step that its sender may send and its recipient takes."""
        step = self.step(history, by, kind, when)
        may_send(history, by, message_of(step, other(by)))
        check_received(history, step)
        return add(history, step)

    def told(
        self, history: History, *steps: tuple[AuthorityId, str, *tuple[Mapping[str, Scalar], ...]]
    ) -> History:
        """Return *history* after *steps*, each (by, kind, when?), none of them crossing."""
        for by, kind, *when in steps:
            history = self.sent(history, by, kind, when[0] if when else {})
        return history


def led_to(standing: Standing) -> tuple[Writer, History]:
    """Return a history that stands at *standing*, and who writes on."""
    write = Writer()
    return write, write.told(History(), *((by, kind, dict(when)) for by, kind, when in paths()[standing]))
