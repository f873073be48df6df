"""Message drafts: what an authority's own system hands in, and the message that it becomes."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import schemas
from gateway.core.errors import Flaw, Malformed, Misuse
from gateway.core.ids import (
    AuthorityId,
    CaseId,
    Digest,
    MessageId,
    parse_authority,
    parse_case_id,
    parse_message_id,
)
from gateway.core.message import MessageFault, SignedMessage, sign_message
from gateway.core.names import check_name
from gateway.core.strict import as_list, as_text, members, parse_object, parse_time, time_text
from keys.signing import SigningKey

MAX_BYTES = 1 << 20

_REQUIRED = ("kind", "to", "language", "own_ref", "authorised_by", "body")
_OPTIONAL = (
    "case", "in_reply_to", "your_ref", "urgency", "handling", "expires", "translations", "attachments",
    "override",
)  # fmt: skip
_DEFAULTS: Mapping[str, object] = {"urgency": "normal", "handling": "normal", "translations": []}
_NOT_TAKEN = frozenset({"case", "expires", "attachments", "override"})
_ATTACHMENT = ("upload", "name", "media_type", "role", "language")
_MAX_REASON = 2000

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageDraft:
    """A draft in form; what its kind asks for is checked on the message that it becomes.

    Attributes:
        members: those that the message takes over as they are.
        attachments: each attachment's members, less `upload`.
        uploads: which upload each attachment is, in the same order.
        override: why the message is to go in spite of its findings, or None.
    """

    to: AuthorityId
    case: CaseId | None
    expires_ms: int | None
    members: Mapping[str, object]
    attachments: Sequence[Mapping[str, object]]
    uploads: Sequence[str]
    override: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """What the gateway itself says in a message: which, when, and after what."""

    id: MessageId
    case: CaseId
    sender: AuthorityId
    created_ms: int
    expires_ms: int
    previous: Digest | None
    case_head: Digest | None

    def members(self) -> dict[str, object]:
        """Return the members of the message that it stands for."""
        return {
            "v": 1,
            "id": self.id,
            "case": self.case,
            "from": self.sender,
            "created": time_text(self.created_ms),
            "expires": time_text(self.expires_ms),
            "previous": self.previous,
            "case_head": self.case_head,
        }


def parse_draft(raw: bytes) -> MessageDraft:
    """Return the draft *raw*.

    Raises:
        Malformed: not a strict JSON object.
        Misuse: 422 `schema`: members missing, not known, or not of their form.
    """
    document = parse_object(raw, max_bytes=MAX_BYTES)
    found = _at("", lambda it: members(it, required=_REQUIRED, optional=_OPTIONAL), document)
    items = [
        _at(f"/attachments/{position}", _attachment, item)
        for position, item in enumerate(_at("/attachments", as_list, found.get("attachments", [])))
    ]
    for position, (_, item) in enumerate(items):
        _at(f"/attachments/{position}/name", _named, item["name"])
    uploads = [upload for upload, _ in items]
    for position, upload in enumerate(uploads):
        if upload in uploads[:position]:
            raise _wrong(f"/attachments/{position}/upload", "an upload that no other attachment is")
    return MessageDraft(
        to=_at("/to", parse_authority, found["to"]),
        case=_at("/case", parse_case_id, found["case"]) if "case" in found else None,
        expires_ms=_at("/expires", parse_time, found["expires"]) if "expires" in found else None,
        members={
            **_DEFAULTS,
            **{name: value for name, value in found.items() if name not in _NOT_TAKEN},
        },
        attachments=[attachment for _, attachment in items],
        uploads=uploads,
        override=_at("/override", _reason, found["override"]) if "override" in found else None,
    )


def signed(payload: Mapping[str, object], key: SigningKey) -> SignedMessage:
    """Return *payload* signed by *key*, if its recipient would find it in form.

    Raises:
        Misuse: 422 `schema` or `unknown_kind`, with the place of each mistake.
        Malformed: a mistake that has no place, or larger than a message may be.
    """
    try:
        return sign_message(payload, key)
    except MessageFault as fault:
        raise Misuse(422, fault.reason, "not as the schema of its kind asks", flaws=fault.flaws) from None
    except Malformed:
        kind = payload["kind"]
        known = isinstance(kind, str) and kind in schemas.KINDS
        flaws = schemas.errors(f"kinds/{kind}" if known else "message", payload)
        if not flaws:
            raise
        found = [Flaw(flaw.pointer, flaw.detail) for flaw in flaws]
        raise Misuse(422, "schema", "not as the schema of its kind asks", flaws=found) from None


def _attachment(value: object) -> tuple[str, dict[str, object]]:
    found = members(value, required=_ATTACHMENT, optional=("translation_of",))
    upload = parse_message_id(found["upload"])  # an upload's id has the same form
    return upload, {name: member for name, member in found.items() if name != "upload"}


def _named(value: object) -> str:
    return check_name(as_text(value))


def _reason(value: object) -> str:
    reason = as_text(members(value, required=("reason",))["reason"])
    if not reason.strip() or len(reason) > _MAX_REASON:
        raise Malformed(f"a reason has 1 to {_MAX_REASON} characters")
    return reason


def _at(pointer: str, parse: Callable[[object], _T], value: object) -> _T:
    """Return what *parse* makes of the member at *pointer*; say where it is wrong."""
    try:
        return parse(value)
    except Malformed as fault:
        raise _wrong(pointer, str(fault)) from None


def _wrong(pointer: str, detail: str) -> Misuse:
    return Misuse(422, "schema", "not a draft in form", flaws=[Flaw(pointer, detail)])
