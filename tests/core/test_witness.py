"""What a witness decides about a checkpoint (C2SP tlog-witness)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.errors import Malformed
from gateway.core.merkle import EMPTY_ROOT, Frontier, consistency, leaf_hash
from gateway.core.note import Checkpoint
from gateway.core.witness import (
    MAX_BYTES,
    Contradicts,
    Elsewhere,
    GoesOn,
    Submission,
    Unconnected,
    encode_submission,
    judge,
    parse_submission,
)

ORIGIN = "moj.qn.example/audit/1"
NOTE = "moj.qn.example/audit/1\n3\nAAAA\n\n— moj.qn.example/audit/1 AAAA\n"
LEAVES = [leaf_hash(b"%d" % number) for number in range(40)]
FORKED = [*LEAVES[:10], leaf_hash(b"another"), *LEAVES[11:]]


def head(size, leaves=LEAVES):
    frontier, _ = Frontier().append(leaves[:size])
    return Checkpoint(ORIGIN, size, frontier.root(), "", 0)


def proof(old, new, leaves=LEAVES):
    _, made = Frontier().append(leaves[:new])
    nodes = {(level, index): digest for level, index, digest in made}
    return tuple(consistency(old, new, lambda level, index: nodes[level, index]))


def submission(old, new, leaves=LEAVES):
    return Submission(old, proof(old, new, leaves), "")


@given(st.integers(0, 40), st.integers(0, 40))
def test_what_goes_on_from_the_newest_is_cosigned_and_nothing_else(one, other):
    old, new = sorted((one, other))
    newest = head(old) if old else None
    assert judge(submission(old, new), head(new), newest) == GoesOn()
    if new > 10 and old not in {0, new}:
        verdict = judge(submission(old, new, FORKED), head(new, FORKED), newest)
        assert verdict == (GoesOn() if old <= 10 else Unconnected())
    if old != new:
        wrong = Submission(old, (*proof(old, new), bytes(32)), "")
        assert judge(wrong, head(new), newest) == Unconnected()


def test_one_that_stands_elsewhere_is_told_where_the_newest_stands():
    assert judge(submission(3, 7), head(7), head(5)) == Elsewhere(5)
    assert judge(submission(3, 7), head(7), None) == Elsewhere(0)
    assert judge(submission(0, 7), head(7), head(5)) == Elsewhere(5)
    assert judge(submission(3, 4), head(4), head(5)) == Elsewhere(5)


def test_an_old_size_above_the_checkpoint_is_no_submission():
    with pytest.raises(Malformed):
        judge(Submission(8, (), ""), head(7), head(8))


@pytest.mark.parametrize("old", [0, 3, 12])
def test_two_roots_for_one_size_are_noticed_wherever_the_proof_begins(old):
    assert judge(Submission(old, (), ""), head(12, FORKED), head(12)) == Contradicts(12, old == 12)


def test_a_repeated_checkpoint_is_cosigned_again():
    assert judge(Submission(12, (), ""), head(12), head(12)) == GoesOn()
    assert judge(Submission(12, (bytes(32),), ""), head(12), head(12)) == Unconnected()


def test_an_empty_log_has_the_empty_root():
    empty = Checkpoint(ORIGIN, 0, EMPTY_ROOT, "", 0)
    assert judge(Submission(0, (), ""), empty, None) == GoesOn()
    assert judge(Submission(0, (), ""), Checkpoint(ORIGIN, 0, bytes(32), "", 0), None) == Unconnected()


@given(st.integers(0, 2**53 - 1), st.lists(st.binary(min_size=32, max_size=32), max_size=63))
def test_a_submission_is_read_as_it_was_written(old, hashes):
    found = parse_submission(encode_submission(old, hashes, NOTE))
    assert found == Submission(old, tuple(hashes), NOTE)


HASH = "A" * 43 + "="


@pytest.mark.parametrize(
    "text",
    [
        "",
        "old\n\n" + NOTE,
        "Old 1\n\n" + NOTE,
        "old 01\n\n" + NOTE,
        "old -1\n\n" + NOTE,
        "old \N{ARABIC-INDIC DIGIT ONE}\n\n" + NOTE,
        f"old {2**53}\n\n" + NOTE,
        "old " + "9" * 4000 + "\n\n" + NOTE,
        "old 1 \n\n" + NOTE,
        "old 1\n" + HASH,
        "old 1\n" + HASH[:-1] + "\n\n" + NOTE,
        "old 1\n" + "AAAA\n\n" + NOTE,
        "old 1\n" + f"{HASH}\n" * 64 + "\n" + NOTE,
    ],
)
def test_what_is_no_submission(text):
    with pytest.raises(Malformed):
        parse_submission(text.encode())


def test_a_submission_has_a_bound_and_is_text():
    with pytest.raises(Malformed):
        parse_submission(b"old 0\n\n" + b"x" * MAX_BYTES)
    with pytest.raises(Malformed):
        parse_submission(b"old 0\n\n\xff")
