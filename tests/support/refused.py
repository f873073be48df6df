"""Envelopes that are refused with a signature, each for one reason of the closed list."""

import json
from collections.abc import Callable
from typing import Any

from gateway.core.strict import b64url, time_text
from tests.support.authorities import (
    DAY_MS,
    NOW_MS,
    Party,
    make_authority,
    make_blob,
    message,
    payload,
    seal,
    sign_raw,
)
from tests.support.doors import Door


def sealed(door: Door, peer: Party, found: dict[str, Any], *, id_: str | None = None) -> bytes:
    raw = json.dumps(found).encode()
    return seal(peer, door.party, sign_raw(peer, raw), id_=id_ or found["id"]).raw


def altered_header(door: Door, peer: Party) -> bytes:
    found = json.loads(message(peer, door.party).raw)
    other = json.loads(message(peer, door.party).raw)
    return json.dumps({"header": other["header"], "sealed": found["sealed"]}).encode()


def altered_ciphertext(door: Door, peer: Party) -> bytes:
    envelope = message(peer, door.party).envelope
    sealed = bytearray(envelope.sealed)
    sealed[-20] ^= 1
    return json.dumps({"header": b64url(envelope.header_bytes), "sealed": b64url(bytes(sealed))}).encode()


def no_content(door: Door, peer: Party) -> bytes:
    return seal(peer, door.party, "", plaintext=b'{"message":"x"}').raw


def altered_signature(door: Door, peer: Party) -> bytes:
    posted = message(peer, door.party)
    head, body, signature = posted.signed.jws.split(".")
    flipped = ("B" if signature[0] == "A" else "A") + signature[1:]
    return seal(peer, door.party, f"{head}.{body}.{flipped}", id_=posted.id).raw


def another_type(door: Door, peer: Party) -> bytes:
    jws = peer.signing.sign_compact(message(peer, door.party).signed.message.raw, "art18-profile+jws")
    return seal(peer, door.party, jws).raw


def another_header(door: Door, peer: Party) -> bytes:
    return seal(peer, door.party, message(peer, door.party).signed.jws).raw


def message_to_another(door: Door, peer: Party) -> bytes:
    return sealed(door, peer, payload(peer, make_authority("qo.justice")))


def message_of_another(door: Door, peer: Party) -> bytes:
    return sealed(door, peer, payload(make_authority("qo.justice"), door.party))


def expired(door: Door, peer: Party) -> bytes:
    then = NOW_MS - 2 * DAY_MS
    return message(peer, door.party, created=time_text(then), expires=time_text(NOW_MS)).raw


def unknown_kind(door: Door, peer: Party) -> bytes:
    return sealed(door, peer, payload(peer, door.party, kind="request.moon"))


def against_schema(door: Door, peer: Party) -> bytes:
    return sealed(door, peer, payload(peer, door.party, body={"purpose": 7}))


def no_message(door: Door, peer: Party) -> bytes:
    return sealed(door, peer, payload(peer, door.party, case=...))


def not_allowed(door: Door, peer: Party) -> bytes:
    return message(peer, door.party, kind="status.enquiry", body={}).raw


def unknown_head(door: Door, peer: Party) -> bytes:
    return message(peer, door.party, case_head="0" * 64).raw


def another_blob_key(door: Door, peer: Party) -> bytes:
    posted = message(peer, door.party)
    return seal(peer, door.party, posted.signed.jws, id_=posted.id, blobs=[make_blob(b"x")]).raw


REFUSED: list[tuple[str, Callable[[Door, Party], bytes]]] = [
    ("unopenable", altered_header),
    ("unopenable", altered_ciphertext),
    ("unopenable", no_content),
    ("bad_signature", altered_signature),
    ("bad_signature", another_type),
    ("header_mismatch", another_header),
    ("header_mismatch", message_to_another),
    ("header_mismatch", message_of_another),
    ("expired", expired),
    ("unknown_kind", unknown_kind),
    ("schema", against_schema),
    ("schema", no_message),
    ("not_allowed", not_allowed),
    ("unknown_case_head", unknown_head),
    ("blob_mismatch", another_blob_key),
]
