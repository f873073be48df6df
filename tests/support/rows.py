"""Rows and changes for tests of the store: sound ones, with what a test cares about set."""

import hashlib
import uuid
from typing import Any

from gateway.core.entry import Draft
from gateway.core.ids import AuthorityId, CaseId, Digest, MessageId
from gateway.ports import Change
from gateway.rows import (
    THIS_ENTRY,
    AlarmRow,
    AnnouncementRow,
    BlobRow,
    CaseRow,
    CursorRow,
    Direction,
    EnvelopeRow,
    MessageRow,
    NoticeRow,
    ReceiptRow,
    Row,
    SubjectRow,
    UploadRow,
    WebhookRow,
)

PEER = AuthorityId("qn.justice")
OTHER = AuthorityId("qo.justice")


def new_id() -> MessageId:
    return MessageId(str(uuid.uuid4()))


def new_case() -> CaseId:
    return CaseId(str(uuid.uuid4()))


def digest(of: object) -> Digest:
    return Digest(hashlib.sha256(repr(of).encode()).hexdigest())


def draft(event: str = "submission.accepted", **members: Any) -> Draft:
    """Return an entry about a message that went well."""
    return Draft(**({"event": event, "outcome": "ok", "peer": PEER} | members))


def answer(message: MessageId | None = None, *, reason: str | None = None) -> Draft:
    """Return an entry that answers an envelope, with a *reason* a refusal."""
    return Draft(
        event="relay.refused" if reason else "relay.accepted",
        outcome="refused" if reason else "ok",
        reason=reason,
        peer=PEER,
        message_id=message or new_id(),
        envelope_sha256=digest("envelope"),
        message_sha256=digest("message"),
    )


def alarm(subject: str, *, version: int = 0, detail: Any = "", code: str = "test") -> AlarmRow:
    """Return the smallest row that there is."""
    return AlarmRow(code=code, subject=subject, version=version, raised_ms=1, detail=detail)


def change(*puts: Row, name: str = "test", entries: int = 1, **members: Any) -> Change:
    """Return a change that puts rows and logs that many entries."""
    return Change(name=name, entries=tuple(draft() for _ in range(entries)), puts=puts, **members)


def message(**members: Any) -> MessageRow:
    """Return an outgoing message that is queued."""
    found: dict[str, Any] = {
        "direction": Direction.OUT,
        "peer": PEER,
        "id": new_id(),
        "version": 0,
        "kind": "request.mla",
        "case": new_case(),
        "in_reply_to": None,
        "created_ms": 1,
        "expires_ms": 1000,
        "recorded_ms": 1,
        "state": "queued",
        "message_sha256": digest("message"),
        "envelope_sha256": digest("envelope"),
        "entry": THIS_ENTRY,
    }
    return MessageRow(**(found | members))


def envelope(of: MessageRow, **members: Any) -> EnvelopeRow:
    """Return the newest envelope of a message."""
    found: dict[str, Any] = {
        "message_id": of.id,
        "sha256": of.envelope_sha256,
        "version": 0,
        "body": b"an envelope",
    }
    return EnvelopeRow(**(found | members))


def case(**members: Any) -> CaseRow:
    found: dict[str, Any] = {
        "peer": PEER,
        "id": new_case(),
        "version": 0,
        "state": "open",
        "opened_ms": 1,
        "changed_ms": 1,
        "wrapped_key": b"key",
        "history": b"history",
    }
    return CaseRow(**(found | members))


def subject(of: CaseRow, pseudonym: str = "someone") -> SubjectRow:
    """Return that the person behind *pseudonym* is in a case."""
    return SubjectRow(pseudonym=pseudonym, peer=of.peer, case=of.id, version=0)


def notice(**members: Any) -> NoticeRow:
    found: dict[str, Any] = {
        "entry": THIS_ENTRY,
        "version": 0,
        "peer": PEER,
        "id": new_id(),
        "state": "queued",
    }
    return NoticeRow(**(found | members))


def receipt(of: MessageId, **members: Any) -> ReceiptRow:
    found: dict[str, Any] = {
        "entry_sha256": digest(uuid.uuid4()),
        "version": 0,
        "peer": PEER,
        "id": of,
        "event": "relay.accepted",
        "body": b"a receipt",
        "recorded_ms": 1,
        "entry": THIS_ENTRY,
    }
    return ReceiptRow(**(found | members))


def blob(**members: Any) -> BlobRow:
    found: dict[str, Any] = {
        "peer": PEER,
        "sha256": digest(uuid.uuid4()),
        "version": 0,
        "size_bytes": 100,
        "received_ms": 1,
        "whole_ms": 1,
    }
    return BlobRow(**(found | members))


def upload(**members: Any) -> UploadRow:
    found: dict[str, Any] = {
        "id": str(uuid.uuid4()),
        "version": 0,
        "size_bytes": 100,
        "blob_sha256": digest(uuid.uuid4()),
        "blob_size_bytes": 116,
        "stored_ms": 1,
        "wrapped_key": b"key",
        "ciphertext": b"sealed",
    }
    return UploadRow(**(found | members))


def webhook(**members: Any) -> WebhookRow:
    """Return a webhook that wants every event."""
    found: dict[str, Any] = {
        "id": str(uuid.uuid4()),
        "version": 0,
        "url": "https://hooks.qm.example/art18",
        "types": "",
        "state": "enabled",
        "created_ms": 1,
        "changed_ms": 1,
        "wrapped_key": b"key",
        "ciphertext": b"sealed",
    }
    return WebhookRow(**(found | members))


def cursor(of: WebhookRow, entry: int = THIS_ENTRY) -> CursorRow:
    """Return how far the log was told to a webhook."""
    return CursorRow(webhook=of.id, version=0, entry=entry)


def announcement(of: WebhookRow, **members: Any) -> AnnouncementRow:
    """Return an event that is on its way to a webhook."""
    found: dict[str, Any] = {
        "webhook": of.id,
        "entry": THIS_ENTRY,
        "version": 0,
        "type": "message.queued",
        "state": "pending",
        "changed_ms": 1,
    }
    return AnnouncementRow(**(found | members))
