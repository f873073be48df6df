"""The clocks of a case: what starts and stops them, and when they run out."""

import json
from dataclasses import replace
from itertools import permutations
from typing import Any

import pytest

import schemas
from gateway.config import Clocks
from gateway.core import clocks, record
from gateway.core.case import History, add, replay, set_counts
from gateway.core.clocks import CLOCKS, LOOK_NOW_MS, SHORTEST_MS, Clock, encode_keys, next_look_ms, parse_keys
from gateway.core.errors import Malformed
from gateway.core.ids import AuthorityId
from gateway.core.machine import MACHINE
from gateway.core.strict import parse_time, sha256
from tests.support.authorities import DAY_MS, NOW_MS, PERIODS_MS
from tests.support.cases import message_id, told

A, B = AuthorityId("qo.justice"), AuthorityId("qp.justice")
HOUR_MS = DAY_MS // 24


def case(*messages: tuple[Any, ...], at: int = NOW_MS) -> History:
    """Return a case of messages (by, kind, members?, when?), an hour apart."""
    history = History()
    for number, (by, kind, *rest) in enumerate(messages):
        members, when = [*rest, {}, {}][:2]
        created_ms = at + number * HOUR_MS
        history = told(history, by, kind, created_ms=created_ms, to=B if by == A else A, when=when, **members)
    return history


def running(history: History, **periods: int) -> dict[str, Clock]:
    found = clocks.running(history, replay(history), PERIODS_MS | periods)
    assert [clock.due_ms for clock in found] == sorted(clock.due_ms for clock in found)
    return {clock.definition.name: clock for clock in found}


def due(history: History, **periods: int) -> dict[str, int]:
    """Return when each clock of a case runs out, from the time of its first message."""
    return {name: clock.due_ms - NOW_MS for name, clock in running(history, **periods).items()}


def day(text: str) -> int:
    """Return the end of a day, from the time of tests."""
    return parse_time(f"{text}T23:59:59.999Z") - NOW_MS


REQUEST = (A, "request.mla")
ACKNOWLEDGED = (B, "acknowledgment", {"next_update_by": "2026-12-24"})
UPDATE = day("2026-12-24")
CLOSED = ((A, "closure"), (B, "closure.confirm", {}, {"decision": "agrees"}))
ARREST = (A, "request.provisional_arrest")


# -- the data


def named(row: dict[str, Any]) -> set[str]:
    """Return the members that a row of a clock reads."""
    return {row[name] for name in ("said", "since") if name in row} | set(row.get("when", {}))


def rows() -> list[tuple[str, dict[str, Any]]]:
    table = schemas.load("clocks")
    return [
        (kind, row)
        for clock in table["case"]
        for row in (*clock["starts"], *clock.get("stops", ()))
        for kinds in row["kinds"]
        for kind in (table["groups"][kinds[1:]] if kinds.startswith("@") else [kinds])
    ]


def test_a_case_remembers_what_its_clocks_read():
    for kind, row in rows():
        assert kind in schemas.KINDS
        assert named(row) <= {*record.COMMON, *(key for key, *_ in record._marks(kind))}, kind


def test_every_clock_is_explained():
    table = schemas.load("clocks")
    found = [*table["case"], table["delivery"]]
    assert len({clock["name"] for clock in found}) == len(found)
    used = {
        name for clock in found for name in (*clock, *(key for row in clock.get("starts", ()) for key in row))
    }
    assert used - set(table["notes"]) <= {"title", "description", "kinds", "when"}
    for clock in found:
        assert clock["title"]
        assert clock["article"]
        assert clock["description"].endswith(".")
        assert clock["acts"] in {"sender", "recipient"}


def test_clocks_run_in_states_of_the_case():
    for clock in CLOCKS.case:
        assert clock.states is None or clock.states <= set(MACHINE.states)


def test_every_setting_is_of_a_clock():
    assert set(Clocks.model_fields) == CLOCKS.settings
    lowest = {name: field.metadata[0].ge for name, field in Clocks.model_fields.items()}
    assert min(Clocks(**lowest).periods_ms.values()) == SHORTEST_MS


def test_periods_are_what_their_keys_say():
    periods = Clocks(receipt_hours=3, acknowledgment_days=5).periods_ms
    assert periods["receipt_hours"] == 3 * HOUR_MS
    assert periods["acknowledgment_days"] == 5 * DAY_MS


# -- acknowledgment and updates


