"""The note and tree packages of Go's checksum database, and Go's ML-DSA-44, accept what our log writes.

Its note verifier knows Ed25519 alone: every other signature line is one of an unknown key to it.
"""

import json
import random
import subprocess
from pathlib import Path

import pytest

from gateway.core import merkle, note
from gateway.core.signed_note import one_signature, parse_note
from gateway.core.strict import b64
from tests.interop import golang
from tests.interop.logs import COSIGNER, KEYS, LEAVES, LOG, ORIGIN, TIME_MS, WITNESS, WITNESS_KEYS, log_of


@pytest.fixture(scope="module")
def peer(tmp_path_factory):
    """Return a function that puts requests to the program log.go."""
    program = golang.build(Path(__file__).parent / "log.go", tmp_path_factory.mktemp("go"))

    def ask(requests):
        lines = "".join(json.dumps(request) + "\n" for request in requests)
        done = subprocess.run([program], input=lines, capture_output=True, text=True, check=True, timeout=60)
        answers = done.stdout.split("\n")[:-1]
        assert len(answers) == len(requests)
        return answers

    return ask


def cosigned():
    frontier, _ = log_of(70)
    checkpoint = note.sign_checkpoint(ORIGIN, 70, frontier.root(), TIME_MS, KEYS)
    return checkpoint, checkpoint.text + note.cosign(checkpoint, WITNESS, TIME_MS + 9000, WITNESS_KEYS)


def test_its_notes_are_signed_by_our_ed25519_key_whatever_else_signs_them(peer):
    checkpoint, text = cosigned()
    ours, other = LOG.vkeys()[0], note.LogIdentity(ORIGIN, WITNESS_KEYS.ed.public, KEYS.lattice.public)
    body = json.dumps(parse_note(text).text)
    wrong = text.replace("\n70\n", "\n71\n")
    found = peer(
        [
            {"op": "note", "note": checkpoint.text, "key": ours},
            {"op": "note", "note": text, "key": ours},
            {"op": "note", "note": wrong, "key": ours},
            {"op": "note", "note": text, "key": other.vkeys()[0]},
            {"op": "note", "note": text, "key": LOG.vkeys()[1]},
        ]
    )
    assert found == [f"ok 1 1 {body}", f"ok 1 3 {body}", "error", "error", "error"]


def test_its_tree_is_ours(peer):
    requests, expected = [], []
    for size in (1, 2, 3, 8, 21, 64, 70):
        frontier, node = log_of(size)
        for index in range(size):
            proof = [b64(one) for one in merkle.inclusion(index, size, node)]
            request = {"op": "inclusion", "proof": proof, "size": size, "index": index}
            request |= {"root": b64(frontier.root()), "leaf": LEAVES[index].hex()}
            requests += [
                request,
                request | {"leaf": b"{}".hex()},
                request | {"proof": [*proof, b64(bytes(32))]},
            ]
            expected += ["ok ", "error", "error"]
    draw = random.Random(6962)
    for _ in range(200):
        old, new = sorted(draw.sample(range(1, 71), 2))
        (older, _), (frontier, node) = log_of(old), log_of(new)
        proof = [b64(one) for one in merkle.consistency(old, new, node)]
        request = {"op": "consistency", "proof": proof, "size": new, "old": old}
        request |= {"root": b64(frontier.root()), "oldroot": b64(older.root())}
        requests += [request, request | {"oldroot": b64(frontier.root())}, request | {"proof": proof[:-1]}]
        expected += ["ok ", "error", "error"]
    assert peer(requests) == expected


def test_its_ml_dsa_44_verifies_ours(peer):
    """The message under the signature is that of tlog-cosignature, as tests/interop/c2sp.py has it too."""
    checkpoint, text = cosigned()
    signatures, requests = parse_note(text).signatures, []
    for key in (LOG.verifiers[1], COSIGNER.verifiers[1]):
        stamped = one_signature(signatures, key)
        time_s = int.from_bytes(stamped[:8], "big")
        message = note._cosigned_message(key.name, time_s, ORIGIN, 70, checkpoint.root)
        request = {"op": "mldsa", "key": key.public.hex(), "message": message.hex()}
        requests += [
            request | {"signature": stamped[8:].hex()},
            request | {"signature": stamped[8:].hex(), "message": (message + b"\0").hex()},
            request | {"signature": (bytes([stamped[8] ^ 1]) + stamped[9:]).hex()},
        ]
    assert peer(requests) == ["ok ", "error", "error"] * 2
