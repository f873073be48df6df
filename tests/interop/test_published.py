"""What others published about trees and witnesses, read by ours."""

import json
from pathlib import Path

import pytest

from gateway.core import merkle
from gateway.core.errors import Malformed, NotIncluded, Untrusted
from gateway.core.note import Checkpoint, _verify_ed25519, parse_head
from gateway.core.signed_note import one_signature, parse_note, parse_signatures, parse_vkey
from gateway.core.strict import b64, from_b64
from gateway.core.witness import Elsewhere, GoesOn, encode_submission, judge, parse_submission

PUBLISHED = json.loads((Path(__file__).parent / "published.json").read_bytes())
TREE, WITNESS, FORMS = PUBLISHED["tree"], PUBLISHED["witness"], PUBLISHED["forms"]
LEAVES = [merkle.leaf_hash(bytes.fromhex(leaf)) for leaf in TREE["leaves"]]
ROOTS = {int(size): from_b64(root) for size, root in TREE["roots"].items()}


def node_of(size):
    _, made = merkle.Frontier().append(LEAVES[:size])
    nodes = {(level, index): digest for level, index, digest in made}
    return lambda level, index: nodes[level, index]


@pytest.mark.parametrize("size", sorted(ROOTS))
def test_the_roots_are_the_published_ones(size):
    assert merkle.root(LEAVES[:size]) == ROOTS[size]


@pytest.mark.parametrize("published", TREE["inclusion"])
def test_the_inclusion_proofs_are_the_published_ones(published):
    index, size = published["index"], published["size"]
    assert [b64(one) for one in merkle.inclusion(index, size, node_of(size))] == published["proof"]
    proof = [from_b64(line) for line in published["proof"]]
    merkle.verify_inclusion(LEAVES[index], index, size, proof, ROOTS[size])
    with pytest.raises(NotIncluded):
        merkle.verify_inclusion(LEAVES[index], index, size, [*proof, bytes(32)], ROOTS[size])


@pytest.mark.parametrize("published", TREE["consistency"])
def test_the_consistency_proofs_are_the_published_ones(published):
    old, new = published["old"], published["new"]
    assert [b64(one) for one in merkle.consistency(old, new, node_of(new))] == published["proof"]
    proof = [from_b64(line) for line in published["proof"]]
    merkle.verify_consistency(old, new, ROOTS[old], ROOTS[new], proof)
    with pytest.raises(NotIncluded):
        merkle.verify_consistency(old, new, ROOTS[old], ROOTS[new], [*proof, bytes(32)])


def test_the_empty_tree_has_one_root():
    """A probe of transparency-dev/merkle: no proof leads from size 0 with any other root."""
    merkle.verify_consistency(0, 0, merkle.EMPTY_ROOT, merkle.EMPTY_ROOT, [])
    for new in (0, 8):
        with pytest.raises(NotIncluded):
            merkle.verify_consistency(0, new, b"don't care 1", b"don't care 1", [])


def test_each_published_request_gets_the_published_answer():
    """Through our parts of a witness, under the log's one Ed25519 key: peers demand two, this log has one."""
    key = parse_vkey(WITNESS["vkey"])
    newest = None

    def answer(raw):
        nonlocal newest
        try:
            submission = parse_submission(raw)
            note = parse_note(submission.note)
            origin, size, root = parse_head(note.text)
            if origin != key.name:
                return 404
            _verify_ed25519(key, one_signature(note.signatures, key), note.text.encode())
            offered = Checkpoint(origin, size, root, submission.note, 0)
            verdict = judge(submission, offered, newest)
        except Malformed:
            return 400
        except Untrusted:
            return 403
        if isinstance(verdict, GoesOn):
            newest = offered
            return 200
        return 409 if isinstance(verdict, Elsewhere) else 422

    statuses = [answer(request["body"].encode()) for request in WITNESS["requests"]]
    expected = [request["status"] for request in WITNESS["requests"]]
    assert expected[1] == 403
    expected[1] = 400  # its signature was altered into base64 that is not canonical, which is no note to us
    assert statuses == expected


def test_the_forms_of_the_specification_are_ours():
    found = parse_submission(FORMS["request"].encode())
    assert (found.old, len(found.proof)) == (20852014, 4)
    assert encode_submission(found.old, found.proof, found.note).decode() == FORMS["request"]
    assert parse_head(parse_note(found.note).text)[:2] == ("example.com/behind-the-sofa", 20852163)
    names = [one.name for one in parse_signatures(FORMS["answer"])]
    assert names == ["witness.example/w1", "witness.example/w1", "witness.example/w2"]
