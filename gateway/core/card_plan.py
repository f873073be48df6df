"""What a card says: the payload of protocol §4, as typed parts and as JSON."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

from gateway.core.errors import Malformed
from gateway.core.ids import AuthorityId, Digest, parse_authority, parse_digest
from gateway.core.note import LogIdentity, WitnessIdentity
from gateway.core.strict import (
    as_integer,
    as_list,
    as_text,
    b64url,
    check_constants,
    from_b64url,
    members,
    parse_json,
    parse_time,
    time_text,
)
from keys import signing
from keys.certificates import check_certificate, subject
from keys.errors import KeyFault
from keys.sealing import ALGORITHM as SEALING_ALGORITHM
from keys.sealing import check_sealing_public
from keys.signing import ALGORITHM as SIGNING_ALGORITHM

_MAX_ROOTS = 2
_PORT_LIMIT = 1 << 16
_LABEL = r"[a-z0-9]([a-z0-9-]*[a-z0-9])?"
_ORIGIN = re.compile(rf"{_LABEL}(\.{_LABEL})*/audit/[1-9][0-9]{{0,8}}", re.ASCII)
_ENDPOINT = re.compile(
    rf"https://({_LABEL}(\.{_LABEL})*|\[[0-9a-f:.]+\])(:(?P<port>[1-9][0-9]{{0,4}}))?", re.ASCII
)
_PAYLOAD = (
    "v", "type", "authority", "sequence", "previous", "issued", "expires",
    "root", "signing", "sealing", "tls", "log", "witness", "endpoints",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Window:
    """When the owner uses a key: from, up to and not with, in milliseconds."""

    from_ms: int
    until_ms: int

    def holds(self, now_ms: int) -> bool:
        """Return whether *now_ms* lies in the window."""
        return self.from_ms <= now_ms < self.until_ms


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A key of the card: its kid, its raw public bytes, when it is used."""

    kid: str
    public: bytes
    window: Window


