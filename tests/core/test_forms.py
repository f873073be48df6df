"""What the quick look at leaves accepts, the strict parser accepts; and of real entries it accepts each."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.entry import Draft, encode_entry, parse_entry
from gateway.core.errors import Malformed
from gateway.core.forms import MOST_FORMS, Forms, WrongAuthority
from gateway.core.ids import AuthorityId
from gateway.core.strict import parse_time, time_text

US = AuthorityId("qo.justice")
IDS = ["8c6a4f0e-6f6e-4a52-9d52-3a8f0c5f1b11", "2f6b7f1e-0a53-4c0e-8d0a-6d4f4f5c7a10"]
TIME_MS = 1_790_000_000_123
DRAFTS = [
    Draft(event="log.read", outcome="ok"),
    Draft(event="log.read", outcome="ok", actor_ref="x y", extra=(("entry_index", 7), ("zone", "b c"))),
    Draft(event="log.read", outcome="ok", extra=(("a", -3), ("v2", 10**15 - 1))),
    Draft(event="content.read", outcome="failed", reason="no_key", peer=AuthorityId("qp.justice")),
    Draft(event="submission.accepted", outcome="ok", message_id=IDS[0], commitment="A" * 43),
    Draft(
        event="relay.accepted",
        outcome="ok",
        peer=AuthorityId("qp-a1.justice-of-peace"),
        message_id=IDS[1],
        envelope_sha256="ab" * 32,
        message_sha256="cd" * 32,
    ),
]
LEAVES = [encode_entry(draft, authority=US, entry_id=IDS[0], time_ms=TIME_MS) for draft in DRAFTS]


def read(forms: Forms, leaf: bytes):
    found = forms.read([leaf])
    if found.fault is not None:
        raise found.fault
    return found


def seen() -> Forms:
    """Return forms that know those of LEAVES: what comes next is compared with patterns."""
    forms = Forms(US)
    for leaf in LEAVES:
        read(forms, leaf)
    return forms


@pytest.mark.parametrize("leaf", LEAVES)
def test_columns_are_those_of_the_strict_parser(leaf):
    forms, entry = Forms(US), parse_entry(leaf)
    for _ in range(2):  # strictly, and by the pattern
        found = read(forms, leaf)
        assert (*found.entry_ids, *found.events) == (entry.entry_id, entry.event)
        assert (*found.message_ids, *found.peers) == (entry.message_id, entry.peer)
        assert found.times == (time_text(entry.time_ms),)


@pytest.mark.parametrize("leaf", LEAVES)
def test_a_pattern_is_made_for_each_form(leaf, monkeypatch):
    forms = seen()
    monkeypatch.setattr("gateway.core.forms.parse_entry", None)
    read(forms, leaf.replace(IDS[0].encode(), IDS[1].encode()))


def accepted(forms: Forms, leaf: bytes) -> bool:
    """Return whether the forms take *leaf*, its time included, as `Leaves` looks at it."""
    try:
        parse_time(*read(forms, leaf).times)
    except Malformed:
        return False
    return True


def strictly(leaf: bytes) -> bool:
    try:
        return parse_entry(leaf).authority == US
    except Malformed:
        return False


ALPHABET = b'{}":,\\ !0123456789abcdefghijklmnopqrstuvwxyzABCXYZ_-.\x00\n\x7f\xff'


@given(st.integers(0, len(LEAVES) - 1), st.data())
def test_nothing_is_accepted_that_the_strict_parser_refuses(which, data):
    leaf = bytearray(LEAVES[which])
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(leaf) - 1))
        new = data.draw(st.sampled_from(ALPHABET))
        match data.draw(st.sampled_from(["put", "insert", "drop"])):
            case "put":
                leaf[at] = new
            case "insert":
                leaf.insert(at, new)
            case "drop":
                del leaf[at]
    assert accepted(seen(), bytes(leaf)) == strictly(bytes(leaf))


def test_each_byte_of_each_form_counts():
    forms, dice = seen(), random.Random(18)
    for leaf in LEAVES:
        for at in range(len(leaf)):
            for new in dice.sample(ALPHABET, 6):
                changed = leaf[:at] + bytes([new]) + leaf[at + 1 :]
                assert accepted(forms, changed) == strictly(changed), changed


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"v":1', b'"v":2'),
        (b'"outcome":"ok"', b'"outcome":"refused"'),
        (b'"event":"relay.accepted"', b'"event":"relay.refused"'),
        (b"qp-a1.justice-of-peace", b"qp-a1.j" + b"x" * 60),
        (b"2026-09-21", b"2026-02-30"),
        (b'"ab', b'"AB'),
    ],
)
def test_words_and_rules_of_a_form(old, new):
    leaf = LEAVES[-1]
    assert old in leaf
    assert not accepted(seen(), leaf.replace(old, new, 1))


def test_a_long_integer_is_left_to_the_strict_parser():
    forms = seen()
    for number in (10**15, 2**53 - 1, 2**53, 10**20):
        leaf = LEAVES[2].replace(b"999999999999999", str(number).encode())
        assert accepted(forms, leaf) == strictly(leaf) == (number < 2**53)


def test_an_entry_that_is_too_long_has_no_form():
    forms = seen()
    long = LEAVES[1].replace(b"x y", b"x" * 5000)
    assert not accepted(forms, long)


@pytest.mark.parametrize("at", [0, 3, 7])
def test_leaves_are_read_up_to_the_first_that_is_not_in_form(at):
    leaves = [LEAVES[-1]] * 8
    for wrong in (b"{}", LEAVES[-1].replace(b"ab", b"aB"), LEAVES[-1].replace(IDS[1].encode(), b"8" * 36)):
        found = seen().read([*leaves[:at], wrong, *leaves[at:]])
        assert isinstance(found.fault, Malformed)
        assert list(found.times) == [time_text(TIME_MS)] * at


def test_an_entry_of_another_authority():
    with pytest.raises(WrongAuthority):
        read(seen(), LEAVES[0].replace(US.encode(), b"qz.nobody"))


def test_a_log_of_endless_forms_is_read_all_the_same():
    forms = Forms(US)
    for number in range(MOST_FORMS + 50):
        draft = Draft(event="log.read", outcome="ok", extra=((f"n{number}", number),))
        assert accepted(forms, encode_entry(draft, authority=US, entry_id=IDS[0], time_ms=TIME_MS))
    assert sum(map(len, forms._patterns.values())) == MOST_FORMS
