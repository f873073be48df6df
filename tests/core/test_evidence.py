"""Evidence bundles: what they prove, and that each thing that does not hold has its own name."""

import io
import json
import re
import zipfile
from dataclasses import replace

import pytest

import schemas
from gateway.core.bundle import MANIFEST, Broken, Cover, Part, encode_bundle, parse_bundle
from gateway.core.errors import Malformed
from gateway.core.evidence import examine
from gateway.core.examination import CODES
from gateway.core.strict import sha256
from gateway.core.trust import Book, Trust, parse_policy, parse_root
from schemas.evidence import reading
from tests.support.authorities import DAY_MS, NOW_MS, make_authority, message
from tests.support.evidence import (
    OTHER,
    OUTSIDE,
    TestLog,
    draft,
    make_case,
    roots,
    statement,
    trusting_outside,
)

CASE = make_case()
BOTH = roots(CASE.sender, CASE.recipient)
SUBMITTED, RECORDED = "statements/qm.moj-1.json", "statements/qm.moj-5.json"
ACCEPTED, HANDED = "statements/qn.moj-1.json", "statements/qn.moj-5.json"


def part(name):
    return CASE.bundle.part(name).data


def failure(raw, trust=BOTH):
    found = examine(raw, trust)
    assert found.failure is not None
    assert found.failure.code in CODES
    assert not found.holds
    return found.failure.code, found.failure.where


def test_a_sound_bundle_says_line_by_line_what_it_proves():
    found = examine(CASE.raw, BOTH)
    assert found.holds
    whats = [(one.what, one.proved) for one in found.findings]
    assert whats[0] == ("whole", True)
    assert [one.about["authority"] for one in found.findings if one.what == "cards" and one.proved] == [
        "qm.moj",
        "qn.moj",
    ]
    assert [(one.about["event"], one.about["index"]) for one in found.findings if one.what == "logged"] == [
        ("submission.accepted", 1),
        ("receipt.recorded", 5),
        ("relay.accepted", 1),
        ("content.handed_over", 5),
    ]
    (signed,) = [one for one in found.findings if one.what == "signed"]
    assert "with one attachment" in signed.text
    assert signed.about["message_sha256"] == CASE.posted.signed.sha256
    witnessed = [(one.about["witness"], one.proved) for one in found.findings if one.what == "cosigned"]
    assert witnessed == [
        ("qn-moj.example/witness", True),
        ("qp-moj.example/witness", False),
        ("qp-moj.example/witness", False),
        ("qm-moj.example/witness", True),
        ("qp-moj.example/witness", False),
        ("qm-moj.example/witness", True),
        ("qp-moj.example/witness", False),
    ]
    assert found.attachments == {sha256(CASE.blob.plain): "summons.txt"}


def test_a_witness_attests_time_only_if_somebody_authenticates_it():
    found = examine(CASE.raw, roots(CASE.sender, CASE.recipient, CASE.third))
    cosigned = [one for one in found.findings if one.what == "cosigned"]
    assert all(one.proved for one in cosigned)
    assert {one.about["time"] for one in cosigned} == {"2026-11-18T11:07:40.000Z"}


@pytest.mark.parametrize(
    ("trust", "strangers"),
    [
        (Trust(), ("qm.moj", "qn.moj")),
        (roots(CASE.sender), ("qn.moj",)),
        (roots(CASE.recipient), ("qm.moj",)),
        (roots(CASE.third), ("qm.moj", "qn.moj")),
        (parse_root("qm.moj=" + "00" * 32), ("qm.moj", "qn.moj")),
    ],
)
def test_without_the_roots_it_is_consistent_and_authenticates_nobody(trust, strangers):
    found = examine(CASE.raw, trust)
    assert found.failure is None
    assert found.strangers == strangers
    assert not found.holds
    told = [one for one in found.findings if one.what in {"signed", "logged"}]
    assert {one.proved: one.about["authority"] in strangers for one in told} == {
        proved: not proved for proved in {one.about["authority"] not in strangers for one in told}
    }
    assert all("Whoever calls itself" in one.text for one in told if not one.proved)


