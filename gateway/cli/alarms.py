"""`art18 alarms`: what an operator must be told."""

import click

from gateway.cli.session import Session, with_session
from gateway.cli.terminal import moment, table


@click.command()
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, help="At most so many.")
@with_session
def alarms(session: Session, /, *, limit: int) -> None:
    """List the alarms that stand, the newest first."""
    items = session.hook().items("alarms", limit=limit)
    rows = [
        (moment(one["raised"]), one["code"], one["subject"], one["detail"], one.get("description"))
        for one in items
    ]
    heads = ("RAISED", "ALARM", "ABOUT", "DETAIL", "MEANING")
    session.terminal.show(
        {"items": items}, lambda console: table(console, heads, rows, none="There are no alarms.")
    )
