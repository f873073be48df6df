"""Which messages an erasure is about, and what bars it: judged when proposed, and again when confirmed."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus

from gateway.core.delivery import UNFINISHED
from gateway.core.errors import Malformed, Misuse
from gateway.core.ids import AuthorityId, CaseId, MessageId, parse_authority, parse_case_id, parse_message_id
from gateway.core.machine import MACHINE
from gateway.core.retention import Bar, Facts, bar_of, due_bar
from gateway.core.strict import as_list, as_object, as_text, encode_json, members, parse_object, time_text
from gateway.ports import MessageFilter, Store
from gateway.rows import CaseRow, Direction, HoldRow, MessageRow
from gateway.web.context import Context

MOST = 1000
"""The most messages of one proposal."""

_PAGE = 500
_TAKEN = "handed_over"


@dataclass(frozen=True, slots=True)
class Judged:
    """A message, and why it is not to be erased; None if it is."""

    row: MessageRow
    bar: Bar | None

    def view(self) -> dict[str, object]:
        """Return what readers see of it."""
        row = self.row
        return {
            "message": row.id,
            "direction": row.direction,
            "peer": row.peer,
            "kind": row.kind,
            "case": row.case,
            "recorded": time_text(row.recorded_ms),
            "barred": self.bar,
        }


@dataclass(slots=True)
class Judge:
    """Judges messages, with what their cases say and which holds there are."""

    context: Context
    not_taken: bool
    _holds: frozenset[tuple[AuthorityId, CaseId]] | None = None
    _cases: dict[tuple[AuthorityId, CaseId], CaseRow | None] = field(default_factory=dict)

    async def named(self, row: MessageRow) -> Judged:
        """Judge a message that somebody names."""
        return Judged(row, bar_of(await self._facts(row), not_taken=self.not_taken))

    async def due(self, row: MessageRow) -> Judged:
        """Judge a message by the policies."""
        rules, now_ms = self.context.settings.retention.policies, self.context.clock.now_ms()
        return Judged(row, due_bar(await self._facts(row), rules, now_ms, not_taken=self.not_taken))

    async def _facts(self, row: MessageRow) -> Facts:
        store, key = self.context.store, (row.peer, row.case)
        if self._holds is None:
            self._holds = frozenset((one.peer, one.case) for one in await store.all(HoldRow))
        if key not in self._cases:
            self._cases[key] = await store.get(CaseRow, *key)
        case = self._cases[key]
        closed = case is not None and case.state in MACHINE.final
        return Facts(
            kind=row.kind,
            taken=row.direction is Direction.OUT or row.state == _TAKEN,
            unfinished=row.direction is Direction.OUT and row.state in UNFINISHED,
            recorded_ms=row.recorded_ms,
            closed_ms=case.changed_ms if case is not None and closed else None,
            held=key in self._holds,
            erased=row.erased_ms is not None,
        )


@dataclass(frozen=True, slots=True)
class Selection:
    """The messages of a proposal, and how they were judged: by the policies (*due*), or by name."""

    due: bool
    not_taken: bool
    keys: tuple[tuple[Direction, AuthorityId, MessageId], ...]

    @classmethod
    def of(cls, rows: Sequence[MessageRow], *, due: bool, not_taken: bool) -> "Selection":
        """Return the selection of *rows*."""
        return cls(due, not_taken, tuple((row.direction, row.peer, row.id) for row in rows))

    def encode(self) -> str:
        """Return it as the row of a proposal keeps it."""
        return encode_json(
            {"due": self.due, "not_taken": self.not_taken, "messages": [list(key) for key in self.keys]}
        ).decode()

    @classmethod
    def parse(cls, text: str) -> "Selection":
        """Return what `encode` wrote."""
        found = parse_object(text.encode())
        keys = ([as_text(part) for part in as_list(item)] for item in as_list(found["messages"]))
        return cls(
            bool(found["due"]),
            bool(found["not_taken"]),
            tuple((Direction(way), AuthorityId(peer), MessageId(id_)) for way, peer, id_ in keys),
        )

    async def judged(self, context: Context, row: MessageRow) -> Judged:
        """Judge one of them as things stand now."""
        judge = Judge(context, self.not_taken)
        return await (judge.due(row) if self.due else judge.named(row))

    async def rows(self, store: Store) -> AsyncIterator[MessageRow]:
        """Yield the messages that are there."""
        for key in self.keys:
            found = await store.get(MessageRow, *key)
            if found is not None:
                yield found


async def selected(judge: Judge, found: Mapping[str, object]) -> tuple[list[Judged], bool]:
    """Return the messages that the document names, judged, and whether there are more that are due."""
    ways = [name for name in ("messages", "case", "due") if name in found]
    if len(ways) != 1:
        raise Malformed("a proposal names messages, or a case, or what is due")
    store = judge.context.store
    if "due" in found:
        if not truth(found, "due"):
            raise Malformed("due is true, or not there")
        return await _due(judge)
    if "case" in found:
        case = members(as_object(found["case"]), required=("peer", "id"))
        where = MessageFilter(peer=parse_authority(case["peer"]), case=parse_case_id(case["id"]))
        rows = [row async for row in _every(store, where)]
    else:
        rows = []
        for item in as_list(found["messages"]):
            known = await store.messages_with_id(parse_message_id(item))
            if not known:
                raise Misuse(HTTPStatus.NOT_FOUND, "not_found", "there is no such message here")
            rows += known
    if len(rows) > MOST:
        raise Malformed(f"at most {MOST} messages at once")
    return [await judge.named(row) for row in rows], False


async def _due(judge: Judge) -> tuple[list[Judged], bool]:
    """Return what policies make due, and what is due but for a bar that an operator may care about."""
    judged: list[Judged] = []
    due = 0
    async for row in _every(judge.context.store, MessageFilter()):
        one = await judge.due(row)
        if one.bar in {Bar.KEPT, Bar.EARLY, Bar.ERASED, Bar.CASE_OPEN}:
            continue
        if due == MOST:
            return judged, True
        due += one.bar is None
        judged.append(one)
    return judged, False


async def _every(store: Store, where: MessageFilter) -> AsyncIterator[MessageRow]:
    cursor = None
    while page := await store.messages(where, cursor=cursor, limit=_PAGE):
        for row in page:
            yield row
        cursor = page[-1].entry


def truth(found: Mapping[str, object], name: str) -> bool:
    """Return the member *name*, false where it is not there. Raises Malformed."""
    value = found.get(name, False)
    if not isinstance(value, bool):
        raise Malformed(f"{name} is true or false")
    return value
