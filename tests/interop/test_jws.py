"""Our JWS verify with jwcrypto's own verifier, and its with ours (RFC 7515, RFC 9864)."""

import base64
import json

import pytest
from jwcrypto.jwk import JWK
from jwcrypto.jws import JWS, InvalidJWSSignature

from keys.errors import BadSignature, MalformedToken
from keys.signing import SigningKey, sign_general, verify_compact, verify_general

MESSAGE, CARD = "art18-message+jws", "art18-card+jws"
KEY, OTHER = SigningKey.generate(), SigningKey.generate()
KEYS = {key.kid: key.public for key in (KEY, OTHER)}
PAYLOAD = json.dumps({"v": 1, "text": "مرحبا"}, ensure_ascii=False).encode()


def b64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def jwk(key, *, private=False):
    members = {"kty": "OKP", "crv": "Ed25519", "x": b64url(key.public)}
    return JWK(**members | ({"d": b64url(key.private_bytes())} if private else {}))


def their_token(header):
    made = JWS(PAYLOAD)
    made.allowed_algs = ["Ed25519", "EdDSA"]
    made.add_signature(jwk(KEY, private=True), protected=json.dumps(header))
    return made.serialize(compact=True)


@pytest.mark.parametrize("payload", [b"", PAYLOAD, bytes(200_000)])
def test_it_verifies_our_compact_jws(payload):
    found = JWS()
    found.allowed_algs = ["Ed25519"]
    found.deserialize(KEY.sign_compact(payload, MESSAGE), jwk(KEY))
    assert found.is_valid
    assert found.payload == payload
    assert found.jose_header == {"alg": "Ed25519", "kid": KEY.kid, "typ": MESSAGE}


def test_it_refuses_ours_under_another_key_or_altered():
    head, payload, signature = KEY.sign_compact(PAYLOAD, MESSAGE).split(".")
    for token, key in (
        (f"{head}.{payload}.{signature}", OTHER),
        (f"{head}.{b64url(PAYLOAD + b' ')}.{signature}", KEY),
    ):
        with pytest.raises(InvalidJWSSignature):
            JWS().deserialize(token, jwk(key))


def test_it_verifies_each_signature_of_our_general_jws():
    raw = sign_general(PAYLOAD, CARD, [KEY, OTHER]).decode()
    for key in (KEY, OTHER):
        found = JWS()
        found.allowed_algs = ["Ed25519"]
        found.deserialize(raw)
        found.verify(jwk(key))  # holds when one of the signatures is by this key
        assert found.payload == PAYLOAD
    stranger = JWS()
    stranger.deserialize(raw)
    with pytest.raises(InvalidJWSSignature):
        stranger.verify(jwk(SigningKey.generate()))


def test_we_verify_its_compact_jws():
    token = their_token({"alg": "Ed25519", "kid": KEY.kid, "typ": MESSAGE})
    assert verify_compact(token, MESSAGE, KEYS).payload == PAYLOAD


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_older_name_of_the_algorithm_is_refused():
    with pytest.raises(MalformedToken):
        verify_compact(their_token({"alg": "EdDSA", "kid": KEY.kid, "typ": MESSAGE}), MESSAGE, KEYS)


def test_we_verify_its_general_jws():
    made = JWS(PAYLOAD)
    for key in (KEY, OTHER):
        protected = json.dumps({"alg": "Ed25519", "kid": key.kid, "typ": CARD})
        made.add_signature(jwk(key, private=True), protected=protected)
    raw = made.serialize().encode()
    found = verify_general(raw, CARD, KEYS)
    assert (found.payload, found.kids) == (PAYLOAD, frozenset(KEYS))
    with pytest.raises(BadSignature):
        verify_general(raw, CARD, {KEY.kid: OTHER.public, OTHER.kid: KEY.public})
