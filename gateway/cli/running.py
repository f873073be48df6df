"""`art18 run`: the node itself."""

import click

from gateway.app import serve
from gateway.cli.session import Session, with_session


@click.command()
@with_session
def run(session: Session) -> None:
    """Run the node until it is told to stop.

    Prints a line for each door once it is open. SIGTERM and SIGINT let what is under way end.
    """
    serve(session.settings())
