"""`art18 token`: who may use the hook."""

import click

from gateway.cli.session import Session, with_session
from gateway.cli.terminal import moment, plain, table
from gateway.web.tokens import Scope


@click.group()
def token() -> None:
    """Tokens of the hook, for the authority's own systems."""


@token.command()
@click.option(
    "--scope",
    "scopes",
    required=True,
    multiple=True,
    type=click.Choice([scope.value for scope in Scope]),
    help="What the token is for. May be repeated.",
)
@click.option("--name", default="", help="Which system it is for.")
@with_session
def create(session: Session, /, scopes: tuple[str, ...], name: str) -> None:
    """Make a token. It is shown once; the node keeps only its hash."""
    document = {"scopes": list(scopes), "name": name or "unnamed"}
    made = session.hook().post("tokens", document=document).document()
    session.terminal.say(
        made,
        f"{plain(made['token'])}\n\nKeep it safe: it is not shown again. It may {', '.join(scopes)}.\n"
        f"art18 token revoke {plain(made['id'])} ends it.",
    )


@token.command(name="list")
@with_session
def list_tokens(session: Session) -> None:
    """List tokens, revoked ones too."""
    items = session.hook().items("tokens")
    rows = [
        (one["id"], one["name"], _words(one["scopes"]), moment(one["created"]), moment(one.get("revoked")))
        for one in items
    ]
    heads = ("ID", "NAME", "SCOPES", "CREATED", "REVOKED")
    session.terminal.show(
        {"items": items}, lambda console: table(console, heads, rows, none="There are no tokens.")
    )


@token.command()
@click.argument("token_id", metavar="ID")
@with_session
def revoke(session: Session, /, token_id: str) -> None:
    """End a token at once."""
    session.hook().ask("DELETE", f"/tokens/{token_id}")
    session.terminal.say(
        {"id": token_id, "revoked": True}, "Revoked. Requests under it are refused from now on."
    )


def _words(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
