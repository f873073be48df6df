"""`art18 new`: a draft to fill in, with what the schema of its kind says about each member."""

import difflib
import json
import textwrap

import click
from rich.console import Console

import schemas
from gateway.cli.program import UsageFault
from gateway.cli.session import Session, with_session
from gateway.cli.terminal import table
from gateway.cli.toml import WIDTH, template_text
from gateway.core.template import blank, members, sender
from schemas.wording import listed

_SIDES = {
    "requesting": "The requesting authority sends",
    "requested": "The requested authority sends",
    "either": "Either authority sends",
}
_CLOSE = 3


@click.command()
@click.argument("kind", metavar="[KIND]", required=False)
@with_session
def new(session: Session, /, *, kind: str | None) -> None:
    """Print a draft of KIND to fill in; without KIND, list the kinds.

    The draft is TOML with comments, or JSON with --output json. What is to be filled in is "" there:

    \b
    art18 new request.mla > request.toml
    """  # noqa: D301 - \b is click's mark for lines that are not to be wrapped
    if kind is None:
        items = [
            {"kind": each, "title": schemas.load(f"kinds/{each}")["title"], "sender": sender(each)}
            for each in sorted(schemas.KINDS)
        ]
        session.terminal.show({"items": items}, lambda console: _list(console, items))
        return
    if kind not in schemas.KINDS:
        raise UsageFault(_unknown(kind))
    found = members(kind)
    if session.terminal.json:
        click.echo(json.dumps(blank(found), ensure_ascii=False, indent=2))
    else:
        click.echo(template_text(kind, found), nl=False)


def _list(console: Console, items: list[dict[str, str]]) -> None:
    for position, (side, head) in enumerate(_SIDES.items()):
        console.print(f"{chr(10) if position else ''}{head}", style="bold")
        rows = [(f"  {item['kind']}", item["title"]) for item in items if item["sender"] == side]
        table(console, ("  KIND", "TITLE"), rows, none="  Nothing.")


def _unknown(kind: str) -> str:
    """Return what is said of a kind that there is not: close ones first, then all."""
    close = difflib.get_close_matches(kind.lower(), sorted(schemas.KINDS), n=_CLOSE, cutoff=0.5)
    close += [each for each in sorted(schemas.KINDS) if kind.lower() in each and each not in close]
    meant = f" Did you mean {listed(close[:_CLOSE])}?" if close else ""
    kinds = textwrap.fill(f"The kinds are: {', '.join(sorted(schemas.KINDS))}", WIDTH)
    return f"there is no kind {kind!r}.{meant}\n{kinds}"
