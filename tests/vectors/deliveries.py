"""Vectors of what a recipient decides about an opened envelope (protocol §8 "Receiving").

Input: the `header` of the envelope; its content, opened, as bytes; `now`; `held`, the compact JWS of
the messages that the recipient has of this case; and `blobs`, the size of each that lies there
complete. The sender is the authority of the pinned card, the recipient qn.moj. What is refused is
refused with `says`: the signed reason, or the code of the unsigned answer.
"""

import json
from collections.abc import Iterator
from typing import Any

from gateway.core import case as cases
from gateway.core import intake
from gateway.core.card import Card, parse_card
from gateway.core.case import History
from gateway.core.envelope import Header, encode_content, parse_content
from gateway.core.errors import GatewayFault
from gateway.core.ids import AuthorityId, Digest, MessageId
from gateway.core.message import TYPE, verify_message
from gateway.core.strict import parse_time, sha256, time_text
from tests.vectors.actors import ISSUED_MS, QM, QN

CREATED_MS = ISSUED_MS + 1000
DAY_MS = 24 * 3600 * 1000
CASE = "1d0f8a52-7a35-4f0e-8a1e-6a5d2c3b4e5f"
FIRST, SECOND, THEIRS = (f"5e0c8c1e-6a2c-4b0e-9b6e-4f0c1c1d2e{number}0" for number in range(3))
BLOB = Digest("dd" * 32)


class Refused(GatewayFault):
    """What the recipient refuses; its text is the reason or the code."""


def verify(card: Card, content: bytes) -> object:
    """Return the message in *content*, verified under the pinned *card*."""
    return verify_message(parse_content(content).jws, card.signing_keys())


def decide(card: Card, content: bytes, found: dict[str, Any]) -> object:
    """Return what a recipient accepts. Raises Refused, PeerFault."""
    header = Header(
        MessageId(found["header"]["id"]),
        AuthorityId(found["header"]["from"]),
        AuthorityId(found["header"]["to"]),
        found["header"]["key"],
    )
    opened = _sound(intake.verify_content(parse_content(content), header, signers=card.signing_keys()))
    judged = _sound(intake.judge(opened, _history(card, found["held"]), parse_time(found["now"])))
    return _sound(intake.check_blobs(judged, {Digest(name): size for name, size in found["blobs"].items()}))


def _sound(verdict: Any) -> Any:
    if isinstance(verdict, intake.Refused):
        raise Refused(verdict.reason)
    return verdict


def _history(card: Card, held: list[str]) -> History:
    signing = QN.signer("signing")
    keys = {**card.signing_keys(), signing.kid: signing.public}
    history = History()
    for jws in held:
        history = cases.add(history, cases.step_of(verify_message(jws, keys)))
    return history


def _payload(**members: Any) -> dict[str, Any]:
    found: dict[str, Any] = {
        "v": 1,
        "kind": "request.mla",
        "id": FIRST,
        "case": CASE,
        "from": QM.id,
        "to": QN.id,
        "created": time_text(CREATED_MS),
        "expires": time_text(CREATED_MS + 30 * DAY_MS),
        "previous": None,
        "case_head": None,
        "language": "en",
        "own_ref": "QM-1",
        "handling": "normal",
        "urgency": "normal",
        "authorised_by": {"name": "Example Officer One", "function": "Head of Unit"},
        "body": {},
        "translations": [],
        "attachments": [],
    }
    found |= {name.rstrip("_"): value for name, value in members.items()}
    return {name: value for name, value in found.items() if value is not ...}


def _signed(signer: str = "signing", typ: str = TYPE, **members: Any) -> str:
    raw = json.dumps(_payload(**members), separators=(",", ":")).encode()
    return QM.signer(signer).sign_compact(raw, typ)


def _attachment(size: int = 5) -> dict[str, Any]:
    return {
        "name": "a.txt",
        "media_type": "text/plain",
        "size": size,
        "sha256": sha256(b"plain"),
        "role": "other",
        "language": "en",
        "blob": {"sha256": BLOB, "size": size + 16},
    }


def _input(jws: str, *, keys: tuple[Digest, ...] = (), **changes: Any) -> dict[str, Any]:
    header = {"id": FIRST, "from": QM.id, "to": QN.id, "key": QN.sealing.kid} | changes.pop("header", {})
    content = encode_content(jws, dict.fromkeys(keys, bytes(32))).decode()
    found = {"header": header, "now": time_text(CREATED_MS), "held": [], "blobs": {}} | changes
    return {**found, "text": content}


