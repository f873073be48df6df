"""`art18 fetch`: a message and its attachments as files, compared with what the sender signed.

A name that the sender chose is never a path: what is written is a number and what is left of the
name once everything but letters, digits and a few marks is gone.
"""

import hashlib
import json
import os
import tempfile
import unicodedata
from collections.abc import Iterator
from contextlib import AbstractContextManager
from http import HTTPStatus
from pathlib import Path

import click

from gateway.cli.foundation import write_private
from gateway.cli.hook import Refused, path_of
from gateway.cli.messages import which
from gateway.cli.program import UsageFault
from gateway.cli.session import Session, with_session
from gateway.cli.terminal import Terminal, plain
from gateway.core.errors import Malformed, NotProved, WrongSubject
from gateway.core.message import Attachment, Message, parse_common
from gateway.core.strict import from_b64url

_STEM_BYTES = 120
_SUFFIX_BYTES = 20
_MARKS = frozenset("-_. ")
_KEPT = frozenset("LMN")  # letters, their marks, and digits
_PARTS = 3


@click.command()
@which
@click.option(
    "--to",
    "folder",
    required=True,
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where to write; made if it is not there.",
)
@with_session
def fetch(session: Session, /, *, message: str, peer: str | None, folder: Path) -> None:
    """Write content.json, message.jws and the attachments of a message to a folder.

    The attachments are compared with the sizes and digests that the sender signed; one that differs
    is not kept, and the exit code is 4. The node logs that the content was read.
    """
    hook, query = session.hook(), {"peer": peer}
    jws = hook.ask("GET", path_of("messages", message, "jws"), query=query).body
    content = _content(jws, message)
    names = [file_name(number, one.name) for number, one in enumerate(content.attachments, 1)]
    taken = [name for name in ("message.jws", "content.json", *names) if (folder / name).exists()]
    if taken:
        raise UsageFault(f"--to: {folder} already has {', '.join(taken)}; name another folder")
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_private(folder / "message.jws", jws)
        shown = json.dumps(content.payload, ensure_ascii=False, indent=2)
        write_private(folder / "content.json", f"{shown}\n".encode())
        for position, (name, one) in enumerate(zip(names, content.attachments, strict=True)):
            source = hook.stream(path_of("messages", message, "attachments", str(position)), query=query)
            _save(source, folder / name, one, session.terminal)
    except OSError as error:
        raise UsageFault(f"--to: {folder} cannot be written: {error.strerror}") from None
    files = ["content.json", "message.jws", *names]
    session.terminal.say(
        {
            "id": content.id,
            "folder": str(folder),
            "files": files,
            "message_sha256": hashlib.sha256(jws).hexdigest(),
        },
        "\n".join(
            [
                f"Wrote {len(files)} files to {folder}:",
                *(f"  {name}" for name in files),
                *(["Every attachment is what the sender signed."] if names else []),
                f"art18 acknowledge {plain(message)} tells the sender that you have it.",
            ]
        ),
    )


def file_name(number: int, name: str) -> str:
    """Return the name under which the attachment *number*, called *name* by its sender, is written."""
    kept = "".join(c if c in _MARKS or unicodedata.category(c)[0] in _KEPT else "_" for c in name)
    stem, suffix = os.path.splitext(kept.strip(" ."))  # noqa: PTH122 - a name, of which no path is made
    short = stem.encode()[:_STEM_BYTES].decode(errors="ignore")
    end = suffix.encode()[:_SUFFIX_BYTES].decode(errors="ignore")
    return f"{number:02d}-{short or 'attachment'}{end}"


def _content(jws: bytes, message: str) -> Message:
    """Return the message in *jws*, if it is the one that was asked for. Raises NotProved, Malformed."""
    parts = jws.split(b".")
    if len(parts) != _PARTS:
        raise Malformed("the node gave no compact JWS")
    content = parse_common(from_b64url(parts[1].decode("ascii", "replace")))
    if content.id != message:
        raise WrongSubject("the node gave another message")
    return content


def _save(
    source: AbstractContextManager[Iterator[bytes]], target: Path, one: Attachment, terminal: Terminal
) -> None:
    """Write an attachment to *target* once it was compared in full with what the sender signed.

    Raises:
        WrongSubject: its size or digest differs; nothing is left of it.
        NotProved: the node cannot open what it keeps.
    """
    digest, size = hashlib.sha256(), 0
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=".art18-")
    try:
        with os.fdopen(handle, "wb") as file, source as pieces, terminal.progress() as progress:
            task = progress.add_task(target.name, total=one.size)
            for piece in pieces:
                file.write(piece)
                digest.update(piece)
                size += len(piece)
                progress.update(task, completed=size)
        if size != one.size or digest.hexdigest() != one.sha256:
            raise WrongSubject(f"{target.name} is not what the sender signed; it was not kept")
        Path(name).replace(target)
    except Refused as fault:
        if fault.status == HTTPStatus.INTERNAL_SERVER_ERROR:
            raise NotProved(f"the node cannot open {target.name}: what it keeps is damaged") from None
        raise
    finally:
        Path(name).unlink(missing_ok=True)
