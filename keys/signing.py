"""Signatures: Ed25519 in JWS (RFC 7515, RFC 8032, RFC 9864) and raw; ML-DSA-44 (FIPS 204).

Why this is safe. Ed25519 derives its nonce from key and message (RFC 8032 §5.1.6), so no bad random
number can leak a key. Every role signs bytes of another shape: messages, profiles and cards carry
their `typ` in the signed header, checkpoints begin with their origin; no key serves two roles anyway.
A public key that is not a canonical point of the prime-order group is refused: under one of small
order a signature holds for many messages, and under one with such a part verifiers disagree (RFC 8032
§8.8 leaves the cofactor to them), which evidence cannot afford. ML-DSA-44 signs with fresh randomness
of the library (hedged, FIPS 204 §3.4); its context is empty, as signed notes want it, since its keys
sign nothing but checkpoints and cosignatures.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey, MLDSA44PublicKey
from joserfc import jws
from joserfc.errors import BadSignatureError, JoseError
from joserfc.jwk import OKPKey
from joserfc.registry import HeaderParameter
from nacl.bindings import crypto_core_ed25519_is_valid_point

from keys.encoding import b64url, from_b64url, parse_object
from keys.errors import BadSignature, MalformedToken, UnknownKey

ALGORITHM = "Ed25519"
PUBLIC_BYTES = 32
SEED_BYTES = 32
LATTICE_PUBLIC_BYTES = 1312
LATTICE_SIGNATURE_BYTES = 2420

_COMPACT_PARTS = 3
_KID = re.compile(r"[A-Za-z0-9_-]{43}", re.ASCII)

# What joserfc accepts: one algorithm, whatever a header says, and three header members, `b64` and
# `crit` not among them. Its own limit of 128,000 bytes would refuse messages that the protocol allows;
# no token is longer than the envelope of 4 MiB that carries it (§6), and exact limits are the caller's.
_REGISTRY = jws.JWSRegistry(algorithms=[ALGORITHM])
_REGISTRY.header_registry = {
    name: HeaderParameter(name, "str", required=True) for name in ("alg", "kid", "typ")
}
_REGISTRY.max_payload_length = 4 << 20


def kid(algorithm: str, public: bytes) -> str:
    """Return the key id: base64url of SHA-256 over `art18/kid/v1 00 algorithm 00 public` (§2)."""
    named = b"\x00".join((b"art18/kid/v1", algorithm.encode("ascii"), public))
    return b64url(hashlib.sha256(named).digest())


def check_public(public: bytes) -> bytes:
    """Return *public*, an Ed25519 public key: a canonical point of the prime-order group (§3).

    Raises:
        MalformedToken: of another length, not canonical, not on the curve (RFC 8032 §5.1.3), of small
            order, or with a part of small order.
    """
    if len(public) != PUBLIC_BYTES:
        raise MalformedToken("an Ed25519 public key has 32 bytes")
    if not crypto_core_ed25519_is_valid_point(public):
        raise MalformedToken("an Ed25519 public key of small order or not in canonical form")
    return public


class SigningKey:
    """An Ed25519 private key: of a root, for messages, or one half of a log or witness key."""

    __slots__ = ("_jwk", "_private", "kid", "public")

    def __init__(self, private: Ed25519PrivateKey) -> None:
        self._private = private
        self.public = private.public_key().public_bytes_raw()
        self.kid = kid(ALGORITHM, self.public)
        self._jwk = OKPKey.import_key(private)

    @classmethod
    def generate(cls) -> "SigningKey":
        """Return a fresh key."""
        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def from_bytes(cls, private: bytes) -> "SigningKey":
        """Return the key with the 32-byte seed *private*."""
        if len(private) != SEED_BYTES:
            raise MalformedToken("an Ed25519 private key has 32 bytes")
        return cls(Ed25519PrivateKey.from_private_bytes(private))

    def private_bytes(self) -> bytes:
        """Return the 32-byte seed: for the vault only."""
        return self._private.private_bytes_raw()

    def sign(self, data: bytes) -> bytes:
        """Return the 64-byte signature over *data*."""
        return self._private.sign(data)

    def sign_compact(self, payload: bytes, typ: str) -> str:
        """Return *payload* as a compact JWS whose header is exactly `alg`, `kid`, `typ`."""
        return jws.serialize_compact(_header(self.kid, typ), payload, self._jwk, registry=_REGISTRY)


@dataclass(frozen=True, slots=True)
class Verified:
    """The payload of a JWS that verified, and the kid of the key it verified under."""

    payload: bytes
    kid: str


@dataclass(frozen=True, slots=True)
class VerifiedGeneral:
    """The payload of a JWS with several signatures, and the kids of the keys that signed."""

    payload: bytes
    kids: frozenset[str]


def verify_compact(token: str, typ: str, keys: Mapping[str, bytes]) -> Verified:
    """Return what the compact JWS *token* of type *typ* says, verified under one of *keys* (by kid).

    The header is compared before any key is chosen, so that the token cannot choose an algorithm.
    The payload is decoded once, by joserfc; that its text is canonical is shown by encoding it again.

    Raises:
        MalformedToken: not a compact JWS in the one accepted form.
        UnknownKey: it names a kid that is not among *keys*.
        BadSignature: it does not verify.
    """
    parts = token.split(".", _COMPACT_PARTS)
    if len(parts) != _COMPACT_PARTS:
        raise MalformedToken("a compact JWS has three parts")
    header, payload, signature = parts
    signer = _parse_header(header, typ)
    from_b64url(signature)
    if signer not in keys:
        raise UnknownKey(signer)
    try:
        found = jws.deserialize_compact(token, _public_jwk(keys[signer]), registry=_REGISTRY).payload
    except BadSignatureError:
        raise BadSignature("the signature does not verify") from None
    except (JoseError, UnicodeError):
        raise MalformedToken("not a compact JWS") from None
    if b64url(found) != payload:
        raise MalformedToken("base64url that is not canonical")
    return Verified(found, signer)


def sign_general(payload: bytes, typ: str, signers: Sequence[SigningKey]) -> bytes:
    """Return *payload* as a JWS in general JSON serialization, signed by each of *signers*."""
    encoded = b64url(payload)
    signatures = []
    for signer in signers:
        protected, _, signature = signer.sign_compact(payload, typ).split(".")
        signatures.append({"protected": protected, "signature": signature})
    return json.dumps({"payload": encoded, "signatures": signatures}, separators=(",", ":")).encode("ascii")


def peek_general(raw: bytes, typ: str) -> bytes:
    """Return the payload of the general JWS *raw*, not verified: to learn which keys it names.

    Raises:
        MalformedToken: not in the one accepted form.
    """
    return from_b64url(_parse_general(raw, typ)[0])


def verify_general(
    raw: bytes, typ: str, keys: Mapping[str, bytes], *, others: bool = False
) -> VerifiedGeneral:
    """Return what the general JWS *raw* says, every signature verified under one of *keys*.

    With *others*, signatures by kids that are not among *keys* are passed over; they count for
    nothing, so that the caller must compare `kids` with those that it demands.

    Raises:
        MalformedToken, UnknownKey, BadSignature: as `verify_compact`.
    """
    payload, signatures = _parse_general(raw, typ)
    kids = set()
    for protected, signer, signature in signatures:
        if others and signer not in keys:
            continue
        verify_compact(f"{protected}.{payload}.{signature}", typ, keys)
        kids.add(signer)
    return VerifiedGeneral(from_b64url(payload), frozenset(kids))


def verify_raw(public: bytes, signature: bytes, data: bytes) -> None:
    """Check the Ed25519 *signature* over *data*. Raises BadSignature, or MalformedToken for *public*."""
    try:
        _public(public).verify(signature, data)
    except InvalidSignature:
        raise BadSignature("the signature does not verify") from None


class LatticeKey:
    """An ML-DSA-44 private key (FIPS 204): the post-quantum half of a log or witness key."""

    __slots__ = ("_private", "public")

    def __init__(self, private: MLDSA44PrivateKey) -> None:
        self._private = private
        self.public = private.public_key().public_bytes_raw()

    @classmethod
    def generate(cls) -> "LatticeKey":
        """Return a fresh key."""
        return cls(MLDSA44PrivateKey.generate())

    @classmethod
    def from_seed(cls, seed: bytes) -> "LatticeKey":
        """Return the key with the 32-byte *seed*."""
        if len(seed) != SEED_BYTES:
            raise MalformedToken("an ML-DSA-44 seed has 32 bytes")
        return cls(MLDSA44PrivateKey.from_seed_bytes(seed))

    def seed(self) -> bytes:
        """Return the 32-byte seed: for the vault only."""
        return self._private.private_bytes_raw()

    def sign(self, data: bytes) -> bytes:
        """Return the 2420-byte signature over *data*, with the empty context."""
        return self._private.sign(data)


@dataclass(frozen=True, slots=True)
class LogKeys:
    """The two keys that sign the checkpoints of a log, or a witness's cosignatures.

    Defined here, beside what they are made of; `keys.vault` offers the name too.
    """

    ed: SigningKey
    lattice: LatticeKey

    @classmethod
    def generate(cls) -> "LogKeys":
        """Return fresh keys."""
        return cls(SigningKey.generate(), LatticeKey.generate())


def check_lattice_public(public: bytes) -> bytes:
    """Return *public*, an ML-DSA-44 public key. Raises MalformedToken.

    The length is all there is to check: every string of 1312 bytes decodes (FIPS 204 §7.2).
    """
    if len(public) != LATTICE_PUBLIC_BYTES:
        raise MalformedToken("an ML-DSA-44 public key has 1312 bytes")
    return public


def verify_lattice(public: bytes, signature: bytes, data: bytes) -> None:
    """Check the ML-DSA-44 *signature* over *data*, empty context.

    Raises BadSignature, or MalformedToken for *public*.
    """
    try:
        _lattice_public(public).verify(signature, data)
    except InvalidSignature:
        raise BadSignature("the signature does not verify") from None


@lru_cache(maxsize=1024)
def _public(public: bytes) -> Ed25519PublicKey:
    return Ed25519PublicKey.from_public_bytes(check_public(public))


@lru_cache(maxsize=1024)
def _public_jwk(public: bytes) -> OKPKey:
    return OKPKey.import_key(_public(public))


@lru_cache(maxsize=256)
def _lattice_public(public: bytes) -> MLDSA44PublicKey:
    return MLDSA44PublicKey.from_public_bytes(check_lattice_public(public))


def _header(signer: str, typ: str) -> dict[str, str]:
    return {"alg": ALGORITHM, "kid": signer, "typ": typ}


def _parse_header(text: str, typ: str) -> str:
    """Return the kid of the protected header *text* that is exactly `alg`, `kid` and `typ`."""
    if len(text) > _REGISTRY.max_header_length:
        raise MalformedToken("a header longer than its three members need")
    return _known_header(text, typ)


@lru_cache(maxsize=1024)  # one for each key that signs, and short: strangers cannot fill the memory
def _known_header(text: str, typ: str) -> str:
    found = parse_object(from_b64url(text))
    signer = found.get("kid")
    if not isinstance(signer, str) or not _KID.fullmatch(signer) or found != _header(signer, typ):
        raise MalformedToken(f"the header is not exactly alg {ALGORITHM}, kid and typ {typ}")
    return signer


def _parse_general(raw: bytes, typ: str) -> tuple[str, list[tuple[str, str, str]]]:
    """Return payload text and (protected, kid, signature) of each signature."""
    outer = parse_object(raw)
    payload, signatures = outer.get("payload"), outer.get("signatures")
    if set(outer) != {"payload", "signatures"} or not isinstance(payload, str):
        raise MalformedToken("a general JWS is exactly payload and signatures")
    if not isinstance(signatures, list) or not signatures:
        raise MalformedToken("a general JWS has at least one signature")
    found = []
    for item in signatures:
        if not isinstance(item, dict) or set(item) != {"protected", "signature"}:
            raise MalformedToken("a signature is exactly protected and signature")
        protected, signature = item["protected"], item["signature"]
        if not isinstance(protected, str) or not isinstance(signature, str):
            raise MalformedToken("protected and signature are base64url")
        found.append((protected, _parse_header(protected, typ), signature))
    if len({signer for _, signer, _ in found}) != len(found):
        raise MalformedToken("a key signs once")
    return payload, found
