"""The process of a node: event loop, signals, logs, and the lines that say it is ready."""

import asyncio
import ctypes
import gc
import signal
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec

import structlog

from gateway.app.logs import on_loop_error, set_up
from gateway.app.node import Outside, running
from gateway.app.system import BootClock, SystemClock, SystemEntropy
from gateway.config import Settings
from gateway.core.errors import GatewayFault
from gateway.ports import Clock, Entropy, Probe, Unprobed
from keys.errors import KeyFault

_STOPS = (signal.SIGTERM, signal.SIGINT)
_ARENA_MAX = -8
"""M_ARENA_MAX of glibc's mallopt(3)."""
_YOUNG_OBJECTS = 20_000

_log = structlog.get_logger(__name__)


def run(
    settings: Settings,
    *,
    clock: Clock | None = None,
    entropy: Entropy | None = None,
    probe: Probe | None = None,
    unwitnessed: str | None = None,
) -> None:
    """Run a node until SIGTERM or SIGINT; what is None is that of production.

    *unwitnessed* is why a restored node may start although no peer says how far its log was.

    Raises:
        GatewayFault, KeyFault: it cannot start or go on. Anything else is logged by its type and
            frames, and ends the process with 1.
    """
    set_up(settings.log.level, settings.log.format)
    _spare_memory()
    outside = Outside(
        clock=clock or SystemClock(),
        entropy=entropy or SystemEntropy(),
        probe=probe or Unprobed(),
        steady=BootClock(),
    )
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(_until_stopped(settings, outside, unwitnessed))
    except (GatewayFault, KeyFault):
        raise
    except Exception as error:  # noqa: BLE001 - the text of an unforeseen error may hold content
        _log.error("node.failed", exc_info=error)
        raise SystemExit(1) from None


def _spare_memory() -> None:
    """Have all threads share one arena of the allocator, and look for garbage less often.

    One thread runs Python at a time, so that arenas of their own gain nothing and keep some 6 MiB. A
    message makes thousands of objects that die by themselves, and no circle of them: what is there need
    not be looked through again and again while a few dozen messages are under way.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:  # glibc's
        mallopt(_ARENA_MAX, 1)
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG_OBJECTS)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return uvloop's loop where it is installed (extra `fast`)."""
    if find_spec("uvloop") is None:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = import_module("uvloop").new_event_loop
    return factory


async def _until_stopped(settings: Settings, outside: Outside, unwitnessed: str | None) -> None:
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(on_loop_error)
    stopping = asyncio.Event()
    for number in _STOPS:
        loop.add_signal_handler(number, stopping.set)
    async with running(settings, outside, unwitnessed) as node:
        for door, address in node.addresses.items():
            print(f"ready {door} {address}", flush=True)  # noqa: T201 - whoever started us waits for these
        await node.until(stopping)
    _log.info("node.stopped")
