"""`art18 send`: a draft and its attachments become a message on its way."""

import json
import time
import uuid
from http import HTTPStatus
from pathlib import Path

import click
from rich.console import Console

from gateway.cli.begun import Begun
from gateway.cli.drafts import draft_and_files, named_files, read_draft, uploaded
from gateway.cli.hook import Hook, Refused
from gateway.cli.messages import describe, print_findings
from gateway.cli.program import Failure
from gateway.cli.session import Session, with_session
from gateway.cli.terminal import Terminal, plain

_GONE_WELL = frozenset({"accepted", "handed_over"})
_FINAL = _GONE_WELL | {"refused", "expired", "cancelled", "held", "undetermined"}
_CARRIED = "unknown_upload"
_LOOK_S = 0.25
_LOOK_AT_MOST_S = 5.0


@click.command()
@draft_and_files
@click.option("--override", metavar="REASON", help="Send in spite of errors found; the reason is logged.")
@click.option("--wait", is_flag=True, help="Wait until the peer has answered.")
@with_session
def send(
    session: Session,
    /,
    *,
    file: Path,
    attached: tuple[str, ...],
    override: str | None,
    wait: bool,
) -> None:
    """Send the message drafted in FILE, TOML or JSON.

    ROLE says what an attachment is: request, translation, evidence, court_order, judgment, warrant,
    enactment, consent, certificate, identity, or other. With --wait a message that was not taken is
    exit code 1. Attachments go on where an earlier run of the same command ended, and
    a message whose answer it did not hear is not sent again.
    """
    draft, files = read_draft(file), named_files(attached)
    if override is not None:
        draft["override"] = {"reason": override}
    hook = session.hook()
    with Begun.beside(session.settings().hook.token_file) as begun:
        sent = _submitted(hook, uploaded(hook, session.terminal, files, draft, begun), begun)
    if not wait:
        session.terminal.show(sent, lambda console: _say(console, sent))
        return
    found = _followed(hook, session.terminal, str(sent["id"]))
    session.terminal.show(found, lambda console: describe(console, found))
    if found["state"] not in _GONE_WELL:
        raise Failure(
            f"the message is {found['state']}: {plain(found.get('problem') or 'see what happened')}"
        )


def _submitted(hook: Hook, draft: dict[str, object], begun: Begun) -> dict[str, object]:
    """Return the node's answer to *draft*; its uploads are remembered until a message carries them.

    Until there is an answer the Idempotency-Key is remembered too: the run after one that was
    interrupted asks for the same message, not for another.
    """
    body = json.dumps(draft, ensure_ascii=False).encode()
    key = begun.message_key(body)
    asked = begun.recall(key) or str(uuid.uuid4())
    begun.remember(key, asked)
    headers = {"Content-Type": "application/json", "Idempotency-Key": asked}
    try:
        sent = hook.ask("POST", "/messages", body=body, headers=headers).document()
    except Refused as refusal:
        if refusal.code == _CARRIED:
            begun.forget()
        elif refusal.status < HTTPStatus.INTERNAL_SERVER_ERROR:
            begun.forget(key)
        raise
    begun.forget()
    return sent


def _say(console: Console, sent: dict[str, object]) -> None:
    print_findings(console, sent["findings"])
    console.print(
        f"message  {plain(sent['id'])}\ncase     {plain(sent['case'])}\nstate    {plain(sent['state'])}"
    )
    console.print(f"\nart18 show {plain(sent['id'])} tells what becomes of it.")


def _followed(hook: Hook, terminal: Terminal, message: str) -> dict[str, object]:
    """Return the message *message* once nothing more happens by itself."""
    pause_s = _LOOK_S
    with terminal.status("Waiting for the peer's answer …"):
        while True:
            found = hook.get("messages", message, query={"direction": "out"})
            if found["state"] in _FINAL:
                return found
            time.sleep(pause_s)
            pause_s = min(pause_s * 1.25, _LOOK_AT_MOST_S)
