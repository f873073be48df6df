"""What requests and answers of tus 1.0.0 say in their headers."""

import base64
import binascii
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import formatdate

from aiohttp import web

from gateway.core.errors import Malformed, Misuse, PeerFault
from gateway.core.ids import Digest
from gateway.core.strict import b64
from gateway.web.documents import number

VERSION = "1.0.0"
MEDIA_TYPE = "application/offset+octet-stream"
ALGORITHMS = ("sha256", "sha1", "md5")
"""Of `Upload-Checksum`: against mishaps on the way, whatever else they no longer serve."""

_EXTENSIONS = ("creation", "creation-with-upload", "termination", "expiration", "checksum")
_HEADERS = {
    "Tus-Resumable": VERSION,
    "Tus-Version": VERSION,
    "Tus-Extension": ",".join(_EXTENSIONS),
    "Tus-Checksum-Algorithm": ",".join(ALGORITHMS),
}
_NOT_HERE = ("Upload-Defer-Length", "Upload-Concat")


@dataclass(frozen=True, slots=True)
class Checksum:
    """What the body of a request is to have."""

    algorithm: str
    digest: bytes


async def stamped(request: web.Request, response: web.StreamResponse) -> None:
    """Give every answer about uploads the headers of tus, problems too."""
    if request.path.startswith("/v1/uploads"):
        response.headers.update(_HEADERS)


def method(request: web.Request) -> str:
    """Return the method that is meant, which not every client can send as such."""
    return request.headers.get("X-HTTP-Method-Override", request.method).upper()


def check_version(request: web.Request) -> None:
    """Raise Misuse, 412 `tus_version`, unless the request speaks this version."""
    if request.headers.get("Tus-Resumable") != VERSION:
        raise Misuse(412, "tus_version", f"uploads speak tus {VERSION}: say so in Tus-Resumable")


def check_media_type(request: web.Request) -> None:
    """Raise PeerFault, 415 `unsupported_media_type`, unless the body is a part of an upload."""
    if request.content_type != MEDIA_TYPE:
        raise PeerFault(415, "unsupported_media_type")


def length(request: web.Request) -> int:
    """Return how long a new upload is going to be. Raises Malformed."""
    for name in _NOT_HERE:
        if name in request.headers:
            raise Malformed(f"{name} is not served here: an upload is one, and says its Upload-Length")
    return number(request.headers.get("Upload-Length", ""), what="Upload-Length")


def offset(request: web.Request) -> int:
    """Return where the body of a request begins in its upload. Raises Malformed."""
    return number(request.headers.get("Upload-Offset", ""), what="Upload-Offset")


def checksum(request: web.Request) -> Checksum | None:
    """Return what the body is to have, if the request says so.

    Raises:
        Misuse: 400 `unknown_checksum`: another algorithm.
        Malformed: no digest of that algorithm.
    """
    text = request.headers.get("Upload-Checksum")
    if text is None:
        return None
    algorithm, _, encoded = text.partition(" ")
    if algorithm not in ALGORITHMS:
        raise Misuse(
            400, "unknown_checksum", "a checksum of another kind", members={"known": list(ALGORITHMS)}
        )
    try:
        digest = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        digest = b""
    if len(digest) != new_hash(algorithm).digest_size:
        raise Malformed("Upload-Checksum is an algorithm, a space, and its digest in base64")
    return Checksum(algorithm, digest)


def new_hash(algorithm: str) -> "hashlib._Hash":
    """Return a hash of one of `ALGORITHMS`."""
    return hashlib.new(algorithm, usedforsecurity=False)


def expires(time_ms: int) -> Mapping[str, str]:
    """Return the header that says when an upload goes."""
    return {"Upload-Expires": formatdate(time_ms / 1000, usegmt=True)}


def repr_digest(plain_sha256: Digest) -> Mapping[str, str]:
    """Return the header that says what the whole upload is (RFC 9530)."""
    return {"Repr-Digest": f"sha-256=:{b64(bytes.fromhex(plain_sha256))}:"}
