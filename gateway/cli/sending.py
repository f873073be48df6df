"""`art18 send`: a draft and its attachments become a message on its way."""

import datetime as dt
import json
import time
import tomllib
import uuid
from pathlib import Path

import click
from rich.console import Console
from rich.progress import TaskID

from gateway.cli.hook import Hook
from gateway.cli.messages import describe, print_findings
from gateway.cli.program import Failure, UsageFault
from gateway.cli.session import Session, with_session
from gateway.cli.terminal import Terminal, plain
from gateway.cli.uploads import AttachedFile, upload

_GONE_WELL = frozenset({"accepted", "handed_over"})
_FINAL = _GONE_WELL | {"refused", "expired", "cancelled", "held", "undetermined"}
_LOOK_S = 0.25
_LOOK_AT_MOST_S = 5.0


@click.command()
@click.argument("file", metavar="FILE", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--attach", "attached", multiple=True, metavar="PATH[:ROLE]", help="Attach a file. May be repeated."
)
@click.option("--override", metavar="REASON", help="Send in spite of errors found; the reason is logged.")
@click.option("--dry-run", is_flag=True, help="Say what would be found, and send nothing.")
@click.option("--wait", is_flag=True, help="Wait until the peer has answered.")
@with_session
def send(
    session: Session,
    /,
    *,
    file: Path,
    attached: tuple[str, ...],
    override: str | None,
    dry_run: bool,
    wait: bool,
) -> None:
    """Send the message drafted in FILE, TOML or JSON.

    ROLE says what an attachment is: request, translation, evidence, court_order, judgment, warrant,
    enactment, consent, certificate, identity, or other. With --wait a message that was not taken is
    exit code 1.
    """
    draft = read_draft(file)
    files = [AttachedFile.parse(text) for text in attached]
    for each in files:
        if not each.path.is_file():
            raise UsageFault(f"--attach: there is no file {each.path}")
    if override is not None:
        draft["override"] = {"reason": override}
    hook = session.hook()
    if files:
        members = _uploaded(hook, session.terminal, files, draft.get("language"))
        before = draft.get("attachments")
        draft["attachments"] = [*(before if isinstance(before, list) else []), *members]
    query = {"dry_run": "true" if dry_run else None}
    headers = {"Content-Type": "application/json", "Idempotency-Key": str(uuid.uuid4())}
    body = json.dumps(draft, ensure_ascii=False).encode()
    sent = hook.ask("POST", "/messages", body=body, headers=headers, query=query).document()
    if not wait or dry_run:
        session.terminal.show(sent, lambda console: _say(console, sent))
        return
    found = _followed(hook, session.terminal, str(sent["id"]))
    session.terminal.show(found, lambda console: describe(console, found))
    if found["state"] not in _GONE_WELL:
        raise Failure(
            f"the message is {found['state']}: {plain(found.get('problem') or 'see what happened')}"
        )


def read_draft(path: Path) -> dict[str, object]:
    """Return the draft in *path*: TOML by its suffix, else JSON. Raises UsageFault."""
    try:
        text = path.read_text(encoding="utf-8")
        draft = tomllib.loads(text) if path.suffix == ".toml" else json.loads(text)
    except OSError as error:
        raise UsageFault(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        form = "TOML" if path.suffix == ".toml" else "JSON"
        raise UsageFault(f"{path} is not {form}: {error}") from None
    if not isinstance(draft, dict):
        raise UsageFault(f"{path} is not a draft: a draft is an object")
    return {name: _as_json(value) for name, value in draft.items()}


def _as_json(value: object) -> object:
    """Return a TOML *value* as it stands in JSON: times as on the wire."""
    match value:
        case dict():
            return {name: _as_json(member) for name, member in value.items()}
        case list():
            return [_as_json(item) for item in value]
        case dt.datetime() if value.tzinfo is not None:
            return value.astimezone(dt.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        case dt.date() | dt.time():
            return value.isoformat()
        case _:
            return value


def _uploaded(
    hook: Hook, terminal: Terminal, files: list[AttachedFile], language: object
) -> list[dict[str, object]]:
    members = []
    with terminal.progress() as progress:
        for each in files:
            task = progress.add_task(plain(each.path.name), total=each.path.stat().st_size)

            def advance(done: int, task: TaskID = task) -> None:
                progress.update(task, completed=done)

            members.append(each.member(upload(hook, each.path, advance), language))
    return members


def _say(console: Console, sent: dict[str, object]) -> None:
    print_findings(console, sent["findings"])
    if "id" not in sent:
        console.print("Nothing was sent; it could be.")
        return
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
