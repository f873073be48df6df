"""What a command prints: for a person, or with `--output json` for a program.

Text of other authorities is made plain before it is shown: a peer may not move the cursor, nor
turn the direction of a line.
"""

import json
import sys
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gateway.core.strict import parse_time

_WIDE = 4096  # no terminal, no wrapping: a line stays a line
_UNSAFE = frozenset({"Cc", "Cf", "Co", "Cs", "Zl", "Zp"})


def plain(value: object) -> str:
    """Return *value* as one line of text without control, format or direction characters."""
    if value is None:
        return "-"
    return "".join(
        "\N{REPLACEMENT CHARACTER}" if unicodedata.category(c) in _UNSAFE else c for c in str(value)
    )


def moment(value: object) -> str:
    """Return a time of the wire as people read it: UTC, to the second."""
    return plain(value) if value is None else f"{plain(value)[:19].replace('T', ' ')}Z"


def time_left(due: object, now_ms: int) -> str:
    """Return how long it is to a time of the wire, or how long ago it was, in its two largest units."""
    left_ms = parse_time(due) - now_ms
    minutes = abs(left_ms) // 60_000
    counts = ((minutes // 1440, "day"), (minutes // 60 % 24, "hour"), (minutes % 60, "minute"))
    words = [f"{count} {unit}{'' if count == 1 else 's'}" for count, unit in counts if count]
    span = " ".join(words[:2]) or "less than a minute"
    return f"{span} left" if left_ms > 0 else f"ran out {span} ago"


@dataclass(frozen=True, slots=True)
class Terminal:
    """Standard output in the form that the caller chose; progress goes to standard error."""

    json: bool

    @property
    def out(self) -> Console:
        """Return a console on standard output; colours only on a terminal without NO_COLOR."""
        return _console(stderr=False)

    def show(self, document: object, text: Callable[[Console], None]) -> None:
        """Print *document* as JSON, or let *text* write it for a person."""
        if self.json:
            click.echo(json.dumps(document, ensure_ascii=False, indent=2))
        else:
            text(self.out)

    def say(self, document: object, text: str) -> None:
        """Print *document* as JSON, or the lines of *text*."""
        self.show(document, lambda console: console.print(text, markup=False, highlight=False))

    @property
    def err(self) -> Console:
        """Return a console on standard error."""
        return _console(stderr=True)

    def status(self, text: str) -> AbstractContextManager[object]:
        """Show on standard error that something is waited for; silent without a terminal."""
        if self.json or not sys.stderr.isatty():
            return nullcontext()
        return self.err.status(text)


def _console(*, stderr: bool) -> Console:
    stream = sys.stderr if stderr else sys.stdout
    return Console(
        file=stream, width=None if stream.isatty() else _WIDE, highlight=False, markup=False, emoji=False
    )


def table(console: Console, heads: Sequence[str], rows: Iterable[Sequence[object]], *, none: str) -> None:
    """Print *rows* under *heads*, or the sentence *none* when there are no rows."""
    grid = Table(box=None, pad_edge=False, header_style="bold")
    for head in heads:
        grid.add_column(head, overflow="fold")
    for row in rows:
        grid.add_row(*[Text(plain(cell)) for cell in row])
    if grid.row_count:
        _print(console, grid)
    else:
        console.print(none)


def pairs(console: Console, rows: Iterable[tuple[str, object]]) -> None:
    """Print names and values under each other."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold")
    grid.add_column(overflow="fold")
    for name, value in rows:
        grid.add_row(name, Text(plain(value)))
    _print(console, grid)


def _print(console: Console, grid: Table) -> None:
    """Print *grid*; without a terminal no line ends in blanks."""
    if console.is_terminal:
        console.print(grid)
        return
    with console.capture() as captured:
        console.print(grid)
    for line in captured.get().splitlines():
        console.print(line.rstrip())
