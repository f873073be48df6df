import base64
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core import note
from gateway.core.errors import Malformed, Untrusted
from gateway.core.note import (
    LogIdentity,
    WitnessIdentity,
    cosign,
    parse_head,
    sign_checkpoint,
    verify_checkpoint,
    verify_cosignatures,
)
from gateway.core.signed_note import (
    COSIGNATURE,
    ED25519,
    LATTICE_COSIGNATURE,
    MAX_SIGNATURES,
    VerifierKey,
    check_name,
    parse_note,
    parse_signatures,
    parse_vkey,
)
from keys.signing import LogKeys

ORIGIN = "moj.qm.example/audit/1"
WITNESS = "moj.qn.example/witness"
TIME_MS = 1795442709123
ROOT = bytes(range(32))
KEYS, OTHER = LogKeys.generate(), LogKeys.generate()
LOG = LogIdentity(ORIGIN, KEYS.ed.public, KEYS.lattice.public)
COSIGNER = WitnessIdentity(WITNESS, OTHER.ed.public, OTHER.lattice.public)
CHECKPOINT = sign_checkpoint(ORIGIN, 42, ROOT, TIME_MS, KEYS)
BODY, LINES = CHECKPOINT.text.split("\n\n")
ED_LINE, LATTICE_LINE = LINES.splitlines(keepends=True)


def with_lines(*lines, body=BODY):
    return f"{body}\n\n{''.join(lines)}"


def test_a_checkpoint_is_exactly_its_text():
    assert f"{ORIGIN}\n42\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=" == BODY
    assert len(base64.b64decode(ED_LINE.split(" ")[2])) == 4 + 64
    assert len(base64.b64decode(LATTICE_LINE.split(" ")[2])) == 4 + 8 + 2420
    assert [line.split(" ")[:2] for line in (ED_LINE, LATTICE_LINE)] == [["\u2014", ORIGIN]] * 2
    assert verify_checkpoint(CHECKPOINT.text, LOG) == CHECKPOINT
    assert CHECKPOINT.time_s == TIME_MS // 1000


def test_the_log_of_nothing_can_be_signed():
    empty = sign_checkpoint(ORIGIN, 0, ROOT, 0, KEYS)
    assert verify_checkpoint(empty.text, LOG) == empty


def test_a_batch_shares_one_verification():
    note._verify_checkpoint.cache_clear()
    for _ in range(3):
        verify_checkpoint(CHECKPOINT.text, LOG)
    verify_checkpoint("".join(CHECKPOINT.text), LogIdentity.from_vkeys(ORIGIN, LOG.vkeys()))
    assert note._verify_checkpoint.cache_info().misses == 1
    with pytest.raises(Untrusted):
        verify_checkpoint(CHECKPOINT.text, replace(LOG, ed_public=OTHER.ed.public))


def test_signatures_by_strangers_are_ignored_but_bounded():
    cosigned = CHECKPOINT.text + cosign(CHECKPOINT, WITNESS, TIME_MS, OTHER)
    assert verify_checkpoint(cosigned, LOG) == replace(CHECKPOINT, text=cosigned)
    stranger = "\u2014 stranger AAAAAAA=\n"
    same_name = f"\u2014 {ORIGIN} AAAAAAA=\n"
    verify_checkpoint(with_lines(stranger, ED_LINE, same_name, LATTICE_LINE, stranger), LOG)
    verify_checkpoint(CHECKPOINT.text + stranger * (MAX_SIGNATURES - 2), LOG)
    with pytest.raises(Malformed):
        verify_checkpoint(CHECKPOINT.text + stranger * (MAX_SIGNATURES - 1), LOG)
    with pytest.raises(Malformed):
        verify_checkpoint(CHECKPOINT.text + f"\u2014 stranger {'AAAA' * 32 * 1024}\n", LOG)


def flipped(line, place):
    start, name, encoded = line.split(" ")
    data = bytearray(base64.b64decode(encoded))
    data[place] ^= 1
    return f"{start} {name} {base64.b64encode(data).decode()}\n"


@pytest.mark.parametrize(
    "text",
    [
        with_lines(ED_LINE),
        with_lines(LATTICE_LINE),
        with_lines(ED_LINE, ED_LINE, LATTICE_LINE),
        with_lines(ED_LINE, LATTICE_LINE, LATTICE_LINE),
        with_lines(flipped(ED_LINE, 0), LATTICE_LINE),
        with_lines(flipped(ED_LINE, 4), LATTICE_LINE),
        with_lines(flipped(ED_LINE, -1), LATTICE_LINE),
        with_lines(ED_LINE, flipped(LATTICE_LINE, 0)),
        with_lines(ED_LINE, flipped(LATTICE_LINE, 4)),
        with_lines(ED_LINE, flipped(LATTICE_LINE, 11)),
        with_lines(ED_LINE, flipped(LATTICE_LINE, -1)),
        with_lines(ED_LINE.replace("audit/1", "audit/2"), LATTICE_LINE),
        with_lines(ED_LINE, LATTICE_LINE, body=BODY.replace("42", "43")),
        with_lines(ED_LINE, LATTICE_LINE, body=BODY.replace("AAEC", "AAED")),
        with_lines(ED_LINE, LATTICE_LINE, body=BODY.replace("audit/1", "audit/2")),
        with_lines(sign_checkpoint(ORIGIN, 42, ROOT, TIME_MS, OTHER).text.partition("\n\n")[2]),
        with_lines(ED_LINE, sign_checkpoint(ORIGIN, 42, ROOT, TIME_MS, OTHER).text.partition("\n\n")[2]),
        sign_checkpoint("moj.qm.example/audit/2", 42, ROOT, TIME_MS, KEYS).text,
    ],
)
def test_both_keys_of_the_log_sign_exactly_this(text):
    with pytest.raises(Untrusted):
        verify_checkpoint(text, LOG)


