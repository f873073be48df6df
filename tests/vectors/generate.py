"""Makes the vector files from base.json: `python -m tests.vectors.generate [--renew]`.

Everything is derived from seeds and from base.json, which keeps what cannot be (certificates,
ML-DSA-44 signatures, one sealed envelope): the same files on every run. `--renew` draws it anew.
"""

import base64
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gateway.core.card import TYPE, Certificate, Plan, PublicKey, fingerprint, parse_card
from gateway.core.card_plan import encode_payload
from gateway.core.entry import Draft, encode_entry
from gateway.core.envelope import Header, build_envelope, encode_content, parse_envelope
from gateway.core.ids import AuthorityId, Digest, MessageId
from gateway.core.merkle import Frontier, consistency, inclusion, leaf_hash
from gateway.core.note import sign_checkpoint
from gateway.core.proof import Receipt, encode_proof, parse_proof
from gateway.core.strict import b64, b64url
from keys.certificates import new_certificate
from keys.signing import SigningKey, sign_general
from tests.vectors import deliveries
from tests.vectors.actors import ISSUED_MS, QM, QN, WINDOW, Actor, twin
from tests.vectors.pipelines import World, as_input, refusal

FOLDER = Path(__file__).parent
TIME_MS = ISSUED_MS + 123
MESSAGE = MessageId("5e0c8c1e-6a2c-4b0e-9b6e-4f0c1c1d2e3f")
ENTRY = "0b9dbd2a-6a2c-4b0e-9b6e-4f0c1c1d2e3f"
ENVELOPE, MESSAGE_SHA256 = Digest("aa" * 32), Digest("bb" * 32)
JWS = "eyJhbGciOiJFZDI1NTE5In0.e30.c2lnbmF0dXJl"
BLOBS = {Digest("dd" * 32): bytes(range(32))}
TREE = 13


@dataclass(frozen=True)
class Vector:
    """One failure (or, with an empty rule, none), before it is known who refuses it."""

    name: str
    kind: str
    rule: str
    found: dict[str, Any]


def accepted(**changes: Any) -> Draft:
    """Return the entry of an acceptance by qm.moj of a message of qn.moj, or of what *changes* it."""
    draft = Draft(
        event="relay.accepted",
        outcome="ok",
        peer=QN.id,
        message_id=MESSAGE,
        envelope_sha256=ENVELOPE,
        message_sha256=MESSAGE_SHA256,
    )
    return replace(draft, **changes)


def leaf(draft: Draft, authority: str = QM.id) -> bytes:
    return encode_entry(draft, authority=AuthorityId(authority), entry_id=ENTRY, time_ms=TIME_MS)


