"""Authority cards: an authority's keys and endpoints, signed by its root (protocol §4).

A card is trusted only by way of `pin` (the ceremony) or `successor` (of a pinned card). Verifying
returns the card; there is no other way to get one that is signed.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from gateway.core.errors import Malformed, Misuse, Untrusted
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
    sha256,
    time_text,
)
from keys import signing
from keys.certificates import check_certificate, subject
from keys.errors import BadSignature, KeyFault, UnknownKey
from keys.sealing import ALGORITHM as SEALING_ALGORITHM
from keys.sealing import check_sealing_public
from keys.signing import ALGORITHM as SIGNING_ALGORITHM
from keys.signing import SigningKey

TYPE = "art18-card+jws"
MAX_BYTES = 256 * 1024
LIFETIME_MS = 2 * 365 * 24 * 60 * 60 * 1000
"""How long cards and keys are issued for, unless configured otherwise."""
OVERLAP_MS = 90 * 24 * 60 * 60 * 1000
"""How long a key that is no longer used stays in the card."""

_MAX_ROOTS = 2
_GROUP = 4
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
        """Say whether *now_ms* lies in the window."""
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Card(Plan):
    """A card whose own root keys have all signed it: `raw` is the exact text, `sha256` its digest."""

    raw: bytes
    sha256: Digest

    def signing_keys(self) -> Mapping[str, bytes]:
        """Return every signing key by kid: a recipient accepts each of them."""
        return {key.kid: key.public for key in self.signing}

    def signing_kid(self, now_ms: int) -> str:
        """Return the kid of the key that the owner signs with now. Raises Misuse."""
        return _current(self.signing, now_ms).kid

    def sealing_key(self, now_ms: int) -> PublicKey:
        """Return the key to seal to now. Raises Misuse."""
        return _current(self.sealing, now_ms)

    def certificate(self, now_ms: int) -> Certificate:
        """Return the certificate that the owner presents now: the valid one with the earliest `from`."""
        valid = [one for one in self.tls if one.window.holds(now_ms)]
        return min(valid or self.tls, key=lambda one: one.window.from_ms)


def _current(keys: tuple[PublicKey, ...], now_ms: int) -> PublicKey:
    """Return the newest key in use at *now_ms*; an expired card stops nothing by itself (§4)."""
    begun = [key for key in keys if key.window.from_ms <= now_ms]
    if not begun:
        raise Misuse(409, "no_current_key", "no key of the card may be used yet")
    valid = [key for key in begun if now_ms < key.window.until_ms]
    return max(valid or begun, key=lambda key: key.window.from_ms)


def fingerprint(card: Plan) -> str:
    """Return what a ceremony confirms: SHA-256 of the first root key, 16 groups of 4 hex digits."""
    digest = sha256(card.root[0])
    return " ".join(digest[start : start + _GROUP] for start in range(0, len(digest), _GROUP))


def parse_card(raw: bytes) -> Card:
    """Return the card *raw*, every root key of which has signed it.

    This shows that the card is whole, not whose it is: that is for `pin` and `successor`.

    Raises:
        Malformed: not a card in the one accepted form, or keys that serve two roles.
        Untrusted: a signature of one of its own root keys is missing or wrong.
    """
    if len(raw) > MAX_BYTES:
        raise Malformed(f"a card has at most {MAX_BYTES} bytes")
    try:
        payload = signing.peek_general(raw, TYPE)
        plan = _parse_payload(payload)
        own = {signing.kid(SIGNING_ALGORITHM, public): public for public in plan.root}
    except KeyFault as fault:
        raise Malformed(str(fault)) from None
    _verify_own(raw, own)
    return Card(
        **{name: getattr(plan, name) for name in Plan.__dataclass_fields__}, raw=raw, sha256=sha256(raw)
    )


def pin(raw: bytes, *, authority: AuthorityId, confirmed: str) -> Card:
    """Return the card *raw* of first contact, whose fingerprint an operator *confirmed* (§4).

    Raises:
        Malformed, Untrusted: as `parse_card`.
        Misuse: it is another authority's, or its root has another fingerprint.
    """
    card = parse_card(raw)
    if card.authority != authority:
        raise Misuse(422, "wrong_authority", f"this is the card of {card.authority}, not of {authority}")
    if _plain(confirmed) != _plain(fingerprint(card)):
        raise Misuse(422, "wrong_fingerprint", "the card's root key has another fingerprint")
    return card


def successor(raw: bytes, pinned: Card) -> Card:
    """Return the card *raw* if it follows *pinned* (§4).

    Raises:
        Malformed: as `parse_card`.
        Untrusted: it does not follow: another authority or sequence, `previous` is not the
            digest of *pinned*, no root key of *pinned* has signed it, or a log origin or witness
            name has other keys than before.
    """
    card = parse_card(raw)
    if card.authority != pinned.authority or card.sequence != pinned.sequence + 1:
        raise Untrusted("a successor is of the same authority, with the next sequence")
    if card.previous != pinned.sha256:
        raise Untrusted("a successor names the digest of the card before it")
    old = {signing.kid(SIGNING_ALGORITHM, public): public for public in pinned.root}
    new = {signing.kid(SIGNING_ALGORITHM, public): public for public in card.root}
    try:
        signers = signing.verify_general(raw, TYPE, {**old, **new}).kids
    except KeyFault as fault:
        raise Untrusted(str(fault)) from None
    if not signers & set(old):
        raise Untrusted("no root key of the pinned card has signed its successor")
    if card.log.origin == pinned.log.origin and card.log != pinned.log:
        raise Untrusted("one log origin has one pair of keys for ever")
    if card.witness.name == pinned.witness.name and card.witness != pinned.witness:
        raise Untrusted("one witness name has one pair of keys for ever")
    return card


def check_apart(card: Card, others: Iterable[Card]) -> None:
    """Refuse *card* if it shares anything that must be one authority's alone (§4, first contact).

    Raises:
        Misuse: `pinned_elsewhere`.
    """
    mine = _marks(card)
    for other in others:
        if other.authority != card.authority and mine & _marks(other):
            raise Misuse(
                409,
                "pinned_elsewhere",
                f"a key, certificate, origin or witness name of this card is pinned for {other.authority}",
            )


def build_card(plan: Plan, roots: Sequence[SigningKey]) -> bytes:
    """Return *plan* signed by *roots*: all of its own, and one of the card that it follows."""
    raw = signing.sign_general(_encode_payload(plan), TYPE, roots)
    parse_card(raw)
    return raw


def _marks(card: Card) -> set[object]:
    """Return what must not recur in another authority's card."""
    return {
        *_all_keys(card),
        *(one.der for one in card.tls),
        *(("subject", subject(one.der)) for one in card.tls),
        ("origin", card.log.origin),
        ("witness", card.witness.name),
    }