def inputs() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield name, clause (empty: it is accepted) and input of each."""
    first = _signed()
    head, body, signature = first.split(".")
    digest = sha256(first.encode())
    acknowledged = _acknowledged(digest)
    follow_up = {"id": SECOND, "kind": "status.enquiry", "previous": digest}
    second = {"header": {"id": SECOND}, "held": [first]}
    with_blob, keyed = _signed(attachments=[_attachment()]), {"keys": (BLOB,), "blobs": {BLOB: 21}}
    late = {"now": time_text(CREATED_MS + 30 * DAY_MS)}

    yield "sound", "", _input(first)
    yield "sound-second-of-a-case", "", _input(_signed(**follow_up), **second)
    yield (
        "sound-after-an-acknowledgment",
        "",
        _input(
            _signed(**follow_up, case_head=sha256(acknowledged.encode())),
            **(second | {"held": [first, acknowledged]}),
        ),
    )
    yield "sound-with-an-attachment", "", _input(with_blob, **keyed)
    yield "sound-in-its-last-millisecond", "", _input(first, now=time_text(CREATED_MS + 30 * DAY_MS - 1))
    yield "sound-five-minutes-ahead", "", _input(first, now=time_text(CREATED_MS - intake.MAX_AHEAD_MS))

    rule = "§8: JWS by a signing key of the pinned card"
    yield "signature-of-another", rule, _input(f"{head}.{body}.{_signed('other').rpartition('.')[2]}")
    yield "signature-by-an-unknown-key", rule, _input(_signed("other"))
    yield "signature-by-the-root", rule, _input(_signed("root"))
    yield "signature-of-another-type", rule, _input(_signed(typ="art18-profile+jws"))
    yield (
        "signature-altered",
        rule,
        _input(f"{head}.{body}.{'B' if signature[0] == 'A' else 'A'}{signature[1:]}"),
    )
    yield "no-message", "§5: common members", _input(_signed(case=...))

    rule = "§8: header and message agree"
    yield "header-id", rule, _input(first, header={"id": SECOND})
    yield "header-sender", rule, _input(first, header={"from": "qo.moj"})
    yield "header-recipient", rule, _input(_signed(to="qo.moj"))

    yield "expired", "§8: not expired", _input(first, **late)
    yield (
        "expired-and-unknown-kind",
        "§8: not expired comes first",
        _input(_signed(kind="request.moon"), **late),
    )
    ahead = time_text(CREATED_MS - intake.MAX_AHEAD_MS - 1)
    yield "created-ahead", "§8: created_ahead", _input(first, now=ahead)
    yield "unknown-kind", "§8: schema of kind", _input(_signed(kind="request.moon"))
    yield "against-the-schema", "§8: schema of kind", _input(_signed(body={"purpose": 7}))
    yield (
        "lives-too-long",
        "§5: at most 90 days",
        _input(_signed(expires=time_text(CREATED_MS + 90 * DAY_MS + 1))),
    )

    rule = "§8: previous and case_head known"
    yield "predecessor-missing", rule, _input(_signed(**follow_up), **(second | {"held": []}))
    yield (
        "predecessor-of-the-other-side",
        rule,
        _input(
            _signed(**(follow_up | {"previous": sha256(acknowledged.encode())})),
            **(second | {"held": [first, acknowledged]}),
        ),
    )
    yield "unknown-case-head", rule, _input(_signed(**follow_up, case_head="00" * 32), **second)
    yield "case-head-of-the-senders-own", rule, _input(_signed(**follow_up, case_head=digest), **second)
    yield "not-allowed", "§8: case machine", _input(_signed(kind="status.enquiry"))
    yield "a-second-request", "§8: case machine", _input(_signed(id=SECOND, previous=digest), **second)

    rule = "§8: blobs complete and match"
    yield "blob-missing", rule, _input(with_blob, keys=(BLOB,))
    yield "blob-of-another-size", rule, _input(with_blob, keys=(BLOB,), blobs={BLOB: 22})
    rule = "§6: blob_keys names exactly the message's blobs"
    yield "blob-key-missing", rule, _input(with_blob, blobs={BLOB: 21})
    yield "blob-key-more", rule, _input(first, keys=(BLOB,))


def _acknowledged(digest: Digest) -> str:
    body = {
        "received_at": time_text(CREATED_MS),
        "registered_ref": "QN-1",
        "case_officer": {"function": "Desk Two"},
        "request_sha256": digest,
        "attachments_readable": True,
        "language_ok": True,
        "next_update_by": "2026-12-01",
    }
    found = _payload(id=THEIRS, kind="acknowledgment", from_=QN.id, to=QM.id, case_head=digest, body=body)
    return QN.signer("signing").sign_compact(json.dumps(found, separators=(",", ":")).encode(), TYPE)


def pinned(base: dict[str, Any]) -> Card:
    """Return the card of the sender."""
    return parse_card(base["card"].encode())
