"""`art18 users`: who may use the operators' console."""

import click

from gateway.cli.session import Session, with_session
from gateway.cli.terminal import moment, plain, table
from gateway.core.account import Role


@click.group()
def users() -> None:
    """Accounts of the operators' console."""


@users.command()
@click.argument("name", metavar="NAME")
@click.option(
    "--role",
    "roles",
    required=True,
    multiple=True,
    type=click.Choice([role.value for role in Role]),
    help="What the person does. May be repeated.",
)
@with_session
def add(session: Session, /, *, name: str, roles: tuple[str, ...]) -> None:
    """Make an account, and a one-time link for its person."""
    made = (
        session.hook().post("users", document={"name": name, "roles": list(dict.fromkeys(roles))}).document()
    )
    _show_link(session, made)


@users.command(name="list")
@with_session
def list_users(session: Session) -> None:
    """List accounts, disabled ones too."""
    items = session.hook().items("users")
    rows = [
        (
            one["name"],
            _words(one["roles"]),
            one["state"],
            moment(one["changed"]),
            moment(one["link_expires"]),
        )
        for one in items
    ]
    heads = ("NAME", "ROLES", "STATE", "CHANGED", "LINK UNTIL")
    session.terminal.show(
        {"items": items}, lambda console: table(console, heads, rows, none="There are no accounts.")
    )


@users.command()
@click.argument("name", metavar="NAME")
@with_session
def disable(session: Session, /, name: str) -> None:
    """End an account and its sessions at once."""
    done = session.hook().post("users", name, "disable").document()
    session.terminal.say(
        done, "Disabled, and signed out everywhere. art18 users reset lets the person in again."
    )


@users.command()
@click.argument("name", metavar="NAME")
@with_session
def reset(session: Session, /, name: str) -> None:
    """Give a person a new one-time link: passphrase, app and sessions end."""
    _show_link(session, session.hook().post("users", name, "reset").document())


def _words(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _show_link(session: Session, made: dict[str, object]) -> None:
    session.terminal.say(
        made,
        f"{plain(made['link'])}\n\nGive this link to {plain(made['name'])}, and nobody else. It works once, "
        f"until {moment(made['link_expires'])}:\n"
        "the person sets a passphrase there and adds an authenticator app.",
    )
