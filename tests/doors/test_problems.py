"""Every fault becomes one stable problem document."""

import json

import pytest
from aiohttp import web
from structlog.testing import capture_logs

from gateway.core.errors import (
    Damaged,
    Flaw,
    Malformed,
    Misuse,
    NotIncluded,
    PeerFault,
    Stale,
    Unavailable,
    Untrusted,
    WrongSubject,
)
from gateway.web.problems import problem_response
from keys.errors import CannotOpen


@pytest.mark.parametrize(
    ("fault", "status", "code", "headers"),
    [
        (PeerFault(421, "unknown_sealing_key"), 421, "unknown_sealing_key", {}),
        (
            PeerFault(425, "predecessor_missing", retry_after_s=30),
            425,
            "predecessor_missing",
            {"Retry-After": "30"},
        ),
        (Misuse(409, "wrong_state", "no"), 409, "wrong_state", {}),
        (Misuse(401, "unauthorized", "no"), 401, "unauthorized", {"WWW-Authenticate": "Bearer"}),
        (Malformed("not JSON"), 400, "malformed", {}),
        (Unavailable("full", retry_after_s=9), 503, "unavailable", {"Retry-After": "9"}),
        (Damaged("attachment_altered", "on disk"), 500, "attachment_altered", {}),
        (Stale("moved"), 503, "unavailable", {"Retry-After": "1"}),
        (Untrusted("who?"), 422, "untrusted", {}),
        (NotIncluded("where?"), 422, "not_included", {}),
        (WrongSubject("what?"), 422, "wrong_subject", {}),
        (web.HTTPNotFound(), 404, "not_found", {}),
        (web.HTTPMethodNotAllowed("PUT", ["GET"]), 405, "method_not_allowed", {"Allow": "GET"}),
        (web.HTTPRequestEntityTooLarge(1, 2), 413, "too_large", {}),
        (CannotOpen("stored data"), 500, "internal", {}),
        (web.HTTPInternalServerError(), 500, "internal", {}),
    ],
)
def test_a_fault_becomes_its_problem(fault, status, code, headers):
    response = problem_response(fault)
    found = json.loads(response.body)
    assert (response.status, found["status"], found["code"]) == (status, status, code)
    assert response.content_type == "application/problem+json"
    assert found["type"] == f"urn:art18:problem:{code}"
    assert found["title"]
    assert headers.items() <= dict(response.headers).items()


def test_places_and_members_are_told():
    fault = Misuse(
        422, "schema", "wrong", flaws=[Flaw("/a/0", "a number")], members={"state": "filed", "status": 200}
    )
    found = json.loads(problem_response(fault).body)
    assert found["errors"] == [{"pointer": "/a/0", "detail": "a number"}]
    assert (found["state"], found["status"]) == ("filed", 422)


def test_what_nobody_foresaw_is_told_by_its_incident_alone():
    with capture_logs() as logs:
        response = problem_response(KeyError("Example Person One"), incident="i-1")
    assert json.loads(response.body)["incident"] == "i-1"
    (line,) = logs
    assert (line["incident"], line["error"]) == ("i-1", "KeyError")
    assert "Example Person" not in response.body.decode() + json.dumps(logs)