def test_a_signature_of_the_wrong_length_is_no_signature():
    _, ed, lattice = LOG.verifiers[0].key_id, *LOG.verifiers
    for line, short in ((LATTICE_LINE, ed), (ED_LINE, lattice)):
        encoded = base64.b64encode(short.key_id + bytes(5)).decode()
        with pytest.raises(Untrusted):
            verify_checkpoint(with_lines(line, f"\u2014 {ORIGIN} {encoded}\n"), LOG)


def test_a_time_beyond_63_bits_is_refused():
    message = note._cosigned_message(ORIGIN, 1 << 63, ORIGIN, 42, ROOT)
    stamped = LOG.verifiers[1].key_id + (1 << 63).to_bytes(8, "big") + KEYS.lattice.sign(message)
    line = f"\u2014 {ORIGIN} {base64.b64encode(stamped).decode()}\n"
    with pytest.raises(Untrusted, match="time"):
        verify_checkpoint(with_lines(ED_LINE, line), LOG)


@pytest.mark.parametrize(
    "text",
    [
        "",
        BODY,
        f"{BODY}\n\n",
        f"{BODY}\n{LINES}",
        f"\n\n{LINES}",
        CHECKPOINT.text.removesuffix("\n"),
        CHECKPOINT.text + "\n",
        CHECKPOINT.text.replace("\n", "\r\n"),
        CHECKPOINT.text.replace("\u2014", "-"),
        CHECKPOINT.text.replace("\u2014 ", "\u2014"),
        CHECKPOINT.text.replace(f"\u2014 {ORIGIN}", f"\u2014  {ORIGIN}"),
        CHECKPOINT.text + "\u2014 stranger AAAA=\n",
        CHECKPOINT.text + "\u2014 stranger AAAAAAB=\n",
        CHECKPOINT.text + "\u2014 stranger AAAA\n",
        CHECKPOINT.text + "\u2014 stran+ger AAAAAAA=\n",
        CHECKPOINT.text + "\u2014 stran\u00a0ger AAAAAAA=\n",
        CHECKPOINT.text + "\u2014 stranger\tAAAAAAA=\n",
        CHECKPOINT.text + "\u2014 stranger AAAAAAA= \n",
        CHECKPOINT.text + "\u2014 \ud800 AAAAAAA=\n",
        with_lines(ED_LINE, LATTICE_LINE, body=BODY + "\nextension"),
        with_lines(ED_LINE, LATTICE_LINE, body=BODY.replace("\n42", "\n042")),
        with_lines(ED_LINE, LATTICE_LINE, body=BODY.replace("\n42", "\n+42")),
        with_lines(ED_LINE, LATTICE_LINE, body=BODY.replace("\n42", "\n")),
        with_lines(ED_LINE, LATTICE_LINE, body=BODY.replace("\n42", "\n9007199254740992")),
        with_lines(ED_LINE, LATTICE_LINE, body=BODY.replace("8=", "9=")),
        with_lines(ED_LINE, LATTICE_LINE, body=BODY.replace("8=", "8")),
        with_lines(ED_LINE, LATTICE_LINE, body=BODY.replace("Hh8=", "")),
        with_lines(ED_LINE, LATTICE_LINE, body=BODY.replace(ORIGIN, "a b")),
        with_lines(ED_LINE, LATTICE_LINE, body=BODY.replace(ORIGIN, "")),
    ],
)
def test_what_is_not_a_checkpoint_is_refused(text):
    with pytest.raises(Malformed):
        verify_checkpoint(text, LOG)


def test_an_extension_line_is_refused_although_the_log_signed_it():
    body = f"{BODY}\nextension"
    signature = base64.b64encode(LOG.verifiers[0].key_id + KEYS.ed.sign(f"{body}\n".encode())).decode()
    with pytest.raises(Malformed, match="no more"):
        verify_checkpoint(with_lines(f"\u2014 {ORIGIN} {signature}\n", LATTICE_LINE, body=body), LOG)


