"""The envelope: what is on the wire, and the content sealed in it (protocol §6).

Opening needs the recipient's private key; who wrote the content is shown only by the JWS inside,
which the caller verifies next. The seal binds the header: `info` holds its exact bytes.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from gateway.core.errors import Malformed
from gateway.core.ids import AuthorityId, Digest, MessageId, parse_authority, parse_digest, parse_message_id
from gateway.core.strict import (
    as_object,
    as_text,
    b64url,
    check_constants,
    encode_json,
    from_b64url,
    members,
    parse_json,
    sha256,
)
from keys.errors import UnknownKey
from keys.sealing import ALGORITHM, SealingKey, seal
from keys.signing import kid

MEDIA_TYPE = "application/vnd.art18.envelope+json"
MAX_BYTES = 4 * 1024 * 1024
BLOB_KEY_BYTES = 32
_DIGEST_BYTES = 32

_COMPACT_JWS = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+", re.ASCII)
_INFO = b"art18/envelope/v1\x00"


@dataclass(frozen=True, slots=True)
class Header:
    """All that an envelope shows in the clear; `key` is the kid of the recipient's sealing key."""

    id: MessageId
    sender: AuthorityId
    recipient: AuthorityId
    key: str


@dataclass(frozen=True, slots=True)
class Envelope:
    """An envelope as it was or will be posted: `raw` is the exact body, `sha256` its digest."""

    header: Header
    header_bytes: bytes
    sealed: bytes
    raw: bytes
    sha256: Digest


@dataclass(frozen=True, slots=True)
class Content:
    """What an envelope seals: the signed message, and the key of each of its blobs by digest."""

    jws: str
    blob_keys: Mapping[Digest, bytes]

    @property
    def message_sha256(self) -> Digest:
        """The digest by which entries and cases know the message: of the compact JWS."""
        return sha256(self.jws.encode("ascii"))


def parse_envelope(raw: bytes) -> Envelope:
    """Return the envelope *raw*. Raises Malformed."""
    outer = members(parse_json(raw, max_bytes=MAX_BYTES), required=("header", "sealed"))
    header_bytes = from_b64url(outer["header"])
    found = members(parse_json(header_bytes), required=("v", "type", "id", "from", "to", "key"))
    check_constants(found, v=1, type="envelope")
    header = Header(
        id=parse_message_id(found["id"]),
        sender=parse_authority(found["from"]),
        recipient=parse_authority(found["to"]),
        key=_parse_kid(found["key"]),
    )
    return Envelope(header, header_bytes, from_b64url(outer["sealed"]), raw, sha256(raw))


def build_envelope(header: Header, plaintext: bytes, sealing_public: bytes) -> Envelope:
    """Seal *plaintext* (of `encode_content`) to *sealing_public*, whose kid is `header.key`.

    Raises:
        Malformed: the kid is another key's, or it is more than an envelope holds.
    """
    if kid(ALGORITHM, sealing_public) != header.key:
        raise Malformed("the header names another sealing key")
    header_bytes = encode_json(
        {
            "v": 1,
            "type": "envelope",
            "id": header.id,
            "from": header.sender,
            "to": header.recipient,
            "key": header.key,
        }
    )
    sealed = seal(sealing_public, plaintext, _INFO + header_bytes)
    # base64url needs no escapes: these are the bytes that a JSON encoder would write.
    raw = f'{{"header":"{b64url(header_bytes)}","sealed":"{b64url(sealed)}"}}'.encode("ascii")
    if len(raw) > MAX_BYTES:
        raise Malformed(f"an envelope larger than {MAX_BYTES} bytes")
    return Envelope(header, header_bytes, sealed, raw, sha256(raw))


def open_envelope(envelope: Envelope, keys: Mapping[str, SealingKey]) -> Content:
    """Return the content that *envelope* seals to one of *keys* (by kid).

    Raises:
        Malformed: it opens, but what is inside is not content.
        keys.errors.UnknownKey: sealed to a key that is not among *keys*.
        keys.errors.CannotOpen: header or ciphertext were altered, or sealed for another key.
    """
    key = keys.get(envelope.header.key)
    if key is None:
        raise UnknownKey(envelope.header.key)
    return parse_content(key.open(envelope.sealed, _INFO + envelope.header_bytes))


def encode_content(jws: str, blob_keys: Mapping[Digest, bytes]) -> bytes:
    """Return the plaintext of an envelope."""
    keys = ",".join(f'"{digest}":"{b64url(key)}"' for digest, key in blob_keys.items())
    # Neither base64url nor hex needs escapes: these are the bytes that a JSON encoder would write.
    return f'{{"message":"{jws}","blob_keys":{{{keys}}}}}'.encode()


def parse_content(plaintext: bytes) -> Content:
    """Return the content in *plaintext*. Raises Malformed."""
    found = members(parse_json(plaintext, max_bytes=MAX_BYTES), required=("message", "blob_keys"))
    blob_keys = {
        parse_digest(digest): _parse_blob_key(key) for digest, key in as_object(found["blob_keys"]).items()
    }
    jws = as_text(found["message"])
    if not _COMPACT_JWS.fullmatch(jws):
        raise Malformed("the message is not a compact JWS")
    return Content(jws, blob_keys)


def _parse_blob_key(text: object) -> bytes:
    key = from_b64url(text)
    if len(key) != BLOB_KEY_BYTES:
        raise Malformed("the key of a blob has 32 bytes")
    return key


def _parse_kid(text: object) -> str:
    if len(from_b64url(text)) != _DIGEST_BYTES:
        raise Malformed("a kid is a SHA-256 digest in base64url")
    return as_text(text)