LEAF = leaf(accepted())
BAD_LEAVES = {
    "spaces": ("§9 Entry: RFC 8785 form", LEAF.replace(b":1}", b": 1}")),
    "member-order": (
        "§9 Entry: RFC 8785 form",
        LEAF.replace(b'{"authority":"qm.moj",', b"{").replace(b'"v":1}', b'"v":1,"authority":"qm.moj"}'),
    ),
    "needless-escape": ("§9 Entry: RFC 8785 form", LEAF.replace(b'"ok"', b'"\\u006fk"')),
    "version": ("§1 rule 3: an unknown v is refused", LEAF.replace(b'"v":1', b'"v":2')),
    "version-true": ("§1 rule 3: an unknown v is refused", LEAF.replace(b'"v":1', b'"v":true')),
    "nested-value": ("§9 Entry: flat", LEAF.replace(b'"v":1', b'"v":1,"w":{}')),
    "null": ("§9 Entry: strings and integers only", LEAF.replace(b'"v":1', b'"v":1,"w":null')),
    "not-ascii": ("§9 Entry: printable ASCII", LEAF.replace(b'"v":1', '"v":1,"w":"é"'.encode())),
    "escaped-quote": ('§9 Entry: no " and \\', LEAF.replace(b'"v":1', b'"v":1,"w":"\\""')),
    "no-time": ("§9 Entry: always v … outcome", LEAF.replace(b'"time":"2026-11-01T00:00:00.123Z",', b"")),
    "time-without-milliseconds": ("§1 rule 2: three fractional digits", LEAF.replace(b"00.123Z", b"00Z")),
    "unknown-event": ("§9: a closed list of events", LEAF.replace(b"relay.accepted", b"relay.forwarded")),
    "unknown-outcome": ("§9 Entry: outcome", LEAF.replace(b'"ok"', b'"fine"')),
    "upper-case-id": ("§2: lower-case UUID", LEAF.replace(b"5e0c8c1e", b"5E0C8C1E")),
    "upper-case-digest": ("§2: lower-case digest", LEAF.replace(b"bb" * 32, b"BB" * 32)),
    "no-message-digest": (
        "§9 Entry: message_sha256 once it was opened",
        LEAF.replace(b'"message_sha256":"' + b"bb" * 32 + b'",', b""),
    ),
    "account-in-an-entry-that-travels": (
        "§9 Entry: actor_ref never in an entry that travels",
        LEAF.replace(b'{"authority"', b'{"actor_ref":"acct-7","authority"'),
    ),
    "acceptance-with-a-reason": (
        "§9 Entry: on a refusal reason",
        LEAF.replace(b'"time"', b'"reason":"schema","time"'),
    ),
    "refusal-without-a-reason": (
        "§9 Entry: on a refusal reason",
        LEAF.replace(b"relay.accepted", b"relay.refused").replace(b'"ok"', b'"refused"'),
    ),
    "unknown-reason": (
        "§8: a closed list of signed reasons",
        leaf(accepted(event="relay.refused", outcome="refused", reason="schema")).replace(
            b'"schema"', b'"dislike"'
        ),
    ),
    "short-commitment": (
        "§9 Entry: commitment = base64url of SHA-256",
        LEAF.replace(b'"entry_id"', b'"commitment":"AAAA","entry_id"'),
    ),
    "too-large": ("§9 Entry: at most 4 KiB", LEAF.replace(b'"v":1', b'"v":1,"w":"' + b"x" * 4096 + b'"')),
}
WRONG_SUBJECTS = {
    "another-envelope": leaf(accepted(envelope_sha256=Digest("ac" * 32))),
    "another-message-id": leaf(accepted(message_id=MessageId("5e0c8c1e-6a2c-4b0e-9b6e-4f0c1c1d2e30"))),
    "another-message": leaf(accepted(message_sha256=Digest("bc" * 32))),
    "another-sender": leaf(accepted(peer=AuthorityId("qo.moj"))),
    "another-recipient": leaf(accepted(), "qo.moj"),
    "an-event-that-does-not-answer": leaf(accepted(event="receipt.recorded")),
    "an-entry-about-nothing": leaf(Draft(event="log.read", outcome="ok")),
}
TRAVELLING = {
    "accepted": LEAF,
    "refused": leaf(accepted(event="relay.refused", outcome="refused", reason="schema")),
    "unopenable": leaf(
        accepted(event="relay.refused", outcome="refused", reason="unopenable", message_sha256=None)
    ),
    "conflict": leaf(accepted(event="relay.conflict", outcome="refused", reason="conflict")),
    "unknown": leaf(accepted(event="relay.unknown", message_sha256=None)),
    "handed-over": leaf(accepted(event="content.handed_over")),
    "opened": leaf(accepted(event="content.opened")),
}
LEAVES = [*TRAVELLING.values(), *WRONG_SUBJECTS.values(), *(bad for _, bad in BAD_LEAVES.values())]
FRONTIER, _MADE = Frontier().append(map(leaf_hash, LEAVES))
NODES = {(level, index): digest for level, index, digest in _MADE}


def node(level: int, index: int) -> bytes:
    return NODES[level, index]


# -- what is kept


def renewed() -> dict[str, Any]:
    """Return base.json drawn anew."""
    certificates = {name: new_certificate(name, ["127.0.0.1"]).certificate for name in ("qm", "qn")}
    certificates["twin"] = twin(certificates["qm"])
    card = QM.card(certificates["qm"])
    header = Header(MESSAGE, QM.id, QN.id, QN.sealing.kid)
    envelope = build_envelope(header, encode_content(JWS, BLOBS), QN.sealing.public)
    log, keys = QM.log(), QM.log_keys()
    checkpoint = sign_checkpoint(log.origin, FRONTIER.size, FRONTIER.root(), TIME_MS, keys)
    other = sign_checkpoint(QM.log(epoch=2).origin, FRONTIER.size, FRONTIER.root(), TIME_MS, keys)
    forged = sign_checkpoint(log.origin, FRONTIER.size, FRONTIER.root(), TIME_MS, QM.log_keys("forged log"))
    return {
        "about": "What the vectors share: what the verifier has pinned and sent, and sound bytes that "
        "cannot be derived from seeds. Test keys only.",
        "ceremony": {"authority": QM.id, "fingerprint": fingerprint(parse_card(card))},
        "card": card.decode(),
        "log": {"origin": log.origin, "vkeys": list(log.vkeys())},
        "sent": {
            "message_id": MESSAGE,
            "sender": QN.id,
            "recipient": QM.id,
            "message_sha256": MESSAGE_SHA256,
            "envelopes": [ENVELOPE],
        },
        "sealing_key": {"kid": QN.sealing.kid, "private": b64url(QN.sealing.private_bytes())},
        "envelope": envelope.raw.decode(),
        "checkpoints": {"sound": checkpoint.text, "other epoch": other.text, "forged": forged.text},
        "certificates": {name: b64url(der) for name, der in certificates.items()},
    }


# -- vectors, by layer