def test_the_same_content_gives_the_same_bytes_and_reads_as_it_was():
    assert encode_bundle(CASE.bundle) == CASE.raw
    assert parse_bundle(CASE.raw) == CASE.bundle


def test_what_was_erased_is_proved_by_its_digest_alone():
    found = examine(CASE.without("message.jws").raw, BOTH)
    assert found.holds
    assert [one.what for one in found.findings if not one.proved][1] == "content"
    assert found.attachments == {}
    assert examine(CASE.without("message.jws", SUBMITTED, RECORDED).raw, roots(CASE.recipient)).holds


def test_what_no_witness_saw_is_said_to_be_so():
    parts = tuple(replace(one, covers=()) if one.name == ACCEPTED else one for one in CASE.bundle.parts)
    found = examine(encode_bundle(replace(CASE.bundle, parts=parts)), BOTH)
    assert found.holds
    (unwitnessed,) = [one for one in found.findings if one.what == "unwitnessed"]
    assert unwitnessed.about == {"origin": "qn-moj.example/audit/1", "index": 1}


@pytest.mark.parametrize("keys", [OUTSIDE.verifiers, OUTSIDE.verifiers[:1], OUTSIDE.verifiers[1:]])
def test_a_witness_of_the_policy_attests_time(keys):
    log = TestLog(CASE.sender, [*log_of_sender()])
    note = log.note(6, CASE.third) + log.outside(6)
    case = CASE.with_part("checkpoints/own-6.txt", note.encode())
    found = examine(case.raw, trusting_outside(BOTH, keys))
    assert found.holds
    named = [one for one in found.findings if one.about.get("witness") == OUTSIDE.name]
    assert [(one.what, one.proved, one.about["size"]) for one in named] == [("cosigned", True, 6)]
    found = examine(case.raw, BOTH)
    assert [one.about for one in found.findings if one.what == "unknown_witness"] == [
        {"witness": OUTSIDE.name}
    ]


def log_of_sender():
    log = TestLog(CASE.sender)
    log.add(OTHER)
    log.add(draft("submission.accepted", CASE.posted, CASE.recipient))
    for _ in range(3):
        log.add(OTHER)
    log.add(draft("receipt.recorded", CASE.posted, CASE.recipient, extra=(("stated", "relay.accepted"),)))
    return log.leaves


# -- one byte


def inside(name, pattern, offset=0):
    """Return where *pattern* is found in a file of the bundle."""
    return re.search(pattern, part(name)).start() + offset


def after(name, text, offset=0):
    return part(name).index(text) + len(text) + offset


def line(name, signer, offset, *, last=False):
    """Return where, in the base64 of a signature line by *signer*, something is: its first or last line."""
    begin = f"— {signer} ".encode()
    return (part(name).rindex if last else part(name).index)(begin) + len(begin) + offset


JWS = part("message.jws")
BODY = JWS.index(b".") + 1
LOG, THEIRS = "qm-moj.example/audit/1", "qn-moj.example/audit/1"
OWN_LATER, THEIR_LATER = "checkpoints/own-6.txt", "checkpoints/peer-7.txt"
MY_CARD, OTHER_CARD = "cards/qm.moj/1.json", "cards/qp.moj/1.json"

