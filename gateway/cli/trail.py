"""`art18 audit export` and `verify`: the trail taken out, and verified without trust in the node."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path

import click

from gateway.app.own_card import read_card
from gateway.cli.filters import filters
from gateway.cli.hook import Hook
from gateway.cli.program import UsageFault
from gateway.cli.session import Session, with_session
from gateway.cli.terminal import Terminal
from gateway.cli.trail_files import Told, Writer, companion, first_line, lines_of, opened_export, verify_lines
from gateway.cli.trust import trust_of, trusting
from gateway.core.card import Card, fingerprint
from gateway.core.errors import WrongSubject
from gateway.core.export import LEAVES, Check, Header, Witnessed, book_of, logs_of
from gateway.core.note import Checkpoint, verify_checkpoint
from gateway.core.soundness import Problem, Unsound
from gateway.core.strict import time_text
from gateway.core.trust import Trust

_UNVERIFIED = 4
_FROM = click.option("--from", "start", metavar="N", type=click.IntRange(0), help="Only from entry N on.")
_TO = click.option("--to", "end", metavar="M", type=click.IntRange(0), help="Only up to, not with, entry M.")


@click.command()
@click.option(
    "-o",
    "file",
    required=True,
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Where to.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["jsonl", "csv", "leaves"]),
    default="jsonl",
    show_default=True,
    help="Lines of JSON with a proof each; a table, with FILE.jsonl beside it; the bare entries.",
)
@_FROM
@_TO
@filters
@with_session
def export(
    session: Session, /, *, file: Path, form: str, start: int | None, end: int | None, **asked: str | None
) -> None:
    """Write entries, each with the proof that the log contains it, to FILE.

    `art18 audit verify FILE` verifies it on any machine, without a node. `--format leaves` has the exact
    entries alone, and one proof for all of them: it takes no filters, is a third as large, and verifies
    many times as fast.
    """
    given = {name: value for name, value in asked.items() if value is not None}
    if form == LEAVES and given:
        raise UsageFault("--format leaves takes every entry from --from to --to: no filters")
    query = {**given, "from": start, "to": end, "form": LEAVES if form == LEAVES else None}
    with session.hook().stream("/audit/export", query=query) as answer, _progress(session.terminal) as told:
        try:
            header, count = Writer(file, as_csv=form == "csv").write(lines_of(answer.pieces), told)
        except OSError as error:
            raise UsageFault(f"-o: {file} cannot be written: {error.strerror}") from None
    files = [str(file), *([str(companion(file))] if form == "csv" else [])]
    session.terminal.say(
        {"files": files, "entries": count, "from": header.start, "to": header.end, "origin": header.origin},
        f"Wrote {count} entries of {header.origin} to {' and '.join(files)}.\n"
        f"Verify it anywhere: art18 audit verify {file} --root {header.authority}=FINGERPRINT",
    )


@click.command()
@click.argument("file", required=False, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@_FROM
@_TO
@trusting
@with_session
def verify(
    session: Session,
    /,
    *,
    file: Path | None,
    start: int | None,
    end: int | None,
    root: tuple[str, ...],
    policy: Path | None,
) -> None:
    """Verify the log here: every entry, the tree over them, both signatures on its head.

    Without FILE it is the log of the node, whole or from entry N up to M: only those entries are fetched.
    Nothing that the node says of itself is believed: the root is computed from the entries, and the
    checkpoint must bear the signatures of the log keys in the card of this folder.

    FILE is an exported trail, JSON lines or CSV; neither node nor network nor settings are needed. Without
    --root or --policy nobody is authenticated (exit 4). What is wrong is told by a short name, and with the
    entry that it is about.
    """
    if file is None:
        if root or policy:
            raise UsageFault(
                "--root and --policy are for an exported FILE; the node's log is verified by its card"
            )
        _verify_node(session, start, end)
    elif start is not None or end is not None:
        raise UsageFault("--from and --to are for the node's log; FILE is verified whole")
    else:
        _verify_file(session, file, trust_of(root, policy))


def _verify_node(session: Session, start: int | None, end: int | None) -> None:
    card = read_card(session.settings().keys.card)
    with _progress(session.terminal) as told:
        checkpoint, header = verify_log(session.hook(), card, start or 0, end, told)
    whole = (header.start, header.end) == (0, checkpoint.size)
    those = f"{checkpoint.size} entries" if whole else f"entries {header.start} to {header.end - 1}"
    session.terminal.say(
        {"verified": True, "from": header.start, "to": header.end, **head(checkpoint)},
        f"The log {checkpoint.origin} holds: {those} lead to the root of its {checkpoint.size} entries\n"
        f"  {checkpoint.root.hex()}\n"
        "which bears both signatures of the log (Ed25519 and ML-DSA-44) under the card of this folder.",
    )


def verify_log(
    hook: Hook, card: Card, start: int, end: int | None, told: Told = lambda _: None
) -> tuple[Checkpoint, Header]:
    """Return the checkpoint under which the node's entries [start, end) hold, and the header.

    If they do not, which entry is asked of ever smaller ranges. Raises as `verify_stream`.
    """
    try:
        return _verify_range(hook, card, start, end, told)
    except Unsound as fault:
        if fault.problem not in {Problem.ROOT, Problem.COUNT}:
            raise
        text = hook.ask("GET", "/audit/checkpoint").body.decode("utf-8", "replace")
        size = verify_checkpoint(text, card.log).size
        raise _narrowed(hook, card, fault, start, size if end is None else end) from None


def _verify_range(
    hook: Hook, card: Card, start: int, end: int | None, told: Told
) -> tuple[Checkpoint, Header]:
    with hook.stream("/audit/export", query={"form": LEAVES, "from": start, "to": end}) as answer:
        return verify_stream(lines_of(answer.pieces), card, start, end, told)


def _narrowed(hook: Hook, card: Card, fault: Unsound, start: int, end: int) -> Unsound:
    """Return *fault* with the first entry that is wrong, as far as it can be known.

    The signed root vouches for the hashes around a range too: a range holds or not whatever else was
    altered, unless somebody has computed the tree anew. Then none holds, and nothing can be said.
    """
    low, high, some_hold = start, end, False

    def holds(first: int, last: int) -> bool:
        nonlocal some_hold, fault
        try:
            _verify_range(hook, card, first, last, lambda _: None)
        except Unsound as found:
            fault = found
            return False
        some_hold = True
        return True

    whole = fault
    while high - low > 1:
        middle = (low + high) // 2
        if holds(low, middle):
            low = middle
        else:
            high = middle
    if holds(low, high):  # what failed with the others holds by itself: it is the last range that was split
        return whole
    here = fault
    if not some_hold and not (high < end and holds(high, high + 1)):
        return whole
    return Unsound(Problem.MISSING if here.problem is Problem.COUNT else Problem.ALTERED, low)


def verify_stream(
    lines: Iterator[bytes], card: Card, start: int, end: int | None, told: Told = lambda _: None
) -> tuple[Checkpoint, Header]:
    """Return the checkpoint under which all *lines* of an export hold, and the header, for the log of *card*.

    Raises:
        Unsound: with the entry that it is about.
        WrongSubject, Malformed: the node gave something else than was asked for.
    """
    header = first_line(lines)
    if (header.authority, header.origin) != (card.authority, card.log.origin):
        raise WrongSubject("the node gave the log of somebody else")
    # Who cosigned an earlier checkpoint, perhaps of an epoch before, is nothing to the root.
    check = Check(replace(header, cosigned=None), {card.log.origin: card.log})
    if (header.form, header.start) != (LEAVES, start) or header.end != (
        check.checkpoint.size if end is None else end
    ):
        raise WrongSubject("the node gave other entries than it was asked for")
    verify_lines(check, header, lines, told)
    return check.checkpoint, header


def _verify_file(session: Session, file: Path, trust: Trust) -> None:
    try:
        with opened_export(file) as (header, rest), _progress(session.terminal) as told:
            book = book_of(header, trust)
            check = Check(header, logs_of(header, book))
            rest(check, told)
            witnessed = check.witnessed(book, trust)
    except OSError as error:
        raise UsageFault(f"{error.filename}: {error.strerror}") from None
    authentic = book.authentic(header.authority)
    first = book.cards(header.authority)[0]
    document = {
        "verified": authentic,
        "authenticated": authentic,
        "authority": header.authority,
        "fingerprint": fingerprint(first),
        "entries": check.count,
        "from": header.start,
        "to": header.end,
        "filters": dict(header.filters),
        "witnessed": [asdict(one) for one in witnessed],
        **head(check.checkpoint),
    }
    gaps = " (a selection: whether it is complete cannot be seen)" if header.filters else ""
    whose = (
        f"authenticated by the fingerprint of {header.authority}"
        if authentic
        else "consistent in itself, and nobody is authenticated: give --root ID=FINGERPRINT"
    )
    text = [
        f"{check.count} entries{gaps} are in the log {header.origin}: {whose}.",
        f"Its checkpoint of {check.checkpoint.size} entries has both signatures of the log, and the root",
        f"  {check.checkpoint.root.hex()}",
        *map(_told_by, witnessed),
    ]
    session.terminal.say(document, "\n".join(text))
    click.get_current_context().exit(0 if authentic else _UNVERIFIED)


def _told_by(one: Witnessed) -> str:
    """Return what a cosignature says, for people."""
    whose = "a witness that you named" if one.authority is None else f"the witness of {one.authority}"
    counts = "" if one.authentic else "; nobody has authenticated it, so that attests no time"
    return (
        f"{one.name} ({whose}) saw its first {one.size} entries at {time_text(one.time_s * 1000)}, "
        f"by its clock{counts}."
    )


@contextmanager
def _progress(terminal: Terminal) -> Iterator[Told]:
    """Show how many entries are done, where a person looks."""
    with terminal.status("…") as shown:
        yield lambda count: _update(shown, f"{count:,} entries")


def _update(shown: object, text: str) -> None:
    update = getattr(shown, "update", None)
    if update is not None:
        update(text)


def head(checkpoint: Checkpoint) -> dict[str, object]:
    """Return a checkpoint as commands tell it."""
    return {"origin": checkpoint.origin, "size": checkpoint.size, "root": checkpoint.root.hex()}