def strict(_: dict[str, Any]) -> Iterator[Vector]:
    cases = {
        "byte-order-mark": ("no BOM", b"\xef\xbb\xbf{}"),
        "not-utf-8": ("UTF-8 first", b'{"a":"\xff"}'),
        "overlong-utf-8": ("UTF-8 first", b'{"a":"\xc0\x80"}'),
        "surrogate-in-utf-8": ("UTF-8 first", b'{"a":"\xed\xa0\x80"}'),
        "utf-16": ("UTF-8 first", '{"a":1}'.encode("utf-16")),
        "nul-escaped": ("U+0000 refused anywhere", b'{"a":"\\u0000"}'),
        "nul-in-a-name": ("U+0000 refused anywhere", b'{"a\\u0000":1}'),
        "nul-raw": ("U+0000 refused anywhere", b'{"a":"\x00"}'),
        "lone-high-surrogate": ("lone surrogates refused anywhere", b'["\\ud83d"]'),
        "lone-low-surrogate": ("lone surrogates refused anywhere", b'["\\uDE00x"]'),
        "surrogates-in-the-wrong-order": ("lone surrogates refused anywhere", b'["\\ude00\\ud83d"]'),
        "surrogate-in-a-name": ("lone surrogates refused anywhere", b'[{"\\ud800":1}]'),
        "minus-zero": ("numbers match 0|-?[1-9][0-9]*", b"[-0]"),
        "leading-zero": ("numbers match 0|-?[1-9][0-9]*", b"[01]"),
        "plus-sign": ("numbers match 0|-?[1-9][0-9]*", b"[+1]"),
        "fraction": ("numbers match 0|-?[1-9][0-9]*", b"[1.0]"),
        "exponent": ("numbers match 0|-?[1-9][0-9]*", b"[1e2]"),
        "nan": ("numbers match 0|-?[1-9][0-9]*", b"[NaN]"),
        "infinity": ("numbers match 0|-?[1-9][0-9]*", b"[-Infinity]"),
        "arabic-digits": ("numbers match 0|-?[1-9][0-9]*", "[\u0661]".encode()),
        "two-to-the-53": ("|n| < 2^53", b"[9007199254740992]"),
        "minus-two-to-the-53": ("|n| < 2^53", b"[-9007199254740992]"),
        "duplicate-name": ("duplicate member names", b'{"a":1,"a":1}'),
        "duplicate-name-escaped": ("compared after unescaping", b'{"a":1,"\\u0061":2}'),
        "duplicate-name-nested": ("duplicate member names", b'[{"b":{"a":1,"a":2}}]'),
        "depth-33-arrays": ("depth at most 32", b"[" * 33 + b"]" * 33),
        "depth-33-objects": ("depth at most 32", b'{"a":' * 33 + b"1" + b"}" * 33),
        "depth-without-end": ("depth at most 32", b"[" * 3000),
        "trailing-comma": ("JSON", b"[1,]"),
        "single-quotes": ("JSON", b"{'a':1}"),
        "comment": ("JSON", b"{} // a comment"),
        "two-values": ("JSON", b"{}{}"),
        "empty": ("JSON", b""),
        "no-break-space": ("JSON", b"\xc2\xa0{}"),
        "raw-newline-in-a-string": ("JSON", b'["a\nb"]'),
    }
    for name, (rule, raw) in cases.items():
        yield Vector(name, "json", f"§1 rule 2: {rule}", as_input(raw))
    sound = {
        "depth-32": b"[" * 32 + b"]" * 32,
        "largest-integer": b"[9007199254740991,-9007199254740991,0]",
        "surrogate-pair": b'["\\ud83d\\ude00"]',
        "escaped-backslash-before-u": b'["\\\\u0000","\\\\ud800"]',
        "brackets-in-strings": b'["' + b"[" * 40 + b'\\"]\\\\"]',
        "not-normalised": '{"e\u0301":1,"é":2}'.encode(),
    }
    for name, raw in sound.items():
        yield Vector(name, "json", "", as_input(raw))


def entries(_: dict[str, Any]) -> Iterator[Vector]:
    for name, sound in TRAVELLING.items():
        yield Vector(name, "entry", "", as_input(sound))
    for name, (rule, bad) in BAD_LEAVES.items():
        yield Vector(name, "entry", rule, as_input(bad))


