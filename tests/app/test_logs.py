import ast
import logging
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from gateway.app.logs import KEYS, Libraries, on_loop_error, only_frames, only_listed

CONTENT = "Zitronenfalter"


LEVELS = {"debug", "info", "warning", "error", "critical", "log"}
OWN = {"exc_info", "stack_info"}
SOURCES = [path for top in ("gateway", "keys") for path in Path(top).rglob("*.py")]


@pytest.mark.parametrize("path", [path for path in SOURCES if "structlog" in path.read_text()], ids=str)
def test_every_line_names_a_fixed_event_and_listed_keys(path):
    for call in (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)):
        spoken = call.func
        if not isinstance(spoken, ast.Attribute) or spoken.attr not in LEVELS:
            continue
        if "log" not in ast.unparse(spoken.value):
            continue
        event = call.args[-1]
        assert isinstance(event, ast.Constant), f"{path}:{call.lineno} makes the name of its event up"
        named = {keyword.arg for keyword in call.keywords if keyword.arg is not None}
        assert named <= KEYS | OWN, f"{path}:{call.lineno} logs what would be dropped"


def fail() -> None:
    raise ValueError(CONTENT)


def caught() -> BaseException:
    try:
        fail()
    except ValueError as error:
        return error
    raise AssertionError


def test_a_key_that_is_not_listed_is_dropped():
    event = {"event": "courier.failed", "peer": "qm.moj", "subject": CONTENT, "exc_info": CONTENT}
    assert only_listed(None, "error", event) == {"event": "courier.failed", "peer": "qm.moj"}


def test_no_key_that_could_hold_content_is_listed():
    assert not KEYS & {"message", "body", "name", "text", "detail", "file", "token", "exception", "exc_info"}


def test_an_exception_leaves_types_and_frames_and_no_text():
    event = only_frames(None, "error", {"event": "x", "exc_info": caught()})
    assert event["error"] == ["ValueError"]
    assert [frame.rsplit(" ", 1)[1] for frame in event["frames"]] == ["caught", "fail"]
    assert "exc_info" not in event
    assert CONTENT not in str(event)


def test_the_exception_at_hand_is_found():
    try:
        fail()
    except ValueError:
        event = only_frames(None, "error", {"event": "x", "exc_info": True})
    assert event["error"] == ["ValueError"]


def test_libraries_say_who_and_where_only():
    record = logging.LogRecord(
        "aiohttp.server", logging.ERROR, __file__, 7, "%s " + CONTENT, (CONTENT,), None
    )
    with capture_logs() as found:
        Libraries().emit(record)
    assert found == [
        {
            "event": "library",
            "log_level": "error",
            "logger": "aiohttp.server",
            "place": "tests/app/test_logs.py:7 None",
            "exc_info": None,
        }
    ]


def test_what_a_task_left_behind_is_told_by_its_type():
    error = caught()
    with capture_logs() as found:
        on_loop_error(None, {"message": CONTENT, "exception": error})
    assert found == [{"event": "loop.unhandled", "log_level": "error", "exc_info": error}]
