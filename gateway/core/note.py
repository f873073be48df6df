"""Signed notes, checkpoints and cosignatures (protocol §9 "Checkpoint", "Witnessing").

Followed to the byte: C2SP signed-note v1.0.0, tlog-checkpoint v1.0.0, and tlog-cosignature
v1.1.0-rc.1 (the first with ML-DSA-44, type 0x06). An own log's checkpoint bears two signatures:
0x01 (Ed25519 over the note text) and 0x06 (ML-DSA-44, timestamped). A witness adds 0x04 and 0x06.
"""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from gateway.core.errors import Malformed, Untrusted
from gateway.core.merkle import HASH_BYTES
from gateway.core.strict import INTEGER_LIMIT, b64, from_b64
from keys.errors import KeyFault
from keys.signing import check_public, verify_lattice, verify_raw

if TYPE_CHECKING:
    from keys.vault import LogKeys

ED25519: Final = 0x01
COSIGNATURE: Final = 0x04
LATTICE_COSIGNATURE: Final = 0x06

MAX_NOTE_BYTES = 128 * 1024
"""Room for 16 signatures of 5 kB, which C2SP signed-note asks a verifier to accept, and more."""
MAX_SIGNATURES = 64
MAX_NAME_BYTES = 255
"""The length of a name in an ML-DSA-44 cosigned message is one byte."""

_KEY_BYTES = {ED25519: 32, COSIGNATURE: 32, LATTICE_COSIGNATURE: 1312}
_SIGNATURE_BYTES = {ED25519: 64, COSIGNATURE: 8 + 64, LATTICE_COSIGNATURE: 8 + 2420}
_KEY_ID_BYTES = 4
_TIME_BYTES = 8
_TIME_LIMIT = 1 << 63
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f]")
_SIZE = re.compile(r"0|[1-9][0-9]{0,15}", re.ASCII)
_KEY_ID = re.compile(r"[0-9a-f]{8}", re.ASCII)
_BODY_LINES = 3
_VKEY_PARTS = 3
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
class LogIdentity:
    """Who signs a log: its origin, and one pair of keys for ever (types 0x01 and 0x06)."""

    origin: str
    ed_public: bytes
    lattice_public: bytes

    @classmethod
    def from_vkeys(cls, origin: str, vkeys: Sequence[object]) -> "LogIdentity":
        """Return the log that *vkeys* stand for: 0x01 and then 0x06, both named *origin*."""
        return cls(origin, *_pair(origin, vkeys, ED25519))

    @property
    def verifiers(self) -> tuple[VerifierKey, VerifierKey]:
        """The two verifier keys, 0x01 first."""
        return (
            VerifierKey(self.origin, ED25519, self.ed_public),
            VerifierKey(self.origin, LATTICE_COSIGNATURE, self.lattice_public),
        )

    @property
    def vkeys(self) -> tuple[str, str]:
        """The two vkeys, 0x01 first."""
        ed, lattice = self.verifiers
        return ed.encode(), lattice.encode()


