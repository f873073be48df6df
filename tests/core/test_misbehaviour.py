"""That a log contradicts itself, proved to a stranger."""

import json

import pytest

from gateway.core.misbehaviour import examine_misbehaviour
from gateway.core.note import sign_checkpoint
from gateway.core.trust import Trust
from tests.support.authorities import NOW_MS, make_authority
from tests.support.evidence import roots

LOG, OTHER = make_authority("qn.moj"), make_authority("qm.moj")


def note(size, root=bytes(32), party=LOG):
    return sign_checkpoint(LOG.origin, size, root, NOW_MS, party.keyring.log).text


def item(**members):
    return {
        "peer": "qn.moj", "code": "two_roots", "origin": LOG.origin, "size": 4,
        "found": "2026-11-18T11:06:40.000Z", "first": note(4), "second": note(4, b"x" * 32),
        "cards": [LOG.card.raw.decode()],
    } | members  # fmt: skip


def examined(*items, trust=None, **members):
    document = {"v": 1, "type": "misbehaviour", "items": list(items)} | members
    return examine_misbehaviour(json.dumps(document).encode(), trust or roots(LOG))


def test_two_roots_for_one_size_are_proof_to_anybody():
    found = examined(item())
    assert found.holds
    (finding,) = found.findings
    assert (finding.proved, finding.what, finding.about["authority"]) == (True, "two_roots", "qn.moj")


def test_two_sizes_are_both_its_word_and_no_proof_by_themselves():
    found = examined(item(code="inconsistent", second=note(9)))
    assert found.holds
    assert [(one.proved, one.what) for one in found.findings] == [(False, "inconsistent")]


def test_without_the_root_nobody_is_accused():
    found = examined(item(), trust=Trust())
    assert found.failure is None
    assert found.strangers == ("qn.moj",)
    assert not found.findings[0].proved
    assert not found.holds


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"second": note(4)}, "misbehaviour"),
        ({"second": note(4, b"x" * 32, OTHER)}, "log_signature"),
        ({"first": "nothing"}, "misbehaviour"),
        ({"cards": []}, "log"),
        ({"cards": [OTHER.card.raw.decode()]}, "card"),
        ({"cards": ["{}"]}, "misbehaviour"),
        ({"origin": OTHER.origin}, "log"),
        ({"peer": "qm.moj"}, "card"),
        ({"peer": 1}, "misbehaviour"),
        ({"more": 1}, "misbehaviour"),
    ],
)
def test_what_accuses_nobody(changed, code):
    found = examined(item(**changed))
    assert found.failure.code == code
    assert not found.holds


def test_a_card_with_a_wrong_signature():
    outer = json.loads(LOG.card.raw)
    outer["signatures"][0]["signature"] = "A" * 86
    found = examined(item(cards=[json.dumps(outer)]))
    assert found.failure.code == "card"


@pytest.mark.parametrize("document", [b"", b"{}", b"[]", b'{"v":2,"type":"misbehaviour","items":[]}'])
def test_what_is_no_document(document):
    assert examine_misbehaviour(document, Trust()).failure.code == "misbehaviour"


def test_an_empty_one_proves_nothing():
    assert examined().failure.code == "misbehaviour"
