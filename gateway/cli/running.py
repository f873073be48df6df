"""`art18 run`: the node itself."""

import click

from gateway.app import serve
from gateway.cli.program import UsageFault
from gateway.cli.session import Session, with_session


@click.command()
@click.option(
    "--unwitnessed",
    metavar="REASON",
    help="Start a restored node although no peer can say whether it is an old copy; kept on record.",
)
@with_session
def run(session: Session, /, unwitnessed: str | None) -> None:
    """Run the node until it is told to stop.

    Before it records or signs anything it asks its peers how far they know its log to be: an old copy
    does not start. Prints a line for each door once it is open. SIGTERM and SIGINT let what is under way
    end.
    """
    if unwitnessed is not None and not unwitnessed.strip():
        raise UsageFault("--unwitnessed: say why")
    serve(session.settings(), unwitnessed=unwitnessed)