def envelopes(base: dict[str, Any]) -> Iterator[Vector]:
    raw = base["envelope"].encode()
    envelope = parse_envelope(raw)
    header, sealed = json.loads(envelope.header_bytes), b64url(envelope.sealed)

    def wire(header_bytes: bytes, sealed: object = sealed, **more: object) -> bytes:
        return compact({"header": b64url(header_bytes), "sealed": sealed, **more})

    def changed(**members: object) -> bytes:
        found = header | {name.rstrip("_"): value for name, value in members.items()}
        return wire(compact({name: value for name, value in found.items() if value is not ...}))

    same = envelope.header_bytes
    cases = {
        "": ("", raw),
        "member-more": ("§6: header and sealed", wire(same, more=1)),
        "sealed-missing": ("§6: header and sealed", compact({"header": b64url(same)})),
        "sealed-no-string": ("§6", wire(same, 1)),
        "sealed-padded": ("§1 rule 2: base64url is unpadded", wire(same, sealed + "=")),
        "sealed-in-the-other-alphabet": ("§1 rule 2: base64url", wire(same, b64(envelope.sealed))),
        "sealed-truncated": ("§6: HPKE", wire(same, b64url(envelope.sealed[:-1]))),
        "sealed-bit-flipped": ("§6: HPKE", wire(same, b64url(envelope.sealed[:-1] + b"\x00"))),
        "sealed-empty": ("§6: HPKE", wire(same, "")),
        "header-not-json": ("§1 rule 2", wire(b"{")),
        "header-with-a-name-twice": ("§1 rule 2", wire(same[:-1] + b',"v":1}')),
        "header-spelt-otherwise": ("§6: info holds the exact header bytes", wire(same + b" ")),
        "header-member-more": ("§6: nothing else is in the clear", changed(more=1)),
        "header-member-missing": ("§6", changed(key=...)),
        "version": ("§1 rule 3", changed(v=2)),
        "version-true": ("§1 rule 3", changed(v=True)),
        "type": ("§6", changed(type="card")),
        "id-upper-case": ("§2", changed(id=MESSAGE.upper())),
        "id-version-1": ("§2: UUID version 4", changed(id="5e0c8c1e-6a2c-1b0e-9b6e-4f0c1c1d2e3f")),
        "id-replaced": ("§6: info holds the header", changed(id=ENTRY)),
        "sender-replaced": ("§6: info holds the header", changed(from_="qo.moj")),
        "sender-no-authority": ("§2", changed(from_="QM.moj")),
        "recipient-null": ("§2", changed(to=None)),
        "key-of-another": ("§8: key is mine", changed(key=QM.sealing.kid)),
        "key-too-short": ("§2: kid", changed(key="AAAA")),
    }
    for name, (rule, found) in cases.items():
        yield Vector(name or "sound", "envelope", rule, as_input(found))
    plain = json.loads(encode_content(JWS, BLOBS))
    blob = next(iter(BLOBS))
    contents = {
        "content": ("", plain),
        "content-member-more": ("§6: message and blob_keys", plain | {"more": 1}),
        "content-without-blob-keys": ("§6: message and blob_keys", {"message": JWS}),
        "content-message-no-string": ("§6", plain | {"message": {}}),
        "content-message-no-jws": ("§6: a compact JWS", plain | {"message": "a.b"}),
        "content-blob-key-short": ("§6: 32 bytes", plain | {"blob_keys": {blob: b64url(bytes(31))}}),
        "content-blob-digest": ("§2: digest", plain | {"blob_keys": {blob.upper(): b64url(bytes(32))}}),
        "content-blob-keys-list": ("§6", plain | {"blob_keys": []}),
    }
    for name, (rule, value) in contents.items():
        yield Vector(name, "content", rule, as_input(compact(value)))


def cards(base: dict[str, Any]) -> Iterator[Vector]:
    certificates = {name: unb64url(text) for name, text in base["certificates"].items()}
    plan, theirs = QM.plan(certificates["qm"]), QN.plan(certificates["qn"])
    pinned = parse_card(base["card"].encode())
    yield Vector("sound", "pinned card", "", as_input(pinned.raw))
    yield from _payloads(plan, certificates)
    yield from _jws(plan)
    yield from _ceremonies(plan, theirs)
    yield from _successors(replace(plan, sequence=2, previous=pinned.sha256))
    yield from _apart(plan, theirs, certificates)


def _payloads(plan: Plan, certificates: dict[str, bytes]) -> Iterator[Vector]:
    payload = json.loads(encode_payload(plan))
    key, sealing, tls = payload["signing"][0], payload["sealing"][0], payload["tls"][0]
    log, witness = payload["log"], payload["witness"]
    root_as_signing = key | {"kid": QM.root.kid, "public": b64url(QM.root.public)}
    short = b64url(QM.sealing.public[:-1])
    small = key | {"public": b64url(bytes(32))}
    log_as_witness = replace(QM.log(), origin=witness["name"])
    cases: dict[str, tuple[str, dict[str, Any]]] = {
        "version": ("§1 rule 3", {"v": 2}),
        "type": ("§4", {"type": "profile"}),
        "member-more": ("§4", {"more": 1}),
        "member-missing": ("§4", {"endpoints": ...}),
        "sequence-zero": ("§4", {"sequence": 0}),
        "first-card-with-previous": ("§4: previous", {"previous": "aa" * 32}),
        "later-card-without-previous": ("§4: previous", {"sequence": 2}),
        "expires-before-issued": ("§4", {"expires": payload["issued"]}),
        "no-root": ("§4: one root key, or two", {"root": []}),
        "root-kid-of-another-key": ("§2: kid", {"root": [payload["root"][0] | {"kid": key["kid"]}]}),
        "root-alg": ("§1 rule 3", {"root": [payload["root"][0] | {"alg": "EdDSA"}]}),
        "signing-key-of-small-order": ("§3: small order", {"signing": [small]}),
        "signing-key-twice": ("§3: no key serves two roles", {"signing": [key, key]}),
        "root-as-signing-key": ("§3: no key serves two roles", {"signing": [root_as_signing]}),
        "window-empty": ("§4: from and until", {"signing": [key | {"until": key["from"]}]}),
        "sealing-kem": ("§1 rule 3", {"sealing": [sealing | {"kem": "X25519"}]}),
        "sealing-key-short": ("§3: 1216 bytes", {"sealing": [sealing | {"public": short}]}),
        "certificate-not-der": ("§4: DER", {"tls": [tls | {"certificate": "MAA"}]}),
        "certificate-with-a-tail": (
            "§4: identified by its DER bytes",
            {"tls": [tls | {"certificate": b64url(certificates["qm"] + b"\0")}]},
        ),
        "certificate-twice": ("§4", {"tls": [tls, tls]}),
        "certificates-of-one-subject": (
            "§4: differ in their subject",
            {"tls": [tls, tls | {"certificate": b64url(certificates["twin"])}]},
        ),
        "log-vkeys-in-the-other-order": ("§4: vkeys", {"log": log | {"vkeys": log["vkeys"][::-1]}}),
        "log-vkey-missing": ("§4: two vkeys", {"log": log | {"vkeys": log["vkeys"][:1]}}),
        "log-vkeys-of-another-origin": (
            "§4: bear the origin",
            {"log": log | {"origin": "x.example/audit/1"}},
        ),
        "log-origin-form": ("§2: log origin", {"log": _log_named(QM, "qm-moj.example")}),
        "witness-with-the-log-keys": (
            "§3: no key serves two roles",
            {"witness": witness | {"vkeys": _witness_vkeys(log_as_witness)}},
        ),
        "endpoint-http": ("§4: endpoints", {"endpoints": ["http://a.example"]}),
        "endpoint-with-a-path": ("§4: endpoints", {"endpoints": ["https://a.example/v1"]}),
        "endpoint-upper-case": ("§4: endpoints", {"endpoints": ["https://A.example"]}),
        "no-endpoint": ("§4: endpoints", {"endpoints": []}),
    }
    for name, (rule, changes) in cases.items():
        found = {member: value for member, value in (payload | changes).items() if value is not ...}
        yield Vector(name, "card", rule, as_input(sign_general(compact(found), TYPE, [QM.root])))


