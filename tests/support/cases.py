"""Messages of sample cases, and steps of cases, for tests."""

from collections.abc import Mapping, Sequence
from datetime import date
from functools import cache
from typing import Any

import schemas
from gateway.core.case import History, Step, add, newest, step_of
from gateway.core.ids import AuthorityId, CaseId, Digest, MessageId
from gateway.core.message import Message, SignedMessage, sign_message
from gateway.core.strict import sha256
from keys.signing import SigningKey

TODAY = date(2026, 11, 24)
CASE = CaseId("7d1f0f0e-2c52-4a57-9a43-0b7f3c2f9f10")


def message_id(number: int) -> MessageId:
    return MessageId(f"00000000-0000-4000-8000-{number:012x}")


@cache
def signing_key() -> SigningKey:
    return SigningKey.generate()


def payload_of(
    draft: Mapping[str, Any],
    *,
    sender: str,
    number: int = 1,
    previous: Digest | None = None,
    case_head: Digest | None = None,
    attachments: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """Return the payload that the gateway makes of *draft*."""
    return {
        **draft,
        "v": 1,
        "id": message_id(number),
        "case": CASE,
        "from": sender,
        "created": f"2026-11-24T10:{number:02}:00.000Z",
        "expires": "2026-12-24T10:00:00.000Z",
        "previous": previous,
        "case_head": case_head,
        "attachments": list(attachments),
    }


@cache
def played(number: int) -> tuple[tuple[dict[str, Any], SignedMessage], ...]:
    """Return each step of sample case *number* with the message that it becomes."""
    sample = schemas.sample(number)
    parties = sample["parties"]
    history, sent, found = History(), [], []
    for index, step in enumerate(sample["steps"], start=1):
        sender = parties[step["by"]]
        recipient = next(party for party in parties.values() if party != sender)
        files = [schemas.sample_file(one["file"]) for one in step["attachments"]]
        attached = [{"sha256": sha256(plain), "size": len(plain)} for plain in files]
        draft = schemas.fill(step, to=recipient, today=TODAY, sent=sent, attached=attached)
        members = [
            {**{name: value for name, value in one.items() if name != "file"}, **plain, "blob": blob(plain)}
            for one, plain in zip(step["attachments"], attached, strict=True)
        ]
        payload = payload_of(
            draft,
            sender=sender,
            number=index,
            previous=newest(history, sender),
            case_head=newest(history, recipient),
            attachments=members,
        )
        signed = sign_message(payload, signing_key())
        history = add(history, step_of(signed))
        message = signed.message
        known = {"id": message.id, "case": message.case, "created": payload["created"]}
        sent.append({**known, "message_sha256": signed.sha256})
        found.append((step, signed))
    return tuple(found)


def blob(plain: Mapping[str, Any]) -> dict[str, Any]:
    return {"sha256": "0" * 64, "size": plain["size"] + 16}


def told(
    history: History,
    by: AuthorityId,
    kind: str,
    *,
    created_ms: int,
    to: AuthorityId,
    when: Mapping[str, Any] | None = None,
    **recorded: Any,
) -> History:
    """Return *history* after a message of *by*, who held all of it.

    In the names of what is *recorded*, `__` stands for `/`.
    """
    number = len(history.steps) + 1
    step = Step(
        sha256=sha256(b"step %d" % number),
        id=message_id(number),
        by=by,
        kind=kind,
        created_ms=created_ms,
        previous=newest(history, by),
        case_head=newest(history, to),
        when=when or {},
        recorded={name.replace("__", "/"): value for name, value in recorded.items()},
    )
    return add(history, step)


def message_of(step: Step, recipient: AuthorityId) -> Message:
    """Return a message that has what the case looks at."""
    return Message(
        id=step.id,
        case=CASE,
        kind=step.kind,
        sender=step.by,
        recipient=recipient,
        created_ms=step.created_ms,
        expires_ms=step.created_ms + 1,
        previous=step.previous,
        case_head=step.case_head,
        in_reply_to=None,
        attachments=(),
        payload={"body": dict(step.when)},
        raw=b"",
    )