@pytest.mark.parametrize(
    ("urgency", "after_ms"), [("normal", 7 * DAY_MS), ("urgent", DAY_MS), ("emergency", 4 * HOUR_MS)]
)
def test_a_request_is_to_be_acknowledged(urgency: str, after_ms: int):
    history = case((*REQUEST, {"urgency": urgency}))
    assert due(history) == {"acknowledgment": after_ms}
    clock = running(history)["acknowledgment"]
    assert clock.key == ("acknowledgment", message_id(1))
    assert clock.definition.code == "clock_acknowledgment"
    assert clock.definition.side(A, B) == B


def test_settings_say_how_long():
    assert due(case(REQUEST), acknowledgment_days=1) == {"acknowledgment": 1}


def test_an_enquiry_does_not_stop_the_clock():
    assert due(case(REQUEST, (A, "status.enquiry"))) == {"acknowledgment": 7 * DAY_MS}


def test_an_acknowledgment_starts_the_clock_of_the_next_update():
    history = case(REQUEST, ACKNOWLEDGED)
    assert due(history) == {"update": UPDATE}
    assert running(history)["update"].definition.side(B, A) == B


def test_the_last_update_counts():
    history = case(REQUEST, ACKNOWLEDGED, (B, "status.report", {"next_update_by": "2027-01-31"}))
    assert due(history) == {"update": day("2027-01-31")}
    assert running(history)["update"].key == ("update", message_id(3))


def test_an_update_is_still_owed_while_the_request_is_executed():
    assert due(case(REQUEST, ACKNOWLEDGED, (B, "decision.accept"))) == {"update": UPDATE}


@pytest.mark.parametrize(
    "last",
    [
        (B, "execution.result", {}, {"final": True}),
        (A, "withdrawal", {}, {"scope": "all"}),
        (B, "decision.refuse"),
    ],
    ids=lambda last: last[1],
)
def test_no_clock_runs_in_a_case_that_is_decided(last: tuple[Any, ...]):
    history = case(REQUEST, ACKNOWLEDGED, last)
    assert due(history) == {}
    assert due(case(REQUEST, (A, "withdrawal", {}, {"scope": "all"}))) == {}


def test_what_crossed_starts_and_stops_nothing():
    withdrawn = case(REQUEST, (A, "withdrawal", {}, {"scope": "all"}))
    acknowledged = case(REQUEST, ACKNOWLEDGED)
    late = replace(acknowledged.steps[1], sha256=sha256(b"late"), id=message_id(9))
    history = add(withdrawn, late)
    assert replay(history).crossed == {late.sha256}
    assert due(history) == {}


def test_what_does_not_count_starts_nothing():
    history = case(REQUEST)
    assert due(set_counts(history, history.steps[0].sha256, counts=False)) == {}


def test_clocks_depend_on_the_messages_and_not_on_their_arrival():
    history = case(
        REQUEST, ACKNOWLEDGED, (A, "status.enquiry"), (B, "status.report", {"next_update_by": "2027-01-31"})
    )
    expected = running(history)
    assert all(running(History(steps)) == expected for steps in permutations(history.steps))


@pytest.mark.parametrize("said", ["0000-01-01", "0000-01-01T00:00:00.000Z", None, 7])
def test_a_day_that_no_calendar_has_is_not_said(said: object):
    assert due(case(REQUEST, (B, "acknowledgment", {"next_update_by": said}))) == {}


def test_the_last_day_of_the_calendar_has_an_end():
    history = case(REQUEST, (B, "acknowledgment", {"next_update_by": "9999-12-31"}))
    assert due(history) == {"update": day("9999-12-31")}


# -- oral requests

NOTICE = (A, "request.oral_notice", {"urgency": "emergency", "confirm_by": "2026-11-20T12:00:00.000Z"})


def test_an_oral_request_is_to_be_confirmed():
    history = case(NOTICE)
    assert due(history)["written_confirmation"] == parse_time("2026-11-20T12:00:00.000Z") - NOW_MS
    assert running(history)["written_confirmation"].definition.side(A, B) == A


def test_where_the_notice_does_not_say_practice_does():
    assert due(case((A, "request.oral_notice")))["written_confirmation"] == 48 * HOUR_MS


def test_an_oral_request_is_acknowledged_and_confirmed_apart():
    acknowledged = case(NOTICE, ACKNOWLEDGED)
    assert set(due(acknowledged)) == {"written_confirmation", "update"}
    confirmed = case(NOTICE, ACKNOWLEDGED, (A, "request.written_confirmation", {"urgency": "urgent"}))
    assert due(confirmed) == {"acknowledgment": 2 * HOUR_MS + DAY_MS}


# -- arrest


def held(at: str | None = None, by: str | None = None, event: str = "arrested") -> tuple[Any, ...]:
    members = {"event": event, "at": at, "documents_due_by": by}
    return (B, "notice.custody", {name: value for name, value in members.items() if value}, {"event": event})


