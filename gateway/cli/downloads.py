"""Attachments on their way out of the node: the rest of one that is here in part, by Range."""

import hashlib
from collections.abc import Callable, Mapping
from http import HTTPStatus
from io import BufferedReader
from types import TracebackType
from typing import BinaryIO, Self

from gateway.cli.digests import Digest
from gateway.cli.hook import BrokenOff, Hook, Refused, Streamed, Unreachable
from gateway.cli.patience import Patience, passes
from gateway.core.errors import NotProved, WrongSubject
from gateway.core.message import Attachment

_PIECE = 1 << 20


def digest_of(file: BufferedReader) -> str:
    """Return the SHA-256 of *file* from where it stands to its end, hex."""
    return hashlib.file_digest(file, "sha256").hexdigest()


class Download:
    """An attachment that becomes the content of *file*, which holds its beginning, or nothing.

    What is here already is read again, so that the digest is of the whole file as it is.
    """

    def __init__(self, one: Attachment, file: BinaryIO, advance: Callable[[int], None]) -> None:
        self._one, self._file, self._advance = one, file, advance
        self._digest, self._size = Digest(), 0

    def __enter__(self) -> Self:
        self._file.seek(0)
        while piece := self._file.read(_PIECE):
            self._digest.update(piece)
            self._size += len(piece)
        if self._size > self._one.size:
            self._begin_anew()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._digest.__exit__(kind, error, trace)

    def run(self, hook: Hook, path: str, query: Mapping[str, object], patience: Patience) -> None:
        """Bring what is missing, over as many connections as that takes; then compare the whole.

        Raises:
            WrongSubject: its size or digest is not what the sender signed.
            NotProved: the node cannot open what it keeps.
            Unreachable: the node was away for too long; what has come stays.
            Refused: the node does not give it.
        """
        while self._size < self._one.size:
            try:
                with hook.stream(path, query=query, headers=self._asked()) as answer:
                    self._take(answer, patience)
            except (Unreachable, BrokenOff) as fault:
                patience.wait(fault)
            except Refused as fault:
                if fault.code.startswith("attachment_"):
                    raise NotProved(f"the node cannot open it: what it keeps is damaged ({fault})") from None
                if not passes(fault):
                    raise
                patience.wait(fault)
        if self._digest.digest().hex() != self._one.sha256:
            raise WrongSubject("it is not what the sender signed")

    def _asked(self) -> dict[str, str]:
        if not self._size:
            return {}
        return {"Range": f"bytes={self._size}-", "If-Range": f'"{self._one.sha256}"'}

    def _take(self, answer: Streamed, patience: Patience) -> None:
        if answer.status == HTTPStatus.OK:
            self._begin_anew()
        elif not answer.headers.get("content-range", "").startswith(f"bytes {self._size}-"):
            raise WrongSubject("the node gave another part than was asked for")
        for piece in answer.pieces:
            if self._size + len(piece) > self._one.size:
                raise WrongSubject("it is longer than what the sender signed")
            self._digest.update(piece)
            self._file.write(piece)
            self._size += len(piece)
            self._advance(self._size)
            patience.progressed()
        if self._size < self._one.size:
            raise WrongSubject("it is shorter than what the sender signed")

    def _begin_anew(self) -> None:
        self._digest.restart()
        self._size = 0
        self._file.seek(0)
        self._file.truncate()
