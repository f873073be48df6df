"""`art18 audit new-epoch` and `confirm-clock`: the way out for a node that does not sign."""

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gateway.app.system import SystemClock, SystemEntropy
from gateway.cli.program import UsageFault
from gateway.cli.root import OwnKeys, own_keys, with_root
from gateway.cli.session import Session, with_session
from gateway.config import Settings
from gateway.core.card import Card

if TYPE_CHECKING:
    from gateway.app.epoch import Outlook


@click.command(name="new-epoch")
@with_root
@click.option("--by", required=True, metavar="NAME", help="Who decides this; kept on record.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@with_session
def new_epoch(
    session: Session, /, root_file: Path, root_passphrase_file: Path | None, *, by: str, yes: bool
) -> None:
    """Take the audit log up again from an old copy, as a new epoch, while the node does not run.

    For a node that does not sign because its peers know more of its log than it has. The log gets a new
    name and new keys, and goes on from where it ends here; its card names them, and peers send again what
    was lost. It tells what peers know, and asks. If it is interrupted, run it again.
    """
    if not by.strip():
        raise UsageFault("--by: a name")
    settings = session.settings()
    keys = own_keys(settings, root_file, root_passphrase_file)
    asyncio.run(_open(session, settings, keys, by, yes=yes))


async def _open(session: Session, settings: Settings, keys: OwnKeys, by: str, *, yes: bool) -> None:
    # The store takes a while to load, which other commands of this group can do without.
    from gateway.app.epoch import opening  # noqa: PLC0415 - see above

    async with opening(settings, keys.keyring, SystemClock(), SystemEntropy()) as found:
        card = found.finished()
        if card is not None:
            _say(session, card, found.store.size - 1)
            return
        with session.terminal.status("asking the peers"):
            outlook = await found.outlook()
        if outlook.needless:
            _say(session, found.card, found.store.size - 1)
            return
        if not yes:
            _ask(session, outlook)
        opened = await found.open(outlook, keys.root, keys.passphrase, by)
        _say(session, opened, outlook.size)


def _ask(session: Session, outlook: "Outlook") -> None:
    session.terminal.err.print(_text(outlook), markup=False, highlight=False)
    if not sys.stdin.isatty():
        raise UsageFault("there is nobody to ask: say --yes if this is what you want")
    click.confirm("Open the new epoch?", abort=True, err=True)


def _text(outlook: "Outlook") -> str:
    lines = [f"The log {outlook.origin} has {outlook.size} entries here."]
    if outlook.known is None:
        lines.append("No peer that answers holds a checkpoint of it.")
    else:
        peer, known = outlook.known
        lines.append(f"{peer} holds a checkpoint of {known.size} entries.")
        if not outlook.contradicted:
            lines.append("No peer knows of more than is here: a new epoch is hardly needed.")
    if outlook.silent:
        lines.append(f"No answer came from {', '.join(outlook.silent)}.")
    lines += [
        f"It will go on as {outlook.next_origin} from entry {outlook.size}, under new keys.",
        "What this node has signed beyond that stays a proof in the hands of others. This cannot be undone.",
    ]
    return "\n".join(lines)


def _say(session: Session, card: Card, size: int) -> None:
    session.terminal.say(
        {"authority": card.authority, "log": card.log.origin, "restored_size": size, "card": card.sequence},
        f"The log goes on as {card.log.origin} from entry {size}, under card {card.sequence}.\n"
        "Start the node: art18 run. Peers pin the card when they see it, and send again what was lost.\n"
        "Put the root key away again.",
    )


@click.command(name="confirm-clock")
@click.option("--by", required=True, metavar="NAME", help="Who says so; kept on record.")
@with_session
def confirm_clock(session: Session, /, by: str) -> None:
    """Confirm that the clock of this machine is right, although peers have another time or it jumped.

    Until then the node records and signs nothing. It holds until the clock agrees, jumps again, or the
    node is started anew.
    """
    answer = session.hook().post("clock", "confirm", document={"by": by}).document()
    session.terminal.say(answer, "The clock is confirmed: the node records and signs again.")