@dataclass(frozen=True, slots=True)
class Certificate:
    """A TLS certificate in DER, known by its bytes, and when it is presented."""

    der: bytes
    window: Window


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a card says, before it is signed. `root` holds raw public keys, the first one named."""

    authority: AuthorityId
    sequence: int
    previous: Digest | None
    issued_ms: int
    expires_ms: int
    root: tuple[bytes, ...]
    signing: tuple[PublicKey, ...]
    sealing: tuple[PublicKey, ...]
    tls: tuple[Certificate, ...]
    log: LogIdentity
    witness: WitnessIdentity
    endpoints: tuple[str, ...]


def parse_payload(payload: bytes) -> Plan:
    """Return what a card with this payload says; nobody is authenticated.

    Raises:
        Malformed: not in form, or what no card may say: keys that serve two roles, say.
    """
    try:
        plan = _parse_plan(payload)
        _check_plan(plan)
    except KeyFault as fault:
        raise Malformed(str(fault)) from None
    return plan


def encode_payload(plan: Plan) -> bytes:
    """Return the payload of the card that *plan* is to become."""
    return json.dumps(
        {
            "v": 1,
            "type": "card",
            "authority": plan.authority,
            "sequence": plan.sequence,
            "previous": plan.previous,
            "issued": time_text(plan.issued_ms),
            "expires": time_text(plan.expires_ms),
            "root": [
                {"kid": signing.kid(SIGNING_ALGORITHM, key), "alg": SIGNING_ALGORITHM, "public": b64url(key)}
                for key in plan.root
            ],
            "signing": [{**_encode_key(key), "alg": SIGNING_ALGORITHM} for key in plan.signing],
            "sealing": [{**_encode_key(key), "kem": SEALING_ALGORITHM} for key in plan.sealing],
            "tls": [{"certificate": b64url(one.der), **_encode_window(one.window)} for one in plan.tls],
            "log": {"origin": plan.log.origin, "vkeys": list(plan.log.vkeys())},
            "witness": {"name": plan.witness.name, "vkeys": list(plan.witness.vkeys())},
            "endpoints": list(plan.endpoints),
        },
        separators=(",", ":"),
    ).encode("ascii")


def roles(plan: Plan) -> dict[bytes, str]:
    """Return the role of each key and certificate. Raises Malformed when one stands twice."""
    standing = [
        *((public, "root") for public in plan.root),
        *((key.public, "signing") for key in plan.signing),
        *((key.public, "sealing") for key in plan.sealing),
        *((one.der, "tls") for one in plan.tls),
        *((public, "log") for public in (plan.log.ed_public, plan.log.lattice_public)),
        *((public, "witness") for public in (plan.witness.ed_public, plan.witness.lattice_public)),
    ]
    found = dict(standing)
    if len(found) != len(standing):
        raise Malformed("no key serves two roles, or stands twice")
    return found


def _parse_plan(payload: bytes) -> Plan:
    found = members(parse_json(payload), required=_PAYLOAD)
    check_constants(found, v=1, type="card")
    log = members(found["log"], required=("origin", "vkeys"))
    witness = members(found["witness"], required=("name", "vkeys"))
    return Plan(
        authority=parse_authority(found["authority"]),
        sequence=as_integer(found["sequence"]),
        previous=None if found["previous"] is None else parse_digest(found["previous"]),
        issued_ms=parse_time(found["issued"]),
        expires_ms=parse_time(found["expires"]),
        root=tuple(_parse_root(item) for item in as_list(found["root"])),
        signing=tuple(_parse_signing(item) for item in as_list(found["signing"])),
        sealing=tuple(_parse_sealing(item) for item in as_list(found["sealing"])),
        tls=tuple(_parse_certificate(item) for item in as_list(found["tls"])),
        log=LogIdentity.from_vkeys(as_text(log["origin"]), _texts(log["vkeys"])),
        witness=WitnessIdentity.from_vkeys(as_text(witness["name"]), _texts(witness["vkeys"])),
        endpoints=_texts(found["endpoints"]),
    )


def _check_plan(plan: Plan) -> None:
    """Refuse what no card may say, whoever signed it."""
    if plan.sequence < 1 or (plan.previous is None) != (plan.sequence == 1):
        raise Malformed("the first card has sequence 1 and no predecessor, each other one has both")
    if plan.expires_ms <= plan.issued_ms:
        raise Malformed("a card expires after it was issued")
    if not 1 <= len(plan.root) <= _MAX_ROOTS:
        raise Malformed("a card has one root key, or two while the root changes")
    if not (plan.signing and plan.sealing and plan.tls and plan.endpoints):
        raise Malformed("a card has a signing key, a sealing key, a certificate and an endpoint")
    roles(plan)
    if len({subject(one.der) for one in plan.tls}) != len(plan.tls):
        raise Malformed("two certificates of one card differ in their subject")
    if not _ORIGIN.fullmatch(plan.log.origin):
        raise Malformed("a log origin is <authority domain>/audit/<epoch>")
    if plan.witness.name == plan.log.origin:
        raise Malformed("witness and log have names of their own")
    for endpoint in plan.endpoints:
        _check_endpoint(endpoint)


def _check_endpoint(endpoint: str) -> None:
    found = _ENDPOINT.fullmatch(endpoint)
    if found is None or int(found["port"] or 0) >= _PORT_LIMIT:
        raise Malformed("an endpoint is an https origin: scheme, host in lower case and port, nothing else")


def _parse_window(found: Mapping[str, object]) -> Window:
    window = Window(parse_time(found["from"]), parse_time(found["until"]))
    if window.until_ms <= window.from_ms:
        raise Malformed("a key is used until after it is used from")
    return window


def _parse_root(value: object) -> bytes:
    found = members(value, required=("kid", "alg", "public"))
    check_constants(found, alg=SIGNING_ALGORITHM)
    public = signing.check_public(from_b64url(found["public"]))
    check_constants(found, kid=signing.kid(SIGNING_ALGORITHM, public))
    return public


def _parse_signing(value: object) -> PublicKey:
    found = members(value, required=("kid", "alg", "public", "from", "until"))
    check_constants(found, alg=SIGNING_ALGORITHM)
    public = signing.check_public(from_b64url(found["public"]))
    return _with_kid(found, SIGNING_ALGORITHM, public)


def _parse_sealing(value: object) -> PublicKey:
    found = members(value, required=("kid", "kem", "public", "from", "until"))
    check_constants(found, kem=SEALING_ALGORITHM)
    public = check_sealing_public(from_b64url(found["public"]))
    return _with_kid(found, SEALING_ALGORITHM, public)


def _with_kid(found: dict[str, object], algorithm: str, public: bytes) -> PublicKey:
    kid = signing.kid(algorithm, public)
    check_constants(found, kid=kid)
    return PublicKey(kid, public, _parse_window(found))


def _parse_certificate(value: object) -> Certificate:
    found = members(value, required=("certificate", "from", "until"))
    return Certificate(check_certificate(from_b64url(found["certificate"])), _parse_window(found))


def _texts(value: object) -> tuple[str, ...]:
    return tuple(as_text(item) for item in as_list(value))


def _encode_key(key: PublicKey) -> dict[str, str]:
    return {"kid": key.kid, "public": b64url(key.public), **_encode_window(key.window)}


def _encode_window(window: Window) -> dict[str, str]:
    return {"from": time_text(window.from_ms), "until": time_text(window.until_ms)}
