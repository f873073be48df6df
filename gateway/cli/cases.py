"""`art18 cases` and `art18 case`: where the matters between two authorities stand."""

from collections.abc import Mapping

import click
from rich.console import Console

from gateway.cli.session import Session, with_session
from gateway.cli.terminal import moment, pairs, plain, table
from gateway.core.strict import as_list, as_object


@click.command()
@click.option("--peer", metavar="ID", help="Only with this authority.")
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, help="At most so many.")
@with_session
def cases(session: Session, /, *, peer: str | None, limit: int) -> None:
    """List cases."""
    items = session.hook().items("cases", query={"peer": peer}, limit=limit)
    rows = [(one["id"], one["peer"], one["state"], moment(one["changed"])) for one in items]
    heads = ("ID", "WITH", "STATE", "CHANGED")
    session.terminal.show(
        {"items": items}, lambda console: table(console, heads, rows, none="There are no cases.")
    )


@click.command()
@click.argument("number", metavar="ID")
@click.option("--peer", metavar="ID", help="With whom, where two peers share the id.")
@with_session
def case(session: Session, /, *, number: str, peer: str | None) -> None:
    """Show a case: its state, its messages, and what each side may send next."""
    found = session.hook().get("cases", number, query={"peer": peer})
    session.terminal.show(found, lambda console: _describe(console, found))


def _describe(console: Console, found: Mapping[str, object]) -> None:
    may = [
        (f"{party} may send", ", ".join(plain(kind) for kind in as_list(kinds)) or "nothing")
        for party, kinds in as_object(found["allowed"]).items()
    ]
    pairs(
        console,
        [
            ("case", found["id"]),
            ("with", found["peer"]),
            ("state", found["state"]),
            ("requesting", found["requesting"]),
            ("opened", moment(found["opened"])),
            ("changed", moment(found["changed"])),
            *may,
        ],
    )
    console.print("\nMessages, newest first", style="bold")
    rows = [
        (
            moment(one["recorded"]),
            one["direction"],
            one["kind"],
            f"{one['state']}, crossed" if one["crossed"] else one["state"],
            one["id"],
        )
        for one in map(as_object, as_list(found["messages"]))
    ]
    table(console, ("TIME", "WAY", "KIND", "STATE", "ID"), rows, none="None.")
