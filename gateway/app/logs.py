"""Logs: one JSON object a line on standard error, with the keys of a closed list and no others.

What is logged may reach many eyes. So a key that is not on the list is dropped whatever it
holds, an exception leaves its type and frames but not its text, and of what libraries log only
who spoke and from where remains: their texts quote what they choke on.
"""

import asyncio
import logging
import sys
from collections.abc import MutableMapping
from pathlib import Path
from traceback import walk_tb
from types import TracebackType
from typing import Any

import structlog
from typing_extensions import override

KEYS = frozenset(
    {
        "event", "level", "time", "request_id", "incident", "logger", "error", "frames", "place",
        "authority", "peer", "message_id", "case", "kind", "door", "address", "sequence",
        "code", "reason", "status", "state", "outcome", "attempt", "count", "size_bytes", "offset_bytes",
        "index",
        "method", "route", "took_ms", "wait_ms", "retry_after_s", "actor_ref", "entry_sha256",
        "envelope_sha256", "message_sha256", "origin", "version",
    }
)  # fmt: skip
"""Every key that may stand in a log line. None of them holds case content, a name or a key."""

_ROOT = Path(__file__).parents[2]
_FRAMES = 12
_Event = MutableMapping[str, Any]


def set_up(level: str, form: str) -> None:
    """Send all logs of this process to standard error, as *form* (json or text) from *level*."""
    threshold = logging.getLevelNamesMapping()[level.upper()]
    renderer = (
        structlog.processors.JSONRenderer()
        if form == "json"
        else structlog.dev.ConsoleRenderer(timestamp_key="time")
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,  # the id of the request that is being answered
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
            only_frames,
            only_listed,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(handlers=[Libraries()], level=max(threshold, logging.WARNING), force=True)
    logging.captureWarnings(capture=True)


def only_frames(_logger: object, _method: str, event: _Event) -> _Event:
    """Put the types and frames of an exception where its text would stand."""
    found = event.pop("exc_info", None)
    if found is True:
        found = sys.exc_info()[1]
    if isinstance(found, tuple):
        found = found[1]
    if isinstance(found, BaseException):
        event["error"] = _types(found)
        event["frames"] = frames(found.__traceback__)
    return event


def only_listed(_logger: object, _method: str, event: _Event) -> _Event:
    """Drop every key that is not on the list."""
    return {key: value for key, value in event.items() if key in KEYS}


def frames(trace: TracebackType | None) -> list[str]:
    """Return the innermost frames of *trace* as `file:line function`."""
    places = [
        f"{_place(frame.f_code.co_filename)}:{line} {frame.f_code.co_name}" for frame, line in walk_tb(trace)
    ]
    return places[-_FRAMES:]


def _types(error: BaseException | None) -> list[str]:
    names: list[str] = []
    while error is not None and len(names) < _FRAMES:
        names.append(type(error).__qualname__)
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return names


def _place(filename: str) -> str:
    path = Path(filename)
    return str(path.relative_to(_ROOT)) if path.is_relative_to(_ROOT) else f"{path.parent.name}/{path.name}"


class Libraries(logging.Handler):
    """What libraries log through `logging`: who, how grave and from where; never their text."""

    @override
    def emit(self, record: logging.LogRecord) -> None:
        log = structlog.get_logger()
        place = f"{_place(record.pathname)}:{record.lineno} {record.funcName}"
        log.log(record.levelno, "library", logger=record.name, place=place, exc_info=record.exc_info)


def on_loop_error(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Log what a task or callback left behind: its type and frames."""
    structlog.get_logger().error("loop.unhandled", exc_info=context.get("exception"))