def _log_named(actor: Actor, origin: str) -> dict[str, Any]:
    log = replace(actor.log("log of another name"), origin=origin)
    return {"origin": origin, "vkeys": list(log.vkeys())}


def _witness_vkeys(log: Any) -> list[str]:
    witness = QM.witness()
    return list(replace(witness, ed_public=log.ed_public, lattice_public=log.lattice_public).vkeys())


def _jws(plan: Plan) -> Iterator[Vector]:
    payload = encode_payload(plan)
    outer = json.loads(sign_general(payload, TYPE, [QM.root]))
    signature = outer["signatures"][0]
    evil = b64url(encode_payload(replace(plan, endpoints=("https://elsewhere.example",))))
    strangers = [QM.signer(f"stranger {number}") for number in range(4)]
    lax = compact({"alg": "Ed25519", "kid": QM.root.kid, "typ": TYPE, "crit": []})
    cases = {
        "jws-member-more": ("§4: payload and signatures", compact(outer | {"more": 1})),
        "jws-unprotected-header": (
            "§4: protected and signature",
            compact(outer | {"signatures": [signature | {"header": {}}]}),
        ),
        "jws-header-member-more": (
            "§4: exactly alg, kid, typ",
            compact(outer | {"signatures": [signature | {"protected": b64url(lax)}]}),
        ),
        "jws-typ": ("§4: typ", sign_general(payload, "art18-profile+jws", [QM.root])),
        "jws-no-signature": ("§4", compact(outer | {"signatures": []})),
        "jws-signed-twice-by-one-key": ("§4", compact(outer | {"signatures": [signature] * 2})),
        "jws-five-signatures": ("§4: roots sign", sign_general(payload, TYPE, [QM.root, *strangers])),
        "jws-payload-replaced": ("§4: signed by every root", compact(outer | {"payload": evil})),
        "jws-signed-by-a-stranger": ("§4: signed by every root", sign_general(payload, TYPE, strangers[:1])),
        "jws-one-root-of-two": (
            "§4: signed by every root",
            sign_general(encode_payload(_two_roots(plan)), TYPE, [QM.root]),
        ),
        "jws-signature-padded": (
            "§1 rule 2: base64url is unpadded",
            compact(outer | {"signatures": [signature | {"signature": signature["signature"] + "=="}]}),
        ),
        "jws-name-twice": ("§1 rule 2", compact(outer)[:-1] + b',"payload":""}'),
    }
    for name, (rule, raw) in cases.items():
        yield Vector(name, "card", rule, as_input(raw))


def _two_roots(plan: Plan) -> Plan:
    return replace(plan, root=(QM.root.public, QM.signer("next root").public))


def _ceremonies(plan: Plan, theirs: Plan) -> Iterator[Vector]:
    next_root = QM.signer("next root")
    turned = replace(plan, root=(next_root.public, QM.root.public))
    raw = sign_general(encode_payload(turned), TYPE, [QM.root, next_root])
    yield Vector(
        "ceremony-fingerprint-of-the-second-root", "pinned card", "§4: the first is named", as_input(raw)
    )
    raw = sign_general(encode_payload(theirs), TYPE, [QN.root])
    yield Vector("ceremony-another-authority", "pinned card", "§4: First contact", as_input(raw))


