"""`art18 audit`: the audit log, read and verified here, without trust in the node that serves it."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TypeVar

import click

from gateway.app.own_card import read_card
from gateway.cli.epoch import confirm_clock, new_epoch
from gateway.cli.hook import Hook, path_of
from gateway.cli.program import UsageFault
from gateway.cli.session import Session, with_session
from gateway.cli.terminal import moment, pairs, table
from gateway.cli.witnesses import forks, witnesses
from gateway.core.card import Card
from gateway.core.entry import Entry, parse_entry
from gateway.core.errors import NotIncluded, Untrusted, WrongSubject
from gateway.core.merkle import Frontier, leaf_hash, verify_inclusion
from gateway.core.note import Checkpoint, verify_checkpoint
from gateway.core.proof import Receipt, parse_proof
from gateway.core.strict import time_text

_PAGE = 500
_F = TypeVar("_F", bound=Callable[..., object])


def _filters(function: _F) -> _F:
    for option in (
        click.option("--peer", metavar="ID", help="Only about this authority."),
        click.option("--message", metavar="ID", help="Only about this message."),
        click.option("--event", help="Only this event, like relay.accepted."),
        click.option(
            "--after", metavar="TIME", help="Only from this time on, like 2026-11-23T14:05:09.123Z."
        ),
        click.option("--before", metavar="TIME", help="Only up to this time."),
        click.option(
            "--limit", type=click.IntRange(1), default=100, show_default=True, help="At most so many."
        ),
    ):
        function = option(function)
    return function


@click.group()
def audit() -> None:
    """The audit log: list, show, prove, verify. The node logs that it was read."""


audit.add_command(witnesses)
audit.add_command(forks)


@audit.command(name="list")
@_filters
@with_session
def list_entries(session: Session, /, *, limit: int, **asked: str | None) -> None:
    """List entries, oldest first."""
    items = session.hook().items("audit", "entries", query=asked, limit=limit)
    found = [(item["index"], parse_entry(_leaf(item))) for item in items]
    rows = [
        (
            index,
            moment(time_text(one.time_ms)),
            one.event,
            one.peer,
            one.message_id,
            one.reason or one.outcome,
        )
        for index, one in found
    ]
    heads = ("N", "TIME", "EVENT", "PEER", "MESSAGE", "OUTCOME")
    session.terminal.show(
        {"items": items}, lambda console: table(console, heads, rows, none="No entry is like that.")
    )


@audit.command()
@click.argument("number", metavar="N", type=click.IntRange(0))
@with_session
def show(session: Session, /, number: int) -> None:
    """Show entry N with every member that it has."""
    item = session.hook().get("audit", "entries", str(number))
    entry = parse_entry(_leaf(item))
    session.terminal.show(item, lambda console: pairs(console, _members(number, entry)))


@audit.command()
@click.argument("number", metavar="N", type=click.IntRange(0))
@click.option(
    "-o",
    "file",
    required=True,
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Where to.",
)
@with_session
def prove(session: Session, /, number: int, file: Path) -> None:
    """Write entry N and the proof that the log contains it, verified first.

    FILE gets a receipt: the entry's exact text and a C2SP tlog-proof that ends in a signed
    checkpoint. Whoever has the authority's card can verify it.
    """
    hook, card = session.hook(), read_card(session.settings().keys.card)
    leaf = _leaf(hook.get("audit", "entries", str(number)))
    text = hook.ask("GET", path_of("audit", "entries", str(number), "proof")).body.decode("utf-8", "replace")
    proof = parse_proof(text)
    checkpoint = verify_checkpoint(proof.checkpoint, card.log)
    if proof.index != number:
        raise WrongSubject("the node proved another entry")
    verify_inclusion(leaf_hash(leaf), number, checkpoint.size, proof.hashes, checkpoint.root)
    try:
        file.write_bytes(Receipt(leaf, text).encode())
    except OSError as error:
        raise UsageFault(f"-o: {file} cannot be written: {error.strerror}") from None
    session.terminal.say(
        {"file": str(file), "index": number, **_head(checkpoint)},
        f"Entry {number} is in the log of {checkpoint.size} entries with root {checkpoint.root.hex()}.\n"
        f"Wrote entry and proof to {file}.",
    )


@audit.command()
@with_session
def verify(session: Session, /) -> None:
    """Verify the whole log here: every entry, the tree over them, both signatures on its head.

    Nothing that the node says of itself is believed: the root is computed from the entries, and the
    checkpoint must bear the signatures of the log keys in the card of this folder.
    """
    hook, card = session.hook(), read_card(session.settings().keys.card)
    text = hook.ask("GET", "/audit/checkpoint").body.decode("utf-8", "replace")
    checkpoint = verify_checkpoint(text, card.log)
    verify_leaves(leaves(hook, checkpoint.size), checkpoint, card)
    session.terminal.say(
        {"verified": True, **_head(checkpoint)},
        f"The log {checkpoint.origin} holds: {checkpoint.size} entries lead to the root\n"
        f"  {checkpoint.root.hex()}\n"
        "which bears both signatures of the log (Ed25519 and ML-DSA-44) under the card of this folder.",
    )


def leaves(hook: Hook, size: int) -> Iterator[bytes]:
    """Yield the first *size* leaves that the node gives, page after page."""
    given, cursor = 0, None
    while given < size:
        query = {"limit": min(_PAGE, size - given), "cursor": cursor}
        items = hook.ask("GET", "/audit/entries", query=query).document()["items"]
        if not isinstance(items, list) or not items:
            return
        for item in items:
            if item["index"] != given:
                raise NotIncluded(f"the node left out entry {given}")
            yield _leaf(item)
            given += 1
        cursor = given - 1


def verify_leaves(given: Iterator[bytes], checkpoint: Checkpoint, card: Card) -> None:
    """Check that *given* are the leaves under *checkpoint*, each an entry of the authority of *card*.

    Raises:
        Malformed: a leaf that is no entry in canonical form.
        Untrusted: an entry of another authority, or one whose time runs backwards.
        NotIncluded: they do not lead to the root.
    """
    frontier, last_ms = Frontier(), 0
    for leaf in given:
        entry = parse_entry(leaf)
        if entry.authority != card.authority:
            raise Untrusted(f"entry {frontier.size} is of another authority")
        if entry.time_ms < last_ms:
            raise Untrusted(f"the time of entry {frontier.size} is before that of the one before it")
        last_ms = entry.time_ms
        frontier, _ = frontier.append([leaf_hash(leaf)])
    if frontier.size != checkpoint.size or frontier.root() != checkpoint.root:
        raise NotIncluded(
            f"the {frontier.size} entries that the node gave do not lead to the root that it signed"
        )


def _leaf(item: Mapping[str, object]) -> bytes:
    """Return the exact bytes of an entry, as the hook shows it."""
    return str(item["entry"]).encode()


def _head(checkpoint: Checkpoint) -> dict[str, object]:
    return {"origin": checkpoint.origin, "size": checkpoint.size, "root": checkpoint.root.hex()}


def _members(number: int, entry: Entry) -> list[tuple[str, object]]:
    known = (
        ("entry", number),
        ("time", time_text(entry.time_ms)),
        ("event", entry.event),
        ("outcome", entry.outcome),
        ("reason", entry.reason),
        ("authority", entry.authority),
        ("peer", entry.peer),
        ("message", entry.message_id),
        ("message sha256", entry.message_sha256),
        ("envelope sha256", entry.envelope_sha256),
        ("actor", entry.actor_ref),
        ("commitment", entry.commitment),
        ("entry id", entry.entry_id),
        *((name.replace("_", " "), value) for name, value in entry.extra),
    )
    return [(name, value) for name, value in known if value is not None]


audit.add_command(new_epoch)
audit.add_command(confirm_clock)