ALTERATIONS = {
    "payload of the message": ("message.jws", BODY + 40, "message_signature"),
    "header of the message": ("message.jws", 3, "message"),
    "event of an entry": (SUBMITTED, after(SUBMITTED, b"submission.accepte"), "statement"),
    "time of an entry": (SUBMITTED, after(SUBMITTED, b"2026-11-18T11:0"), "inclusion"),
    "digest in an entry": (ACCEPTED, after(ACCEPTED, b'message_sha256\\":\\"'), "inclusion"),
    "index of a proof": (HANDED, after(HANDED, b"index "), "inclusion"),
    "hash of a proof": (RECORDED, after(RECORDED, b"index 5\\n", 4), "inclusion"),
    "size of a checkpoint": (ACCEPTED, after(ACCEPTED, b"audit/1\\n"), "log_signature"),
    "root of a checkpoint": (HANDED, after(HANDED, b"audit/1\\n6\\n", 4), "log_signature"),
    "origin of a checkpoint": (RECORDED, inside(RECORDED, rb"audit/1\\n6", 6), "log"),
    "Ed25519 signature of a log": (RECORDED, line(RECORDED, LOG, 20), "log_signature"),
    "ML-DSA-44 signature of a log": (RECORDED, line(RECORDED, LOG, 400, last=True), "log_signature"),
    "Ed25519 cosignature": (SUBMITTED, line(SUBMITTED, "qn-moj.example/witness", 40), "cosignature"),
    "ML-DSA-44 cosignature": (
        SUBMITTED,
        line(SUBMITTED, "qn-moj.example/witness", 400, last=True),
        "cosignature",
    ),
    "payload of a card": (MY_CARD, 60, "card"),
    "signature of a card": (MY_CARD, after(MY_CARD, b'"signature":"', 5), "card"),
    "card of a witness": (OTHER_CARD, after(OTHER_CARD, b'"signature":"', 5), "card"),
    "later checkpoint": (THEIR_LATER, 30, "log_signature"),
    "ML-DSA-44 signature of a later checkpoint": (
        OWN_LATER,
        line(OWN_LATER, LOG, 400, last=True),
        "log_signature",
    ),
    "hash of a consistency proof": ("consistency/peer-7-from-3.txt", 5, "consistency"),
    "hash of another consistency proof": ("consistency/own-6-from-4.txt", 5, "consistency"),
    "cosignature of a later checkpoint": (
        THEIR_LATER,
        line(THEIR_LATER, "qm-moj.example/witness", 30),
        "cosignature",
    ),
    "explanation": ("README.txt", 10, None),
    "page": ("verify.html", 200, None),
}
DEEPER = {what: found for what, found in ALTERATIONS.items() if found[2] is not None}


def altered(name, place):
    """Return a file of the bundle with another character of the same sort at *place*."""
    old = part(name)[place : place + 1]
    new = b"32" if old.isdigit() else b"ab" if old.islower() else b"AB"
    return part(name)[:place] + new[old == new[:1] :][:1] + part(name)[place + 1 :]


@pytest.mark.parametrize("what", ALTERATIONS)
def test_one_altered_byte_is_found_in_the_file_that_it_is_in(what):
    name, place, _ = ALTERATIONS[what]
    raw = bytearray(CASE.raw)
    begin = CASE.raw.index(part(name))
    raw[begin + place] ^= 1
    assert failure(bytes(raw)) == ("file_digest", name)


@pytest.mark.parametrize("what", DEEPER)
def test_one_altered_byte_is_found_where_the_manifest_was_mended_too(what):
    name, place, code = DEEPER[what]
    assert failure(CASE.with_part(name, altered(name, place)).raw) == (code, name)


def test_each_of_twenty_alterations_has_a_reason_of_its_own():
    """Code, file and sentence together: what was altered can be told from what is said."""
    told = {}
    for what, (name, place, _) in DEEPER.items():
        found = examine(CASE.with_part(name, altered(name, place)).raw, BOTH).failure
        told[found.code, found.where, str(found)] = what
    assert len(told) == len(DEEPER) > 20


# -- the archive and the manifest


def manifest_of(case):
    with zipfile.ZipFile(io.BytesIO(case.raw)) as archive:
        return json.loads(archive.read(MANIFEST))


def zipped(files, *, compression=zipfile.ZIP_STORED):
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", compression) as archive:
        for name, data in files:
            archive.writestr(name, data)
    return written.getvalue()


def files_of(manifest):
    return [(MANIFEST, json.dumps(manifest)), *((one.name, one.data) for one in CASE.bundle.parts)]


