"""Whom a command that verifies off line is told to trust: `--root ID=FINGERPRINT` and `--policy FILE`."""

import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import click

from gateway.cli.program import UsageFault
from gateway.core.errors import Malformed
from gateway.core.trust import Trust, parse_policy, parse_root

_F = TypeVar("_F", bound=Callable[..., object])


def trusting(function: _F) -> _F:
    """Give a command the options `root` (a tuple of texts) and `policy` (a path or None)."""
    function = click.option(
        "--root",
        metavar="ID=FINGERPRINT",
        multiple=True,
        help="The root key of an authority, as art18 card show prints it there. For each authority.",
    )(function)
    return click.option(
        "--policy",
        metavar="FILE",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        help="A TOML file with roots and witnesses that count.",
    )(function)


def trust_of(root: Sequence[str], policy: Path | None) -> Trust:
    """Return what the options say. Raises UsageFault."""
    trust = Trust()
    for text in root:
        try:
            trust = trust.joined(parse_root(text))
        except Malformed as fault:
            raise UsageFault(f"--root {text}: {fault}") from None
    if policy is None:
        return trust
    try:
        return trust.joined(parse_policy(tomllib.loads(policy.read_text(encoding="utf-8"))))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise UsageFault(f"--policy: {policy} is not TOML: {error}") from None
    except Malformed as fault:
        raise UsageFault(f"--policy: {policy}: {fault}") from None
