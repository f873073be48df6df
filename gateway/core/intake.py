"""What a recipient decides about an envelope: protocol §8 "Receiving", stage by stage.

The stages stand here in the order of the clause; the caller fetches between them what the next
one needs. A signed refusal is a value, since the log will hold it; an unsigned, retryable answer is
the exception `PeerFault`.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from gateway.core.case import (
    History,
    NotAllowed,
    PredecessorMissing,
    Step,
    UnknownCaseHead,
    check_received,
    step_of,
)
from gateway.core.envelope import MAX_BYTES, Content, Envelope, Header, open_envelope, parse_envelope
from gateway.core.errors import Malformed, PeerFault
from gateway.core.ids import AuthorityId, Digest
from gateway.core.message import Attachment, MessageFault, SignedMessage, check_schema, verify_message
from gateway.core.strict import sha256
from keys.errors import KeyFault, UnknownKey
from keys.sealing import SealingKey

MAX_AHEAD_MS = 5 * 60_000
"""How far `created` may lie ahead of the recipient's clock."""
REFUSALS_PER_HOUR = 60
"""Signed refusals for each peer; beyond that envelopes are not opened."""

_SOON_S = 30
_LATER_S = 300
_MS = 1000


@dataclass(frozen=True, slots=True)
class Refused:
    """A signed refusal, by a reason of the closed list.

    `message_sha256` is the digest of the JWS, where the envelope was opened.
    """

    reason: str
    message_sha256: Digest | None = None


@dataclass(frozen=True, slots=True)
class Answered:
    """What was answered to (peer, id) before: for which envelope, and which message if it opened."""

    event: str
    envelope_sha256: Digest
    message_sha256: Digest | None


@dataclass(frozen=True, slots=True)
class Opened:
    """An authentic message for this authority, and the keys of its blobs."""

    signed: SignedMessage
    content: Content


@dataclass(frozen=True, slots=True)
class Judged:
    """An authentic message that may enter its case; its blobs are still to be opened."""

    opened: Opened
    step: Step


def parse(raw: bytes, *, peer: AuthorityId, me: AuthorityId, keys: Mapping[str, SealingKey]) -> Envelope:
    """Return the envelope *raw* that *peer* posted to *me*.

    Raises:
        PeerFault: 413 `too_large`, 400 `malformed`, 403 `wrong_sender` or `wrong_recipient`,
            421 `unknown_sealing_key`.
    """
    if len(raw) > MAX_BYTES:
        raise PeerFault(413, "too_large")
    try:
        envelope = parse_envelope(raw)
    except Malformed:
        raise PeerFault(400, "malformed") from None
    if envelope.header.sender != peer:
        raise PeerFault(403, "wrong_sender")
    if envelope.header.recipient != me:
        raise PeerFault(403, "wrong_recipient")
    if envelope.header.key not in keys:
        raise PeerFault(421, "unknown_sealing_key")
    return envelope


def is_answered(envelope: Envelope, answered: Answered) -> bool:
    """Say whether what was *answered* stands for *envelope* without opening it.

    So it is for the same envelope, and for each one under an id that `close` has refused for ever.
    """
    return answered.event == "relay.unknown" or answered.envelope_sha256 == envelope.sha256


def check_refusals(count: int) -> None:
    """Refuse to open more for a peer that was refused *count* times within the hour.

    Raises:
        PeerFault: 429 `too_many_refusals`.
    """
    if count >= REFUSALS_PER_HOUR:
        raise PeerFault(429, "too_many_refusals", retry_after_s=_LATER_S)


def open_message(
    envelope: Envelope, *, keys: Mapping[str, SealingKey], signers: Mapping[str, bytes]
) -> Opened | Refused:
    """Open *envelope* and verify its message under *signers*, the signing keys of the pinned card.

    Raises:
        PeerFault: 425 `unknown_signing_key`: the peer's newest card may have it.
    """
    try:
        content = open_envelope(envelope, keys)
    except (KeyFault, Malformed):
        return Refused("unopenable")
    return verify_content(content, envelope.header, signers=signers)


