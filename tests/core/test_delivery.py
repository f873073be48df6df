from dataclasses import replace

import pytest

from gateway.core import delivery
from gateway.core.delivery import (
    TABLE,
    Alarm,
    Block,
    Calm,
    Cancel,
    Count,
    Cue,
    Deferred,
    Delivery,
    DropEnvelopes,
    HoldFollowers,
    Log,
    Lost,
    Proved,
    Release,
    Reseal,
    Resealed,
    Retry,
    SealAgain,
    Silent,
    State,
)
from gateway.core.entry import Entry
from gateway.core.errors import Misuse
from gateway.core.ids import AuthorityId, Digest, MessageId
from gateway.core.note import Checkpoint
from gateway.core.proof import Statement

NOW_MS = 1_795_000_000_000
LATER_MS = NOW_MS + 3_600_000
REASON = "schema"

LETTERS = {
    "R": Log("receipt.recorded", "ok"),
    "X": Log("receipt.recorded", "refused", REASON),
    "E": Log("delivery.expired", "failed"),
    "U": Log("relay.undetermined", "failed"),
    "h": Log("delivery.held", "ok"),
    "r": Log("delivery.released", "ok"),
    "c": Log("delivery.cancelled", "ok"),
    "t": Log("delivery.retried", "ok"),
    "D": DropEnvelopes(),
    "H": HoldFollowers(),
    "+": Count(counts=True),
    "-": Count(counts=False),
    "A": Alarm("undetermined"),
    "C": Calm("undetermined"),
    "L": Alarm("late_acceptance"),
    "K": Alarm("contradiction"),
    "p": Log("delivery.repeated", "ok"),
    "S": SealAgain(),
    "G": Alarm("lost_by_peer"),
}

# Where each event leads from each state, and with which effects; a dot where it must not happen.
POSTED = """
event               queued            undetermined      accepted      handed_over    refused    expired
relay.accepted      accepted:RD       accepted:RD+C     accepted:R    handed_over:R  refused:RL expired:RL
content.opened      accepted:RD       accepted:RD+C     accepted:R    handed_over:R  refused:RL expired:RL
content.handed_over handed_over:RD    handed_over:RD+C  handed_over:R handed_over:R  refused:RL expired:RL
relay.refused       refused:XDH-      refused:XDC       accepted:XK   handed_over:XK refused:X  expired:XK
relay.conflict      refused:XDH-      refused:XDC       accepted:XK   handed_over:XK refused:X  expired:XK
relay.unknown       expired:REDH-     expired:REDC      accepted:RK   handed_over:RK refused:RK expired:R
deferred            queued:           undetermined:     accepted:     handed_over:   refused:   expired:
silent              undetermined:UH-A undetermined:     accepted:     handed_over:   refused:   expired:
resealed            queued:           .                 .             .              .          .
block               held:hD-          .                 .             .              .          .
retry               queued:t          undetermined:t    .             .              .          .
lost                .                 .                 queued:pS     queued:pS      .          .
lost_for_good       .                 .                 accepted:G    handed_over:G  .          .
"""
NEVER_POSTED = """
event    held         cancelled
block    held:        .
release  queued:r+    .
cancel   cancelled:c  .
"""


def cells() -> dict[tuple[State, Cue], str]:
    found = {(state, cue): "." for state in State for cue in Cue}
    for table in (POSTED, NEVER_POSTED):
        (_, *states), *lines = map(str.split, table.strip().splitlines())
        for cue, *row in lines:
            found |= {(State(state), Cue(cue)): cell for state, cell in zip(states, row, strict=True)}
    return found


CELLS = cells()


def statement(event: str) -> Statement:
    sha, peer = Digest("0" * 64), AuthorityId("qn.moj")
    reason = REASON if event in {"relay.refused", "relay.conflict"} else None
    entry = Entry(
        event=event, outcome="ok", entry_id="", time_ms=NOW_MS, authority=peer, peer=None,
        message_id=MessageId(""), envelope_sha256=sha, message_sha256=sha, reason=reason, actor_ref=None,
        commitment=None, extra=(), leaf=b"",
    )  # fmt: skip
    checkpoint = Checkpoint(origin="", size=1, root=b"", text="", time_s=0)
    return Statement(
        event=event, reason=reason, envelope_sha256=sha, entry=entry, entry_sha256=sha, index=0,
        checkpoint=checkpoint,
    )  # fmt: skip


def event_of(cue: Cue) -> delivery.Event:
    others: dict[Cue, delivery.Event] = {
        Cue.DEFERRED: Deferred("storage_full"),
        Cue.SILENT: Silent("unreachable"),
        Cue.RESEALED: Resealed(),
        Cue.BLOCK: Block(),
        Cue.RELEASE: Release(LATER_MS),
        Cue.CANCEL: Cancel(),
        Cue.RETRY: Retry(),
        Cue.LOST: Lost(),
        Cue.LOST_FOR_GOOD: Lost(kept=False),
    }
    return others.get(cue) or Proved(statement(cue.value))


def expired(state: State, **members: object) -> Delivery:
    return Delivery(state=state, expires_ms=NOW_MS, **members)  # type: ignore[arg-type]


def test_every_row_of_the_table_has_its_clause():
    assert set(TABLE) == {key for key, cell in CELLS.items() if cell != "."}
    assert all(rule.clause for rule in TABLE.values())


