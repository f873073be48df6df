"""`art18 audit`: the audit log, read and verified here, without trust in the node that serves it."""

import sys
from collections.abc import Mapping
from pathlib import Path

import click
from rich.console import Console

from gateway.app.own_card import read_card
from gateway.cli.epoch import confirm_clock, new_epoch
from gateway.cli.filters import filters
from gateway.cli.hook import path_of
from gateway.cli.program import UsageFault
from gateway.cli.session import Session, with_session
from gateway.cli.terminal import moment, pairs, table
from gateway.cli.trail import export, head, verify
from gateway.cli.witnesses import forks, witnesses
from gateway.core.entry import Entry, parse_entry
from gateway.core.errors import WrongSubject
from gateway.core.merkle import leaf_hash, verify_inclusion
from gateway.core.note import verify_checkpoint
from gateway.core.proof import Receipt, parse_proof
from gateway.core.signed_note import parse_note
from gateway.core.strict import time_text


@click.group()
def audit() -> None:
    """The audit log: list, show, prove, find, export, verify. The node logs that it was read."""


audit.add_command(witnesses)
audit.add_command(forks)


@audit.command(name="list")
@filters
@click.option("--limit", type=click.IntRange(1), default=100, show_default=True, help="At most so many.")
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
    rows = _members(number, entry)
    if "detail" in item:
        rows.append(_detail(item))
    session.terminal.show(item, lambda console: pairs(console, rows))


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

    FILE gets a receipt: the entry's exact text and a C2SP tlog-proof that ends in a signed checkpoint,
    the earliest with cosignatures that covers it, if there is one. Whoever has the authority's card can
    verify it.
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
    others = sorted({one.name for one in parse_note(proof.checkpoint).signatures} - {checkpoint.origin})
    said = f"It has cosignatures of {', '.join(others)}, which their cards verify.\n" if others else ""
    session.terminal.say(
        {"file": str(file), "index": number, "cosigned_by": others, **head(checkpoint)},
        f"Entry {number} is in the log of {checkpoint.size} entries with root {checkpoint.root.hex()}.\n"
        f"{said}Wrote entry and proof to {file}.",
    )


@audit.command()
@click.option(
    "--value",
    required=True,
    metavar="X",
    help="What to look for, whatever its case; - reads it from standard input.",
)
@click.option("--exact", is_flag=True, help="Only details that are X, not those that contain it.")
@with_session
def find(session: Session, /, *, value: str, exact: bool) -> None:
    """Find the entries whose detail contains X: a reason, a name, what an entry commits to.

    Details lie sealed at the node, apart from the log, until they are erased. X stands in no log.
    """
    sought = sys.stdin.read().rstrip("\r\n") if value == "-" else value
    if not sought:
        raise UsageFault("--value is empty")
    hook = session.hook()
    items: list[dict[str, object]] = []
    damaged: list[object] = []
    after: object = -1
    while after is not None:
        document = {"value": sought, "match": "equals" if exact else "contains", "after": after}
        found = hook.post("audit", "find", document=document).document()
        items += found["items"] if isinstance(found["items"], list) else []
        damaged += found["damaged"] if isinstance(found["damaged"], list) else []
        after = found["after"]
    rows = [
        (item["index"], moment(item["time"]), item["event"], item.get("message_id"), _detail(item)[1])
        for item in items
    ]
    heads = ("N", "TIME", "EVENT", "MESSAGE", "DETAIL")

    def show_found(console: Console) -> None:
        table(console, heads, rows, none="No detail is like that.")
        if rows:
            console.print("Each is what its entry commits to.")
        for index in damaged:
            console.print(f"The detail of entry {index} is damaged: it is not what its entry commits to.")

    session.terminal.show({"items": items, "damaged": damaged}, show_found)


audit.add_command(export)
audit.add_command(verify)


def _detail(item: Mapping[str, object]) -> tuple[str, object]:
    """Return what is left of the detail of an entry, for people."""
    detail = item["detail"]
    found = detail if isinstance(detail, dict) else {}
    told = {
        "erased": "was erased; the entry and its proofs hold",
        "damaged": "is damaged: it is not what the entry commits to",
    }
    return "detail", found.get("text") or told.get(str(found.get("state")))


def _leaf(item: Mapping[str, object]) -> bytes:
    """Return the exact bytes of an entry, as the hook shows it."""
    return str(item["entry"]).encode()


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
