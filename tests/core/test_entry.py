import json
import string
from dataclasses import replace

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.entry import (
    ANSWERING,
    EVENTS,
    LATER,
    TRAVELLING,
    Draft,
    commitment_to,
    encode_entry,
    opened,
    parse_entry,
)
from gateway.core.errors import Malformed
from gateway.core.ids import AuthorityId, Digest, MessageId

TIME_MS = 1795442709123
ID = "0b9dbd2a-6a2c-4b0e-9b6e-4f0c1c1d2e3f"
ACCEPTED = Draft(
    event="relay.accepted",
    outcome="ok",
    peer=AuthorityId("qn-04.justice"),
    message_id=MessageId("5e0c8c1e-6a2c-4b0e-9b6e-4f0c1c1d2e3f"),
    envelope_sha256=Digest("aa" * 32),
    message_sha256=Digest("bb" * 32),
)
READ = Draft(event="log.read", outcome="ok", actor_ref="acct-7", extra=(("from", 3), ("note", "a b")))
PLAIN = st.text(st.sampled_from([c for c in map(chr, range(32, 127)) if c not in '"\\']), max_size=40)


def encode(draft, **changes):
    given_ = {"authority": AuthorityId("qm.moj"), "entry_id": ID, "time_ms": TIME_MS} | changes
    return encode_entry(draft, **given_)


def test_the_exact_leaf():
    assert encode(ACCEPTED) == (
        b'{"authority":"qm.moj","entry_id":"0b9dbd2a-6a2c-4b0e-9b6e-4f0c1c1d2e3f",'
        b'"envelope_sha256":"' + b"aa" * 32 + b'","event":"relay.accepted",'
        b'"message_id":"5e0c8c1e-6a2c-4b0e-9b6e-4f0c1c1d2e3f","message_sha256":"' + b"bb" * 32 + b'",'
        b'"outcome":"ok","peer":"qn-04.justice","time":"2026-11-23T14:05:09.123Z","v":1}'
    )


@given(
    st.dictionaries(
        st.text(string.ascii_lowercase + "_" + string.digits, min_size=1, max_size=9).map("x".__add__),
        PLAIN | st.integers(-(2**53) + 1, 2**53 - 1),
        max_size=6,
    )
)
def test_an_entry_comes_back_as_it_was_written(extra):
    leaf = encode(replace(READ, extra=tuple(extra.items()), commitment=commitment_to(bytes(32), b"detail")))
    entry = parse_entry(leaf)
    assert dict(entry.extra) == extra
    assert (entry.event, entry.time_ms, entry.entry_id, entry.leaf) == ("log.read", TIME_MS, ID, leaf)
    assert entry.actor_ref == "acct-7"
    assert entry.commitment == commitment_to(bytes(32), b"detail")
    assert rfc8785.dumps(json.loads(leaf)) == leaf


def test_every_event_of_the_closed_list_can_be_logged():
    for event in EVENTS - TRAVELLING:
        assert parse_entry(encode(Draft(event=event, outcome="ok"))).event == event
    assert ANSWERING | LATER == TRAVELLING <= EVENTS


def test_the_digest_of_the_message_is_there_exactly_when_it_was_opened():
    refused = replace(ACCEPTED, event="relay.refused", outcome="refused", reason="schema")
    unopened = replace(refused, reason="unopenable", message_sha256=None)
    unknown = replace(ACCEPTED, event="relay.unknown", message_sha256=None)
    conflict = replace(refused, event="relay.conflict", reason="conflict")
    for sound in (ACCEPTED, refused, unopened, unknown, conflict, replace(ACCEPTED, event="content.opened")):
        assert opened(sound.event, sound.reason) == (sound.message_sha256 is not None)
        assert parse_entry(encode(sound)).message_sha256 == sound.message_sha256
    for wrong in (
        replace(ACCEPTED, message_sha256=None),
        replace(refused, message_sha256=None),
        replace(unopened, message_sha256=ACCEPTED.message_sha256),
        replace(unknown, message_sha256=ACCEPTED.message_sha256),
    ):
        with pytest.raises(Malformed):
            encode(wrong)


