"""Exported audit trails as files: written from what the node streams, read and verified anywhere.

As JSON lines a file is what the node gave. As CSV it is one that a spreadsheet shows, and what does not
fit into one, the first line and the last, stands in a file of JSON lines beside it: FILE.jsonl. A cell
that a spreadsheet would take for a formula has ' before it.
"""

import csv
import io
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import IO

from gateway.core.entry import parse_entry
from gateway.core.errors import Malformed
from gateway.core.export import (
    LEAVES,
    MAX_LINE_BYTES,
    Check,
    Header,
    Line,
    encode_end,
    parse_end,
    parse_header,
    parse_line,
)
from gateway.core.soundness import PIECE, Problem, Unsound
from gateway.core.strict import b64, from_b64, time_text

COLUMNS = (
    "index",
    "time",
    "event",
    "outcome",
    "reason",
    "peer",
    "message_id",
    "actor_ref",
    "entry",
    "proof",
)
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_GUARD = "'"

Told = Callable[[int], None]
"""What is told how many entries are done."""
Verifier = Callable[[Check, Told], None]
"""What verifies the entries of an export that is open."""


def companion(file: Path) -> Path:
    """Return where that of a CSV file stands which does not fit into it."""
    return file.with_name(f"{file.name}.jsonl")


def lines_of(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the lines in *pieces*, without their ends; what is after the last end is a line too."""
    rest = b""
    for piece in pieces:
        *lines, rest = (rest + piece).split(b"\n")
        yield from lines
        if len(rest) > MAX_LINE_BYTES:
            raise Malformed("a line of an export that does not end")
    if rest:
        yield rest


def first_line(lines: Iterator[bytes]) -> Header:
    """Return the header, which is the first of *lines*. Raises Malformed."""
    return parse_header(next(lines, b""))


def verify_lines(check: Check, header: Header, lines: Iterator[bytes], told: Told) -> None:
    """Verify the *lines* after the header. Raises Unsound, Malformed."""
    count = None
    while count is None and (some := list(islice(lines, PIECE))):
        if (count := parse_end(some[-1])) is not None:
            del some[-1]
        if header.form == LEAVES:
            check.take_leaves(some)
        else:
            for line in some:
                check.take(parse_line(line))
        told(check.count)
    if next(lines, None) is not None:
        raise Unsound(Problem.COUNT)
    check.end(count)


@contextmanager
def opened_export(file: Path) -> Iterator[tuple[Header, Verifier]]:
    """Give the header of the export in *file*, and what verifies the rest. Raises Malformed, OSError."""
    with file.open("rb") as raw:
        is_csv = not raw.peek(1).startswith(b"{")
        if not is_csv:
            lines = lines_of(iter(lambda: raw.read(1 << 20), b""))
            header = first_line(lines)
            yield header, lambda check, told: verify_lines(check, header, lines, told)
            return
    with companion(file).open("rb") as ends, file.open(newline="", encoding="ascii") as rows:
        lines = lines_of(iter(lambda: ends.read(1 << 20), b""))
        header = first_line(lines)
        yield header, lambda check, told: _verify_rows(check, lines, rows, told)


def _verify_rows(check: Check, ends: Iterator[bytes], file: IO[str], told: Told) -> None:
    """Verify the rows of a CSV file, of which *ends* has the last line. Raises Unsound, Malformed."""
    try:
        rows = csv.reader(file, strict=True)
        if tuple(next(rows, ())) != COLUMNS:
            raise Malformed("not an export: a CSV file has the columns " + ", ".join(COLUMNS))
        for row in rows:
            check.take(_line_of(row))
            if check.count % PIECE == 0:
                told(check.count)
    except (csv.Error, UnicodeDecodeError):
        raise Malformed("a CSV file that is not in form") from None
    check.end(parse_end(next(ends, b"")))


def row_of(line: Line) -> list[str]:
    """Return an entry as a row of a CSV file. Raises Malformed."""
    entry = parse_entry(line.leaf)
    cells = (
        str(line.index),
        time_text(entry.time_ms),
        entry.event,
        entry.outcome,
        entry.reason,
        entry.peer,
        entry.message_id,
        entry.actor_ref,
        line.leaf.decode("ascii"),
        " ".join(map(b64, line.proof)),
    )
    return [_guarded(cell or "") for cell in cells]


def _guarded(cell: str) -> str:
    return _GUARD + cell if cell.startswith(_FORMULA) else cell


def _line_of(row: list[str]) -> Line:
    """Return the entry in a *row*, whose cells say what the entry says. Raises Unsound, Malformed."""
    if len(row) != len(COLUMNS) or not row[0].isdecimal():
        raise Malformed("a row of a CSV file that is not in form")
    proof = tuple(from_b64(digest) for digest in row[-1].removeprefix(_GUARD).split())
    line = Line(index=int(row[0]), leaf=row[-2].encode("ascii"), proof=proof)
    try:
        told = row_of(line)
    except Malformed:
        raise Unsound(Problem.MALFORMED, line.index) from None
    if told != row:
        raise Unsound(Problem.COLUMNS, line.index)
    return line


class Writer:
    """Writes an export to FILE, whole or not at all; as CSV with its companion.

    Raises:
        Malformed, Unsound: what the node gave is not an export, or was cut short.
        OSError: a file cannot be written.
    """

    def __init__(self, file: Path, *, as_csv: bool) -> None:
        self._file, self._as_csv = file, as_csv

    def write(self, lines: Iterator[bytes], told: Told) -> tuple[Header, int]:
        """Write all *lines* of an export; return its header, and how many entries it has."""
        part = self._file.with_name(f".{self._file.name}.part")
        try:
            with part.open("wb") as raw:
                first = next(lines, b"")
                header = parse_header(first)
                count = (
                    self._write_csv(raw, lines, told) if self._as_csv else self._copy(raw, first, lines, told)
                )
            if self._as_csv:
                companion(self._file).write_bytes(first + b"\n" + encode_end(count))
            part.replace(self._file)
        finally:
            part.unlink(missing_ok=True)
        return header, count

    def _copy(self, raw: IO[bytes], first: bytes, lines: Iterator[bytes], told: Told) -> int:
        raw.write(first + b"\n")
        for count, line in enumerate(lines):
            raw.write(line + b"\n")
            if (said := parse_end(line)) is not None:
                return _whole(said, count)
            if count % PIECE == 0:
                told(count)
        raise Unsound(Problem.COUNT)

    def _write_csv(self, raw: IO[bytes], lines: Iterator[bytes], told: Told) -> int:
        text = io.TextIOWrapper(raw, encoding="ascii", newline="", write_through=True)
        rows = csv.writer(text)
        rows.writerow(COLUMNS)
        try:
            for count, line in enumerate(lines):
                if (said := parse_end(line)) is not None:
                    return _whole(said, count)
                rows.writerow(row_of(parse_line(line)))
                if count % PIECE == 0:
                    told(count)
        finally:
            text.detach()
        raise Unsound(Problem.COUNT)


def _whole(said: int, count: int) -> int:
    if said != count:
        raise Unsound(Problem.COUNT)
    return count
