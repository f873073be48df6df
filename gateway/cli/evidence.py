"""`art18 evidence`: the bundle that proves what became of a message, written to a file."""

from pathlib import Path

import click

from gateway.app.own_card import read_card
from gateway.cli.hook import path_of
from gateway.cli.messages import which
from gateway.cli.program import UnverifiedFailure, UsageFault
from gateway.cli.session import Session, with_session
from gateway.core.card import parse_card
from gateway.core.evidence import examine
from gateway.core.strict import sha256
from gateway.core.trust import Trust


@click.command()
@which
@click.option(
    "-o",
    "file",
    required=True,
    metavar="FILE.zip",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Where to.",
)
@with_session
def evidence(session: Session, /, *, message: str, peer: str | None, file: Path) -> None:
    """Write the evidence about a message to FILE, verified first.

    It holds the message itself: who gets the file can read it. The node logs that it was read.
    """
    hook = session.hook()
    raw = hook.ask("GET", path_of("messages", message, "evidence"), query={"peer": peer}).body
    found = hook.get("messages", message, query={"peer": peer})
    own = read_card(session.settings().keys.card)
    other = parse_card(str(hook.get("peers", str(found["peer"]))["card"]).encode())
    trust = Trust({card.authority: frozenset({sha256(card.root[0])}) for card in (own, other)})
    shown = examine(raw, trust)
    if not shown.holds:
        what = shown.failure.code if shown.failure is not None else "nobody authenticated"
        raise UnverifiedFailure(f"the bundle that the node gave does not hold ({what}); nothing was written")
    try:
        file.write_bytes(raw)
    except OSError as error:
        raise UsageFault(f"-o: {file} cannot be written: {error.strerror}") from None
    proved = sum(one.proved for one in shown.findings)
    open_ = [one.text for one in shown.findings if not one.proved]
    session.terminal.say(
        {"file": str(file), "message": found["id"], "proved": proved, "not_proved": open_},
        "\n".join(
            [
                f"Wrote {file}: {proved} things are proved with it.",
                *(f"Not proved: {text}" for text in open_),
                f"Verify it with: art18 verify {file} --root {own.authority}=… --root {other.authority}=…",
            ]
        ),
    )