@pytest.mark.parametrize(
    "changes",
    [
        {"event": "relay.forwarded"},
        {"event": "relay.refused", "outcome": "refused"},
        {"event": "relay.refused", "outcome": "ok", "reason": "schema"},
        {"event": "relay.refused", "outcome": "refused", "reason": "conflict"},
        {"event": "relay.conflict", "outcome": "refused", "reason": "schema"},
        {"event": "relay.refused", "outcome": "refused", "reason": "dislike"},
        {"outcome": "refused", "reason": "schema"},
        {"outcome": "fine"},
        {"reason": "schema"},
        {"peer": None},
        {"peer": "Nowhere"},
        {"message_id": None},
        {"envelope_sha256": None},
        {"envelope_sha256": "AA" * 32},
        {"actor_ref": "acct-7"},
        {"extra": (("event", "x"),)},
        {"extra": (("actor_ref", "x"),)},
        {"extra": (("Name", "x"),)},
        {"extra": (("name", 'a"b'),)},
        {"extra": (("name", "a\\b"),)},
        {"extra": (("name", "é"),)},
        {"extra": (("name", "a\nb"),)},
        {"extra": (("name", 2**53),)},
        {"extra": (("name", True),)},
        {"extra": (("name", "x" * 4096),)},
    ],
)
def test_no_other_entry_is_written(changes):
    with pytest.raises(Malformed):
        encode(replace(ACCEPTED, **changes))


LEAF = encode(ACCEPTED)


@pytest.mark.parametrize(
    "leaf",
    [
        LEAF + b" ",
        LEAF.replace(b":1}", b": 1}"),
        LEAF.replace(b"relay.", b"\\u0072elay."),
        LEAF.replace(b'"v":1', b'"v":2'),
        LEAF.replace(b'"v":1', b'"v":true'),
        LEAF.replace(b',"v":1', b""),
        LEAF.replace(b'"v":1', b'"v":1,"w":[1]'),
        LEAF.replace(b'"v":1', b'"v":1,"w":null'),
        LEAF.replace(b'"v":1', b'"v":1,"a":1'),
        LEAF.replace(b'"outcome":"ok",', b'"outcome":"ok","peer":null,'),
        LEAF.replace(b'"peer":"qn-04.justice"', b'"peer":null'),
        LEAF.replace(b"09.123Z", b"09Z"),
        LEAF.replace(b"5e0c", b"5E0C"),
        LEAF.replace(b'"v":1', b'"v":1,"z":"' + b"x" * 4096 + b'"'),
        LEAF.replace(b'"envelope_sha', b'"commitment":"AA","envelope_sha'),
        b"[]",
        b"",
    ],
)
def test_no_other_entry_is_read(leaf):
    assert leaf != LEAF
    with pytest.raises(Malformed):
        parse_entry(leaf)


@given(st.integers(0, len(LEAF) - 1), st.integers(1, 255))
def test_one_changed_byte_makes_another_entry_or_none(place, change):
    altered = bytearray(LEAF)
    altered[place] ^= change
    try:
        entry = parse_entry(bytes(altered))
    except Malformed:
        return
    assert entry.leaf == bytes(altered)
    assert encode_again(entry) == bytes(altered)


def encode_again(entry):
    draft = Draft(
        event=entry.event,
        outcome=entry.outcome,
        peer=entry.peer,
        message_id=entry.message_id,
        envelope_sha256=entry.envelope_sha256,
        message_sha256=entry.message_sha256,
        reason=entry.reason,
        actor_ref=entry.actor_ref,
        commitment=entry.commitment,
        extra=entry.extra,
    )
    return encode(
        draft,
        authority=entry.authority,
        entry_id=entry.entry_id,
        time_ms=entry.time_ms,
    )


def test_a_commitment_needs_its_salt():
    assert commitment_to(bytes(32), b"x") != commitment_to(b"\x01" * 32, b"x")
    assert commitment_to(bytes(32), b"x") == "GpQKQMja_m90KkhPZD0ZE6HrHllCtAkdT_eqBOqcGnQ"
    for salt in (b"", bytes(31), bytes(33)):
        with pytest.raises(Malformed):
            commitment_to(salt, b"x")
