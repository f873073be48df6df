"""`art18 card`: the authority's own card, read and renewed without the node."""

from pathlib import Path

import click
from rich.console import Console

from gateway.app.own_card import archived, read_card, write_card
from gateway.app.renewal import FOR_EVER, ROLES, renew
from gateway.app.system import SystemClock
from gateway.cli.hook import Unreachable
from gateway.cli.program import UsageFault
from gateway.cli.root import own_keys, with_root
from gateway.cli.session import Session, with_session
from gateway.cli.terminal import pairs
from gateway.core.card import Card, build_card, fingerprint, parse_card
from gateway.core.errors import Malformed
from gateway.core.strict import time_text
from keys.vault import write_vault


@click.group()
def card() -> None:
    """The authority's own card: what peers pin."""


@card.command()
@with_session
def show(session: Session) -> None:
    """Show the card and the fingerprint that peers confirm over another channel."""
    own = read_card(session.settings().keys.card)
    session.terminal.show(document(own), lambda console: card_text(console, own))


@card.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@with_session
def export(session: Session, /, file: Path) -> None:
    """Write the card to FILE, to be sent to peers. It holds public keys only."""
    own = read_card(session.settings().keys.card)
    try:
        write_card(file, own.raw)
    except OSError as error:
        raise UsageFault(f"{file} cannot be written: {error.strerror}") from None
    session.terminal.say(
        {"file": str(file), "fingerprint": fingerprint(own), "sequence": own.sequence},
        f"Wrote card {own.sequence} of {own.authority} to {file}.\n"
        "Tell the peer over another channel the fingerprint of the root key:\n\n"
        f"  {fingerprint(own)}",
    )


@card.command(name="renew")
@with_root
@click.option(
    "--rotate",
    multiple=True,
    type=click.Choice([*ROLES, *FOR_EVER]),
    help="Make a new key for this role; the old one stays for 90 days. May be repeated.",
)
@click.option(
    "--endpoint", "endpoints", multiple=True, metavar="URL", help="Where peers reach the node from now on."
)
@with_session
def renew_card(
    session: Session,
    /,
    root_file: Path,
    root_passphrase_file: Path | None,
    rotate: tuple[str, ...],
    endpoints: tuple[str, ...],
) -> None:
    """Sign a successor of the card with the root key, valid for two years from now.

    A running node takes it up at once, another at its next start; peers fetch it by themselves.
    """
    settings = session.settings()
    keys = own_keys(settings, root_file, root_passphrase_file)
    own = keys.own
    plan, renewed = renew(own, keys.keyring, rotate, endpoints or own.endpoints, SystemClock().now_ms())
    try:
        raw = build_card(plan, [keys.root])
    except Malformed as fault:
        raise UsageFault(f"--endpoint: {fault}") from None
    # In this order a crash leaves keys that no card names, never a card whose keys are missing.
    write_vault(settings.keys.vault, renewed, keys.passphrase, replace=True)
    write_card(archived(settings.keys.card, own.sequence), own.raw)
    write_card(settings.keys.card, raw)
    successor = parse_card(raw)
    taken_up = _hand_over(session, raw)
    later = "The node has taken it up." if taken_up else "The node takes it up at its next start."
    session.terminal.say(
        {**document(successor), "taken_up": taken_up},
        f"Card {successor.sequence} of {successor.authority} is signed, valid until "
        f"{time_text(successor.expires_ms)}.\n{later} Peers fetch it within the hour.\n"
        "Put the root key away again.",
    )


def document(own: Card) -> dict[str, object]:
    """Return what a program wants to know of a card."""
    return {
        "authority": own.authority,
        "fingerprint": fingerprint(own),
        "sequence": own.sequence,
        "sha256": own.sha256,
        "issued": time_text(own.issued_ms),
        "expires": time_text(own.expires_ms),
        "endpoints": list(own.endpoints),
        "log": own.log.origin,
        "witness": own.witness.name,
        "signing": [key.kid for key in own.signing],
        "sealing": [key.kid for key in own.sealing],
    }


def card_text(console: Console, own: Card) -> None:
    """Print a card for a person."""
    pairs(
        console,
        [
            ("authority", own.authority),
            ("fingerprint", fingerprint(own)),
            ("sequence", own.sequence),
            ("issued", time_text(own.issued_ms)),
            ("expires", time_text(own.expires_ms)),
            ("endpoints", ", ".join(own.endpoints)),
            ("audit log", own.log.origin),
            *(("signing key", f"{key.kid} until {time_text(key.window.until_ms)}") for key in own.signing),
            *(("sealing key", f"{key.kid} until {time_text(key.window.until_ms)}") for key in own.sealing),
            *(("certificate", f"until {time_text(one.window.until_ms)}") for one in own.tls),
        ],
    )


def _hand_over(session: Session, raw: bytes) -> bool:
    """Tell a running node of its new card; return whether one runs."""
    try:
        session.hook().ask("POST", "/card", body=raw, headers={"Content-Type": "application/json"})
    except Unreachable:
        return False
    return True