def test_documents_are_due_after_an_arrest():
    history = case(ARREST, held())
    assert due(history) == {"arrest_documents": HOUR_MS + 18 * DAY_MS}
    assert running(history)["arrest_documents"].definition.side(B, A) == A


def test_the_period_begins_with_the_arrest():
    arrested = parse_time("2026-11-18T06:00:00.000Z") - NOW_MS
    assert arrested < 0
    assert due(case(ARREST, held("2026-11-18T06:00:00.000Z"))) == {"arrest_documents": arrested + 18 * DAY_MS}
    assert due(case(ARREST, held("2030-01-01T00:00:00.000Z"))) == {"arrest_documents": HOUR_MS + 18 * DAY_MS}


def test_a_longer_time_can_be_said_up_to_forty_days():
    assert due(case(ARREST, held(by="2026-12-20"))) == {"arrest_documents": day("2026-12-20")}
    assert due(case(ARREST, held(by="2027-06-01"))) == {"arrest_documents": HOUR_MS + 40 * DAY_MS}


def test_another_notice_of_the_same_custody_starts_no_new_period():
    first = running(case(ARREST, held()))["arrest_documents"]
    again = running(case(ARREST, held(), held(event="detained")))["arrest_documents"]
    assert (again.key, again.due_ms) == (first.key, first.due_ms)
    longer = running(case(ARREST, held(), held(by="2027-06-01")))["arrest_documents"]
    assert (longer.key, longer.due_ms) == (first.key, NOW_MS + HOUR_MS + 40 * DAY_MS)


def test_release_stops_the_clock_and_another_arrest_starts_it_anew():
    released = held(event="released")
    assert due(case(ARREST, held(), released)) == {}
    assert due(case(ARREST, held(), released, held())) == {"arrest_documents": 3 * HOUR_MS + 18 * DAY_MS}


def test_the_request_for_extradition_stops_the_clock():
    assert set(due(case(ARREST, held(), (A, "request.extradition")))) == {"acknowledgment"}


# -- appeal and embargo


def test_a_refusal_can_be_appealed_until_a_day():
    refusal = (B, "decision.refuse", {"appeal__deadline": "2027-01-15"})
    assert due(case(REQUEST, ACKNOWLEDGED, refusal)) == {"appeal": day("2027-01-15")}
    closing = case(REQUEST, ACKNOWLEDGED, refusal, (A, "closure"))
    assert due(closing) == {"appeal": day("2027-01-15")}
    closed = case(
        REQUEST, ACKNOWLEDGED, refusal, (A, "closure"), (B, "closure.confirm", {}, {"decision": "agrees"})
    )
    assert due(closed) == {}


def test_an_adverse_decision_can_be_appealed_until_a_day():
    notice = (B, "notice.adverse_decision", {"appeal_deadline": "2027-01-15"})
    found = due(case(REQUEST, ACKNOWLEDGED, (B, "decision.accept"), notice))
    assert found == {"appeal": day("2027-01-15"), "update": UPDATE}


def test_an_embargo_outlives_the_case():
    information = (A, "spontaneous.information", {"restrictions__until": "2027-03-01"})
    assert due(case(information)) == {"embargo": day("2027-03-01")}
    history = case(information, *CLOSED)
    assert replay(history).state == "closed"
    assert due(history) == {"embargo": day("2027-03-01")}


# -- when to look


def test_the_earliest_that_is_not_on_record_is_looked_at():
    found = tuple(running(case(NOTICE, ACKNOWLEDGED)).values())
    first, second = sorted(found, key=lambda clock: clock.due_ms)
    assert next_look_ms(found, (), NOW_MS) == first.due_ms
    assert next_look_ms(found, {first.key}, first.due_ms) == second.due_ms
    assert next_look_ms(found, {first.key, second.key}, second.due_ms) is None
    assert next_look_ms((), (), NOW_MS) is None


def test_what_is_on_record_and_does_not_hold_any_more_is_looked_at_at_once():
    (clock,) = running(case(REQUEST)).values()
    assert next_look_ms((), {clock.key}, clock.due_ms) == LOOK_NOW_MS, "stopped"
    assert next_look_ms([clock], {clock.key}, clock.due_ms - 1) == LOOK_NOW_MS, "has more time now"


def test_keys_are_kept_as_text():
    keys = {("update", message_id(2)), ("appeal", message_id(1))}
    text = encode_keys(keys)
    assert text == json.dumps([["appeal", message_id(1)], ["update", message_id(2)]], separators=(",", ":"))
    assert parse_keys(text) == keys
    assert (encode_keys(()), parse_keys(None)) == (None, frozenset())
    with pytest.raises(Malformed):
        parse_keys('[["update","no message"]]')