@pytest.mark.parametrize(
    "raw",
    [b"", b"PK", b"not a ZIP at all", CASE.raw[:-30], CASE.raw[: len(CASE.raw) // 2]],
)
def test_what_is_no_archive(raw):
    assert failure(raw) == ("zip", None)


def test_a_compressed_archive_is_none_of_ours():
    raw = zipped(files_of(manifest_of(CASE)), compression=zipfile.ZIP_DEFLATED)
    assert failure(raw) == ("zip", None)


def test_an_archive_without_a_manifest():
    assert failure(zipped([("message.jws", JWS)])) == ("manifest", MANIFEST)


def test_one_altered_byte_of_the_manifest():
    raw = bytearray(CASE.raw)
    raw[CASE.raw.index(b'"made"') + 2] ^= 1
    assert failure(bytes(raw)) == ("manifest", MANIFEST)


@pytest.mark.parametrize(
    "change",
    [
        {"v": 2},
        {"type": "something"},
        {"made": "yesterday"},
        {"message": "1"},
        {"from": "QM"},
        {"message_sha256": "0"},
        {"more": 1},
        {"files": {}},
        {"files": [{"name": "message.jws"}]},
    ],
)
def test_a_manifest_that_is_not_in_form(change):
    assert failure(zipped(files_of(manifest_of(CASE) | change))) == ("manifest", MANIFEST)


def test_a_file_that_is_missing_or_too_much_or_twice():
    files = files_of(manifest_of(CASE))
    assert failure(zipped(files[:-1])) == ("missing_file", "verify.html")
    assert failure(zipped([*files, ("extra.txt", b"x")])) == ("extra_file", "extra.txt")
    with pytest.warns(UserWarning, match="Duplicate name"):
        twice = zipped([*files, files[1]])
    assert failure(twice) == ("zip", None)
    manifest = manifest_of(CASE)
    manifest["files"].append(manifest["files"][0])
    assert failure(zipped(files_of(manifest))) == ("manifest", MANIFEST)


def test_a_role_that_is_not_known():
    manifest = manifest_of(CASE)
    manifest["files"][0]["role"] = "proof"
    assert failure(zipped(files_of(manifest))) == ("manifest", MANIFEST)


# -- sound parts that do not belong together


def test_another_message_of_the_same_sender():
    other = message(CASE.sender, CASE.recipient)
    case = CASE.with_part("message.jws", other.signed.jws.encode())
    assert failure(case.raw) == ("message_subject", "message.jws")


def test_a_message_of_somebody_else():
    other = message(CASE.third, CASE.recipient)
    case = CASE.with_part("message.jws", other.signed.jws.encode())
    assert failure(case.raw) == ("message_signature", "message.jws")


def test_two_messages():
    parts = (Part("other.jws", "message", JWS), *CASE.bundle.parts)
    raw = encode_bundle(replace(CASE.bundle, parts=parts))
    assert failure(raw) == ("message", "message.jws")


def swapped(log, index, note, size, name=SUBMITTED):
    return CASE.with_part(name, statement(log, index, note, size).data)


def test_a_statement_about_another_message():
    log = TestLog(CASE.sender)
    index = log.add(draft("submission.accepted", message(CASE.sender, CASE.recipient), CASE.recipient))
    assert failure(swapped(log, index, log.note(1), 1).raw) == ("statement_subject", SUBMITTED)


def test_a_statement_about_other_content_under_the_same_id():
    log = TestLog(CASE.sender)
    entry = draft("submission.accepted", CASE.posted, CASE.recipient, message_sha256=sha256(b"other"))
    index = log.add(entry)
    assert failure(swapped(log, index, log.note(1), 1).raw) == ("statement_subject", SUBMITTED)


def test_a_statement_of_a_third_authoritys_log():
    log = TestLog(CASE.third)
    index = log.add(draft("relay.accepted", CASE.posted, CASE.sender))
    assert failure(swapped(log, index, log.note(1), 1).raw) == ("log", SUBMITTED)


def test_a_statement_of_a_log_that_no_card_names():
    log = TestLog(make_authority("qm.moj", generation=1))
    index = log.add(draft("submission.accepted", CASE.posted, CASE.recipient))
    assert failure(swapped(log, index, log.note(1), 1).raw) == ("log", SUBMITTED)


def test_a_log_with_two_roots_for_one_size():
    log = TestLog(CASE.sender)
    for _ in range(5):
        log.add(OTHER)
    index = log.add(draft("submission.accepted", CASE.posted, CASE.recipient))
    assert failure(swapped(log, index, log.note(6), 6, RECORDED).raw)[0] == "contradiction"


def test_a_log_that_accepts_and_never_knew_it():
    log = TestLog(CASE.recipient)
    log.add(OTHER)
    log.add(draft("relay.accepted", CASE.posted, CASE.sender))
    unknown = log.add(draft("relay.unknown", CASE.posted, CASE.sender, message_sha256=None))
    extra = replace(statement(log, unknown, log.note(3), 3), name="statements/x.json")
    accepted = statement(log, 1, log.note(3), 3)
    parts = (*(one for one in CASE.bundle.parts if not one.name.startswith("statements/qn")), accepted, extra)
    found = examine(encode_bundle(replace(CASE.bundle, parts=parts)), BOTH).failure
    assert (found.code, found.where) == ("contradiction", "statements/x.json")


def test_a_cover_that_is_not_there():
    parts = tuple(
        replace(one, covers=(Cover("checkpoints/none.txt", "consistency/none.txt"),))
        if one.name == ACCEPTED
        else one
        for one in CASE.bundle.parts
    )
    raw = encode_bundle(replace(CASE.bundle, parts=parts))
    assert failure(raw) == ("missing_file", "checkpoints/none.txt")


@pytest.mark.parametrize("authority", ["qm.moj", "qn.moj"])
def test_a_party_without_a_card(authority):
    assert failure(CASE.without(f"cards/{authority}/1.json").raw)[0] == "card"


# -- cards that follow each other


def test_a_root_leads_to_the_cards_after_it_and_before_it():
    first = CASE.sender
    second = first.succeeded()
    third = second.succeeded()
    for trusted in (first, third):
        book = Book.of([third.card, first.card, second.card], roots(trusted))
        assert book.authentic(first.id)
        assert [card.sequence for card in book.cards(first.id)] == [1, 2, 3]


def test_a_gap_ends_what_a_root_leads_to():
    other = make_authority("qm.moj", generation=1)
    book = Book.of([CASE.sender.card, other.card], roots(other))
    assert book.authentic(other.id)
    assert book.cards(other.id) == (other.card,)
    second = CASE.sender.succeeded()
    third = second.succeeded(issued_ms=NOW_MS + DAY_MS)
    book = Book.of([CASE.sender.card, third.card], roots(CASE.recipient))
    assert not book.authentic(CASE.sender.id)
    assert len(book.chains[CASE.sender.id]) == 2


def test_a_policy_names_roots_and_witnesses():
    shown = "3f2a 91c0 77d4 08be 5a16 c2f9 e03b 4d8f 9b61 20ac f5d7 13e8 66a0 b94c 2e75 d1f3"
    trust = parse_policy(
        {
            "roots": {"qm.moj": shown, "qn.moj": [shown, "ff" * 32]},
            "witnesses": [{"name": OUTSIDE.name, "vkeys": list(OUTSIDE.vkeys())}],
        }
    )
    assert trust.roots["qm.moj"] == {shown.replace(" ", "")}
    assert len(trust.roots["qn.moj"]) == 2
    assert trust.witnesses[0].keys == OUTSIDE.verifiers
    assert parse_policy({}) == Trust()


@pytest.mark.parametrize(
    "policy",
    [
        {"more": 1},
        {"roots": {"QM": "00" * 32}},
        {"roots": {"qm.moj": "00"}},
        {"roots": {"qm.moj": 5}},
        {"witnesses": [{"name": "x", "vkeys": []}]},
        {"witnesses": [{"name": "other", "vkeys": list(OUTSIDE.vkeys())}]},
        {"witnesses": [{"name": OUTSIDE.name, "vkeys": [CASE.sender.card.log.vkeys()[0]]}]},
        {"witnesses": {}},
    ],
)
def test_a_policy_that_is_not_in_form(policy):
    with pytest.raises(Malformed):
        parse_policy(policy)


@pytest.mark.parametrize("text", ["", "qm.moj", "=00", "qm.moj=", "QM=" + "00" * 32])
def test_a_root_that_is_not_in_form(text):
    with pytest.raises(Malformed):
        parse_root(text)


# -- what lies in every bundle


def test_every_bundle_has_what_explains_it():
    names = {one.name for one in CASE.bundle.of("reading")}
    assert names == set(reading()) == {"README.txt", "verify.html"}
    assert schemas.__name__ == "schemas"
    with pytest.raises(Broken):
        CASE.bundle.part("nothing")
