"""`art18 erase` and `art18 hold`: what is due to go, who says so, and what must stay."""

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import click
from rich.console import Console

from gateway.cli.program import UsageFault
from gateway.cli.session import Session, with_session
from gateway.cli.terminal import moment, table
from gateway.core.strict import as_list, as_object

_F = TypeVar("_F", bound=Callable[..., object])

_WHY = {
    None: "will go",
    "erased": "erased already",
    "held": "kept: a legal hold is on its case",
    "unfinished": "kept: its delivery has not ended",
    "not_taken": "kept: our system has not taken it over (--not-taken)",
    "case_open": "kept: its case is open",
    "kept": "kept: no policy is about its kind",
    "early": "kept: it is not due yet",
}


def _which(function: _F) -> _F:
    """Give a command the messages that it is about."""
    for option in (
        click.option("--not-taken", is_flag=True, help="Also what our own system has not taken over."),
        click.option("--peer", metavar="ID", help="The peer of the case."),
        click.option("--case", metavar="ID", help="Every message of this case."),
        click.option("--due", is_flag=True, help="What the policies of config.toml make due."),
        click.argument("messages", metavar="[MESSAGE]...", nargs=-1),
    ):
        function = option(function)
    return function


_by = click.option("--by", required=True, metavar="NAME", help="Your name.")


@click.group()
def erase() -> None:
    """Erase content, keys, attachments and details of messages: two operators, a dry run first.

    What was proved of them still is. Nothing is ever erased by itself.
    """


@erase.command()
@_which
@with_session
def show(session: Session, /, **asked: object) -> None:
    """Say what would be erased, and what keeps the rest. Nothing happens."""
    answer = session.hook().post("erasures", "preview", document=_document(asked)).document()
    _told(session, answer, f"{answer['erasable']} messages would be erased.")


@erase.command()
@_which
@_by
@with_session
def propose(session: Session, /, by: str, **asked: object) -> None:
    """Propose to erase messages; another operator has to confirm it, with another token."""
    answer = session.hook().post("erasures", document={**_document(asked), "by": by}).document()
    text = (
        f"Proposed: {answer['erasable']} messages. Until {moment(answer['until'])} another operator says:\n"
        f"  art18 erase confirm {answer['id']} --by NAME"
    )
    _told(session, answer, text)


@erase.command()
@click.argument("proposal", metavar="ID")
@_by
@with_session
def confirm(session: Session, /, *, proposal: str, by: str) -> None:
    """Erase what another operator has proposed."""
    answer = session.hook().post("erasures", proposal, "confirm", document={"by": by}).document()
    session.terminal.show(
        answer,
        lambda console: _list(
            console,
            as_list(answer["barred"]),
            f"{answer['erased']} messages are erased; {len(as_list(answer['barred']))} were kept.",
        ),
    )


@erase.command()
@click.argument("proposal", metavar="ID")
@with_session
def withdraw(session: Session, /, *, proposal: str) -> None:
    """Give a proposal up."""
    answer = session.hook().post("erasures", proposal, "withdraw").document()
    session.terminal.say(answer, "Withdrawn: nothing is erased.")


@erase.command(name="list")
@with_session
def list_proposals(session: Session, /) -> None:
    """List proposals, the newest first."""
    items = session.hook().items("erasures")
    rows = [
        (one["id"], one["state"], one["messages"], moment(one["proposed"]), moment(one["until"]))
        for one in items
    ]
    heads = ("ID", "STATE", "MESSAGES", "PROPOSED", "UNTIL")
    session.terminal.show(
        {"items": items}, lambda console: table(console, heads, rows, none="Nothing was proposed.")
    )


@click.group()
def hold() -> None:
    """Legal holds: while there is one on a case, nothing of it is erased."""


def _of_case(function: _F) -> _F:
    for option in (
        click.option("--by", required=True, metavar="NAME", help="Your name."),
        click.option("--reason", required=True, metavar="TEXT", help="Why."),
        click.option("--peer", required=True, metavar="ID", help="With whom the case is."),
        click.argument("case", metavar="CASE"),
    ):
        function = option(function)
    return function


@hold.command()
@_of_case
@with_session
def add(session: Session, /, **asked: str) -> None:
    """Keep everything of a case."""
    answer = session.hook().post("holds", document=asked).document()
    session.terminal.say(answer, f"Nothing of case {asked['case']} is erased while the hold is on it.")


@hold.command()
@_of_case
@with_session
def remove(session: Session, /, **asked: str) -> None:
    """Take a hold away."""
    session.hook().post("holds", "remove", document=asked)
    session.terminal.say({"case": asked["case"]}, f"The hold on case {asked['case']} is gone.")


@hold.command(name="list")
@with_session
def list_holds(session: Session, /) -> None:
    """List the holds, with why and by whom."""
    items = session.hook().items("holds")
    rows = [(one["case"], one["peer"], moment(one["added"]), one["by"], one["reason"]) for one in items]
    heads = ("CASE", "PEER", "ADDED", "BY", "REASON")
    session.terminal.show(
        {"items": items}, lambda console: table(console, heads, rows, none="There is no hold.")
    )


def _document(asked: Mapping[str, object]) -> dict[str, object]:
    """Return what is asked for, as the hook takes it. Raises UsageFault."""
    messages, case, peer = asked["messages"], asked["case"], asked["peer"]
    if sum(map(bool, (messages, case, asked["due"]))) != 1:
        raise UsageFault("name messages, or a case with --case, or say --due")
    found: dict[str, object] = {"not_taken": asked["not_taken"]}
    if case:
        if not peer:
            raise UsageFault("--peer: with whom the case is")
        return found | {"case": {"peer": peer, "id": case}}
    if asked["due"]:
        return found | {"due": True}
    return found | {"messages": list(messages) if isinstance(messages, tuple) else []}


def _told(session: Session, answer: Mapping[str, object], text: str) -> None:
    more = "\nThere are more that are due: erase these first." if answer["more"] else ""
    session.terminal.show(answer, lambda console: _list(console, as_list(answer["items"]), text + more))


def _list(console: Console, items: Sequence[object], text: str) -> None:
    rows = [
        (
            one["message"],
            one["kind"],
            one["peer"],
            one["direction"],
            moment(one["recorded"]),
            _WHY[_code(one)],
        )
        for one in map(as_object, items)
    ]
    if rows:
        table(console, ("MESSAGE", "KIND", "PEER", "WAY", "RECORDED", "ERASING"), rows, none="")
    console.print(text)


def _code(item: Mapping[str, object]) -> str | None:
    return None if item["barred"] is None else str(item["barred"])
