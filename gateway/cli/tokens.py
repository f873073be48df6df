"""`art18 token`: who may use the hook."""

import time
from collections.abc import Mapping

import click

from gateway.cli.hook import path_of
from gateway.cli.session import Session, with_session
from gateway.cli.terminal import moment, plain, table
from gateway.core.strict import parse_time, time_text
from gateway.web.tokens import Scope

_DAY_MS = 24 * 3_600_000
_LONGEST_DAYS = 3650


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
@click.option(
    "--expires",
    "days",
    type=click.IntRange(1, _LONGEST_DAYS),
    metavar="DAYS",
    help="How long it is good for; without this, until it is revoked.",
)
@with_session
def create(session: Session, /, *, scopes: tuple[str, ...], name: str, days: int | None) -> None:
    """Make a token. It is shown once; the node keeps only its hash."""
    document: dict[str, object] = {"scopes": list(dict.fromkeys(scopes)), "name": name or "unnamed"}
    if days is not None:
        document["expires"] = time_text(_now_ms() + days * _DAY_MS)
    made = session.hook().post("tokens", document=document).document()
    until = f" until {moment(made['expires'])}" if made.get("expires") else ""
    session.terminal.say(
        made,
        f"{plain(made['token'])}\n\nKeep it safe: it is not shown again.\n"
        f"It may {_words(made['scopes'])}{until}.\nart18 token revoke {plain(made['id'])} ends it.",
    )


@token.command(name="list")
@with_session
def list_tokens(session: Session) -> None:
    """List tokens, those that have ended too. The last use is known to five minutes."""
    items = session.hook().items("tokens")
    now_ms = _now_ms()
    rows = [
        (
            one["id"],
            one["name"],
            _words(one["scopes"]),
            _state(one, now_ms),
            moment(one["created"]),
            moment(one.get("last_used")),
            moment(one.get("expires")),
        )
        for one in items
    ]
    heads = ("ID", "NAME", "SCOPES", "STATE", "CREATED", "LAST USED", "EXPIRES")
    session.terminal.show(
        {"items": items}, lambda console: table(console, heads, rows, none="There are no tokens.")
    )


@token.command()
@click.argument("token_id", metavar="ID")
@with_session
def revoke(session: Session, /, token_id: str) -> None:
    """End a token at once."""
    session.hook().ask("DELETE", path_of("tokens", token_id))
    session.terminal.say(
        {"id": token_id, "revoked": True}, "Revoked. Requests under it are refused from now on."
    )


def _state(one: Mapping[str, object], now_ms: int) -> str:
    """Say whether a token is good at *now_ms*."""
    if one.get("revoked"):
        return f"revoked {moment(one['revoked'])}"
    return "expired" if one.get("expires") and parse_time(one["expires"]) <= now_ms else "good"


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _words(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
