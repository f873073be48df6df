"""`art18 cases` and `art18 case`: where the matters between two authorities stand."""

from collections.abc import Mapping

import click
from rich.console import Console

from gateway.app.system import SystemClock
from gateway.cli.session import Session, with_session
from gateway.cli.terminal import moment, pairs, plain, table, time_left
from gateway.core.strict import as_list, as_object


@click.command()
@click.option("--peer", metavar="ID", help="Only with this authority.")
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, help="At most so many.")
@with_session
def cases(session: Session, /, *, peer: str | None, limit: int) -> None:
    """List cases."""
    items = session.hook().items("cases", query={"peer": peer}, limit=limit)
    rows = [(one["id"], one["peer"], one["state"], moment(one["changed"]), _waiting(one)) for one in items]
    heads = ("ID", "WITH", "STATE", "CHANGED", "CLOCKS")
    session.terminal.show(
        {"items": items}, lambda console: table(console, heads, rows, none="There are no cases.")
    )


@click.command()
@click.argument("number", metavar="ID")
@click.option("--peer", metavar="ID", help="With whom, where two peers share the id.")
@with_session
def case(session: Session, /, *, number: str, peer: str | None) -> None:
    """Show a case: its state, its clocks and messages, and what each side may send next."""
    found = session.hook().get("cases", number, query={"peer": peer})
    now_ms = SystemClock().now_ms()
    session.terminal.show(found, lambda console: _describe(console, found, now_ms))


def _waiting(found: Mapping[str, object]) -> str:
    """Return what has run out in a case, and when the next clock does."""
    overdue = [f"{plain(name).replace('_', ' ')} ran out" for name in as_list(found["overdue"])]
    due = [f"next {moment(found['due'])}"] if found["due"] is not None else []
    return "; ".join([*overdue, *due]) or "-"


def _describe(console: Console, found: Mapping[str, object], now_ms: int) -> None:
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
    console.print("\nClocks, the earliest due first", style="bold")
    running = [
        (one["title"], one["article"], moment(one["due"]), time_left(one["due"], now_ms), one["side"])
        for one in map(as_object, as_list(found["clocks"]))
    ]
    table(console, ("CLOCK", "ARTICLE", "DUE", "TIME", "TO ACT"), running, none="None runs.")
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
