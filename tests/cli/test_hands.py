"""Processes beside each other find in a log what one finds."""

from itertools import islice

import pytest

from gateway.cli.hands import FEW, MOST_HANDS, hands_for, runs
from gateway.core.entry import Draft, encode_entry
from gateway.core.ids import AuthorityId
from gateway.core.merkle import leaf_hash, root
from gateway.core.soundness import Leaves, Problem, Unsound

US = AuthorityId("qo.justice")
TIME_MS = 1_790_000_000_123
PIECE = 100
ODD = 37
"""Entries of the last piece, which is not whole."""
START = 3 * PIECE + 5
"""A range begins anywhere."""


def leaf(number: int) -> bytes:
    entry_id = f"8c6a4f0e-6f6e-4a52-9d52-{number:012x}"
    draft = Draft(event="log.read", outcome="ok", extra=(("entry_index", number),))
    return encode_entry(draft, authority=US, entry_id=entry_id, time_ms=TIME_MS + number // 3)


LOG = [leaf(number) for number in range(12 * PIECE + ODD)]


def joined(log, hands, start=0):
    """Verify *log* from the entry *start* on; return its root, and how many entries each run had."""
    check = Leaves(US)
    check.take(log[:start])
    counts = []
    for run in runs(US, start, (log[at : at + PIECE] for at in range(start, len(log), PIECE)), hands):
        check.join(run)
        counts.append(run.count)
    return check.frontier.root(), counts


@pytest.mark.parametrize("start", [0, START])
def test_root_is_that_of_the_tree(start):
    expected = root([leaf_hash(one) for one in LOG])
    alone, together = joined(LOG, 1, start), joined(LOG, 2, start)
    assert alone == together
    assert together[0] == expected
    assert sum(together[1]) == len(LOG) - start


@pytest.mark.parametrize("hands", [1, 2])
def test_fault_is_told_with_its_entry_once_those_before_it_are_yielded(hands):
    wrong = 10 * PIECE + 8
    log = [*LOG[:wrong], LOG[wrong].replace(b"log.read", b"log.Read"), *LOG[wrong + 1 :]]
    found = runs(US, 0, (log[at : at + PIECE] for at in range(0, len(log), PIECE)), hands)
    counted = sum(run.count for run in islice(found, 10))
    with pytest.raises(Unsound) as told:
        next(found)
    assert (told.value.problem, told.value.entry) == (Problem.MALFORMED, wrong)
    assert counted == 10 * PIECE


@pytest.mark.parametrize("hands", [1, 2])
def test_time_that_goes_back_from_one_piece_to_the_next_is_seen(hands):
    log = [*LOG[PIECE : 2 * PIECE], *LOG[:PIECE]]
    with pytest.raises(Unsound) as told:
        joined(log, hands)
    assert (told.value.problem, told.value.entry) == (Problem.TIME, PIECE)


def test_few_entries_are_looked_at_by_one():
    assert hands_for(FEW - 1) == 1
    assert 1 <= hands_for(FEW) <= MOST_HANDS
