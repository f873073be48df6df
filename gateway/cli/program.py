"""The group of all commands, and what an error becomes: a text on standard error, an exit code."""

import importlib
import json
from pathlib import Path
from typing import IO

import click
from typing_extensions import override

from gateway.core.errors import Flaw, GatewayFault, Malformed, Misconfigured, NotProved, Unavailable
from keys.errors import KeyFault, VaultFault

JSON = "art18.json"
"""In the context's meta: whether errors are told as JSON too."""
DEFAULTS = "art18.defaults"
"""In the context's meta: `--config` and `--output` as given before the command."""

COMMANDS = {
    "init": ("setup", "Create a node: data folder, keys and card."),
    "run": ("running", "Run the node until it is told to stop."),
    "card": ("card", "The own card: show, export, renew."),
    "profile": ("profile", "The own profile, what is accepted and required: show, publish."),
    "peers": ("peers", "Other authorities: add, list, show, check, suspend, activate."),
    "new": ("drafting", "Print a draft of a kind of message to fill in, or list the kinds."),
    "validate": ("checking", "Check a draft, and send nothing."),
    "send": ("sending", "Send a message, with attachments."),
    "inbox": ("messages", "List messages that came in."),
    "outbox": ("messages", "List messages on their way, and sent ones."),
    "show": ("messages", "Show a message: its state and what happened to it."),
    "cases": ("cases", "List cases."),
    "case": ("cases", "Show a case: state, clocks, messages, what may be sent next."),
    "alarms": ("alarms", "List what an operator must be told."),
    "fetch": ("fetching", "Write a message and its attachments to a folder, digests checked."),
    "acknowledge": ("messages", "Confirm that a message's content was taken over."),
    "retry": ("messages", "Try to deliver a message now."),
    "release": ("messages", "Sign and queue a held message anew."),
    "cancel": ("messages", "Give up a held message."),
    "evidence": ("evidence", "Write what proves the fate of a message to a file, for a stranger."),
    "verify": ("verifying", "Say what evidence in a file proves: off line, without a node."),
    "audit": ("audit", "The audit log: list, show, prove, find, export, verify, new epochs."),
    "erase": ("retention", "Erase content by two operators: show, propose, confirm, withdraw, list."),
    "hold": ("retention", "Legal holds, which keep a case from being erased: add, remove, list."),
    "token": ("tokens", "Tokens of the hook: create, list, revoke."),
    "users": ("users", "Accounts of the operators' console: add, list, disable, reset."),
    "webhooks": ("webhooks", "Webhooks: add, list, show, test, rotate, change, remove, redeliver."),
}
"""Each command: the module that has it, and what help says about it."""


class UsageFault(click.UsageError):
    """The command line, or a file that it names, is not right (exit 2)."""


class Failure(click.ClickException):
    """A command failed: refused or not found, unless a subclass says otherwise."""

    exit_code = 1

    def __init__(self, text: str, flaws: tuple[Flaw, ...] = ()) -> None:
        super().__init__(text)
        self.flaws = flaws
        self.json = bool(click.get_current_context().meta.get(JSON))

    @override
    def show(self, file: IO[str] | None = None) -> None:
        if self.json:
            flaws = [{"pointer": flaw.pointer, "detail": flaw.detail} for flaw in self.flaws]
            document = {"error": self.message, "exit_code": self.exit_code, "errors": flaws}
            click.echo(json.dumps(document, ensure_ascii=False), file=file, err=True)
            return
        click.echo(f"art18: {self.message}", file=file, err=True)
        for flaw in self.flaws:
            click.echo(f"  {flaw.pointer or '/'}: {flaw.detail}", file=file, err=True)


class UnreachableFailure(Failure):
    """The node cannot be reached."""

    exit_code = 3


class UnverifiedFailure(Failure):
    """A proof, a digest or a signature does not hold."""

    exit_code = 4


class MisconfiguredFailure(Failure):
    """Settings, keys or data folder are not as they should be."""

    exit_code = 5


class Program(click.Group):
    """The root: finds commands, and turns the faults of the gateway into failures."""

    @override
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    @override
    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command = getattr(importlib.import_module(f"gateway.cli.{COMMANDS[cmd_name][0]}"), cmd_name)
        assert isinstance(command, click.Command)  # noqa: S101 - narrows what the table names
        return command

    @override
    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])

    @override
    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except (GatewayFault, KeyFault) as fault:
            raise failure(fault) from None


def failure(fault: GatewayFault | KeyFault) -> Failure:
    """Return *fault* as what the caller of a command sees."""
    match fault:
        case Unavailable():
            return UnreachableFailure(str(fault))
        case Misconfigured() | VaultFault():
            return MisconfiguredFailure(str(fault))
        case NotProved() | Malformed() | KeyFault():
            return UnverifiedFailure(f"verification failed: {fault}")
        case _:
            return Failure(str(fault), getattr(fault, "flaws", ()))


@click.group(cls=Program, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="article18-gateway", prog_name="art18")
@click.option("--config", type=click.Path(path_type=Path), help="The node's config.toml.")
@click.option("--output", type=click.Choice(["text", "json"]), help="For a person, or for a program.")
@click.pass_context
def art18(context: click.Context, config: Path | None, output: str | None) -> None:
    """Send and receive requests for mutual legal assistance, authority to authority.

    \b
    Exit codes: 0 done; 1 refused or not found; 2 usage; 3 the node cannot be reached;
    4 verification failed; 5 misconfigured.
    """  # noqa: D301 - \b is click's mark for lines that are not to be wrapped
    context.meta[DEFAULTS] = (config, output)
    context.meta[JSON] = output == "json"