@dataclass(frozen=True, slots=True)
class WitnessIdentity:
    """Who cosigns: the witness's name, and one pair of keys for ever (types 0x04 and 0x06)."""

    name: str
    ed_public: bytes
    lattice_public: bytes

    @classmethod
    def from_vkeys(cls, name: str, vkeys: Sequence[object]) -> "WitnessIdentity":
        """Return the witness that *vkeys* stand for: 0x04 and then 0x06, both named *name*."""
        return cls(name, *_pair(name, vkeys, COSIGNATURE))

    @property
    def verifiers(self) -> tuple[VerifierKey, VerifierKey]:
        """The two verifier keys, 0x04 first."""
        return (
            VerifierKey(self.name, COSIGNATURE, self.ed_public),
            VerifierKey(self.name, LATTICE_COSIGNATURE, self.lattice_public),
        )

    @property
    def vkeys(self) -> tuple[str, str]:
        """The two vkeys, 0x04 first."""
        ed, lattice = self.verifiers
        return ed.encode(), lattice.encode()


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


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A tree head that its log signed twice; `text` is the whole signed note.

    `time_s` is the time of the last entry, as the ML-DSA-44 signature has it.
    """

    origin: str
    size: int
    root: bytes
    text: str
    time_s: int


@dataclass(frozen=True, slots=True)
class Cosigned:
    """A checkpoint that a witness signed twice; `time_s` is by its clock, the later of the two."""

    checkpoint: Checkpoint
    witness: str
    time_s: int


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


def parse_head(text: str) -> tuple[str, int, bytes]:
    """Return origin, size and root of the text of a checkpoint. Raises Malformed."""
    lines = text.split("\n")
    if len(lines) != _BODY_LINES + 1 or lines[-1]:
        raise Malformed("a checkpoint has the lines origin, size and root, and no more")
    origin, size, encoded, _ = lines
    if not _SIZE.fullmatch(size) or int(size) >= INTEGER_LIMIT:
        raise Malformed("the size of a checkpoint is a decimal below 2^53 without leading zeroes")
    root = from_b64(encoded)
    if len(root) != HASH_BYTES:
        raise Malformed("the root of a checkpoint has 32 bytes")
    return check_name(origin), int(size), root


def sign_checkpoint(origin: str, size: int, root: bytes, time_ms: int, keys: "LogKeys") -> Checkpoint:
    """Return the checkpoint of a log, signed with both its keys.

    *time_ms* is the time of the last entry: the log claims nothing that it has not logged.
    """
    text = _head_text(origin, size, root)
    log = LogIdentity(origin, keys.ed.public, keys.lattice.public)
    time_s = time_ms // 1000
    timed = keys.lattice.sign(_cosigned_message(origin, time_s, origin, size, root))
    ed, lattice = log.verifiers
    lines = _line(ed, keys.ed.sign(text.encode())) + _line(lattice, _timestamp(time_s) + timed)
    return Checkpoint(origin, size, root, f"{text}\n{lines}", time_s)


def verify_checkpoint(text: str, log: LogIdentity) -> Checkpoint:
    """Return the checkpoint that both keys of *log* signed.

    Signatures by others (cosignatures, say) are ignored, as signed-note asks. A result is
    remembered, so that the receipts of a batch share one verification.

    Raises:
        Malformed: not a checkpoint in the one form, or with extension lines.
        Untrusted: another log's, or one of the two signatures is missing or wrong.
    """
    return _verify_checkpoint(text, log)


@lru_cache(maxsize=128)
def _verify_checkpoint(text: str, log: LogIdentity) -> Checkpoint:
    note = parse_note(text)
    origin, size, root = parse_head(note.text)
    if origin != log.origin:
        raise Untrusted("a checkpoint of another log")
    ed, lattice = log.verifiers
    _verify_ed25519(ed, _signature(note.signatures, ed), note.text.encode())
    time_s = _verify_lattice(lattice, _signature(note.signatures, lattice), (origin, size, root))
    return Checkpoint(origin, size, root, text, time_s)


def cosign(checkpoint: Checkpoint, name: str, time_ms: int, keys: "LogKeys") -> str:
    """Return the two signature lines of the witness *name* under *checkpoint*, by its clock."""
    witness = WitnessIdentity(name, keys.ed.public, keys.lattice.public)
    time_s = time_ms // 1000
    origin, size, root = checkpoint.origin, checkpoint.size, checkpoint.root
    plain = keys.ed.sign(_timed_text(time_s, _head_text(origin, size, root)))
    timed = keys.lattice.sign(_cosigned_message(name, time_s, origin, size, root))
    ed, lattice = witness.verifiers
    return _line(ed, _timestamp(time_s) + plain) + _line(lattice, _timestamp(time_s) + timed)


def verify_cosignatures(
    checkpoint: Checkpoint, signatures: Sequence[Signature], witness: WitnessIdentity
) -> Cosigned:
    """Return that *witness* signed *checkpoint* with both its keys, among *signatures*.

    Raises:
        Untrusted: one of the two signatures is missing or wrong.
    """
    head = (checkpoint.origin, checkpoint.size, checkpoint.root)
    ed, lattice = witness.verifiers
    stamped = _signature(signatures, ed)
    ed_time_s = _read_timestamp(stamped)
    _verify_ed25519(ed, stamped[_TIME_BYTES:], _timed_text(ed_time_s, _head_text(*head)))
    time_s = _verify_lattice(lattice, _signature(signatures, lattice), head)
    return Cosigned(checkpoint, witness.name, max(ed_time_s, time_s))


def _pair(name: str, vkeys: Sequence[object], first: int) -> tuple[bytes, bytes]:
    found = [parse_vkey(vkey) for vkey in vkeys]
    if [key.kind for key in found] != [first, LATTICE_COSIGNATURE]:
        raise Malformed(f"two vkeys are given, of types {first:#04x} and 0x06")
    if any(key.name != name for key in found):
        raise Malformed("a vkey bears another name")
    return found[0].public, found[1].public


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


def _signature(signatures: Sequence[Signature], key: VerifierKey) -> bytes:
    """Return the one signature by *key*, by name and key id, of the length of its type."""
    found = [s.signature for s in signatures if s.name == key.name and s.key_id == key.key_id]
    if len(found) != 1:
        raise Untrusted(f"a key of type {key.kind:#04x} signs exactly once")
    if len(found[0]) != _SIGNATURE_BYTES[key.kind]:
        raise Untrusted(f"a signature that is not of type {key.kind:#04x}")
    return found[0]


def _verify_ed25519(key: VerifierKey, signature: bytes, data: bytes) -> None:
    try:
        verify_raw(key.public, signature, data)
    except KeyFault:
        raise Untrusted(f"the signature of type {key.kind:#04x} does not verify") from None


def _verify_lattice(key: VerifierKey, stamped: bytes, head: tuple[str, int, bytes]) -> int:
    time_s = _read_timestamp(stamped)
    message = _cosigned_message(key.name, time_s, *head)
    try:
        verify_lattice(key.public, stamped[_TIME_BYTES:], message)
    except KeyFault:
        raise Untrusted("the signature of type 0x06 does not verify") from None
    return time_s


def _read_timestamp(stamped: bytes) -> int:
    time_s = int.from_bytes(stamped[:_TIME_BYTES], "big")
    if time_s >= _TIME_LIMIT:
        raise Untrusted("a time beyond 2^63 - 1")
    return time_s


def _timestamp(time_s: int) -> bytes:
    return time_s.to_bytes(_TIME_BYTES, "big")


def _line(key: VerifierKey, signature: bytes) -> str:
    return f"{_DASH}{key.name} {b64(key.key_id + signature)}\n"


def _head_text(origin: str, size: int, root: bytes) -> str:
    return f"{origin}\n{size}\n{b64(root)}\n"


def _timed_text(time_s: int, head: str) -> bytes:
    """The message under type 0x04 (tlog-cosignature, "Ed25519 signed message")."""
    return f"cosignature/v1\ntime {time_s}\n{head}".encode()


def _cosigned_message(name: str, time_s: int, origin: str, size: int, root: bytes) -> bytes:
    """The message under type 0x06 (tlog-cosignature, `cosigned_message`), for a whole tree."""
    return b"".join(
        (
            b"subtree/v1\n\x00",
            _opaque(name),
            _timestamp(time_s),
            _opaque(origin),
            (0).to_bytes(8, "big"),  # start
            size.to_bytes(8, "big"),  # end
            root,
        )
    )


def _opaque(name: str) -> bytes:
    data = name.encode()
    return bytes([len(data)]) + data
