"""Attachments on their way into the node: the client side of tus 1.0.0.

A file goes in one request, from where the node's bytes end. What breaks off is taken up there: within
the run after a pause, and by the next run, which finds what was begun.
"""

import base64
import contextlib
import mimetypes
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from types import TracebackType
from typing import Self

from gateway.cli.begun import Begun
from gateway.cli.digests import Digest
from gateway.cli.hook import Answer, Hook, Refused, Unreachable, path_of
from gateway.cli.patience import Patience, passes
from gateway.cli.program import UsageFault
from gateway.cli.terminal import plain
from gateway.core.errors import Unavailable, WrongSubject

VERSION = {"Tus-Resumable": "1.0.0"}
"""The header of each request about an upload, but for its content."""
DEFAULT_ROLE = "other"

_PIECE = 1 << 20
_ANEW = 3
_GONE = frozenset({HTTPStatus.NOT_FOUND, HTTPStatus.GONE})
_NO_ROOM = frozenset({HTTPStatus.INSUFFICIENT_STORAGE, HTTPStatus.REQUEST_ENTITY_TOO_LARGE})
_MEDIA_TYPE = "application/offset+octet-stream"


@dataclass(frozen=True, slots=True)
class AttachedFile:
    """A file to attach, and what it is in the message."""

    path: Path
    role: str

    @classmethod
    def parse(cls, text: str) -> "AttachedFile":
        """Return `PATH[:role]`; a colon that is part of an existing path stays there."""
        head, colon, role = text.rpartition(":")
        if colon and head and role and not Path(text).is_file():
            return cls(Path(head), role)
        return cls(Path(text), DEFAULT_ROLE)

    def member(self, upload: str, language: object) -> dict[str, object]:
        """Return the draft's member for this file once it lies under *upload*."""
        media_type = mimetypes.guess_type(self.path.name)[0] or "application/octet-stream"
        return {
            "upload": upload,
            "name": self.path.name,
            "media_type": media_type,
            "role": self.role,
            "language": language,
        }


