"""Signed notes and the keys that verify them, unverified: C2SP signed-note v1.0.0, to the byte.

A note is text, a blank line and signature lines; a *vkey* is a verifier key as text.
"""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from gateway.core.errors import Malformed, Untrusted
from gateway.core.strict import b64, from_b64
from keys.errors import KeyFault
from keys.signing import LATTICE_PUBLIC_BYTES, LATTICE_SIGNATURE_BYTES, PUBLIC_BYTES, check_public

ED25519: Final = 0x01
COSIGNATURE: Final = 0x04
LATTICE_COSIGNATURE: Final = 0x06

MAX_NOTE_BYTES = 128 * 1024
"""Room for 16 signatures of 5 kB, which signed-note asks a verifier to accept, and more."""
MAX_SIGNATURES = 64
MAX_NAME_BYTES = 255
"""The length of a name in an ML-DSA-44 cosigned message is one byte."""
TIME_BYTES = 8
"""The timestamp before the signature proper, in types 0x04 and 0x06."""

_KEY_BYTES = {
    ED25519: PUBLIC_BYTES,
    COSIGNATURE: PUBLIC_BYTES,
    LATTICE_COSIGNATURE: LATTICE_PUBLIC_BYTES,
}
_SIGNATURE_BYTES = {
    ED25519: 64,
    COSIGNATURE: TIME_BYTES + 64,
    LATTICE_COSIGNATURE: TIME_BYTES + LATTICE_SIGNATURE_BYTES,
}
_KEY_ID_BYTES = 4
_KEY_ID = re.compile(r"[0-9a-f]{8}", re.ASCII)
_VKEY_PARTS = 3
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f]")
_DASH = "\N{EM DASH} "


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """A key that verifies notes: its name, signature type and raw public key."""

    name: str
    kind: int
    public: bytes

    @property
    def key_id(self) -> bytes:
        """The first four bytes of SHA-256 over name, newline, type and key (signed-note)."""
        typed = self.name.encode() + b"\n" + bytes([self.kind]) + self.public
        return hashlib.sha256(typed).digest()[:_KEY_ID_BYTES]

    def encode(self) -> str:
        """Return the vkey: name, hex key id, and base64 of type and key, with + between."""
        return f"{self.name}+{self.key_id.hex()}+{b64(bytes([self.kind]) + self.public)}"


def parse_vkey(text: object) -> VerifierKey:
    """Return the verifier key of a vkey of type 0x01, 0x04 or 0x06. Raises Malformed."""
    parts = text.split("+", 2) if isinstance(text, str) else []
    if len(parts) != _VKEY_PARTS or not _KEY_ID.fullmatch(parts[1]):
        raise Malformed("a vkey is name+key id+key")
    name, key_id, key = parts
    typed = from_b64(key)
    kind, public = (typed[0], typed[1:]) if typed else (0, b"")
    if len(public) != _KEY_BYTES.get(kind, -1):
        raise Malformed("a vkey of a type or length that is not in use")
    verifier = VerifierKey(check_name(name), kind, public)
    if verifier.key_id.hex() != key_id:
        raise Malformed("a vkey whose key id is not that of its key")
    if kind != LATTICE_COSIGNATURE:
        _check_ed25519(public)
    return verifier


def check_name(name: str) -> str:
    """Return *name*, fit to name a key or a log (signed-note; at most 255 bytes). Raises Malformed."""
    if not name or "+" in name or any(c.isspace() or c < " " for c in name):
        raise Malformed("a key name is not empty, and has neither spaces nor +")
    if len(name.encode()) > MAX_NAME_BYTES:
        raise Malformed(f"a key name longer than {MAX_NAME_BYTES} bytes")
    return name


@dataclass(frozen=True, slots=True)
class Signature:
    """One signature line of a note, unverified."""

    name: str
    key_id: bytes
    signature: bytes


@dataclass(frozen=True, slots=True)
class Note:
    """A text and its signature lines, unverified."""

    text: str
    signatures: tuple[Signature, ...]


def parse_note(text: str) -> Note:
    """Return the text and the signature lines of a signed note; nothing is verified.

    Raises:
        Malformed: not the one form of C2SP signed-note, or over 128 KiB or 64 signatures.
    """
    if len(_utf8(text)) > MAX_NOTE_BYTES:
        raise Malformed(f"a note larger than {MAX_NOTE_BYTES} bytes")
    if _CONTROL.search(text):
        raise Malformed("a note with control characters")
    body, blank, lines = text.rpartition("\n\n")
    if not blank or not body:
        raise Malformed("a note without a blank line before its signatures")
    return Note(body + "\n", parse_signatures(lines))


def parse_signatures(lines: str) -> tuple[Signature, ...]:
    """Return the signature lines of a note, or of a witness's answer; nothing is verified.

    Raises:
        Malformed: not one to 64 lines of the form of C2SP signed-note.
    """
    *found, rest = lines.split("\n")
    if rest or not 0 < len(found) <= MAX_SIGNATURES:
        raise Malformed(f"a note ends with one to {MAX_SIGNATURES} signature lines")
    return tuple(_parse_signature(line) for line in found)


def signature_line(key: VerifierKey, signature: bytes) -> str:
    """Return the line that ends a note with *signature* by *key*."""
    return f"{_DASH}{key.name} {b64(key.key_id + signature)}\n"


def one_signature(signatures: Sequence[Signature], key: VerifierKey) -> bytes:
    """Return the one signature by *key*, found by name and key id. Raises Untrusted."""
    found = [s.signature for s in signatures if s.name == key.name and s.key_id == key.key_id]
    if len(found) != 1:
        raise Untrusted(f"a key of type {key.kind:#04x} signs exactly once")
    if len(found[0]) != _SIGNATURE_BYTES[key.kind]:
        raise Untrusted(f"a signature that is not of type {key.kind:#04x}")
    return found[0]


def _check_ed25519(public: bytes) -> None:
    try:
        check_public(public)
    except KeyFault:
        raise Malformed("a vkey with an Ed25519 key that is not accepted") from None


def _utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise Malformed("a note with a lone surrogate") from None


def _parse_signature(line: str) -> Signature:
    name, space, encoded = line.removeprefix(_DASH).partition(" ")
    if not line.startswith(_DASH) or not space:
        raise Malformed("a signature line is an em dash, a name and base64")
    data = from_b64(encoded)
    if len(data) <= _KEY_ID_BYTES:
        raise Malformed("a signature line without a signature")
    return Signature(check_name(name), data[:_KEY_ID_BYTES], data[_KEY_ID_BYTES:])
