"""`python -m gateway.cli.demo [--serve] [--case N]`: exit code 0 only if every check held."""

import signal
import sys
import tempfile
from pathlib import Path

import click
from rich.console import Console

import schemas
from gateway.cli.demo.authority import Authority, Broken
from gateway.cli.demo.story import Story
from gateway.core.errors import GatewayFault
from keys.errors import KeyFault


@click.command()
@click.option("--serve", is_flag=True, help="Leave both nodes up until Ctrl-C.")
@click.option("--case", "number", type=int, default=2, show_default=True, help="Which sample case is played.")
def demo(*, serve: bool, number: int) -> None:
    """Play a sample case between two nodes on this machine."""
    console = Console(highlight=False, emoji=False, markup=False, soft_wrap=not sys.stdout.isatty())
    try:
        case = schemas.sample(number)
    except FileNotFoundError:
        raise click.BadParameter(f"there is no sample case {number}") from None
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that no node is left behind
    with tempfile.TemporaryDirectory(prefix="art18-demo-") as name:
        requesting, requested = (
            Authority(Path(name), case["parties"][side]) for side in ("requesting", "requested")
        )
        try:
            Story(console, requesting, requested).play(case, serve=serve)
        except (Broken, GatewayFault, KeyFault, click.ClickException) as fault:
            text = fault.message if isinstance(fault, click.ClickException) else str(fault)
            console.print(f"\n✗ {text}", style="bold red")
            for side in (requesting, requested):
                console.print(side.last_words(), style="dim")
            sys.exit(1)
        finally:
            for side in (requesting, requested):
                side.kill()


if __name__ == "__main__":
    demo()
