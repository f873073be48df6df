"""The signed message: parsed, checked against the schema of its kind, signed, verified (protocol §5).

Intake needs the steps apart, in its own order: `verify_message` (signature, and the members that
every message has), then its own comparisons, then `check_schema`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

import schemas
from gateway.core.errors import Flaw, GatewayFault, Malformed
from gateway.core.ids import (
    AuthorityId,
    CaseId,
    Digest,
    MessageId,
    parse_authority,
    parse_case_id,
    parse_digest,
    parse_message_id,
)
from gateway.core.strict import (
    as_integer,
    as_list,
    as_object,
    as_text,
    check_constants,
    encode_json,
    parse_object,
    parse_time,
    sha256,
)
from keys.signing import SigningKey, verify_compact

TYPE = "art18-message+jws"
"""The `typ` of a message's protected header."""
MAX_BYTES = 1 << 20
"""Of the payload."""
MAX_LIFETIME_MS = 90 * 24 * 3600 * 1000
"""From `created` to `expires`."""

_MAX_KIND = 64


class MessageFault(GatewayFault):
    """A message in the accepted form that is not of a kind, or not as its kind requires.

    Attributes:
        reason: `unknown_kind` or `schema`, of the closed list of refusals.
        flaws: where it is wrong, without its content.
    """

    def __init__(self, reason: str, flaws: tuple[Flaw, ...] = ()) -> None:
        super().__init__(reason)
        self.reason = reason
        self.flaws = flaws


@dataclass(frozen=True, slots=True)
class Attachment:
    """What the sender signed about one attachment: the plain content, and its blob."""

    name: str
    media_type: str
    size: int
    sha256: Digest
    role: str
    language: str
    translation_of: str | None
    blob_sha256: Digest
    blob_size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A message's members that the gateway works with; `payload` has them all, `raw` is exact."""

    id: MessageId
    case: CaseId
    kind: str
    sender: AuthorityId
    recipient: AuthorityId
    created_ms: int
    expires_ms: int
    previous: Digest | None
    case_head: Digest | None
    in_reply_to: MessageId | None
    attachments: tuple[Attachment, ...]
    payload: Mapping[str, Any]
    raw: bytes

    @property
    def body(self) -> Mapping[str, Any]:
        """Return what the kind is about."""
        body: Mapping[str, Any] = self.payload["body"]
        return body

    @property
    def day(self) -> date:
        """Return the day on which it was made, in UTC: the one by which its dates are judged."""
        return date.fromisoformat(self.payload["created"][:10])


@dataclass(frozen=True, slots=True)
class SignedMessage:
    """A message with the compact JWS that holds it; `sha256` is of the JWS."""

    message: Message
    jws: str
    sha256: Digest
    kid: str


def parse_payload(raw: bytes) -> Message:
    """Return the message *raw*, of a known kind and as its schema requires.

    Raises:
        Malformed: not a message at all.
        MessageFault: an unknown kind, or against the schema.
    """
    message = parse_common(raw)
    check_schema(message)
    return message


def parse_common(raw: bytes) -> Message:
    """Return the message *raw*, of whatever kind: strict JSON with the members of every message.

    Raises:
        Malformed: not a message at all.
    """
    return _common(parse_object(raw, max_bytes=MAX_BYTES), raw)


def _common(payload: Mapping[str, Any], raw: bytes) -> Message:
    check_constants(payload, v=1)
    kind = as_text(payload.get("kind"))
    if not kind or len(kind) > _MAX_KIND:
        raise Malformed("the name of a kind has 1 to 64 characters")
    as_object(payload.get("body"))
    in_reply_to = payload.get("in_reply_to")
    return Message(
        id=parse_message_id(payload.get("id")),
        case=parse_case_id(payload.get("case")),
        kind=kind,
        sender=parse_authority(payload.get("from")),
        recipient=parse_authority(payload.get("to")),
        created_ms=parse_time(payload.get("created")),
        expires_ms=parse_time(payload.get("expires")),
        previous=_link(payload, "previous"),
        case_head=_link(payload, "case_head"),
        in_reply_to=None if in_reply_to is None else parse_message_id(in_reply_to),
        attachments=tuple(_attachment(as_object(item)) for item in as_list(payload.get("attachments"))),
        payload=payload,
        raw=raw,
    )


