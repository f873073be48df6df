"""`art18 audit witnesses` and `art18 audit forks`: who cosigns our log, and whose log contradicts itself."""

import json
from pathlib import Path

import click

from gateway.cli.program import UsageFault
from gateway.cli.session import Session, with_session
from gateway.cli.terminal import moment, table
from gateway.core.misbehaviour import TYPE


@click.command()
@click.option("--now", is_flag=True, help="Have it cosigned now, before the next round; then list.")
@with_session
def witnesses(session: Session, /, *, now: bool) -> None:
    """List the witnesses of our log: how far each has cosigned it, and what is wrong if it does not."""
    if now:
        session.hook().ask("POST", "/audit/witnesses")
    items = session.hook().items("audit", "witnesses")
    rows = [
        (
            one["name"],
            one["peer"] or "outside",
            one["size"],
            moment(one["cosigned"]) if one["cosigned"] else "never",
            one["problem"],
        )
        for one in items
    ]
    heads = ("WITNESS", "OF", "ENTRIES", "COSIGNED", "PROBLEM")
    session.terminal.show(
        {"items": items},
        lambda console: table(console, heads, rows, none="Our log has no witness yet."),
    )


@click.command()
@click.option(
    "-o",
    "file",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write them, with the cards of the peers, for somebody else to verify.",
)
@with_session
def forks(session: Session, /, *, file: Path | None) -> None:
    """List peers' checkpoints that contradict each other.

    Two roots for one size, both signed, prove to anybody that the log's owner shows different histories.
    """
    items = session.hook().items("audit", "forks")
    if file is not None:
        document = {"v": 1, "type": TYPE, "items": items}
        try:
            file.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        except OSError as error:
            raise UsageFault(f"-o: {file} cannot be written: {error.strerror}") from None
    rows = [(moment(one["found"]), one["peer"], one["code"], one["origin"], one["size"]) for one in items]
    heads = ("FOUND", "PEER", "WHAT", "LOG", "ENTRIES")
    session.terminal.show(
        {"items": items, "file": None if file is None else str(file)},
        lambda console: table(console, heads, rows, none="No log contradicts itself."),
    )
