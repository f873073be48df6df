"""`art18 verify`: what an evidence bundle proves, off line: no node, no network, no configuration."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import click
from rich.console import Console

from gateway.cli.program import UnverifiedFailure, UsageFault
from gateway.cli.session import Session, with_session
from gateway.cli.terminal import plain
from gateway.cli.trust import trust_of, trusting
from gateway.core.bundle import MAX_BYTES, Broken
from gateway.core.evidence import examine
from gateway.core.examination import CODES, Examination, Finding
from gateway.core.misbehaviour import examine_misbehaviour

_PIECE = 1 << 20


@click.command()
@click.argument("file", metavar="FILE", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@trusting
@click.option(
    "--attachment",
    "attachments",
    metavar="PATH",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A file to compare with the attachments that were signed.",
)
@with_session
def verify(
    session: Session,
    /,
    *,
    file: Path,
    root: tuple[str, ...],
    policy: Path | None,
    attachments: tuple[Path, ...],
) -> None:
    """Say what the evidence in FILE proves, line by line.

    FILE is a bundle that art18 evidence wrote, or the misbehaviour of a log that art18 audit forks wrote.

    Exit code 0 only if all of it holds and rests on the word of authorities whose root keys were named;
    4 at the first thing that does not hold, or if nobody is authenticated.
    """
    raw, trust = _read(file), trust_of(root, policy)
    found = examine_misbehaviour(raw, trust) if raw[:1] == b"{" else examine(raw, trust)
    if found.failure is None:
        _compare(attachments, found)
    session.terminal.show(_document(found), lambda console: _print(console, found))
    if found.failure is not None:
        raise UnverifiedFailure(f"{found.failure.code}: {_told(found.failure)}")
    if found.strangers:
        raise UnverifiedFailure(
            f"consistent in itself, but nobody has authenticated {' and '.join(found.strangers)}: "
            "name the root key with --root ID=FINGERPRINT"
        )


def _read(file: Path) -> bytes:
    try:
        with file.open("rb") as opened:
            return opened.read(MAX_BYTES + 1)
    except OSError as error:
        raise UsageFault(f"{file} cannot be read: {error.strerror}") from None


def _compare(paths: Sequence[Path], found: Examination) -> None:
    """Compare files with the attachments that were signed; the first that is none is a failure."""
    for path in paths:
        digest = hashlib.sha256()
        with path.open("rb") as opened:
            while piece := opened.read(_PIECE):
                digest.update(piece)
        name = {str(sha256): name for sha256, name in found.attachments.items()}.get(digest.hexdigest())
        if name is None:
            found.failure = Broken("attachment", "it is none of the attachments that were signed", str(path))
            return
        found.findings.append(
            Finding(
                proved=True,
                what="attachment",
                text=f"{path} is the attachment {name!r} as it was signed.",
                about={"sha256": digest.hexdigest()},
            )
        )


def _document(found: Examination) -> dict[str, object]:
    failure = found.failure
    return {
        "verified": found.holds,
        "findings": [
            {"proved": one.proved, "what": one.what, "text": one.text, **one.about} for one in found.findings
        ],
        "failure": failure and {"code": failure.code, "file": failure.where, "text": str(failure)},
        "not_authenticated": list(found.strangers),
    }


def _print(console: Console, found: Examination) -> None:
    for one in found.findings:
        mark, style = ("\N{CHECK MARK}", "green") if one.proved else ("\N{WHITE CIRCLE}", "yellow")
        console.print(f"  {mark} {plain(one.text)}", style=style, soft_wrap=True)
    if found.failure is not None:
        console.print(f"  \N{BALLOT X} {plain(_told(found.failure))}", style="bold red", soft_wrap=True)
    elif found.holds:
        console.print(_outcome(found), style="bold green")


def _told(failure: Broken) -> str:
    where = f" ({failure.where})" if failure.where else ""
    return f"{CODES[failure.code]} {str(failure)[:1].upper()}{str(failure)[1:]}{where}"


def _outcome(found: Examination) -> str:
    unproved = sum(not one.proved for one in found.findings)
    if not unproved:
        return "All of it holds."
    return f"What is marked with a check mark holds; {unproved} of the lines above say what is not proved."
