"""Problem documents (RFC 9457): the one way in which a door says that it could not.

`type` is `urn:art18:problem:<code>` and stays what it is; texts may change. Nothing that a
caller sent is ever repeated, and an error that nobody foresaw shows an incident id only: the
log names its type and the places in the code, never its text, which may hold content.
"""

import json
import secrets
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus

import structlog
from aiohttp import web

from gateway.core.errors import (
    Damaged,
    Flaw,
    Malformed,
    Misuse,
    NotIncluded,
    NotProved,
    PeerFault,
    Stale,
    Unavailable,
    Untrusted,
    WrongSubject,
)

MEDIA_TYPE = "application/problem+json"
TYPE_PREFIX = "urn:art18:problem:"

_log = structlog.get_logger(__name__)

_NOT_PROVED: Mapping[type[NotProved], str] = {
    Untrusted: "untrusted",
    NotIncluded: "not_included",
    WrongSubject: "wrong_subject",
}
_HTTP_CODES: Mapping[int, str] = {
    400: "malformed",
    404: "not_found",
    405: "method_not_allowed",
    408: "timeout",
    413: "too_large",
    415: "unsupported_media_type",
    416: "range_not_satisfiable",
}
_HTTP_HEADERS = ("Allow", "Content-Range")
_CHALLENGE: Mapping[str, str] = {"WWW-Authenticate": "Bearer"}
_BUSY_S = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """What a fault becomes, before it is a response or a part of one."""

    status: int
    code: str
    detail: str | None = None
    flaws: Sequence[Flaw] = ()
    members: Mapping[str, object] = field(default_factory=dict)
    retry_after_s: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)

    def document(self) -> dict[str, object]:
        """Return the members of the problem document; `members` never replace the standard ones."""
        document: dict[str, object] = {
            **self.members,
            "type": TYPE_PREFIX + self.code,
            "title": self.code.replace("_", " ").capitalize(),
            "status": self.status,
            "code": self.code,
        }
        if self.detail:
            document["detail"] = self.detail
        if self.flaws:
            document["errors"] = [{"pointer": flaw.pointer, "detail": flaw.detail} for flaw in self.flaws]
        return document

    def response(self) -> web.Response:
        """Return the problem as an answer of its own."""
        headers = dict(self.headers)
        if self.retry_after_s is not None:
            headers["Retry-After"] = str(self.retry_after_s)
        body = json.dumps(self.document()).encode()
        return web.Response(status=self.status, body=body, content_type=MEDIA_TYPE, headers=headers)


def problem_response(fault: BaseException, *, incident: str | None = None) -> web.Response:
    """Return the answer that *fault* becomes at any door."""
    return problem_of(fault, incident=incident).response()


def problem_of(fault: BaseException, *, incident: str | None = None) -> Problem:
    """Return the problem that *fault* is to the caller.

    One that nobody foresaw is logged here, under the id *incident* or a fresh one.
    """
    match fault:
        case PeerFault(status=status, code=code, retry_after_s=after, members=members):
            problem = Problem(status=status, code=code, retry_after_s=after, members=members)
        case Misuse(status=status, code=code, flaws=flaws, retry_after_s=after, members=members):
            problem = Problem(
                status=status,
                code=code,
                detail=str(fault),
                flaws=flaws,
                members=members,
                retry_after_s=after,
                headers=_CHALLENGE if status == HTTPStatus.UNAUTHORIZED else {},
            )
        case Malformed():
            problem = Problem(status=HTTPStatus.BAD_REQUEST, code="malformed", detail=str(fault))
        case NotProved():
            code = _NOT_PROVED.get(type(fault), "not_proved")
            problem = Problem(status=HTTPStatus.UNPROCESSABLE_ENTITY, code=code, detail=str(fault))
        case Unavailable(retry_after_s=after):
            problem = _later(str(fault), after)
        case Damaged(code=code):
            problem = Problem(status=HTTPStatus.INTERNAL_SERVER_ERROR, code=code, detail=str(fault))
        case Stale():
            problem = _later("others are changing the same thing", _BUSY_S)
        case web.HTTPException() if fault.status < HTTPStatus.INTERNAL_SERVER_ERROR:
            code = _HTTP_CODES.get(fault.status, "refused")
            kept = {name: fault.headers[name] for name in _HTTP_HEADERS if name in fault.headers}
            problem = Problem(status=fault.status, code=code, headers=kept)
        case _:
            problem = _incident(fault, incident or secrets.token_hex(8))
    return problem


def _later(detail: str, retry_after_s: int) -> Problem:
    return Problem(
        status=HTTPStatus.SERVICE_UNAVAILABLE,
        code="unavailable",
        detail=detail,
        retry_after_s=retry_after_s,
    )


def _incident(fault: BaseException, incident: str) -> Problem:
    frames = traceback.extract_tb(fault.__traceback__)
    _log.error(
        "incident",
        incident=incident,
        error=type(fault).__qualname__,
        frames=[f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames],
    )
    return Problem(status=HTTPStatus.INTERNAL_SERVER_ERROR, code="internal", members={"incident": incident})
