"""`art18 fetch`: a message and its attachments as files, compared with what the sender signed.

A name that the sender chose is never a path: what is written is a number and what `core.names` leaves
of the name. What has come of an attachment lies under a hidden name, made of its number and digest, until
it is whole and compared; the same command goes on there.
"""

import fcntl
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import click

from gateway.cli.downloads import Download, digest_of
from gateway.cli.hook import Hook, path_of
from gateway.cli.messages import which
from gateway.cli.patience import Patience
from gateway.cli.program import UsageFault
from gateway.cli.progress import transfers
from gateway.cli.session import Session, with_session
from gateway.cli.terminal import plain
from gateway.core.errors import Malformed, NotProved, WrongSubject
from gateway.core.message import Attachment, Message, parse_common
from gateway.core.names import MAX_BYTES, safe_name
from gateway.core.strict import from_b64url

_PARTS = 3
_PRIVATE = 0o600


@dataclass(frozen=True, slots=True)
class _File:
    """An attachment and the file that it becomes in *folder*."""

    folder: Path
    position: int
    attachment: Attachment

    @property
    def name(self) -> str:
        return file_name(self.position + 1, self.attachment.name)

    @property
    def path(self) -> Path:
        return self.folder / self.name

    @property
    def part(self) -> Path:
        """Return where it lies until it is whole."""
        return self.folder / f".art18-{self.position + 1:02d}-{self.attachment.sha256[:16]}.part"

    def is_there(self) -> bool:
        """Say whether it was fetched already. Raises FileExistsError: something else has its name."""
        if not os.path.lexists(self.path):
            return False
        if self.path.is_file() and self.path.stat().st_size == self.attachment.size:
            with self.path.open("rb") as file:
                if digest_of(file) == self.attachment.sha256:
                    return True
        raise FileExistsError


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
    is not kept, and the exit code is 4. What broke off goes on when the same command is run again:
    files that are there and right are kept. The node logs that the content was read.
    """
    hook, query = session.hook(), {"peer": peer}
    jws = hook.ask("GET", path_of("messages", message, "jws"), query=query).body
    content = _content(jws, message)
    shown = json.dumps(content.payload, ensure_ascii=False, indent=2)
    documents = {"message.jws": jws, "content.json": f"{shown}\n".encode()}
    files = [_File(folder, position, one) for position, one in enumerate(content.attachments)]
    try:
        missing = _missing(folder, documents, files)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name, data in documents.items():
            _write(folder, name, data)
        with transfers(session.terminal) as display:
            for each in missing:
                advance = display.begin(plain(each.name), each.attachment.size)
                _save(
                    hook,
                    path_of("messages", message, "attachments", str(each.position)),
                    query,
                    each,
                    advance,
                )
    except OSError as error:
        raise UsageFault(f"--to: {folder} cannot be written: {error.strerror}") from None
    names = ["content.json", "message.jws", *(each.name for each in files)]
    session.terminal.say(
        {
            "id": content.id,
            "folder": str(folder),
            "files": names,
            "message_sha256": hashlib.sha256(jws).hexdigest(),
        },
        "\n".join(
            [
                f"{folder} has {len(names)} files:",
                *(f"  {name}" for name in names),
                *(["Every attachment is what the sender signed."] if files else []),
                f"art18 acknowledge {plain(message)} tells the sender that you have it.",
            ]
        ),
    )


def file_name(number: int, name: str) -> str:
    """Return the name under which the attachment *number*, called *name* by its sender, is written."""
    lead = f"{number:02d}-"
    return lead + safe_name(name, MAX_BYTES - len(lead))


def _content(jws: bytes, message: str) -> Message:
    """Return the message in *jws*, if it is the one that was asked for. Raises NotProved, Malformed."""
    parts = jws.split(b".")
    if len(parts) != _PARTS:
        raise Malformed("the node gave no compact JWS")
    content = parse_common(from_b64url(parts[1].decode("ascii", "replace")))
    if content.id != message:
        raise WrongSubject("the node gave another message")
    return content


def _missing(folder: Path, documents: Mapping[str, bytes], files: list[_File]) -> list[_File]:
    """Return the attachments that are not in *folder* yet.

    Raises:
        UsageFault: it has something else under a name that is to be written.
    """
    taken = [
        name
        for name, data in documents.items()
        if os.path.lexists(folder / name) and not _holds(folder / name, data)
    ]
    missing = []
    for each in files:
        try:
            if not each.is_there():
                missing.append(each)
        except FileExistsError:
            taken.append(each.name)
    if taken:
        raise UsageFault(f"--to: {folder} already has another {', '.join(taken)}; name another folder")
    return missing


def _holds(path: Path, data: bytes) -> bool:
    return path.is_file() and path.stat().st_size == len(data) and path.read_bytes() == data


def _write(folder: Path, name: str, data: bytes) -> None:
    """Write the private file *name*, whole or not at all; one that is there holds the same."""
    path = folder / name
    if path.exists():
        return
    with _growing(folder / f".art18-{name}.part") as file:
        file.truncate()
        file.write(data)
        _keep(file, folder / f".art18-{name}.part", path)


def _save(
    hook: Hook, source: str, query: Mapping[str, object], each: _File, advance: Callable[[int], None]
) -> None:
    """Bring an attachment to its place once the whole was compared with what the sender signed.

    Raises:
        NotProved: its size or digest differs, so that nothing is left of it; or the node cannot open
            what it keeps.
        Unreachable: the node was away for too long; what has come is taken up by the next run.
    """
    with _growing(each.part) as file:
        try:
            with Download(each.attachment, file, advance) as download:
                download.run(hook, source, query, Patience())
        except WrongSubject as fault:
            each.part.unlink()
            raise WrongSubject(f"{each.name}: {fault}; it was not kept") from None
        except NotProved as fault:
            raise NotProved(f"{each.name}: {fault}") from None
        _keep(file, each.part, each.path)


def _keep(file: BinaryIO, part: Path, path: Path) -> None:
    """Make *file* durable, then give it its name."""
    file.flush()
    os.fsync(file.fileno())
    if os.path.lexists(path):
        raise UsageFault(f"--to: {path} came there meanwhile; nothing was overwritten")
    part.replace(path)


@contextmanager
def _growing(part: Path) -> Iterator[BinaryIO]:
    """Open the private file *part*, perhaps begun by an earlier run; an empty one is left to nobody.

    Raises:
        UsageFault: another run is writing it.
    """
    handle = os.open(part, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, _PRIVATE)
    with os.fdopen(handle, "r+b") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageFault(f"--to: another art18 fetch is writing to {part.parent}") from None
        try:
            yield file
        finally:
            file.flush()
            if part.exists() and not os.fstat(file.fileno()).st_size:
                part.unlink()
