"""The evidence bundle as a file: a ZIP without compression, and the manifest that names what is in it.

The same content gives the same bytes. A bundle is read as something that a stranger sent: nothing is in it
that its manifest does not name, and everything has the length and the digest that the manifest says.
"""

import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from typing import IO

from gateway.core.errors import Malformed
from gateway.core.ids import AuthorityId, Digest, MessageId, parse_authority, parse_digest, parse_message_id
from gateway.core.strict import (
    as_integer,
    as_list,
    as_object,
    as_text,
    check_constants,
    members,
    parse_json,
    parse_time,
    sha256,
    time_text,
)

MANIFEST = "manifest.json"
MAX_BYTES = 256 << 20
"""Of a whole bundle: a message of 1 MiB, and many thousands of statements."""
MAX_FILES = 20_000

_MAX_MANIFEST = 16 << 20
_EPOCH = (1980, 1, 1, 0, 0, 0)
_MODE = 0o644 << 16
_UNIX = 3
_UNREADABLE = (zipfile.BadZipFile, NotImplementedError, RuntimeError, OSError, EOFError, ValueError)
"""How the library says that it is no archive, or an encrypted one."""
_ROLES = frozenset({"message", "statement", "checkpoint", "consistency", "card", "reading"})


class Broken(Exception):
    """Something of a bundle does not hold.

    Attributes:
        code: from the closed list `examination.CODES`.
        where: the file in the bundle, or None.
    """

    def __init__(self, code: str, text: str, where: str | None = None) -> None:
        super().__init__(text)
        self.code = code
        self.where = where


@dataclass(frozen=True, slots=True)
class Cover:
    """A later checkpoint, and the proof that a statement's own is the beginning of it; names of files."""

    checkpoint: str
    consistency: str


@dataclass(frozen=True, slots=True)
class Part:
    """A file of a bundle: its name, what it is, and for a statement the later checkpoints that cover it."""

    name: str
    role: str
    data: bytes
    covers: tuple[Cover, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """What a bundle says it holds; nothing of it is verified but digests.

    `message_sha256` is the digest of the compact JWS, which is not there once the content was erased.
    """

    made_ms: int
    message: MessageId
    sender: AuthorityId
    recipient: AuthorityId
    message_sha256: Digest
    parts: tuple[Part, ...]

    def of(self, role: str) -> list[Part]:
        """Return the parts that are a *role*, in their order."""
        return [part for part in self.parts if part.role == role]

    def part(self, name: str) -> Part:
        """Return the part called *name*. Raises Broken."""
        for part in self.parts:
            if part.name == name:
                return part
        raise Broken("missing_file", "a file that another one needs is not there", name)


def encode_bundle(bundle: Bundle) -> bytes:
    """Return the bytes of *bundle*."""
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", zipfile.ZIP_STORED) as archive:
        for name, data in ((MANIFEST, _manifest(bundle)), *((part.name, part.data) for part in bundle.parts)):
            info = zipfile.ZipInfo(name, _EPOCH)
            info.create_system, info.external_attr = _UNIX, _MODE
            archive.writestr(info, data)
    return written.getvalue()


def parse_bundle(raw: bytes) -> Bundle:
    """Return the bundle *raw*.

    Raises:
        Broken: `zip`, `manifest`, `missing_file`, `extra_file`, `file_digest`.
    """
    if len(raw) > MAX_BYTES:
        raise Broken("zip", f"a bundle larger than {MAX_BYTES} bytes")
    found = _files(raw)
    if MANIFEST not in found:
        raise Broken("manifest", "there is no manifest", MANIFEST)
    try:
        return _interpret(found)
    except Malformed as fault:
        raise Broken("manifest", str(fault), MANIFEST) from None


def _manifest(bundle: Bundle) -> bytes:
    files = [
        {
            "name": part.name,
            "role": part.role,
            "size": len(part.data),
            "sha256": sha256(part.data),
            "covers": [{"checkpoint": one.checkpoint, "consistency": one.consistency} for one in part.covers],
        }
        for part in bundle.parts
    ]
    found = {
        "v": 1,
        "type": "evidence",
        "made": time_text(bundle.made_ms),
        "message": bundle.message,
        "from": bundle.sender,
        "to": bundle.recipient,
        "message_sha256": bundle.message_sha256,
        "files": files,
    }
    return (json.dumps(found, indent=1, ensure_ascii=False) + "\n").encode()


def _files(raw: bytes) -> Mapping[str, bytes]:
    """Return every file of the ZIP *raw* by name. Raises Broken."""
    found: dict[str, bytes] = {}
    try:
        with zipfile.ZipFile(io.BytesIO(raw)) as archive:
            infos = archive.infolist()
            if len(infos) > MAX_FILES or any(info.compress_type != zipfile.ZIP_STORED for info in infos):
                raise Broken("zip", f"a bundle has at most {MAX_FILES} files, and none is compressed")
            for info in infos:
                if info.filename in found:
                    raise Broken("zip", "two files of one name")
                with archive.open(info) as file:
                    found[info.filename] = _read(file, info.filename)
    except _UNREADABLE:
        raise Broken("zip", "not a ZIP archive, or a damaged one") from None
    return found


def _read(file: IO[bytes], name: str) -> bytes:
    try:
        return file.read()
    except zipfile.BadZipFile:
        code = "manifest" if name == MANIFEST else "file_digest"
        raise Broken(code, "it was altered after the bundle was made", name) from None


def _interpret(found: Mapping[str, bytes]) -> Bundle:
    manifest = members(
        parse_json(found[MANIFEST], max_bytes=_MAX_MANIFEST),
        required=("v", "type", "made", "message", "from", "to", "message_sha256", "files"),
    )
    check_constants(manifest, v=1, type="evidence")
    parts = tuple(_part(as_object(item), found) for item in as_list(manifest["files"]))
    named = {part.name for part in parts}
    if len(named) != len(parts):
        raise Malformed("the manifest names a file twice")
    for name in found:
        if name != MANIFEST and name not in named:
            raise Broken("extra_file", "a file that the manifest does not name", name)
    return Bundle(
        made_ms=parse_time(manifest["made"]),
        message=parse_message_id(manifest["message"]),
        sender=parse_authority(manifest["from"]),
        recipient=parse_authority(manifest["to"]),
        message_sha256=parse_digest(manifest["message_sha256"]),
        parts=parts,
    )


def _part(item: Mapping[str, object], found: Mapping[str, bytes]) -> Part:
    known = members(item, required=("name", "role", "size", "sha256", "covers"))
    name, role = as_text(known["name"]), as_text(known["role"])
    if role not in _ROLES:
        raise Malformed("a role that is not known")
    if name not in found:
        raise Broken("missing_file", "the manifest names it, and it is not there", name)
    data = found[name]
    if as_integer(known["size"]) != len(data) or parse_digest(known["sha256"]) != sha256(data):
        raise Broken("file_digest", "it is not what the manifest says", name)
    covers = (members(one, required=("checkpoint", "consistency")) for one in as_list(known["covers"]))
    return Part(
        name,
        role,
        data,
        tuple(Cover(as_text(one["checkpoint"]), as_text(one["consistency"])) for one in covers),
    )