def check_schema(message: Message) -> None:
    """Check *message* against the schema of its kind and the rules between its members.

    Raises:
        MessageFault: an unknown kind, or against the schema.
    """
    if message.kind not in schemas.KINDS:
        raise MessageFault("unknown_kind")
    found = schemas.errors(f"kinds/{message.kind}", message.payload)
    flaws = tuple(Flaw(error.pointer, error.detail) for error in found) or tuple(_between(message))
    if flaws:
        raise MessageFault("schema", flaws)


def sign_message(payload: Mapping[str, Any], key: SigningKey) -> SignedMessage:
    """Return *payload* signed by *key*, after the checks that its recipient will make.

    Its values are those of strict JSON, as `core.strict` parses them: it is not parsed again.

    Raises:
        Malformed: not a message at all, or larger than 1 MiB.
        MessageFault: an unknown kind, or against the schema.
    """
    try:
        raw = encode_json(payload)
    except (TypeError, ValueError):  # an object that JSON has no form for, a number or a surrogate
        raise Malformed("not a JSON value") from None
    if len(raw) > MAX_BYTES:
        raise Malformed(f"larger than {MAX_BYTES} bytes")
    message = _common(payload, raw)
    check_schema(message)
    jws = key.sign_compact(raw, TYPE)
    return SignedMessage(message, jws, sha256(jws.encode("ascii")), key.kid)


def verify_message(jws: str, keys: Mapping[str, bytes]) -> SignedMessage:
    """Return the message in *jws*, signed by one of *keys* (raw public keys by kid).

    Its kind and schema are not looked at: see `check_schema`.

    Raises:
        KeyFault: the signature is missing, wrong, or by another key.
        Malformed: soundly signed, and not a message at all.
    """
    verified = verify_compact(jws, TYPE, keys)
    return SignedMessage(parse_common(verified.payload), jws, sha256(jws.encode("ascii")), verified.kid)


def _link(payload: Mapping[str, object], name: str) -> Digest | None:
    """Return the digest under *name*, which must be there, if only as null."""
    if name not in payload:
        raise Malformed(f"the member {name} is missing")
    value = payload[name]
    return None if value is None else parse_digest(value)


def _attachment(found: Mapping[str, object]) -> Attachment:
    blob = as_object(found.get("blob"))
    translation_of = found.get("translation_of")
    return Attachment(
        name=as_text(found.get("name")),
        media_type=as_text(found.get("media_type")),
        size=as_integer(found.get("size")),
        sha256=parse_digest(found.get("sha256")),
        role=as_text(found.get("role")),
        language=as_text(found.get("language")),
        translation_of=None if translation_of is None else as_text(translation_of),
        blob_sha256=parse_digest(blob.get("sha256")),
        blob_size=as_integer(blob.get("size")),
    )


def _between(message: Message) -> Iterator[Flaw]:
    """Yield where members contradict each other, which the schema that they satisfy cannot say."""
    if message.sender == message.recipient:
        yield Flaw("/to", "another authority than `from`")
    if not 0 < message.expires_ms - message.created_ms <= MAX_LIFETIME_MS:
        yield Flaw("/expires", "after `created`, and at most 90 days after it")
    names = [attachment.name for attachment in message.attachments]
    for index, attachment in enumerate(message.attachments):
        if attachment.name in names[:index]:
            yield Flaw(f"/attachments/{index}/name", "a name that no other attachment has")
        if attachment.translation_of is not None and attachment.translation_of not in names:
            yield Flaw(f"/attachments/{index}/translation_of", "the name of an attachment")
    for index, translation in enumerate(message.payload["translations"]):
        if "attachment" in translation and translation["attachment"] not in names:
            yield Flaw(f"/translations/{index}/attachment", "the name of an attachment")
