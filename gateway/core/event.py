"""Events: the entries of the audit log as case systems see them (schemas/events.json).

An event is a projection of an entry: its id is the entry's index and its order that of the log, so
that there is nothing to lose between the two. It has no content, only what a list shows in the clear.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass

import schemas
from gateway.core.ids import AuthorityId, CaseId, MessageId
from gateway.core.strict import time_text


@dataclass(frozen=True, slots=True)
class Telling:
    """What is told of the entries of one event; see the notes in events.json."""

    type: str
    by: str | None
    types: Mapping[str, str]
    direction: str | None
    addressed: bool

    @property
    def every(self) -> frozenset[str]:
        """The types that such an entry can be told as."""
        return frozenset({self.type, *self.types.values()})


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """An event: the entry at `index`, whose `entry_id` no other entry of any log has."""

    index: int
    entry_id: str
    type: str
    time_ms: int
    peer: AuthorityId | None = None
    message: MessageId | None = None
    case: CaseId | None = None
    kind: str | None = None

    def document(self) -> dict[str, object]:
        """Return the event as case systems get it."""
        given = {"message": self.message, "kind": self.kind, "case": self.case, "peer": self.peer}
        return {
            "id": str(self.index),
            "type": self.type,
            "time": time_text(self.time_ms),
            **{name: value for name, value in given.items() if value is not None},
        }


def _tellings() -> dict[str, Telling]:
    found = {}
    for event, row in schemas.load("events")["entries"].items():
        if "type" in row:
            found[event] = Telling(
                row["type"], row.get("by"), row.get("as", {}), row.get("direction"), "addressed" in row
            )
    return found


TYPES: Mapping[str, str] = schemas.load("events")["types"]
"""Every type of event, with what it means."""
TELLINGS: Mapping[str, Telling] = _tellings()
"""How entries are told, by their event; what is not here is internal."""
TOLD: frozenset[str] = frozenset(event for event, telling in TELLINGS.items() if not telling.addressed)
"""The events of entries that stand in the feed."""
FEED_TYPES: frozenset[str] = frozenset().union(*(TELLINGS[event].every for event in TOLD))
"""The types of what stands in the feed: what a reader can choose from."""


def members_of(leaf: bytes) -> dict[str, str]:
    """Return the text members of an entry of the own log by name."""
    return {name: value for name, value in json.loads(leaf).items() if isinstance(value, str)}


def type_of(event: str, members: Mapping[str, str]) -> str | None:
    """Return the type that an entry of *event* with *members* is told as; None if it is internal."""
    telling = TELLINGS.get(event)
    if telling is None:
        return None
    return telling.types.get(members.get(telling.by or "", ""), telling.type)