def verify_content(content: Content, header: Header, *, signers: Mapping[str, bytes]) -> Opened | Refused:
    """Verify the message in *content*, and that it is the one of which *header* speaks.

    Raises:
        PeerFault: as `open_message`.
    """
    try:
        signed = verify_message(content.jws, signers)
    except UnknownKey:
        raise PeerFault(425, "unknown_signing_key", retry_after_s=_SOON_S) from None
    except KeyFault:
        return Refused("bad_signature", _digest(content))
    except Malformed:
        return Refused("schema", _digest(content))
    message = signed.message
    if (message.id, message.sender, message.recipient) != (header.id, header.sender, header.recipient):
        return Refused("header_mismatch", signed.sha256)
    return Opened(signed, content)


def _digest(content: Content) -> Digest:
    return sha256(content.jws.encode("utf-8", "replace"))


def compare(opened: Opened | Refused, answered: Answered | None) -> Refused | None:
    """Refuse another message than the one *answered* under the same (peer, id).

    None: the stored answer stands, or there is none. It stands as well where one of the two
    envelopes does not open, so that nothing can be said of another message.
    """
    if answered is None:
        return None
    digest = opened.signed.sha256 if isinstance(opened, Opened) else opened.message_sha256
    if answered.message_sha256 is None or digest is None or digest == answered.message_sha256:
        return None
    return Refused("conflict", digest)


def judge(opened: Opened, history: History, now_ms: int) -> Judged | Refused:
    """Judge an authentic message: in time, of a known kind, as its schema says, legal in its case.

    Raises:
        PeerFault: 425 `created_ahead` or `predecessor_missing`.
    """
    signed, message = opened.signed, opened.signed.message
    if message.created_ms > now_ms + MAX_AHEAD_MS:
        raise PeerFault(425, "created_ahead", retry_after_s=_wait_s(message.created_ms, now_ms))
    if message.expires_ms <= now_ms:
        return Refused("expired", signed.sha256)
    try:
        check_schema(message)
    except MessageFault as fault:
        return Refused(fault.reason, signed.sha256)
    step = step_of(signed)
    try:
        check_received(history, step)
    except PredecessorMissing:
        raise PeerFault(425, "predecessor_missing", retry_after_s=_SOON_S) from None
    except UnknownCaseHead:
        return Refused("unknown_case_head", signed.sha256)
    except NotAllowed:
        return Refused("not_allowed", signed.sha256)
    return Judged(opened, step)


def check_blobs(judged: Judged, sizes: Mapping[Digest, int]) -> Refused | None:
    """Compare the blobs that lie here complete, by digest and *sizes*, with what was signed.

    The keys that came with the message are those of its blobs and no others (protocol §6).

    Raises:
        PeerFault: 424 `blobs_missing`, which names them.
    """
    signed = judged.opened.signed
    attachments = signed.message.attachments
    named = {one.blob_sha256 for one in attachments}
    if named != set(judged.opened.content.blob_keys):
        return Refused("blob_mismatch", signed.sha256)
    missing = sorted(named - set(sizes))
    if missing:
        raise PeerFault(424, "blobs_missing", members={"missing": missing})
    if any(sizes[one.blob_sha256] != one.blob_size for one in attachments):
        return Refused("blob_mismatch", signed.sha256)
    return None


def check_attachment(judged: Judged, attachment: Attachment, plain_sha256: str) -> Refused | None:
    """Compare what a blob opened to with what was signed about it; an empty digest is of no content."""
    if plain_sha256 == attachment.sha256:
        return None
    return Refused("blob_mismatch", judged.opened.signed.sha256)


def _wait_s(created_ms: int, now_ms: int) -> int:
    """Return the seconds until *created_ms* is no longer too far ahead, at most five minutes."""
    return min(_LATER_S, -(-(created_ms - MAX_AHEAD_MS - now_ms) // _MS))