def _successors(plan: Plan) -> Iterator[Vector]:
    root, next_root, stranger = QM.root, QM.signer("next root"), QM.signer("stranger")
    signing = QM.signer("signing")
    one: list[SigningKey] = [root]
    swapped = replace(plan, root=(next_root.public,))
    other_log = replace(QM.log("log of another name"), origin=plan.log.origin)
    reused = replace(QM.log("next log", 2), ed_public=signing.public)
    next_signing = QM.signer("next signing")
    cases: dict[str, tuple[str, Plan, list[SigningKey]]] = {
        "successor": ("", plan, one),
        "successor-with-two-roots": ("", _two_roots(plan), [root, next_root]),
        "successor-with-the-root-swapped": ("", swapped, [root, next_root]),
        "successor-in-a-new-epoch": ("", replace(plan, log=QM.log("next log", 2)), one),
        "successor-of-another-authority": ("§4", replace(plan, authority=QN.id), one),
        "successor-sequence-skipped": ("§4: sequence + 1", replace(plan, sequence=3), one),
        "successor-previous": (
            "§4: the pinned card's digest",
            replace(plan, previous=Digest("aa" * 32)),
            one,
        ),
        "successor-not-signed-by-the-pinned-root": (
            "§4: signed by a root of the pinned",
            swapped,
            [next_root],
        ),
        "successor-signed-by-a-stranger-too": ("§4", plan, [root, stranger]),
        "successor-log-keys-replaced": ("§4: one pair of keys for ever", replace(plan, log=other_log), one),
        "successor-witness-keys-replaced": (
            "§4: one pair of keys for ever",
            replace(plan, witness=QM.witness("next witness")),
            one,
        ),
        "successor-signing-key-as-log-key": (
            "§3: no key serves two roles",
            replace(plan, signing=(PublicKey(next_signing.kid, next_signing.public, WINDOW),), log=reused),
            one,
        ),
    }
    for name, (rule, found, roots) in cases.items():
        raw = sign_general(encode_payload(found), TYPE, roots)
        yield Vector(name, "successor card", rule, as_input(raw))


def _apart(plan: Plan, theirs: Plan, certificates: dict[str, bytes]) -> Iterator[Vector]:
    both = "§4: pinned for another authority"
    cases: dict[str, tuple[str, Plan, list[SigningKey]]] = {
        "another-authority": ("", theirs, [QN.root]),
        "pinned-elsewhere-root": (both, replace(theirs, root=plan.root), [QM.root]),
        "pinned-elsewhere-signing-key": (both, replace(theirs, signing=plan.signing), [QN.root]),
        "pinned-elsewhere-sealing-key": (both, replace(theirs, sealing=plan.sealing), [QN.root]),
        "pinned-elsewhere-certificate": (
            both,
            replace(theirs, tls=(*theirs.tls, Certificate(plan.tls[0].der, WINDOW))),
            [QN.root],
        ),
        "pinned-elsewhere-subject": (
            both,
            replace(theirs, tls=(Certificate(certificates["twin"], WINDOW),)),
            [QN.root],
        ),
        "pinned-elsewhere-origin": (
            both,
            replace(theirs, log=replace(QN.log(), origin=plan.log.origin)),
            [QN.root],
        ),
        "pinned-elsewhere-witness-name": (
            both,
            replace(theirs, witness=replace(QN.witness(), name=plan.witness.name)),
            [QN.root],
        ),
    }
    for name, (rule, found, roots) in cases.items():
        raw = sign_general(encode_payload(found), TYPE, roots)
        yield Vector(name, "new peer's card", rule, as_input(raw))


