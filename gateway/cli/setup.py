"""`art18 init`: a new node."""

from pathlib import Path
from typing import TypedDict, Unpack

import click
from pydantic import ValidationError

from gateway.app.system import SystemClock
from gateway.cli.foundation import OFFLINE, Founding, found
from gateway.cli.program import UsageFault
from gateway.cli.session import Session, with_session
from gateway.config import Authority
from gateway.core.card import Card, fingerprint
from gateway.core.errors import Malformed
from gateway.core.ids import AuthorityId

_PORT = click.IntRange(0, 65535)


class Options(TypedDict):
    """What `init` is told beside the folder."""

    authority: str
    country: str
    name: str
    domain: str
    endpoints: tuple[str, ...]
    federation_port: int | None
    hook_port: int | None
    console_port: int | None
    passphrase_file: Path | None


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(file_okay=False, path_type=Path))
@click.option("--authority", required=True, metavar="ID", help="The authority id, like qm.moj.")
@click.option("--country", required=True, metavar="CC", help="ISO 3166-1 code, like QM.")
@click.option("--name", required=True, help="The authority's name, for people.")
@click.option("--domain", required=True, help="The authority's domain, like moj.qm.example.")
@click.option(
    "--endpoint",
    "endpoints",
    required=True,
    multiple=True,
    metavar="URL",
    help="Where peers reach the node, like https://gateway.moj.qm.example:8443. May be repeated.",
)
@click.option("--federation-port", type=_PORT, help="Listen for peers here.  [default: 8443]")
@click.option("--hook-port", type=_PORT, help="Listen for own systems here.  [default: 8480]")
@click.option("--console-port", type=_PORT, help="Listen for browsers here.  [default: 8490]")
@click.option(
    "--passphrase-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Take the key store's passphrase from this file, instead of drawing one.",
)
@with_session
def init(session: Session, /, folder: Path, **options: Unpack[Options]) -> None:
    """Create a node in the new folder DIR: settings, keys and the signed card.

    The root key, which signs cards, is put apart in DIR/offline: move it off this machine.
    """
    founding = _founding(options)
    try:
        card = found(folder, founding, SystemClock().now_ms())
    except Malformed as fault:
        raise UsageFault(f"--endpoint: {fault}") from None
    session.terminal.say(_document(folder, card), _text(folder, card, founding.passphrase_file))


def _founding(options: Options) -> Founding:
    country = options["country"]
    try:
        authority = Authority(
            id=options["authority"], country=country, name=options["name"], domain=options["domain"]
        )
    except ValidationError as error:
        raise UsageFault("\n".join(_flaw(flaw["loc"][0], flaw["msg"]) for flaw in error.errors())) from None
    if not authority.id.startswith(country.lower()):
        raise UsageFault(f"--authority: the id of an authority of {country} begins with {country.lower()}")
    ports = {
        "federation": options["federation_port"],
        "hook": options["hook_port"],
        "console": options["console_port"],
    }
    return Founding(
        authority=AuthorityId(authority.id),
        country=country,
        name=authority.name,
        domain=authority.domain,
        endpoints=options["endpoints"],
        ports={door: port for door, port in ports.items() if port is not None},
        passphrase_file=options["passphrase_file"],
    )


def _flaw(key: object, text: str) -> str:
    return f"--{'authority' if key == 'id' else key}: {text.removeprefix('Value error, ')}"


def _document(folder: Path, card: Card) -> dict[str, object]:
    return {
        "authority": card.authority,
        "folder": str(folder),
        "config": str(folder / "config.toml"),
        "fingerprint": fingerprint(card),
        "card_sha256": card.sha256,
        "offline": str(folder / OFFLINE),
    }


def _text(folder: Path, card: Card, passphrase_file: Path | None) -> str:
    return f"""\
The node of {card.authority} is set up in {folder}.

  config.toml    its settings
  vault          its private keys, encrypted; opened by {passphrase_file or "the file passphrase"}
  card.json      its card: public keys and {", ".join(card.endpoints)}
  cli.token      what lets this command line in
  {OFFLINE}/       the root key and its passphrase

Fingerprint of the root key, for peers to confirm over another channel:

  {fingerprint(card)}

What to do next:

  1. Move {folder / OFFLINE} off this machine, key and passphrase apart. It is needed only to
     renew the card (art18 card renew); who holds it can speak for the authority.
  2. Start the node:      art18 run --config {folder / "config.toml"}
  3. Exchange cards:      art18 card export FILE, and art18 peers add FILE for each peer.
  4. Let operators in:    art18 users add NAME --role admin prints a link for a browser."""
