"""`art18 peers`: the other authorities, and the ceremony by which they are pinned."""

from collections.abc import Mapping
from pathlib import Path

import click
from rich.console import Console

from gateway.cli.profile_text import describe_profile
from gateway.cli.program import Failure, UsageFault
from gateway.cli.session import Session, with_session
from gateway.cli.terminal import moment, pairs, plain, table
from gateway.core.card import Card, fingerprint, parse_card
from gateway.core.errors import Malformed, NotProved, Untrusted
from gateway.core.strict import as_list, as_object

_ADVICE = {
    "suspended": "it is suspended, here (art18 peers activate ends that) or over there",
    "card_expired": "its pinned card has expired; ask the authority for a new one",
    "clock_apart": "its clock and ours are more than five minutes apart",
    "newer_card": "it has a newer card, which is fetched within the hour",
    "other_card": "it shows another card with the pinned one's sequence: ask the authority what happened",
    "bad_card": "it shows no card that holds",
    "wrong_authority": "another authority answers at its address",
    "bad_profile": "it shows a profile that does not hold, or another with the sequence of the one at hand",
    "bad_answer": "it answers in another form than the protocol has",
    "unreachable": "nobody answers at its address",
    "timeout": "it does not answer in time",
    "tls": "no handshake: it has not pinned our card, or its key is not the one in its pinned card",
    "wrong_sender": "it no longer has our certificate pinned",
}
_NO_PROFILE = "No profile of it is at hand: what it accepts and requires is not known here."


@click.group()
def peers() -> None:
    """The other authorities: pinned in a ceremony, listed, checked, suspended."""


@peers.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--id", "authority", required=True, metavar="ID", help="The authority id that was confirmed.")
@click.option(
    "--fingerprint",
    "confirmed",
    required=True,
    metavar="F",
    help="The fingerprint that the authority confirmed over another channel.",
)
@with_session
def add(session: Session, /, *, file: Path, authority: str, confirmed: str) -> None:
    """Pin the card in FILE, once its fingerprint was confirmed over another channel.

    Never take the fingerprint from where the card came from: a note verbale or a call to a number
    that you know is the proof that the card is the authority's.
    """
    card = _read(file)
    if card.authority != authority:
        raise NotProved(f"{file} is the card of {card.authority}, not of {authority}; nothing was pinned")
    if _plain(confirmed) != _plain(fingerprint(card)):
        raise NotProved(
            f"the card in {file} has the fingerprint {fingerprint(card)}, which is not the one given; "
            f"nothing was pinned. Ask {authority} over another channel"
        )
    document = {"card": card.raw.decode(), "id": authority, "fingerprint": confirmed}
    made = session.hook().post("peers", document=document).document()
    session.terminal.say(
        made,
        f"Pinned card {made['sequence']} of {authority}.\nart18 peers check {authority} dials its node.",
    )


@peers.command(name="list")
@with_session
def list_peers(session: Session, /) -> None:
    """List the authorities whose cards are pinned."""
    items = session.hook().items("peers")
    heads = ("ID", "STATE", "CARD", "EXPIRES", "PROFILE", "QUEUED", "PROBLEM")
    rows = [
        (
            one["id"],
            one["state"],
            one["sequence"],
            moment(one["expires"]),
            one["profile_sequence"],
            one["queued"],
            one["problem"],
        )
        for one in items
    ]
    none = "No authority is pinned yet; art18 peers add FILE pins one."
    session.terminal.show({"items": items}, lambda console: table(console, heads, rows, none=none))


@peers.command()
@click.argument("authority", metavar="ID")
@with_session
def show(session: Session, /, authority: str) -> None:
    """Show a peer: its pinned card, and its profile, which says what it accepts and requires."""
    found = session.hook().get("peers", authority)
    session.terminal.show(found, lambda console: _describe(console, found))


@peers.command()
@click.argument("authority", metavar="ID")
@with_session
def check(session: Session, /, authority: str) -> None:
    """Dial a peer's node, and say what is wrong if anything is."""
    found = session.hook().post("peers", authority, "check").document()
    problems = [str(problem) for problem in as_list(found["problems"])]
    if found["reachable"]:
        session.terminal.say(found, f"{authority} answers. {_profile_at_hand(found, problems)}")
    elif session.terminal.json:
        session.terminal.say(found, "")
    if problems:
        advice = "; ".join(_ADVICE.get(problem, plain(problem)) for problem in problems)
        raise Failure(f"{authority}: {advice}")


@peers.command()
@click.argument("authority", metavar="ID")
@with_session
def suspend(session: Session, /, authority: str) -> None:
    """Serve a peer no more and send it nothing, at once and until it is activated."""
    found = session.hook().post("peers", authority, "suspend").document()
    session.terminal.say(found, f"{authority} is suspended. art18 peers activate {authority} ends that.")


@peers.command()
@click.argument("authority", metavar="ID")
@with_session
def activate(session: Session, /, authority: str) -> None:
    """Serve a suspended peer again; what waited for it goes on."""
    found = session.hook().post("peers", authority, "activate").document()
    session.terminal.say(found, f"{authority} is active.")


def _read(path: Path) -> Card:
    try:
        return parse_card(path.read_bytes())
    except OSError as error:
        raise UsageFault(f"{path} cannot be read: {error.strerror}") from None
    except Malformed as fault:
        raise UsageFault(f"{path} is not a card: {fault}") from None
    except Untrusted as fault:
        raise Untrusted(f"the card in {path} was altered: {fault}") from None


def _describe(console: Console, found: Mapping[str, object]) -> None:
    pairs(
        console,
        [
            ("authority", found["id"]),
            ("state", found["state"]),
            ("fingerprint", found["fingerprint"]),
            ("card", f"{found['sequence']}, expires {moment(found['expires'])}"),
            ("endpoints", ", ".join(str(endpoint) for endpoint in as_list(found["endpoints"]))),
            ("audit log", found["log"]),
            ("pinned", moment(found["added"])),
            ("queued", found["queued"]),
            *([("problem", found["problem"])] if found["problem"] else []),
            *([("next attempt", moment(found["next_attempt"]))] if found["next_attempt"] else []),
        ],
    )
    console.print()
    if found["profile"] is None:
        console.print(_NO_PROFILE)
    else:
        describe_profile(console, as_object(found["profile"]))


def _profile_at_hand(found: Mapping[str, object], problems: list[str]) -> str:
    """Say which profile of a peer that answers is here."""
    if found["newer_profile"] is not None:
        return f"Its profile {found['newer_profile']} is being fetched."
    if found["profile_sequence"] is not None:
        return f"Its profile {found['profile_sequence']} is at hand."
    return "No profile of it is at hand." if problems else "It has published no profile."


def _plain(text: str) -> str:
    """Return a fingerprint without spaces, colons and case."""
    return "".join(text.split()).replace(":", "").lower()