def _all_keys(plan: Plan) -> list[bytes]:
    return [
        *plan.root,
        *(key.public for key in plan.signing),
        *(key.public for key in plan.sealing),
        plan.log.ed_public,
        plan.log.lattice_public,
        plan.witness.ed_public,
        plan.witness.lattice_public,
    ]


def _verify_own(raw: bytes, own: Mapping[str, bytes]) -> None:
    """Check the signature of every own root; a predecessor's root may have signed too."""
    try:
        signers = signing.verify_general(raw, TYPE, own, others=True).kids
    except (BadSignature, UnknownKey) as fault:
        raise Untrusted(str(fault)) from None
    except KeyFault as fault:
        raise Malformed(str(fault)) from None
    if signers != set(own):
        raise Untrusted("a card is signed by every root key of its own")


def _parse_payload(payload: bytes) -> Plan:
    found = members(parse_json(payload, max_bytes=MAX_BYTES), required=_PAYLOAD)
    check_constants(found, v=1, type="card")
    log = members(found["log"], required=("origin", "vkeys"))
    witness = members(found["witness"], required=("name", "vkeys"))
    plan = Plan(
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
    _check_plan(plan)
    return plan


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
    keys = _all_keys(plan)
    if len(set(keys)) != len(keys):
        raise Malformed("no key serves two roles, or stands twice")
    if len({one.der for one in plan.tls}) != len(plan.tls):
        raise Malformed("a certificate that stands twice")
    if len({subject(one.der) for one in plan.tls}) != len(plan.tls):
        raise Malformed("two certificates of one card differ in their subject")
    for endpoint in plan.endpoints:
        _check_endpoint(endpoint)


def _check_endpoint(endpoint: str) -> None:
    try:
        parts = urlsplit(endpoint)
        port = parts.port
    except ValueError:
        raise Malformed("an endpoint is an https origin") from None
    host = f"[{parts.hostname}]" if parts.hostname and ":" in parts.hostname else parts.hostname
    if not host or endpoint != f"https://{host}" + (f":{port}" if port is not None else ""):
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


def _encode_payload(plan: Plan) -> bytes:
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


def _encode_key(key: PublicKey) -> dict[str, str]:
    return {"kid": key.kid, "public": b64url(key.public), **_encode_window(key.window)}


def _encode_window(window: Window) -> dict[str, str]:
    return {"from": time_text(window.from_ms), "until": time_text(window.until_ms)}


def _plain(text: str) -> str:
    """Return a fingerprint as people may type it without its spaces, colons and case."""
    return "".join(text.split()).replace(":", "").lower()
