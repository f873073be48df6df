"""Checkpoints and cosignatures (protocol §9 "Checkpoint", "Witnessing").

Followed to the byte: C2SP tlog-checkpoint v1.0.0 and tlog-cosignature v1.1.0-rc.1 (the first with
ML-DSA-44, type 0x06). A log signs each checkpoint twice: 0x01 (Ed25519 over the note's text) and
0x06 (ML-DSA-44, with a time). A witness adds 0x04 (Ed25519, with a time) and 0x06.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from gateway.core.errors import Malformed, Untrusted
from gateway.core.merkle import HASH_BYTES
from gateway.core.signed_note import (
    COSIGNATURE,
    ED25519,
    LATTICE_COSIGNATURE,
    TIME_BYTES,
    Signature,
    VerifierKey,
    check_name,
    one_signature,
    parse_note,
    parse_vkey,
    signature_line,
)
from gateway.core.strict import INTEGER_LIMIT, b64, from_b64
from keys.errors import KeyFault
from keys.signing import LogKeys, verify_lattice, verify_raw

_TIME_LIMIT = 1 << 63
_SIZE = re.compile(r"0|[1-9][0-9]{0,15}", re.ASCII)
_BODY_LINES = 3


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

    def vkeys(self) -> tuple[str, str]:
        """Return the two vkeys, 0x01 first."""
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

    def vkeys(self) -> tuple[str, str]:
        """Return the two vkeys, 0x04 first."""
        ed, lattice = self.verifiers
        return ed.encode(), lattice.encode()


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


def sign_checkpoint(origin: str, size: int, root: bytes, time_ms: int, keys: LogKeys) -> Checkpoint:
    """Return the checkpoint of a log, signed with both its keys.

    *time_ms* is the time of the last entry: the log claims nothing that it has not logged.
    """
    text = _head_text(origin, size, root)
    log = LogIdentity(origin, keys.ed.public, keys.lattice.public)
    time_s = time_ms // 1000
    timed = keys.lattice.sign(_cosigned_message(origin, time_s, origin, size, root))
    ed, lattice = log.verifiers
    lines = signature_line(ed, keys.ed.sign(text.encode())) + signature_line(
        lattice, _timestamp(time_s) + timed
    )
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
    _verify_ed25519(ed, one_signature(note.signatures, ed), note.text.encode())
    time_s = _verify_lattice(lattice, one_signature(note.signatures, lattice), (origin, size, root))
    return Checkpoint(origin, size, root, text, time_s)


def bare_note(checkpoint: Checkpoint, log: LogIdentity) -> str:
    """Return the note of a *checkpoint* that verified under *log*, without the signatures of others."""
    signatures = parse_note(checkpoint.text).signatures
    lines = (signature_line(key, one_signature(signatures, key)) for key in log.verifiers)
    return f"{_head_text(checkpoint.origin, checkpoint.size, checkpoint.root)}\n{''.join(lines)}"


def cosign(checkpoint: Checkpoint, name: str, time_ms: int, keys: LogKeys) -> str:
    """Return the two signature lines of the witness *name* under *checkpoint*, by its clock."""
    witness = WitnessIdentity(name, keys.ed.public, keys.lattice.public)
    time_s = time_ms // 1000
    origin, size, root = checkpoint.origin, checkpoint.size, checkpoint.root
    plain = keys.ed.sign(_timed_text(time_s, _head_text(origin, size, root)))
    timed = keys.lattice.sign(_cosigned_message(name, time_s, origin, size, root))
    ed, lattice = witness.verifiers
    return signature_line(ed, _timestamp(time_s) + plain) + signature_line(
        lattice, _timestamp(time_s) + timed
    )


def verify_cosignatures(
    checkpoint: Checkpoint, signatures: Sequence[Signature], witness: WitnessIdentity
) -> Cosigned:
    """Return that *witness* signed *checkpoint* with both its keys, among *signatures*.

    Raises:
        Untrusted: one of the two signatures is missing or wrong.
    """
    times = [verify_cosignature(checkpoint, signatures, key) for key in witness.verifiers]
    return Cosigned(checkpoint, witness.name, max(times))


def verify_cosignature(checkpoint: Checkpoint, signatures: Sequence[Signature], key: VerifierKey) -> int:
    """Return when, in seconds by its own clock, the witness with *key* signed *checkpoint*.

    *key* is of type 0x04 or 0x06: witnesses outside this protocol may have one alone.

    Raises:
        Untrusted: its signature is missing or wrong.
    """
    head = (checkpoint.origin, checkpoint.size, checkpoint.root)
    stamped = one_signature(signatures, key)
    if key.kind == LATTICE_COSIGNATURE:
        return _verify_lattice(key, stamped, head)
    time_s = _read_timestamp(stamped)
    _verify_ed25519(key, stamped[TIME_BYTES:], _timed_text(time_s, _head_text(*head)))
    return time_s


def _pair(name: str, vkeys: Sequence[object], first: int) -> tuple[bytes, bytes]:
    found = [parse_vkey(vkey) for vkey in vkeys]
    if [key.kind for key in found] != [first, LATTICE_COSIGNATURE]:
        raise Malformed(f"two vkeys are given, of types {first:#04x} and 0x06")
    if any(key.name != name for key in found):
        raise Malformed("a vkey bears another name")
    return found[0].public, found[1].public


def _verify_ed25519(key: VerifierKey, signature: bytes, data: bytes) -> None:
    try:
        verify_raw(key.public, signature, data)
    except KeyFault:
        raise Untrusted(f"the signature of type {key.kind:#04x} does not verify") from None


def _verify_lattice(key: VerifierKey, stamped: bytes, head: tuple[str, int, bytes]) -> int:
    time_s = _read_timestamp(stamped)
    message = _cosigned_message(key.name, time_s, *head)
    try:
        verify_lattice(key.public, stamped[TIME_BYTES:], message)
    except KeyFault:
        raise Untrusted("the signature of type 0x06 does not verify") from None
    return time_s


def _read_timestamp(stamped: bytes) -> int:
    time_s = int.from_bytes(stamped[:TIME_BYTES], "big")
    if time_s >= _TIME_LIMIT:
        raise Untrusted("a time beyond 2^63 - 1")
    return time_s


def _timestamp(time_s: int) -> bytes:
    return time_s.to_bytes(TIME_BYTES, "big")


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
