"""How far a transfer has come: bars on a terminal, a line now and then elsewhere, nothing for a program."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.filesize import decimal

from gateway.cli.terminal import Terminal

_EVERY_S = 10.0


class Display(Protocol):
    """Shows transfers, one after another."""

    def begin(self, name: str, total: int) -> Callable[[int], None]:
        """Show one of *total* bytes; return what is told how many are done."""
        ...


@contextmanager
def transfers(terminal: Terminal) -> Iterator[Display]:
    """Show transfers on standard error, in the form that suits who reads it."""
    console = terminal.err
    if terminal.json:
        yield _Silence()
    elif console.is_terminal:
        with bars(console) as display:
            yield display
    else:
        yield Lines(console)


class _Silence:
    def begin(self, name: str, total: int) -> Callable[[int], None]:
        del name, total
        return lambda _done: None


@contextmanager
def bars(console: Console) -> Iterator[Display]:
    """Show a bar for each transfer, with its rate and the time that is left."""
    # It takes a megabyte that `art18 run` can do without.
    from rich import progress  # noqa: PLC0415 - see above

    class Bars:
        def begin(self, name: str, total: int) -> Callable[[int], None]:
            task = shown.add_task(name, total=total)
            return lambda done: shown.update(task, completed=done)

    columns = (
        progress.TextColumn("{task.description}", markup=False),
        progress.BarColumn(),
        progress.DownloadColumn(),
        progress.TransferSpeedColumn(),
        progress.TimeRemainingColumn(),
    )
    with progress.Progress(*columns, console=console) as shown:
        yield Bars()


class Lines:
    """A line every ten seconds; what takes less says nothing."""

    def __init__(self, console: Console, now: Callable[[], float] = time.monotonic) -> None:
        self._console, self._now = console, now

    def begin(self, name: str, total: int) -> Callable[[int], None]:
        """Show one of *total* bytes; return what is told how many are done."""
        last_s, last = self._now(), 0

        def advance(done: int) -> None:
            nonlocal last_s, last
            if (took_s := self._now() - last_s) < _EVERY_S:
                return
            rate = max(done - last, 0) / took_s
            left = f", {(total - done) / rate:.0f} s left" if rate else ""
            told = f"{name}: {decimal(done)} of {decimal(total)}, {decimal(int(rate))}/s{left}"
            self._console.print(told, markup=False, highlight=False)
            last_s, last = self._now(), done

        return advance