def checkpoints(base: dict[str, Any]) -> Iterator[Vector]:
    sound = base["checkpoints"]["sound"]
    body, lines = sound.split("\n\n")
    origin, size, root = body.split("\n")
    ed, lattice = lines.splitlines(keepends=True)
    extended = _signed_body(f"{body}\nextension\n") + lattice
    note, checkpoint, once = "C2SP signed-note", "C2SP tlog-checkpoint", "§9: two signatures by the log"
    cases = {
        "sound": ("", sound),
        "cosigned-by-a-stranger": ("", sound + "\u2014 stranger AAAAAAA=\n"),
        "stranger-under-the-same-name": ("", f"{body}\n\n\u2014 {origin} AAAAAAA=\n{lines}"),
        "no-ml-dsa-signature": (once, f"{body}\n\n{ed}"),
        "no-ed25519-signature": (once, f"{body}\n\n{lattice}"),
        "ed25519-signature-twice": (once, f"{body}\n\n{ed}{ed}{lattice}"),
        "ed25519-bit-flipped": (once, f"{body}\n\n{_flipped(ed, -1)}{lattice}"),
        "ml-dsa-bit-flipped": (once, f"{body}\n\n{ed}{_flipped(lattice, -1)}"),
        "ml-dsa-timestamp-changed": (once, f"{body}\n\n{ed}{_flipped(lattice, 11)}"),
        "ml-dsa-key-id": (once, f"{body}\n\n{ed}{_flipped(lattice, 0)}"),
        "signed-by-other-keys": (once, base["checkpoints"]["forged"]),
        "another-origin": ("§9: origin", base["checkpoints"]["other epoch"]),
        "size-changed": (once, sound.replace(f"\n{size}\n", f"\n{int(size) + 1}\n")),
        "extension-line": ("§9: no extension lines", f"{body}\nextension\n\n{extended}"),
        "size-with-leading-zero": (checkpoint, sound.replace(f"\n{size}\n", f"\n0{size}\n")),
        "size-of-2-to-the-53": ("§1 rule 2", sound.replace(f"\n{size}\n", "\n9007199254740992\n")),
        "root-not-canonical": ("§1 rule 2", sound.replace(root, _not_canonical(root))),
        "root-unpadded": ("§1 rule 2", sound.replace(root, root.rstrip("="))),
        "signature-not-canonical": ("§1 rule 2", sound + "\u2014 stranger AAAAAAB=\n"),
        "hyphen-for-em-dash": (note, sound.replace("\u2014", "-")),
        "carriage-returns": (note, sound.replace("\n", "\r\n")),
        "no-blank-line": (note, f"{body}\n{lines}"),
        "no-signature": (note, f"{body}\n\n"),
        "text-after-the-signatures": (note, sound + "more\n"),
        "last-line-not-ended": (note, sound.removesuffix("\n")),
        "plus-in-a-name": (note, sound + "\u2014 stran+ger AAAAAAA=\n"),
        "space-in-a-name": (note, sound + "\u2014 stran\u2003ger AAAAAAA=\n"),
        "sixty-five-signatures": ("§9: bounded", sound + "\u2014 stranger AAAAAAA=\n" * 63),
    }
    for name, (rule, text) in cases.items():
        yield Vector(name, "checkpoint", rule, {"text": text})


def _signed_body(text: str) -> str:
    key = QM.log().verifiers[0]
    signature = b64(key.key_id + QM.log_keys().ed.sign(text.encode()))
    return f"\u2014 {key.name} {signature}\n"


def _flipped(line: str, place: int) -> str:
    dash, name, encoded = line.split(" ")
    data = bytearray(base64.b64decode(encoded))
    data[place] ^= 1
    return f"{dash} {name} {b64(bytes(data))}\n"


