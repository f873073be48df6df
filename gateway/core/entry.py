"""Audit entries: the leaves of the log, and what a receipt states (protocol §9 "Entry").

An entry is one flat object of integers and plain ASCII strings in RFC 8785 form. It names
messages by digest and people not at all: details live elsewhere, behind a `commitment`.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from gateway.core.errors import Malformed
from gateway.core.ids import AuthorityId, Digest, MessageId, parse_authority, parse_digest, parse_message_id
from gateway.core.strict import (
    INTEGER_LIMIT,
    as_integer,
    as_text,
    b64url,
    check_constants,
    from_b64url,
    parse_object,
    parse_time,
    sha256,
    time_text,
)
from schemas import codes

MAX_BYTES = 4096
SALT_BYTES = 32
COMMITMENT_BYTES = 32

ANSWERING = frozenset({"relay.accepted", "relay.refused", "relay.conflict", "relay.unknown"})
"""Events that answer an envelope."""
LATER = frozenset({"content.handed_over", "content.opened"})
"""Events that a recipient tells of an accepted message afterwards."""
TRAVELLING = ANSWERING | LATER
"""Events whose entries leave the node, in receipts."""

EVENTS: frozenset[str] = frozenset(codes()["events"])
"""Every event: a closed list (schemas/codes.json)."""

_UNOPENED = frozenset({("relay.refused", "unopenable"), ("relay.unknown", None)})
_OUTCOMES = frozenset({"ok", "refused", "failed"})
_REASONS: Mapping[str, frozenset[str]] = {
    "relay.refused": frozenset(codes()["reasons_422"]),
    "relay.conflict": frozenset(codes()["reasons_409"]),
}
_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"))
_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}", re.ASCII)
_REASON = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", re.ASCII)
_PLAIN = re.compile(r"[ !#-\[\]-~]*", re.ASCII)
_ALWAYS = frozenset({"v", "event", "entry_id", "time", "authority", "outcome"})
_OPTIONAL = frozenset(
    {"peer", "message_id", "envelope_sha256", "message_sha256", "reason", "actor_ref", "commitment"}
)


def _parse_commitment(value: object) -> str:
    if len(from_b64url(value)) != COMMITMENT_BYTES:
        raise Malformed("a commitment has 32 bytes")
    return as_text(value)


_FORMS: Mapping[str, Callable[[object], object]] = {
    "peer": parse_authority,
    "message_id": parse_message_id,
    "envelope_sha256": parse_digest,
    "message_sha256": parse_digest,
    "commitment": _parse_commitment,
}
"""How members of an entry that have a form of their own are parsed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """What a decision wants logged; the log adds id, time and authority.

    `commitment` is to a detail that is kept apart, and can be erased. `extra` holds further members,
    plain ASCII or integers, that the event calls for.
    """

    event: str
    outcome: str
    peer: AuthorityId | None = None
    message_id: MessageId | None = None
    envelope_sha256: Digest | None = None
    message_sha256: Digest | None = None
    reason: str | None = None
    actor_ref: str | None = None
    commitment: str | None = None
    extra: tuple[tuple[str, str | int], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """An entry as it stands in a log; `leaf` is its exact text."""

    event: str
    outcome: str
    entry_id: str
    time_ms: int
    authority: AuthorityId
    peer: AuthorityId | None
    message_id: MessageId | None
    envelope_sha256: Digest | None
    message_sha256: Digest | None
    reason: str | None
    actor_ref: str | None
    commitment: str | None
    extra: tuple[tuple[str, str | int], ...]
    leaf: bytes


def opened(event: str, reason: str | None) -> bool:
    """Return whether *event* with *reason* implies that the envelope was opened.

    Then its entry names the message's digest, and otherwise it cannot.
    """
    return (event, reason) not in _UNOPENED


def encode_entry(draft: Draft, *, authority: AuthorityId, entry_id: str, time_ms: int) -> bytes:
    """Return the leaf of *draft*: RFC 8785, at most 4 KiB.

    Raises:
        Malformed: the draft breaks a rule of protocol §9; nothing of the kind may be logged.
    """
    given = {
        "peer": draft.peer,
        "message_id": draft.message_id,
        "envelope_sha256": draft.envelope_sha256,
        "message_sha256": draft.message_sha256,
        "reason": draft.reason,
        "actor_ref": draft.actor_ref,
        "commitment": draft.commitment,
    }
    found: dict[str, object] = {
        "v": 1,
        "event": draft.event,
        "entry_id": entry_id,
        "time": time_text(time_ms),
        "authority": authority,
        "outcome": draft.outcome,
        **{name: value for name, value in given.items() if value is not None},
    }
    for name, value in draft.extra:
        if name in found or name in _OPTIONAL:
            raise Malformed(f"the extra member {name} has a meaning of its own")
        found[name] = value
    parse_message_id(entry_id)
    for name, parse in _FORMS.items():
        if (member := given[name]) is not None:
            parse(member)
    _check_rules(draft)
    return _canonical(found)


def parse_entry(leaf: bytes) -> Entry:
    """Return the entry whose exact text is *leaf*.

    Raises:
        Malformed: not in RFC 8785 form, or against a rule of protocol §9.
    """
    found = parse_object(leaf, max_bytes=MAX_BYTES)
    entry = _interpret(found, leaf)
    if _canonical(found) != leaf:
        raise Malformed("an entry that is not in RFC 8785 form")
    return entry


def commitment_to(salt: bytes, detail: bytes) -> str:
    """Return the commitment to *detail* under *salt*: 32 bytes, fresh for each (protocol §9).

    Without the salt it cannot be tested for a guessed detail, so that erasing both erases.
    """
    if len(salt) != SALT_BYTES:
        raise Malformed(f"a salt has {SALT_BYTES} bytes")
    return b64url(bytes.fromhex(sha256(b"art18/commit/v1\x00" + salt + detail)))


def _canonical(found: Mapping[str, object]) -> bytes:
    """Return *found* in RFC 8785 form.

    Of a flat object of ASCII names, integers below 2^53 and strings that need no escapes, that is what
    the standard library writes with its names sorted.
    """
    for name, value in found.items():
        _check_member(name, value)
    leaf = _ENCODER.encode(found).encode("ascii")
    if len(leaf) > MAX_BYTES:
        raise Malformed(f"an entry larger than {MAX_BYTES} bytes")
    return leaf


def _check_member(name: str, value: object) -> None:
    if not _NAME.fullmatch(name):
        raise Malformed("a member name of an entry is lower-case ASCII")
    if isinstance(value, str):
        if not _PLAIN.fullmatch(value):
            raise Malformed(f'the member {name} is not printable ASCII without " and \\')
    elif not -INTEGER_LIMIT < as_integer(value) < INTEGER_LIMIT:
        raise Malformed(f"the member {name} is an integer of 2^53 or more")


def _interpret(found: Mapping[str, object], leaf: bytes) -> Entry:
    for name in _ALWAYS:
        if name not in found:
            raise Malformed(f"the member {name} is missing")
    check_constants(found, v=1)
    peer, message_id = found.get("peer"), found.get("message_id")
    envelope, message = found.get("envelope_sha256"), found.get("message_sha256")
    actor, committed = found.get("actor_ref"), found.get("commitment")
    entry = Entry(
        event=as_text(found["event"]),
        outcome=as_text(found["outcome"]),
        entry_id=parse_message_id(found["entry_id"]),
        time_ms=parse_time(found["time"]),
        authority=parse_authority(found["authority"]),
        peer=None if peer is None else parse_authority(peer),
        message_id=None if message_id is None else parse_message_id(message_id),
        envelope_sha256=None if envelope is None else parse_digest(envelope),
        message_sha256=None if message is None else parse_digest(message),
        reason=None if "reason" not in found else as_text(found["reason"]),
        actor_ref=None if actor is None else as_text(actor),
        commitment=None if committed is None else _parse_commitment(committed),
        extra=tuple(
            (name, value)
            for name, value in sorted(found.items())
            if name not in _ALWAYS and name not in _OPTIONAL and isinstance(value, str | int)
        ),
        leaf=leaf,
    )
    _check_rules(entry)
    return entry


def _check_rules(entry: Draft | Entry) -> None:
    if entry.event not in EVENTS:
        raise Malformed("an event that is not in the closed list")
    if entry.outcome not in _OUTCOMES:
        raise Malformed("an outcome is ok, refused or failed")
    if entry.reason is None:
        if entry.outcome == "refused":
            raise Malformed("a refusal names its reason")
    elif entry.outcome == "ok" or not _REASON.fullmatch(entry.reason):
        raise Malformed("a reason is one word in snake_case, and never for what went well")
    if entry.event in TRAVELLING:
        _check_travelling(entry)


def _check_travelling(entry: Draft | Entry) -> None:
    reasons = _REASONS.get(entry.event)
    if entry.outcome != ("ok" if reasons is None else "refused"):
        raise Malformed("an outcome that the event does not have")
    if reasons is not None and entry.reason not in reasons:
        raise Malformed("a reason that is not in the closed list")
    if entry.peer is None or entry.message_id is None or entry.envelope_sha256 is None:
        raise Malformed("an entry that travels names peer, message and envelope")
    if opened(entry.event, entry.reason) != (entry.message_sha256 is not None):
        raise Malformed("the digest of a message is there exactly when it was opened")
    if entry.actor_ref is not None:
        raise Malformed("an entry that travels names no account")
