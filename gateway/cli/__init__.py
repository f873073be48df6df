"""`art18`: the command line, a client of the hook beside a few commands that need no node.

A command's module is imported when the command is used, so that help comes at once.
"""

from gateway.cli.program import art18

__all__ = ["main"]


def main() -> None:
    """Run `art18` with the arguments of this process."""
    art18.main(prog_name="art18")