def _not_canonical(text: str) -> str:
    """Return other base64 that a lax decoder takes for the same bytes: the spare bits set."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    last = text.rstrip("=")[-1]
    return text.rstrip("=")[:-1] + alphabet[alphabet.index(last) | 1] + "="


def trees(_: dict[str, Any]) -> Iterator[Vector]:
    hashes = [leaf_hash(b"%d" % number) for number in range(TREE)]
    roots = [Frontier().append(hashes[:size])[0].root() for size in range(TREE + 1)]
    nodes = {(level, index): digest for level, index, digest in Frontier().append(hashes)[1]}
    for index in (0, 7, 12):
        path = inclusion(index, TREE, lambda level, place: nodes[level, place])
        found = {
            "leaf_hash": hashes[index].hex(),
            "index": index,
            "size": TREE,
            "root": roots[TREE].hex(),
            "proof": [digest.hex() for digest in path],
        }
        proof = found["proof"]
        yield Vector(f"inclusion-{index}", "inclusion", "", found)
        yield from _wrong(f"inclusion-{index}", found, "inclusion", proof, "RFC 9162 §2.1.3.2")
        for name, changes in {
            "other-leaf": {"leaf_hash": hashes[index - 1].hex()},
            "other-index": {"index": index ^ 1},
            "index-beyond": {"index": TREE},
            "other-root": {"root": roots[TREE - 1].hex()},
        }.items():
            yield Vector(f"inclusion-{index}-{name}", "inclusion", "RFC 9162 §2.1.3.2", found | changes)
    for old in (0, 4, 6, 13):
        path = consistency(old, TREE, lambda level, place: nodes[level, place])
        found = {
            "old": old,
            "new": TREE,
            "old_root": roots[old].hex(),
            "new_root": roots[TREE].hex(),
            "proof": [digest.hex() for digest in path],
        }
        yield Vector(f"consistency-{old}", "consistency", "", found)
        yield from _wrong(f"consistency-{old}", found, "consistency", found["proof"], "RFC 9162 §2.1.4.2")
        changes = {"old_root": roots[old - 1].hex() if old else roots[1].hex()}
        yield Vector(f"consistency-{old}-other-old-root", "consistency", "RFC 9162 §2.1.4.2", found | changes)
    smaller = {"old": 7, "new": 6, "old_root": roots[7].hex(), "new_root": roots[6].hex(), "proof": []}
    yield Vector("consistency-smaller", "consistency", "RFC 9162 §2.1.4", smaller)


def _wrong(name: str, found: dict[str, Any], kind: str, proof: list[str], rule: str) -> Iterator[Vector]:
    yield Vector(f"{name}-too-long", kind, rule, found | {"proof": [*proof, "00" * 32]})
    if proof:
        flipped = f"{int(proof[0][0], 16) ^ 1:x}{proof[0][1:]}"
        yield Vector(f"{name}-too-short", kind, rule, found | {"proof": proof[:-1]})
        yield Vector(f"{name}-bit-flipped", kind, rule, found | {"proof": [flipped, *proof[1:]]})
        yield Vector(f"{name}-turned-round", kind, rule, found | {"proof": proof[::-1]})


def receipts(base: dict[str, Any]) -> Iterator[Vector]:
    sound, form = base["checkpoints"]["sound"], "C2SP tlog-proof"

    def receipt(entry: bytes, checkpoint: str = sound) -> Receipt:
        index = LEAVES.index(entry)
        return Receipt(entry, encode_proof(index, inclusion(index, FRONTIER.size, node), checkpoint))

    for name, entry in TRAVELLING.items():
        yield Vector(name, "receipt", "", as_input(receipt(entry).encode()))
    for name, entry in WRONG_SUBJECTS.items():
        yield Vector(name, "receipt", "§9 Receipt: what was sent", as_input(receipt(entry).encode()))
    for name in ("spaces", "account-in-an-entry-that-travels", "no-message-digest"):
        rule, entry = BAD_LEAVES[name]
        yield Vector(f"logged-{name}", "receipt", rule, as_input(receipt(entry).encode()))
    good = receipt(LEAF)
    parts = parse_proof(good.proof)
    wrong_hash = encode_proof(parts.index, (bytes(32), *parts.hashes[1:]), sound)
    proofs = {
        "another-index": ("§9 Receipt: included", encode_proof(1, parts.hashes, sound)),
        "another-hash": ("§9 Receipt: included", wrong_hash),
        "a-hash-less": ("§9 Receipt: included", encode_proof(0, parts.hashes[:-1], sound)),
        "signed-by-other-keys": ("§9 Receipt: both log signatures", None),
        "an-extra-line": ("§9 Proof", good.proof.replace("index", "extra AAAA\nindex")),
        "another-version": (form, good.proof.replace("@v1", "@v2")),
        "index-with-leading-zero": (form, good.proof.replace("index 0", "index 00")),
        "index-missing": (form, good.proof.replace("index 0\n", "")),
        "hash-short": (form, good.proof.replace("index 0\n", "index 0\nAAAA\n")),
        "no-blank-line": (form, good.proof.partition("\n\n")[0] + "\n"),
    }
    for name, (rule, text) in proofs.items():
        proof = text if text is not None else receipt(LEAF, base["checkpoints"]["forged"]).proof
        yield Vector(name, "receipt", rule, as_input(replace(good, proof=proof).encode()))
    another = replace(good, entry=TRAVELLING["refused"])
    yield Vector("an-entry-that-is-elsewhere", "receipt", "§9 Receipt: included", as_input(another.encode()))
    raw = good.encode()
    yield Vector("member-more", "receipt", "§9 Receipt", as_input(raw[:-1] + b',"more":1}'))
    yield Vector("member-twice", "receipt", "§1 rule 2", as_input(raw[:-1] + b',"entry":"{}"}'))


# -- files


def delivered(_: dict[str, Any]) -> Iterator[Vector]:
    for name, rule, found in deliveries.inputs():
        yield Vector(name, "delivery", rule, found)


FAMILIES = {
    "strict": strict,
    "entry": entries,
    "envelope": envelopes,
    "card": cards,
    "note": checkpoints,
    "merkle": trees,
    "receipt": receipts,
    "delivery": delivered,
}


def files(base: dict[str, Any]) -> dict[str, str]:
    """Return the text of each vector file by its name, `family/name`."""
    world, made = World(base), {}
    for family, vectors in FAMILIES.items():
        for vector in vectors(base):
            name = f"{family}/{vector.name}"
            if name in made:
                raise ValueError(f"two vectors are named {name}")
            made[name] = pretty(_file(world, vector, name))
    return made


def _file(world: World, vector: Vector, name: str) -> dict[str, Any]:
    """Return the file of *vector*; a sound one must be accepted and every other refused."""
    found = refusal(world, vector.kind, vector.found)
    if (found is None) != (vector.rule == ""):
        raise ValueError(f"{name}: {found}")
    layer, error = found or (None, None)
    head: dict[str, Any] = {"kind": vector.kind, "layer": layer}
    if error is not None:
        head |= {"error": type(error).__name__, "rule": vector.rule, "says": str(error)}
    return {**head, "input": vector.found}


def compact(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def unb64url(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def pretty(value: object) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False) + "\n"


def main() -> None:
    """Write base.json if asked to, and every vector file; take away those that are no more."""
    base_file = FOLDER / "base.json"
    if "--renew" in sys.argv[1:] or not base_file.exists():
        base_file.write_text(pretty(renewed()), encoding="utf-8")
    made = files(json.loads(base_file.read_bytes()))
    for old in FOLDER.glob("*/*.json"):
        if str(old.relative_to(FOLDER).with_suffix("")) not in made:
            old.unlink()
    for name, text in made.items():
        path = FOLDER / f"{name}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
