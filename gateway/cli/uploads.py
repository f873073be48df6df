"""Attachments on their way into the node: the client side of tus 1.0.0."""

import mimetypes
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from gateway.cli.hook import Hook, Refused, Unreachable, path_of

_PIECE = 8 << 20  # bytes of one PATCH; whole chunks of 1 MiB, as the node seals them
_ATTEMPTS = 4
VERSION = {"Tus-Resumable": "1.0.0"}
"""The header of each request about an upload, but for its content."""
_CONFLICT = 409
_MEDIA_TYPE = "application/offset+octet-stream"
DEFAULT_ROLE = "other"


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


def upload(hook: Hook, path: Path, advance: Callable[[int], None]) -> str:
    """Bring the file *path* into the node; return the upload's id.

    *advance* is told how many bytes have arrived in all. A broken connection is taken up where
    the node's bytes end.

    Raises:
        Unreachable: the connection broke repeatedly.
        Refused: the node does not take the file.
    """
    size = path.stat().st_size
    created = hook.ask("POST", "/uploads", headers={**VERSION, "Upload-Length": str(size)}, body=b"")
    name = created.headers["location"].rpartition("/")[2]
    target = path_of("uploads", name)
    offset, left = 0, _ATTEMPTS
    with path.open("rb") as source:
        while offset < size:
            source.seek(offset)
            headers = {**VERSION, "Upload-Offset": str(offset), "Content-Type": _MEDIA_TYPE}
            try:
                answer = hook.ask("PATCH", target, headers=headers, body=source.read(_PIECE))
            except (Unreachable, Refused) as fault:
                left -= 1
                if not left or (isinstance(fault, Refused) and fault.status != _CONFLICT):
                    raise
                answer = hook.ask("HEAD", target, headers=VERSION)
            offset = int(answer.headers["upload-offset"])
            advance(offset)
    return name
