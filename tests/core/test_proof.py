import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.entry import ANSWERING, LATER, Draft, encode_entry
from gateway.core.errors import Malformed, NotIncluded, Untrusted, WrongSubject
from gateway.core.ids import AuthorityId, Digest, MessageId
from gateway.core.merkle import Frontier, inclusion, leaf_hash
from gateway.core.note import LogIdentity, sign_checkpoint
from gateway.core.proof import (
    Proof,
    Receipt,
    SentEnvelope,
    encode_hashes,
    encode_proof,
    parse_hashes,
    parse_proof,
    parse_receipt,
    verify_receipt,
)
from gateway.core.strict import sha256
from keys.signing import LogKeys

ORIGIN = "moj.qm.example/audit/1"
TIME_MS = 1795442709123
KEYS, OTHER = LogKeys.generate(), LogKeys.generate()
LOGS = {ORIGIN: LogIdentity(ORIGIN, KEYS.ed.public, KEYS.lattice.public)}
SENT = SentEnvelope(
    message_id=MessageId("5e0c8c1e-6a2c-4b0e-9b6e-4f0c1c1d2e3f"),
    sender=AuthorityId("qn-04.justice"),
    recipient=AuthorityId("qm.moj"),
    message_sha256=Digest("bb" * 32),
    envelopes=frozenset({Digest("aa" * 32), Digest("ab" * 32)}),
)
ACCEPTED = Draft(
    event="relay.accepted",
    outcome="ok",
    peer=SENT.sender,
    message_id=SENT.message_id,
    envelope_sha256=Digest("aa" * 32),
    message_sha256=SENT.message_sha256,
)
REFUSED = replace(ACCEPTED, event="relay.refused", outcome="refused", reason="schema")
UNOPENED = replace(REFUSED, reason="unopenable", message_sha256=None)
CONFLICT = replace(REFUSED, event="relay.conflict", reason="conflict")
UNKNOWN = replace(ACCEPTED, event="relay.unknown", message_sha256=None)


def encode(draft, authority=SENT.recipient):
    entry_id = "0b9dbd2a-6a2c-4b0e-9b6e-4f0c1c1d2e3f"
    return encode_entry(draft, authority=authority, entry_id=entry_id, time_ms=TIME_MS)


def log(leaf, index=5, size=11):
    """Return a log of *size* with *leaf* at *index*: its frontier and its nodes."""
    leaves = [leaf if place == index else b"%d" % place for place in range(size)]
    frontier, made = Frontier().append(map(leaf_hash, leaves))
    return frontier, {(level, place): digest for level, place, digest in made}


def receipt(leaf, *, index=5, size=11, keys=KEYS, origin=ORIGIN):
    frontier, nodes = log(leaf, index, size)
    checkpoint = sign_checkpoint(origin, size, frontier.root(), TIME_MS, keys)
    path = inclusion(index, size, lambda level, place: nodes[level, place])
    return Receipt(leaf, encode_proof(index, path, checkpoint.text))


SOUND = receipt(encode(ACCEPTED))