@given(st.text(max_size=30), st.text(max_size=30))
def test_a_note_is_split_at_its_last_blank_line(first, second):
    text = f"{first}\n\n{second}\n"
    try:
        found = parse_note(f"{text}\n\u2014 name AAAAAAA=\n")
    except Malformed:
        assert any(c < " " and c != "\n" for c in text)
    else:
        assert found.text == text
        assert [(s.name, s.key_id, s.signature) for s in found.signatures] == [("name", bytes(4), b"\0")]


def test_witnesses_sign_with_both_keys_and_their_clock():
    lines = cosign(CHECKPOINT, WITNESS, TIME_MS + 5000, OTHER)
    signatures = parse_signatures(lines)
    cosigned = verify_cosignatures(CHECKPOINT, signatures, COSIGNER)
    assert (cosigned.checkpoint, cosigned.witness) == (CHECKPOINT, WITNESS)
    assert cosigned.time_s == TIME_MS // 1000 + 5
    later = parse_signatures(cosign(CHECKPOINT, WITNESS, TIME_MS + 9000, OTHER))
    assert verify_cosignatures(CHECKPOINT, (signatures[0], later[1]), COSIGNER).time_s == TIME_MS // 1000 + 9
    wrong = [
        (CHECKPOINT, signatures[:1]),
        (CHECKPOINT, signatures[1:]),
        (CHECKPOINT, (*signatures, signatures[0])),
        (replace(CHECKPOINT, size=43), signatures),
        (replace(CHECKPOINT, root=bytes(32)), signatures),
        (replace(CHECKPOINT, origin="moj.qm.example/audit/2"), signatures),
        (CHECKPOINT, parse_signatures(cosign(CHECKPOINT, WITNESS, TIME_MS, KEYS))),
        (CHECKPOINT, parse_signatures(cosign(CHECKPOINT, ORIGIN, TIME_MS, OTHER))),
        (CHECKPOINT, tuple(replace(s, signature=bytes(8) + s.signature[8:]) for s in signatures)),
    ]
    for checkpoint, lines in wrong:
        with pytest.raises(Untrusted):
            verify_cosignatures(checkpoint, lines, COSIGNER)


def test_a_log_signature_is_no_cosignature():
    # Same key, same name: type 0x01 and 0x04 have other key ids and sign other bytes.
    as_witness = WitnessIdentity(ORIGIN, KEYS.ed.public, KEYS.lattice.public)
    with pytest.raises(Untrusted):
        verify_cosignatures(CHECKPOINT, parse_note(CHECKPOINT.text).signatures, as_witness)


@pytest.mark.parametrize("kind", [ED25519, COSIGNATURE, LATTICE_COSIGNATURE])
def test_vkeys_go_and_come(kind):
    public = KEYS.lattice.public if kind == LATTICE_COSIGNATURE else KEYS.ed.public
    key = VerifierKey(ORIGIN, kind, public)
    assert parse_vkey(key.encode()) == key
    name, key_id, encoded = key.encode().split("+", 2)
    for wrong in (
        f"{name}+{key_id}",
        f"{name}x+{key_id}+{encoded}",
        f"+{key_id}+{encoded}",
        f"{name}+{key_id[:-1]}G+{encoded}",
        f"{name}+{'0' * 8}+{encoded}",
        f"{name}+{key_id}+{encoded[:-4]}",
        f"{name}+{key_id}+",
        f"{name} +{key_id}+{encoded}",
        VerifierKey(ORIGIN, 0x02, public).encode(),
        VerifierKey(ORIGIN, kind, public + b"\0").encode(),
        None,
    ):
        with pytest.raises(Malformed):
            parse_vkey(wrong)


def test_the_example_of_the_specification():
    key = parse_vkey("example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k")
    assert (key.name, key.kind, key.key_id.hex()) == ("example.com/foo", ED25519, "530d903a")


def test_a_key_of_small_order_has_no_vkey():
    with pytest.raises(Malformed):
        parse_vkey(VerifierKey(ORIGIN, ED25519, bytes(32)).encode())


def test_identities_have_two_vkeys_in_order():
    assert LogIdentity.from_vkeys(ORIGIN, LOG.vkeys()) == LOG
    assert WitnessIdentity.from_vkeys(WITNESS, COSIGNER.vkeys()) == COSIGNER
    ed, lattice = LOG.vkeys()
    for vkeys in ((), (ed,), (lattice, ed), (ed, ed), (ed, lattice, lattice), COSIGNER.vkeys()):
        with pytest.raises(Malformed):
            LogIdentity.from_vkeys(ORIGIN, vkeys)
    with pytest.raises(Malformed):
        LogIdentity.from_vkeys("moj.qm.example/audit/2", LOG.vkeys())
    with pytest.raises(Malformed):
        WitnessIdentity.from_vkeys(ORIGIN, LOG.vkeys())


def test_names_fit_the_signed_message():
    assert check_name("é" * 127) == "é" * 127
    for name in ("", "a b", "a+b", "a\u2003b", "a\nb", "a\x85b", "é" * 128):
        with pytest.raises(Malformed):
            check_name(name)
    assert parse_head(f"{BODY}\n") == (ORIGIN, 42, ROOT)
