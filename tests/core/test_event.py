"""The table of events: complete, and no type that nothing is told as."""

import json

import pytest

import schemas
from docs.events import PATH, page
from gateway.core.entry import EVENTS, Draft, encode_entry
from gateway.core.event import FEED_TYPES, TELLINGS, TOLD, TYPES, Event, members_of, type_of
from gateway.core.ids import AuthorityId, CaseId, MessageId
from tests.support.rows import draft, new_case, new_id

TABLE = schemas.load("events")


def test_each_event_of_the_log_is_told_or_said_to_be_internal():
    assert set(TABLE["entries"]) == EVENTS
    for event, row in TABLE["entries"].items():
        assert ("type" in row) != ("internal" in row), event
        assert set(row) <= {"type", "by", "as", "direction", "addressed"} or set(row) == {"internal"}, event
        assert ("by" in row) == ("as" in row), event
        assert row.get("direction", "in") in {"in", "out"}
        assert row.get("addressed", True) is True


def test_each_type_is_explained_and_something_is_told_as_it():
    told = frozenset().union(*(telling.every for telling in TELLINGS.values()))
    assert told == set(TYPES)
    assert told - FEED_TYPES == {"webhook.ping"}
    assert all(text.endswith(".") for text in TYPES.values())


@pytest.mark.parametrize(
    ("event", "members", "told"),
    [
        ("relay.accepted", {}, "message.received"),
        ("receipt.recorded", {"stated": "relay.accepted"}, "message.accepted"),
        ("receipt.recorded", {"stated": "relay.conflict"}, "message.refused"),
        ("receipt.recorded", {"stated": "content.handed_over"}, "message.handed_over"),
        ("receipt.recorded", {"stated": "relay.unknown"}, "message.receipt"),
        ("receipt.recorded", {}, "message.receipt"),
        ("clock.expired", {"clock": "receipt"}, "message.overdue"),
        ("clock.expired", {"clock": "acknowledgment"}, "case.overdue"),
        ("content.read", {}, None),
    ],
)
def test_what_an_entry_is_told_as(event: str, members: dict[str, str], told: str | None):
    assert type_of(event, members) == told


def test_the_clock_and_the_receipts_that_the_table_knows_by_name_are_there():
    receipt = set(TABLE["entries"]["receipt.recorded"]["as"])
    assert receipt < set(schemas.codes()["events"])
    assert set(TABLE["entries"]["clock.expired"]["as"]) == {schemas.load("clocks")["delivery"]["name"]}


def test_members_are_those_of_the_entry():
    entry_id = new_id()
    leaf = encode_entry(
        Draft(event="clock.expired", outcome="ok", extra=(("clock", "appeal"), ("n", 1))),
        authority=AuthorityId("qm.moj"),
        entry_id=entry_id,
        time_ms=1,
    )
    found = members_of(leaf)
    assert (found["clock"], found["entry_id"]) == ("appeal", entry_id)
    assert "n" not in found, "numbers decide nothing"


def test_an_event_shows_what_it_has_and_no_more():
    bare = Event(index=7, entry_id=new_id(), type="peer.added", time_ms=1_795_000_000_000)
    assert bare.document() == {"id": "7", "type": "peer.added", "time": "2026-11-18T11:06:40.000Z"}
    message, case = new_id(), new_case()
    full = Event(
        index=8, entry_id=new_id(), type="message.received", time_ms=1_795_000_000_000,
        peer=AuthorityId("qn.moj"), message=MessageId(message), case=CaseId(case), kind="request.mla",
    )  # fmt: skip
    assert full.document() == {
        "id": "8", "type": "message.received", "time": "2026-11-18T11:06:40.000Z",
        "message": message, "kind": "request.mla", "case": case, "peer": "qn.moj",
    }  # fmt: skip
    assert len(json.dumps(full.document())) < 512


def test_what_stands_in_the_feed_is_not_addressed():
    assert {event for event in TELLINGS if event not in TOLD} == {"webhook.tested"}
    assert draft().event in TOLD


def test_the_page_is_current():
    text = PATH.read_text(encoding="utf-8")
    assert text == page(), "run `make docs`"
    for type_ in TYPES:
        assert f"| `{type_}`" in text
