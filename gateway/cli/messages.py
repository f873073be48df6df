"""`art18 inbox`, `outbox`, `show` and what an operator does with one message."""

from collections.abc import Callable, Mapping
from typing import TypeVar

import click
from rich.console import Console

from gateway.cli.session import Session, with_session
from gateway.cli.terminal import moment, pairs, plain, table
from gateway.core.strict import as_list, as_object
from schemas.wording import by_article

_F = TypeVar("_F", bound=Callable[..., object])

NEXT = {
    "queued": "It is on its way; art18 retry ID makes the next attempt now.",
    "held": "It waits behind one that was not taken: art18 release ID sends it, cancel ID gives it up.",
    "undetermined": "The peer gave no answer in time, and may have it or not; it is asked again and again.",
    "available": "art18 fetch ID --to DIR writes it out; acknowledge ID tells the sender that you have it.",
}
"""What to do next about a message in this state."""


def filters(function: _F) -> _F:
    """Give a list its filters."""
    for option in (
        click.option("--peer", metavar="ID", help="Only with this authority."),
        click.option("--kind", help="Only of this kind, like request.mla."),
        click.option("--case", metavar="ID", help="Only of this case."),
        click.option("--state", help="Only in this state."),
        click.option(
            "--limit", type=click.IntRange(1), default=50, show_default=True, help="At most so many."
        ),
    ):
        function = option(function)
    return function


def which(function: _F) -> _F:
    """Give a command the message that it is about."""
    function = click.option("--peer", metavar="ID", help="Whose, where two peers share the id.")(function)
    return click.argument("message", metavar="ID")(function)


@click.command()
@filters
@with_session
def inbox(session: Session, /, limit: int, **asked: str | None) -> None:
    """List messages that came in, newest first."""
    _list(session, "in", limit, asked)


@click.command()
@filters
@with_session
def outbox(session: Session, /, limit: int, **asked: str | None) -> None:
    """List messages that go out or went, newest first."""
    _list(session, "out", limit, asked)


def _list(session: Session, direction: str, limit: int, asked: Mapping[str, str | None]) -> None:
    items = session.hook().items("messages", query={"direction": direction, **asked}, limit=limit)
    heads = ("ID", "KIND", "FROM" if direction == "in" else "TO", "STATE", "RECORDED", "PROBLEM")
    names = ("id", "kind", "peer", "state", "recorded", "problem")
    rows = [[moment(item[name]) if name == "recorded" else item[name] for name in names] for item in items]
    none = "Nothing has come in." if direction == "in" else "Nothing has been sent."
    session.terminal.show({"items": items}, lambda console: table(console, heads, rows, none=none))


@click.command()
@which
@with_session
def show(session: Session, /, message: str, peer: str | None) -> None:
    """Show what is known of a message without opening it: state, findings, what happened."""
    found = session.hook().get("messages", message, query={"peer": peer})
    session.terminal.show(found, lambda console: describe(console, found))


def describe(console: Console, found: Mapping[str, object]) -> None:
    """Print a message for a person."""
    way = "from" if found["direction"] == "in" else "to"
    state = str(found["state"])
    pairs(
        console,
        [
            ("message", found["id"]),
            ("kind", found["kind"]),
            (way, found["peer"]),
            ("case", found["case"]),
            ("state", state),
            ("created", moment(found["created"])),
            ("expires", moment(found["expires"])),
            *([("problem", found["problem"])] if found["problem"] else []),
            *([("next attempt", moment(found["next_attempt"]))] if found["next_attempt"] else []),
        ],
    )
    print_findings(console, found["findings"])
    console.print("\nWhat happened", style="bold")
    rows = [
        (
            moment(one["time"]),
            one["event"],
            one["by"],
            one.get("reason") or one["outcome"],
            f"entry {one['entry']} of {one['log']}",
            "yes" if one["witnessed"] else "not yet",
        )
        for one in map(as_object, as_list(found["timeline"]))
    ]
    heads = ("TIME", "EVENT", "BY", "OUTCOME", "PROVED AS", "WITNESSED")
    table(console, heads, rows, none="Nothing yet.")
    if state in NEXT:
        console.print(f"\n{NEXT[state]}")


def print_findings(console: Console, findings: object) -> None:
    """Print findings, if there are any: how grave, where, what, and which article says so."""
    for one in map(as_object, as_list(findings)):
        severity, article, path, text = (plain(one[name]) for name in ("severity", "article", "path", "text"))
        style = "red" if severity == "error" else "yellow"
        console.print(f"{severity}: {path}: {text} ({by_article(article)})", style=style)


@click.command()
@which
@with_session
def acknowledge(session: Session, /, message: str, peer: str | None) -> None:
    """Confirm that your system has taken the content over; the sender gets a receipt of that."""
    hook = session.hook()
    hook.post("messages", message, "acknowledge", query={"peer": peer})
    found = hook.get("messages", message, query={"peer": peer})
    session.terminal.say(found, f"Taken over. {plain(found['peer'])} gets a receipt of it.")


@click.command()
@which
@with_session
def retry(session: Session, /, message: str, peer: str | None) -> None:
    """Make the next attempt to deliver a message now."""
    _step(session, "retry", message, peer, "The next attempt is made now.")


@click.command()
@which
@with_session
def release(session: Session, /, message: str, peer: str | None) -> None:
    """Sign a held message anew, for where its case stands now, and queue it."""
    _step(session, "release", message, peer, "Signed anew and queued.")


@click.command()
@which
@with_session
def cancel(session: Session, /, message: str, peer: str | None) -> None:
    """Give up a held message. It was never posted."""
    _step(session, "cancel", message, peer, "Given up.")


def _step(session: Session, verb: str, message: str, peer: str | None, done: str) -> None:
    answer = session.hook().post("messages", message, verb, query={"peer": peer}).document()
    session.terminal.say(answer, f"{done} It is {plain(answer['state'])} now.")
