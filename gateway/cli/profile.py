"""`art18 profile`: what the authority accepts and requires, shown and published."""

from pathlib import Path

import click

from gateway.cli.drafts import read_draft
from gateway.cli.profile_text import describe_profile
from gateway.cli.session import Session, with_session
from gateway.core.strict import as_object


@click.group()
def profile() -> None:
    """The authority's own profile: what it accepts and requires."""


@profile.command()
@with_session
def show(session: Session, /) -> None:
    """Show the profile in force."""
    found = session.hook().get("profile")
    session.terminal.show(found, lambda console: describe_profile(console, as_object(found["profile"])))


@profile.command()
@click.argument("file", metavar="FILE", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--dry-run", is_flag=True, help="Say what is wrong or would be published, and publish nothing.")
@with_session
def publish(session: Session, /, *, file: Path, dry_run: bool) -> None:
    """Sign the profile in FILE, TOML or JSON, and put it in force; peers fetch it by themselves.

    FILE says everything but version, type, authority, sequence and time, which the node fills in.
    """
    query = {"dry_run": "true" if dry_run else None}
    made = session.hook().post("profile", document=read_draft(file), query=query).document()
    if dry_run:
        session.terminal.show(made, lambda console: describe_profile(console, as_object(made["profile"])))
        if not session.terminal.json:
            session.terminal.say(made, "\nNothing was published; it could be.")
        return
    found = as_object(made["profile"])
    session.terminal.say(
        made,
        f"Profile {made['sequence']} of {found['authority']} is in force. Peers fetch it within the hour.",
    )