@pytest.mark.parametrize(("state", "cue"), [key for key, cell in CELLS.items() if cell != "."])
def test_each_row(state: State, cue: Cue):
    to, _, letters = CELLS[state, cue].partition(":")
    expires_ms = NOW_MS + (cue in {Cue.LOST, Cue.LOST_FOR_GOOD})
    after, effects = delivery.step(Delivery(state, expires_ms), event_of(cue), NOW_MS, 0.5)
    assert after.state == to
    assert effects == tuple(LETTERS[letter] for letter in letters)


@pytest.mark.parametrize(("state", "cue"), [key for key, cell in CELLS.items() if cell == "."])
def test_where_there_is_no_row_the_event_is_an_error(state: State, cue: Cue):
    with pytest.raises(Misuse) as caught:
        delivery.step(expired(state), event_of(cue), NOW_MS, 0.5)
    assert (caught.value.status, caught.value.code) == (409, "wrong_state")


def test_a_final_answer_ends_the_waiting():
    waiting = expired(State.QUEUED, attempt=3, next_ms=LATER_MS, problem="storage_full")
    after, _ = delivery.step(waiting, Proved(statement("relay.accepted")), NOW_MS, 0.5)
    assert after == expired(State.ACCEPTED)


@pytest.mark.parametrize("state", [state for state in State if (state, Cue.DEFERRED) in TABLE])
def test_an_unsigned_answer_moves_nothing_but_what_is_queued(state: State):
    before = expired(state, attempt=2, next_ms=NOW_MS - 1, problem="unreachable")
    after, _ = delivery.step(before, Deferred("internal", 60), NOW_MS, 0.5)
    assert (after == before) is (state is not State.QUEUED)


@pytest.mark.parametrize(("attempt", "longest_s"), [(0, 30), (1, 60), (2, 120), (6, 1800), (60, 1800)])
def test_an_unsigned_answer_backs_off_with_full_jitter(attempt: int, longest_s: int):
    before = Delivery(State.QUEUED, expires_ms=NOW_MS + 10 * 86_400_000, attempt=attempt)
    after, effects = delivery.step(before, Deferred("storage_full"), NOW_MS, 0.5)
    assert (after.attempt, after.problem, effects) == (attempt + 1, "storage_full", ())
    assert after.next_ms == NOW_MS + longest_s * 500
    after, _ = delivery.step(before, Deferred("storage_full"), NOW_MS, 0)
    assert after.next_ms == NOW_MS + 1_000


def test_a_backoff_waits_as_long_as_the_peer_asks_within_the_cap():
    before = Delivery(State.QUEUED, expires_ms=NOW_MS + 10 * 86_400_000)
    for asked_s, waited_s in ((5, 15), (40, 40), (86_400, 1800)):
        after, _ = delivery.step(before, Deferred("check_running", asked_s), NOW_MS, 0.5)
        assert after.next_ms == NOW_MS + waited_s * 1000


def test_a_backoff_ends_when_the_message_expires():
    before = Delivery(State.QUEUED, expires_ms=NOW_MS + 2_000)
    after, _ = delivery.step(before, Deferred("storage_full"), NOW_MS, 0.9)
    assert after.next_ms == before.expires_ms


def test_an_unknown_sealing_key_asks_for_a_new_seal_which_is_posted_at_once():
    before = Delivery(State.QUEUED, expires_ms=LATER_MS)
    waiting, effects = delivery.step(before, Deferred("unknown_sealing_key"), NOW_MS, 0.5)
    assert effects == (Reseal(),)
    after, effects = delivery.step(waiting, Resealed(), NOW_MS, 0.5)
    assert (after.next_ms, after.attempt, after.problem, effects) == (NOW_MS, 1, None, ())


def test_nothing_is_undetermined_before_it_expires():
    with pytest.raises(Misuse):
        delivery.step(Delivery(State.QUEUED, expires_ms=NOW_MS + 1), Silent(), NOW_MS, 0.5)


def test_an_undetermined_message_is_asked_for_with_backoff():
    before = expired(State.UNDETERMINED, attempt=1)
    after, effects = delivery.step(before, Silent("suspended", 45), NOW_MS, 0.5)
    assert (after.attempt, after.next_ms, after.problem, effects) == (2, NOW_MS + 45_000, "suspended", ())


def test_a_retry_is_due_now_and_goes_on_counting():
    # `attempt` also tells that a message may have been sealed more than once.
    before = Delivery(State.QUEUED, expires_ms=LATER_MS, attempt=4, next_ms=LATER_MS, problem="quota")
    after, _ = delivery.step(before, Retry(), NOW_MS, 0.5)
    assert after == Delivery(State.QUEUED, expires_ms=LATER_MS, attempt=4, next_ms=NOW_MS)


def test_a_released_message_expires_when_it_says_now():
    after, _ = delivery.step(expired(State.HELD), Release(LATER_MS), NOW_MS, 0.5)
    assert after == Delivery(State.QUEUED, expires_ms=LATER_MS, next_ms=NOW_MS)


def test_what_a_peer_lost_is_due_now_and_known_to_have_been_in_other_envelopes():
    after, _ = delivery.step(Delivery(State.HANDED_OVER, expires_ms=LATER_MS), Lost(), NOW_MS, 0.5)
    assert after == Delivery(State.QUEUED, expires_ms=LATER_MS, attempt=1, next_ms=NOW_MS)


def test_what_has_expired_since_is_not_posted_again():
    before = expired(State.ACCEPTED)
    assert delivery.step(before, Lost(), NOW_MS, 0.5) == (before, (Alarm("lost_by_peer"),))
    assert delivery.step(replace(before, expires_ms=NOW_MS + 1), Lost(), NOW_MS, 0.5)[0].state is State.QUEUED
