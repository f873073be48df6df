"""What the gateway writes, read by another implementation; and what others published, read by ours."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.core import merkle, note, proof, signed_note
from tests.interop import c2sp
from tests.interop.logs import COSIGNER, KEYS, LEAVES, LOG, ORIGIN, TIME_MS, WITNESS, WITNESS_KEYS, log_of

PUBLISHED = json.loads((Path(__file__).parent / "published.json").read_bytes())["notes"]


@pytest.mark.parametrize("published", PUBLISHED)
def test_published_notes_verify_both_ways(published):
    text, _ = c2sp.verify_note(published["note"], published["vkey"])
    key = signed_note.parse_vkey(published["vkey"])
    assert key.encode() == published["vkey"]
    found = signed_note.parse_note(published["note"])
    assert found.text == text
    signature = signed_note.one_signature(found.signatures, key)
    if key.kind == signed_note.ED25519:
        note._verify_ed25519(key, signature, text.encode())
    else:
        assert note._verify_lattice(key, signature, note.parse_head(text)) == 0


def test_our_checkpoints_and_cosignatures_are_theirs():
    frontier, _ = log_of(70)
    checkpoint = note.sign_checkpoint(ORIGIN, frontier.size, frontier.root(), TIME_MS, KEYS)
    lines = note.cosign(checkpoint, WITNESS, TIME_MS + 9000, WITNESS_KEYS)
    text = checkpoint.text + lines
    times = [c2sp.verify_note(text, vkey)[1] for vkey in (*LOG.vkeys(), *COSIGNER.vkeys())]
    assert times == [None, TIME_MS // 1000, TIME_MS // 1000 + 9, TIME_MS // 1000 + 9]
    assert c2sp.verify_note(text, LOG.vkeys()[0])[0].split("\n")[:2] == [ORIGIN, "70"]
    assert c2sp.tree_hash(LEAVES) == frontier.root()


@pytest.mark.parametrize("size", [1, 2, 3, 8, 21, 64, 70])
def test_our_proofs_verify_there(size):
    frontier, node = log_of(size)
    checkpoint = note.sign_checkpoint(ORIGIN, size, frontier.root(), TIME_MS, KEYS)
    for index in range(size):
        text = proof.encode_proof(index, merkle.inclusion(index, size, node), checkpoint.text)
        assert c2sp.verify_proof(text, LEAVES[index], LOG.vkeys()) == size
        with pytest.raises(ValueError, match="not included"):
            c2sp.verify_proof(text, b"{}", LOG.vkeys())


@settings(max_examples=200)
@given(st.integers(0, 70), st.integers(0, 70))
def test_our_consistency_proofs_verify_there(one, other):
    old, new = sorted((one, other))
    frontier, node = log_of(new)
    found = merkle.consistency(old, new, node)
    older = log_of(old)[0].root()
    if old == 0:
        assert found == []
        return
    assert c2sp.roots_from_proof(old, new, found, older) == (older, frontier.root())