class _Source:
    """A file that is being sent: each byte is hashed once, in order, however often it goes out."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = path.open("rb", buffering=0)
        self.stat = os.fstat(self._file.fileno())
        self.size = self.stat.st_size
        self._digest, self._hashed = Digest(), 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._digest.__exit__(kind, error, trace)
        self._file.close()

    def pieces(self, offset: int, advance: Callable[[int], None]) -> Iterator[bytes]:
        """Yield the file from *offset* to its end. Raises UsageFault: it is another file by now."""
        self._hash_up_to(offset)
        while offset < self.size:
            piece = self._read(offset)
            self._hash(offset, piece)
            yield piece
            offset += len(piece)
            advance(offset)

    def sha256(self) -> bytes:
        """Return the digest of the whole. Raises UsageFault: it is another file by now."""
        self._hash_up_to(self.size)
        self._check()
        return self._digest.digest()

    def _hash_up_to(self, offset: int) -> None:
        while self._hashed < offset:
            self._hash(self._hashed, self._read(self._hashed)[: offset - self._hashed])

    def _hash(self, offset: int, piece: bytes) -> None:
        if offset + len(piece) > self._hashed:
            self._digest.update(memoryview(piece)[self._hashed - offset :])
            self._hashed = offset + len(piece)

    def _read(self, offset: int) -> bytes:
        try:
            piece = os.pread(self._file.fileno(), min(_PIECE, self.size - offset), offset)
        except OSError as error:
            raise UsageFault(f"--attach: {self._path} cannot be read: {error.strerror}") from None
        if not piece:
            raise self._changed()
        return piece

    def _check(self) -> None:
        now = os.fstat(self._file.fileno())
        if (now.st_size, now.st_mtime_ns) != (self.size, self.stat.st_mtime_ns):
            raise self._changed()

    def _changed(self) -> UsageFault:
        return UsageFault(f"--attach: {self._path} changed while it was sent; send it once it rests")


class _Gone(Exception):
    """The node has no such upload (any more)."""


class Upload:
    """One file on its way into the node; *advance* is told how many of its bytes went out."""

    def __init__(
        self, hook: Hook, begun: Begun, advance: Callable[[int], None], patience: Patience | None = None
    ) -> None:
        self._hook, self._begun, self._advance = hook, begun, advance
        self._patience = patience or Patience()
        self._furthest = 0
        self._met = False

    def run(self, path: Path) -> str:
        """Bring the file *path* into the node; return the upload's id.

        Raises:
            UsageFault: it cannot be read, or changed meanwhile.
            Unreachable: the node was away for too long; what it has stays.
            Refused: the node does not take the file.
            WrongSubject: what the node has is not the file; it was taken back.
        """
        try:
            source = _Source(path)
        except OSError as error:
            raise UsageFault(f"--attach: {path} cannot be read: {error.strerror}") from None
        with source:
            key = self._begun.key(path, source.stat)
            for _ in range(_ANEW):
                upload = self._begun.recall(key) or self._create(key, source.size)
                try:
                    self._bring(upload, source)
                except _Gone:
                    self._begun.forget(key)
                    continue
                except (UsageFault, WrongSubject):
                    self._begun.forget(key)
                    self._take_back(upload)
                    raise
                return upload
        raise Unreachable("the node lost the upload again and again")

    def _create(self, key: str, size: int) -> str:
        headers = {**VERSION, "Upload-Length": str(size)}
        while True:
            try:
                created = self._hook.ask("POST", "/uploads", headers=headers, body=b"")
            except Refused as fault:
                if not passes(fault):
                    raise _explained(fault) from None
                self._patience.wait(fault)
            else:
                upload = created.headers["location"].rpartition("/")[2]
                self._begun.remember(key, upload)
                return upload

    def _bring(self, upload: str, source: _Source) -> None:
        """Send what the node has not, and compare the whole. Raises as `run`, and _Gone."""
        target = path_of("uploads", upload)
        here = self._asked(target)
        if here.headers.get("upload-length", str(source.size)) != str(source.size):
            raise _Gone
        while (offset := int(here.headers["upload-offset"])) < source.size:
            self._advance(offset)
            try:
                self._send(target, offset, source)
            except (Unreachable, Refused) as fault:
                if isinstance(fault, Refused) and not passes(fault):
                    raise
                here = self._asked(target)
                if int(here.headers["upload-offset"]) <= self._furthest:
                    self._patience.wait(fault)
                    here = self._asked(target)
            else:
                here = self._asked(target)
            self._note(int(here.headers["upload-offset"]))
        _compare(here, source.sha256())

    def _send(self, target: str, offset: int, source: _Source) -> None:
        """Send the file from *offset*. Raises Unreachable, Refused, _Gone."""
        headers = {
            **VERSION,
            "Upload-Offset": str(offset),
            "Content-Type": _MEDIA_TYPE,
            "Content-Length": str(source.size - offset),
        }
        try:
            self._hook.ask("PATCH", target, headers=headers, body=source.pieces(offset, self._advance))
        except Refused as fault:
            if fault.status in _GONE:
                raise _Gone from None
            raise _explained(fault) from None

    def _asked(self, target: str) -> Answer:
        """Return what the node says of the upload, once it says something. Raises _Gone.

        A node that was never there in this run is not waited for.
        """
        while True:
            try:
                answer = self._hook.ask("HEAD", target, headers=VERSION)
            except Refused as fault:
                if fault.status in _GONE:
                    raise _Gone from None
                if not passes(fault):
                    raise
                self._patience.wait(fault)
            except Unreachable as fault:
                if not self._met:
                    raise
                self._patience.wait(fault)
            else:
                self._met = True
                return answer

    def _note(self, offset: int) -> None:
        if offset > self._furthest:
            self._furthest = offset
            self._patience.progressed()

    def _take_back(self, upload: str) -> None:
        with contextlib.suppress(Refused, Unavailable):
            self._hook.ask("DELETE", path_of("uploads", upload), headers=VERSION)


def _compare(here: Answer, sha256: bytes) -> None:
    """Compare the digest that the node told with the file's own. Raises WrongSubject: another, or none."""
    told = here.headers.get("repr-digest")
    if told is None:
        raise WrongSubject("the node does not say what came to it; it was taken back")
    if told != f"sha-256=:{base64.b64encode(sha256).decode()}:":
        raise WrongSubject("what came to the node is not the file; it was taken back. Send it again")


def _explained(fault: Refused) -> Refused:
    """Return *fault*, in words where the node's own say little."""
    if fault.status not in _NO_ROOM:
        return fault
    return Refused(
        fault.status, {**fault.problem, "detail": f"the node has no room for the file: {plain(fault)}"}
    )
