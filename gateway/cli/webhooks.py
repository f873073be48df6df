"""`art18 webhooks`: where the node tells what happens."""

from collections.abc import Mapping

import click
from rich.console import Console

from gateway.cli.hook import path_of
from gateway.cli.session import Session, with_session
from gateway.cli.terminal import moment, plain, table
from gateway.core.event import FEED_TYPES

_SHOWN = 20


@click.group()
def webhooks() -> None:
    """Webhooks: where the node tells what happens."""


@webhooks.command()
@click.argument("url")
@click.option(
    "--type",
    "types",
    multiple=True,
    type=click.Choice(sorted(FEED_TYPES)),
    metavar="TYPE",
    help="A type of event to tell of; may be repeated. Without it, all.",
)
@with_session
def add(session: Session, /, url: str, types: tuple[str, ...]) -> None:
    """Tell URL of events from now on. The secret of its signatures is shown once."""
    made = session.hook().post("webhooks", document={"url": url, "types": list(types)}).document()
    session.terminal.say(made, _with_secret(made, "art18 webhooks test {} sends an event to try it."))


@webhooks.command(name="list")
@with_session
def list_webhooks(session: Session) -> None:
    """List webhooks."""
    items = session.hook().items("webhooks")
    rows = [(one["id"], one["url"], _types(one), _state(one)) for one in items]
    heads = ("ID", "URL", "TYPES", "STATE")
    session.terminal.show(
        {"items": items}, lambda console: table(console, heads, rows, none="There are no webhooks.")
    )


@webhooks.command()
@click.argument("webhook_id", metavar="ID")
@click.option("--limit", type=click.IntRange(1, 500), default=_SHOWN, show_default=True)
@with_session
def show(session: Session, /, webhook_id: str, limit: int) -> None:
    """Show a webhook, and what was told to it lately."""
    hook = session.hook()
    found = hook.get("webhooks", webhook_id)
    items = hook.items("webhooks", webhook_id, "deliveries", limit=limit)
    rows = [
        (
            one["id"],
            one["type"],
            one["state"],
            one["attempts"],
            one["status"] or one["problem"],
            moment(one["changed"]),
            moment(one["next_attempt"]),
        )
        for one in items
    ]

    def draw(console: Console) -> None:
        console.print(f"{plain(found['url'])}, {_state(found)}; types: {_types(found)}", markup=False)
        heads = ("DELIVERY", "TYPE", "STATE", "ATTEMPTS", "ANSWER", "LAST", "NEXT")
        table(console, heads, rows, none="Nothing was told to it yet.")

    session.terminal.show({**found, "deliveries": items}, draw)


@webhooks.command()
@click.argument("webhook_id", metavar="ID")
@with_session
def test(session: Session, /, webhook_id: str) -> None:
    """Send a webhook an event that tells of nothing."""
    sent = session.hook().post("webhooks", webhook_id, "test").document()
    session.terminal.say(
        sent,
        f"On its way as {plain(sent['id'])}. art18 webhooks show {plain(webhook_id)} says what came of it.",
    )


@webhooks.command()
@click.argument("webhook_id", metavar="ID")
@with_session
def rotate(session: Session, /, webhook_id: str) -> None:
    """Make a new secret; for a day the one before signs too."""
    made = session.hook().post("webhooks", webhook_id, "rotate").document()
    until = moment(made["old_secret_until"])
    session.terminal.say(made, _with_secret(made, f"The secret before it signs too until {until}."))


@webhooks.command()
@click.argument("webhook_id", metavar="ID")
@click.option("--url", help="Where to tell from now on.")
@click.option("--enable/--disable", "enabled", default=None, help="Whether events are told.")
@with_session
def change(session: Session, /, webhook_id: str, url: str | None, *, enabled: bool | None) -> None:
    """Change a webhook; what waits is then tried at once."""
    wanted = {"url": url, "enabled": enabled}
    document = {name: value for name, value in wanted.items() if value is not None}
    if not document:
        raise click.UsageError("Nothing to change: give --url, --enable or --disable.")
    found = session.hook().ask("PATCH", path_of("webhooks", webhook_id), document=document).document()
    session.terminal.say(found, f"{plain(found['url'])}, {_state(found)}.")


@webhooks.command()
@click.argument("webhook_id", metavar="ID")
@with_session
def remove(session: Session, /, webhook_id: str) -> None:
    """End a webhook."""
    session.hook().ask("DELETE", path_of("webhooks", webhook_id))
    session.terminal.say({"id": webhook_id, "removed": True}, "Removed. Nothing more is told to it.")


@webhooks.command()
@click.argument("webhook_id", metavar="ID")
@click.argument("delivery")
@with_session
def redeliver(session: Session, /, webhook_id: str, delivery: str) -> None:
    """Tell a webhook of an event again, by the DELIVERY that `show` names."""
    again = session.hook().post("webhooks", webhook_id, "deliveries", delivery, "redeliver").document()
    session.terminal.say(again, f"{plain(again['id'])} is on its way again.")


def _with_secret(made: Mapping[str, object], then: str) -> str:
    webhook = plain(made["id"])
    return (
        f"{plain(made['secret'])}\n\nKeep it safe: it is not shown again. Receivers of webhook {webhook} "
        f"verify signatures with it.\n{then.format(webhook)}"
    )


def _types(found: Mapping[str, object]) -> str:
    types = found["types"]
    return ", ".join(map(str, types)) if isinstance(types, list) and types else "all"


def _state(found: Mapping[str, object]) -> str:
    if found["enabled"]:
        return "enabled"
    return "disabled: the receiver said that it is gone (410)" if found["problem"] == "gone" else "disabled"
