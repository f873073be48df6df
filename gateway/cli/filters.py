"""The options by which entries of the log are chosen."""

from collections.abc import Callable
from typing import TypeVar

import click

_F = TypeVar("_F", bound=Callable[..., object])

_OPTIONS = (
    click.option("--peer", metavar="ID", help="Only about this authority."),
    click.option("--message", metavar="ID", help="Only about this message."),
    click.option("--event", help="Only this event, like relay.accepted."),
    click.option("--after", metavar="TIME", help="Only from this time on, like 2026-11-23T14:05:09.123Z."),
    click.option("--before", metavar="TIME", help="Only up to this time."),
)


def filters(function: _F) -> _F:
    """Give a command --peer, --message, --event, --after and --before."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function
