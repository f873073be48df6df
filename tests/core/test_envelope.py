import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.envelope import (
    MAX_BYTES,
    Content,
    Header,
    build_envelope,
    encode_content,
    open_envelope,
    parse_content,
    parse_envelope,
)
from gateway.core.errors import Malformed
from gateway.core.ids import AuthorityId, Digest, MessageId
from gateway.core.strict import b64url, from_b64url, sha256
from keys.errors import CannotOpen, UnknownKey
from keys.sealing import SealingKey

KEY, OTHER = SealingKey.generate(), SealingKey.generate()
HEADER = Header(
    MessageId("5e0c8c1e-6a2c-4b0e-9b6e-4f0c1c1d2e3f"), AuthorityId("qm.moj"), AuthorityId("qn.moj"), KEY.kid
)
JWS = "eyJ9.eyJ9.c2ln"
BLOBS = {Digest("aa" * 32): bytes(range(32)), Digest("ab" * 32): bytes(32)}
ENVELOPE = build_envelope(HEADER, encode_content(JWS, BLOBS), KEY.public)
KEYS = {KEY.kid: KEY}
HEADER_JSON = {
    "v": 1,
    "type": "envelope",
    "id": HEADER.id,
    "from": "qm.moj",
    "to": "qn.moj",
    "key": KEY.kid,
}


def wire(header=None, **outer):
    sealed = b64url(ENVELOPE.sealed)
    encoded = b64url(ENVELOPE.header_bytes if header is None else header)
    return json.dumps({"header": encoded, "sealed": sealed} | outer).encode()


def changed(**members):
    found = HEADER_JSON | members
    return wire(json.dumps({name: value for name, value in found.items() if value is not ...}).encode())


def test_an_envelope_shows_its_header_and_nothing_else():
    assert json.loads(ENVELOPE.header_bytes) == HEADER_JSON
    assert json.loads(ENVELOPE.raw) == {
        "header": b64url(ENVELOPE.header_bytes),
        "sealed": b64url(ENVELOPE.sealed),
    }
    assert len(ENVELOPE.sealed) == 1120 + 16 + len(encode_content(JWS, BLOBS))
    assert parse_envelope(ENVELOPE.raw) == ENVELOPE
    assert ENVELOPE.sha256 == sha256(ENVELOPE.raw)


def test_it_opens_for_the_key_that_it_names():
    content = open_envelope(parse_envelope(ENVELOPE.raw), KEYS)
    assert content == Content(JWS, BLOBS)
    assert content.message_sha256 == sha256(JWS.encode())
    with pytest.raises(UnknownKey):
        open_envelope(ENVELOPE, {OTHER.kid: OTHER})
    with pytest.raises(CannotOpen):
        open_envelope(ENVELOPE, {KEY.kid: OTHER})


def test_sealing_again_makes_another_envelope():
    again = build_envelope(HEADER, encode_content(JWS, BLOBS), KEY.public)
    assert again.sha256 != ENVELOPE.sha256
    assert open_envelope(again, KEYS) == open_envelope(ENVELOPE, KEYS)


def test_the_seal_binds_the_exact_header():
    spaced = wire(ENVELOPE.header_bytes + b" ")
    other = changed(id="5e0c8c1e-6a2c-4b0e-9b6e-4f0c1c1d2e30")
    for raw in (spaced, other, wire(sealed=b64url(ENVELOPE.sealed[:-1] + b"\0")), wire(sealed="")):
        with pytest.raises(CannotOpen):
            open_envelope(parse_envelope(raw), KEYS)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"[]",
        b"{}",
        wire(more=1),
        wire(header=b"not json"),
        wire(header=b"[]"),
        wire(sealed="A"),
        wire(sealed=b64url(ENVELOPE.sealed) + "="),
        wire(sealed=None),
        wire(header=json.dumps(HEADER_JSON)[:-1].encode() + b',"v":1}'),
        changed(v=2),
        changed(v=True),
        changed(type="card"),
        changed(more=1),
        changed(key=...),
        changed(id="5E0C8C1E-6a2c-4b0e-9b6e-4f0c1c1d2e3f"),
        changed(id="5e0c8c1e-6a2c-1b0e-9b6e-4f0c1c1d2e3f"),
        changed(**{"from": "QM.moj"}),
        changed(to=None),
        changed(key="AAAA"),
        changed(key=KEY.kid + "="),
        changed(key=7),
        ENVELOPE.raw + b" " * MAX_BYTES,
    ],
)
def test_what_is_not_an_envelope_is_refused(raw):
    with pytest.raises(Malformed):
        parse_envelope(raw)


def test_what_could_not_be_read_is_not_built():
    with pytest.raises(Malformed):
        build_envelope(HEADER, b"{}", OTHER.public)
    with pytest.raises(Malformed):
        build_envelope(HEADER, bytes(MAX_BYTES * 3 // 4), KEY.public)


@given(
    st.dictionaries(
        st.binary(min_size=32, max_size=32).map(lambda data: Digest(data.hex())),
        st.binary(min_size=32, max_size=32),
        max_size=5,
    )
)
def test_content_goes_and_comes(blob_keys):
    assert parse_content(encode_content(JWS, blob_keys)) == Content(JWS, blob_keys)


@pytest.mark.parametrize(
    "found",
    [
        {},
        {"message": JWS},
        {"blob_keys": {}},
        {"message": JWS, "blob_keys": {}, "more": 1},
        {"message": JWS, "blob_keys": []},
        {"message": {}, "blob_keys": {}},
        {"message": "", "blob_keys": {}},
        {"message": "a.b", "blob_keys": {}},
        {"message": "a.b.c.d", "blob_keys": {}},
        {"message": "a.b.é", "blob_keys": {}},
        {"message": "a.b.c=", "blob_keys": {}},
        {"message": "a.b.c\n", "blob_keys": {}},
        {"message": JWS, "blob_keys": {"aa": b64url(bytes(32))}},
        {"message": JWS, "blob_keys": {"AA" * 32: b64url(bytes(32))}},
        {"message": JWS, "blob_keys": {"aa" * 32: b64url(bytes(31))}},
        {"message": JWS, "blob_keys": {"aa" * 32: None}},
    ],
)
def test_sealed_content_that_is_not_content_is_refused(found):
    plaintext = json.dumps(found).encode()
    with pytest.raises(Malformed):
        parse_content(plaintext)
    with pytest.raises(Malformed):
        open_envelope(build_envelope(HEADER, plaintext, KEY.public), KEYS)


def test_a_repeated_blob_key_is_refused():
    name = "aa" * 32
    text = f'{{"message":"{JWS}","blob_keys":{{"{name}":"{b64url(bytes(32))}","{name}":"x"}}}}'
    with pytest.raises(Malformed):
        parse_content(text.encode())
    assert from_b64url(b64url(bytes(32))) == bytes(32)
