"""What a peer answers (protocol §8): read strictly; what a receipt proves is for the caller to verify."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus

from gateway.core.errors import Malformed, Unavailable
from gateway.core.proof import MAX_RECEIPT_BYTES, Receipt, parse_receipt
from gateway.core.strict import as_integer, as_list, as_object, as_text, members, parse_json, parse_object
from gateway.core.witness import SIZE_TYPE

_DAY_S = 86_400
_SECONDS_DIGITS = 9
_COUNT_DIGITS = 15
_SIGNED = frozenset({200, 201, 409, 422})


class PeerUnavailable(Unavailable):
    """The peer could not be reached, or broke off; `code` says how, without any content."""

    def __init__(self, code: str) -> None:
        super().__init__(f"the peer cannot be reached: {code}")
        self.code = code


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer: a receipt (not verified yet), or the code of an unsigned problem."""

    status: int
    receipt: Receipt | None = None
    code: str | None = None
    retry_after_s: int | None = None
    members: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Raw:
    """An answer as it came, not looked at yet."""

    status: int
    body: bytes
    headers: Mapping[str, str]


def offset_of(raw: Raw, size: int) -> int | None:
    """Return where the peer's bytes of a blob of *size* end; None if that is not what it answered."""
    text = raw.headers.get("Upload-Offset", "")
    if raw.status != HTTPStatus.OK or not text.isascii() or not text.isdigit() or len(text) > _COUNT_DIGITS:
        return None
    return int(text) if int(text) <= size else None


def reply_of(raw: Raw) -> Reply:
    """Return what *raw* says; a signed status without a receipt is no answer."""
    if raw.status == HTTPStatus.NO_CONTENT:
        return Reply(204)
    try:
        if raw.status in _SIGNED and raw.headers.get("Content-Type", "").startswith("application/json"):
            return Reply(raw.status, receipt=parse_receipt(raw.body))
        problem = parse_object(raw.body, max_bytes=MAX_RECEIPT_BYTES)
        return _problem(raw.status, problem, raw.headers.get("Retry-After"))
    except Malformed:
        return Reply(raw.status, code="bad_answer", retry_after_s=_seconds(raw.headers.get("Retry-After")))


def _problem(status: int, problem: Mapping[str, object], retry_after: str | None) -> Reply:
    code = problem.get("code")
    known = code if isinstance(code, str) and code.isascii() and code.isidentifier() else "bad_answer"
    return Reply(status, code=known[:64], retry_after_s=_seconds(retry_after), members=problem)


def _seconds(text: str | None) -> int | None:
    """Return a Retry-After in seconds, at most a day; the date form is not used between nodes."""
    if text is None or not text.isascii() or not text.isdigit() or len(text) > _SECONDS_DIGITS:
        return None
    return min(int(text), _DAY_S)


def batch_of(body: bytes) -> list[Reply]:
    """Return the answers to the envelopes of a batch, in their order. Raises Malformed."""
    found = members(parse_json(body), required=("checkpoints", "answers"))
    checkpoints = [as_text(item) for item in as_list(found["checkpoints"])]
    return [_batch_answer(as_object(item), checkpoints) for item in as_list(found["answers"])]


def _batch_answer(answer: dict[str, object], checkpoints: Sequence[str]) -> Reply:
    status = as_integer(answer.get("status"))
    if "problem" in answer:
        problem = as_object(answer["problem"])
        after = problem.get("retry_after")
        return _problem(status, problem, str(after) if isinstance(after, int) else None)
    number = as_integer(answer.get("checkpoint"))
    if not 0 <= number < len(checkpoints):
        raise Malformed("a checkpoint that the batch does not have")
    entry, proof = as_text(answer.get("entry")).encode(), as_text(answer.get("proof"))
    return Reply(status, receipt=Receipt(entry, proof + checkpoints[number]))


@dataclass(frozen=True, slots=True)
class WitnessReply:
    """What a witness answered: signature lines, the size of what it cosigned last, or neither.

    `code` says what is wrong where it is neither.
    """

    lines: str | None = None
    size: int | None = None
    code: str | None = None


def witness_reply_of(raw: Raw) -> WitnessReply:
    """Return what *raw*, an answer to `add-checkpoint`, says (C2SP tlog-witness).

    A 409 says a size only under the media type of one: any other is a conflict.
    """
    try:
        text = raw.body.decode()
    except UnicodeDecodeError:
        return WitnessReply(code="bad_answer")
    if raw.status == HTTPStatus.OK:
        return WitnessReply(lines=text)
    if raw.status == HTTPStatus.CONFLICT and raw.headers.get("Content-Type") == SIZE_TYPE:
        size = text.removesuffix("\n")
        if text.endswith("\n") and size.isascii() and size.isdigit() and len(size) <= _COUNT_DIGITS:
            return WitnessReply(size=int(size))
        return WitnessReply(code="bad_answer")
    code = reply_of(raw).code
    return WitnessReply(code=f"status_{raw.status}" if code in {None, "bad_answer"} else code)


def text_of(raw: Raw) -> str:
    """Return the text that *raw* is. Raises PeerUnavailable."""
    if raw.status != HTTPStatus.OK:
        raise PeerUnavailable(reply_of(raw).code or "bad_answer")
    try:
        return raw.body.decode()
    except UnicodeDecodeError:
        raise PeerUnavailable("bad_answer") from None