def test_a_receipt_states_what_the_peer_logged():
    statement = verify_receipt(SOUND, SENT, LOGS)
    assert (statement.event, statement.reason, statement.index) == ("relay.accepted", None, 5)
    assert statement.envelope_sha256 == "aa" * 32
    assert statement.entry.leaf == SOUND.entry
    assert statement.entry_sha256 == sha256(SOUND.entry)
    assert (statement.checkpoint.size, statement.checkpoint.time_s) == (11, TIME_MS // 1000)


def test_every_statement_that_travels_is_one():
    seen = set()
    later = [replace(ACCEPTED, event=event) for event in LATER]
    for draft in (ACCEPTED, REFUSED, UNOPENED, CONFLICT, UNKNOWN, *later):
        statement = verify_receipt(receipt(encode(draft)), SENT, LOGS)
        assert (statement.event, statement.reason) == (draft.event, draft.reason)
        seen.add(statement.event)
    assert seen == ANSWERING | LATER


def test_any_envelope_that_was_posted_counts():
    other = receipt(encode(replace(ACCEPTED, envelope_sha256=Digest("ab" * 32))))
    assert verify_receipt(other, SENT, LOGS).envelope_sha256 == "ab" * 32


@pytest.mark.parametrize(
    "leaf",
    [
        encode(replace(ACCEPTED, envelope_sha256=Digest("ac" * 32))),
        encode(replace(ACCEPTED, message_id=MessageId("5e0c8c1e-6a2c-4b0e-9b6e-4f0c1c1d2e30"))),
        encode(replace(ACCEPTED, message_sha256=Digest("bc" * 32))),
        encode(replace(REFUSED, message_sha256=Digest("bc" * 32))),
        encode(replace(ACCEPTED, peer=AuthorityId("qo.moj"))),
        encode(ACCEPTED, authority=AuthorityId("qo.moj")),
        encode(replace(ACCEPTED, event="receipt.recorded")),
        encode(replace(ACCEPTED, event="submission.accepted")),
        encode(Draft(event="log.read", outcome="ok")),
        encode(Draft(event="log.read", outcome="ok", extra=(("x_envelope_sha256", "aa" * 32),))),
        b"",
    ],
)
def test_a_sound_receipt_for_something_else_is_no_answer(leaf):
    with pytest.raises(WrongSubject):
        verify_receipt(receipt(leaf), SENT, LOGS)


@pytest.mark.parametrize(
    "leaf",
    [
        SOUND.entry + b"\n",
        SOUND.entry.replace(b'"v":1', b'"v": 1'),
        SOUND.entry.replace(b'"v":1', b'"v":2'),
        SOUND.entry.replace(b'"peer"', b'"actor_ref":"acct-7","peer"'),
        SOUND.entry.replace(b'"message_sha256":"' + b"bb" * 32 + b'",', b""),
        b'{"envelope_sha256":"' + b"aa" * 32 + b'"}',
        b'\xff"envelope_sha256":"' + b"aa" * 32 + b'"',
    ],
)
def test_an_entry_that_is_not_canonical_is_no_answer_although_it_is_logged(leaf):
    with pytest.raises(Malformed):
        verify_receipt(receipt(leaf), SENT, LOGS)


@given(st.binary(max_size=80))
def test_no_bytes_in_place_of_the_entry_escape_as_another_error(junk):
    for entry in (junk, SOUND.entry[:60] + junk, SOUND.entry[:170] + junk):
        with pytest.raises((Malformed, WrongSubject)):
            verify_receipt(replace(SOUND, entry=entry), SENT, LOGS)


def test_only_a_log_of_the_recipient_counts():
    with pytest.raises(Untrusted):
        verify_receipt(SOUND, SENT, {})
    with pytest.raises(Untrusted):
        verify_receipt(receipt(SOUND.entry, keys=OTHER), SENT, LOGS)
    with pytest.raises(Untrusted):
        verify_receipt(receipt(SOUND.entry, origin="moj.qm.example/audit/2"), SENT, LOGS)
    mixed = LogKeys(KEYS.ed, OTHER.lattice)
    with pytest.raises(Untrusted):
        verify_receipt(receipt(SOUND.entry, keys=mixed), SENT, LOGS)


def test_the_entry_is_where_the_proof_says():
    parts = parse_proof(SOUND.proof)
    flipped = bytes([parts.hashes[0][0] ^ 1]) + parts.hashes[0][1:]
    for index, hashes in (
        (4, parts.hashes),
        (11, parts.hashes),
        (5, parts.hashes[:-1]),
        (5, (*parts.hashes, bytes(32))),
        (5, (flipped, *parts.hashes[1:])),
        (5, ()),
    ):
        with pytest.raises(NotIncluded):
            verify_receipt(replace(SOUND, proof=encode_proof(index, hashes, parts.checkpoint)), SENT, LOGS)
    other = receipt(encode(replace(ACCEPTED, extra=(("note", "x"),))))
    with pytest.raises(NotIncluded):
        verify_receipt(replace(SOUND, proof=other.proof), SENT, LOGS)


def test_receipts_go_and_come():
    raw = SOUND.encode()
    assert json.loads(raw) == {"entry": SOUND.entry.decode(), "proof": SOUND.proof}
    assert parse_receipt(raw) == SOUND
    head, checkpoint = SOUND.split_proof()
    assert head.endswith("\n\n")
    assert head + checkpoint == SOUND.proof
    assert checkpoint == parse_proof(SOUND.proof).checkpoint


@pytest.mark.parametrize(
    "raw",
    [
        b"{}",
        b"[]",
        b'{"entry":"{}"}',
        SOUND.encode().replace(b'{"entry"', b'{"more":1,"entry"'),
        SOUND.encode().replace(b"tlog-proof@v1", b"tlog-proof@v2"),
        json.dumps({"entry": 1, "proof": SOUND.proof}).encode(),
        json.dumps({"entry": "{}", "proof": None}).encode(),
        json.dumps({"entry": "{}", "proof": "x" * 600_000}).encode(),
    ],
)
def test_what_is_not_a_receipt_is_refused(raw):
    with pytest.raises(Malformed):
        parse_receipt(raw)


def test_the_exact_proof():
    text = encode_proof(7, [bytes(32)], "origin\n8\nroot\n\nsignatures\n")
    assert text == (
        "c2sp.org/tlog-proof@v1\nindex 7\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n\n"
        "origin\n8\nroot\n\nsignatures\n"
    )
    assert parse_proof(text) == Proof(7, (bytes(32),), "origin", "origin\n8\nroot\n\nsignatures\n")
    assert parse_proof("c2sp.org/tlog-proof@v1\nindex 0\n\no\n") == Proof(0, (), "o", "o\n")


HASH = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="


@pytest.mark.parametrize(
    "text",
    [
        "",
        f"c2sp.org/tlog-proof@v1\nindex 0\n{HASH}\n",
        "c2sp.org/tlog-proof@v1\n\no\n",
        "c2sp.org/tlog-proof@v1\nextra AAAA\nindex 0\n\no\n",
        "c2sp.org/tlog-proof@v2\nindex 0\n\no\n",
        "c2sp.org/tlog-proof@v1\r\nindex 0\r\n\r\no\n",
        "c2sp.org/tlog-proof@v1\nindex 00\n\no\n",
        "c2sp.org/tlog-proof@v1\nindex -1\n\no\n",
        "c2sp.org/tlog-proof@v1\nindex +1\n\no\n",
        "c2sp.org/tlog-proof@v1\nindex 1 \n\no\n",
        "c2sp.org/tlog-proof@v1\nindex 9007199254740992\n\no\n",
        f"c2sp.org/tlog-proof@v1\nindex 0\n{HASH[:-2]}B=\n\no\n",
        f"c2sp.org/tlog-proof@v1\nindex 0\n{HASH[:-1]}\n\no\n",
        f"c2sp.org/tlog-proof@v1\nindex 0\n {HASH}\n\no\n",
        "c2sp.org/tlog-proof@v1\nindex 0\nAAAA\n\no\n",
        f"c2sp.org/tlog-proof@v1\nindex 0\n{(HASH + chr(10)) * 65}\no\n",
    ],
)
def test_what_is_not_a_proof_is_refused(text):
    with pytest.raises(Malformed):
        parse_proof(text)


@given(st.lists(st.binary(min_size=32, max_size=32), max_size=64))
def test_hashes_go_and_come(hashes):
    assert list(parse_hashes(encode_hashes(hashes))) == hashes
    if hashes:
        with pytest.raises(Malformed):
            parse_hashes(encode_hashes(hashes)[:-1])
