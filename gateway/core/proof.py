"""Proofs of inclusion as text, and receipts: what a peer's log states about an envelope.

C2SP tlog-proof v1 without its optional `extra` line (protocol §9 "Proof", "Receipt").
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from gateway.core.entry import TRAVELLING, Entry, parse_entry
from gateway.core.errors import Malformed, Untrusted, WrongSubject
from gateway.core.ids import AuthorityId, Digest, MessageId
from gateway.core.merkle import HASH_BYTES, leaf_hash, verify_inclusion
from gateway.core.note import Checkpoint, LogIdentity, verify_checkpoint
from gateway.core.strict import (
    INTEGER_LIMIT,
    as_text,
    b64,
    encode_json,
    from_b64,
    members,
    parse_json,
    sha256,
)

MAX_RECEIPT_BYTES = 512 * 1024
"""Room for entry, proof and the largest note, with JSON's escapes."""
MAX_HASHES = 64
"""No proof in a tree below 2^53 leaves is longer."""

_MAGIC = "c2sp.org/tlog-proof@v1"
_INDEX = re.compile(r"index (0|[1-9][0-9]{0,15})", re.ASCII)
_SUBJECT = b'"envelope_sha256":"'
_DIGEST_CHARS = 64


@dataclass(frozen=True, slots=True)
class Receipt:
    """An entry of a peer's log and the proof that it is there, as they travel; unverified."""

    entry: bytes
    proof: str

    def encode(self) -> bytes:
        """Return the receipt as it stands on the wire."""
        found = {"entry": self.entry.decode("utf-8"), "proof": self.proof}
        return encode_json(found)

    def split_proof(self) -> tuple[str, str]:
        """Return the proof up to and with its blank line, and the checkpoint (protocol §8 "Batch")."""
        head, blank, checkpoint = self.proof.partition("\n\n")
        return head + blank, checkpoint


@dataclass(frozen=True, slots=True)
class Proof:
    """A tlog-proof in its parts; `checkpoint` is text in which only the origin was looked at."""

    index: int
    hashes: tuple[bytes, ...]
    origin: str
    checkpoint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SentEnvelope:
    """What a receipt must speak of: a message of *sender*, and every envelope it was posted in."""

    message_id: MessageId
    sender: AuthorityId
    recipient: AuthorityId
    message_sha256: Digest
    envelopes: frozenset[Digest]


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """What a verified receipt proves: the peer logged *entry* at *index* under *checkpoint*."""

    event: str
    reason: str | None
    envelope_sha256: Digest
    entry: Entry
    entry_sha256: Digest
    index: int
    checkpoint: Checkpoint


def parse_receipt(raw: bytes) -> Receipt:
    """Return the receipt *raw*; its proof is in form, and nothing is verified.

    Raises:
        Malformed: not a receipt.
    """
    found = members(parse_json(raw, max_bytes=MAX_RECEIPT_BYTES), required=frozenset({"entry", "proof"}))
    receipt = Receipt(as_text(found["entry"]).encode(), as_text(found["proof"]))
    parse_proof(receipt.proof)
    return receipt


def encode_proof(index: int, hashes: Iterable[bytes], checkpoint: str) -> str:
    """Return the tlog-proof of the entry at *index*."""
    return f"{_MAGIC}\nindex {index}\n{encode_hashes(hashes)}\n{checkpoint}"


def parse_proof(text: str) -> Proof:
    """Return the parts of a tlog-proof; the checkpoint is for `verify_checkpoint` to judge.

    Raises:
        Malformed: not in form, or with an `extra` line.
    """
    head, blank, checkpoint = text.partition("\n\n")
    magic, _, rest = head.partition("\n")
    line, newline, lines = rest.partition("\n")
    index = _INDEX.fullmatch(line)
    if not blank or magic != _MAGIC or index is None or int(index[1]) >= INTEGER_LIMIT:
        raise Malformed("a proof begins with its version and index, and a blank line ends it")
    hashes = parse_hashes(f"{lines}\n" if newline else "")
    return Proof(int(index[1]), hashes, checkpoint.partition("\n")[0], checkpoint)


def encode_hashes(hashes: Iterable[bytes]) -> str:
    """Return the hashes of a proof, one a line in base64."""
    return "".join(f"{b64(digest)}\n" for digest in hashes)


def parse_hashes(text: str) -> tuple[bytes, ...]:
    """Return the hashes of a proof, one a line. Raises Malformed."""
    *lines, rest = text.split("\n")
    if rest or len(lines) > MAX_HASHES:
        raise Malformed(f"a proof has at most {MAX_HASHES} lines, each ended")
    hashes = tuple(from_b64(line) for line in lines)
    if any(len(digest) != HASH_BYTES for digest in hashes):
        raise Malformed("a hash of a proof has 32 bytes")
    return hashes


def verify_receipt(receipt: Receipt, sent: SentEnvelope, logs: Mapping[str, LogIdentity]) -> Statement:
    """Return the statement that *receipt* proves about *sent*.

    The envelope's digest is compared before the entry is interpreted, so that a peer cannot
    make us act on bytes that speak of something else. *logs* are those of every pinned card
    of the recipient, by origin (protocol §9 "Receipt").

    Raises:
        Malformed: entry or proof is not in canonical form.
        Untrusted: not a log of the recipient, or a signature of the log is missing or wrong.
        NotIncluded: the proof does not lead from the entry to the checkpoint.
        WrongSubject: a sound receipt for something else, or for no statement that travels.
    """
    envelope_sha256 = _envelope_digest(receipt.entry)
    if envelope_sha256 not in sent.envelopes:
        raise WrongSubject("the receipt speaks of no envelope that was posted")
    proof = parse_proof(receipt.proof)
    entry = parse_entry(receipt.entry)
    if proof.origin not in logs:
        raise Untrusted("the log is of no card of the recipient")
    checkpoint = verify_checkpoint(proof.checkpoint, logs[proof.origin])
    verify_inclusion(leaf_hash(receipt.entry), proof.index, checkpoint.size, proof.hashes, checkpoint.root)
    _check_subject(entry, sent)
    return Statement(
        event=entry.event,
        reason=entry.reason,
        envelope_sha256=envelope_sha256,
        entry=entry,
        entry_sha256=sha256(receipt.entry),
        index=proof.index,
        checkpoint=checkpoint,
    )


def _envelope_digest(entry: bytes) -> Digest:
    """Return the envelope's digest of which *entry* speaks.

    In canonical form, which is checked next, the member stands there literally and no string
    holds a quote: what is found here is what `parse_entry` will read.
    """
    _, _, rest = entry.partition(_SUBJECT)
    return Digest(rest[:_DIGEST_CHARS].decode("ascii", "replace"))


def _check_subject(entry: Entry, sent: SentEnvelope) -> None:
    if entry.event not in TRAVELLING:
        raise WrongSubject("the entry states nothing about an envelope")
    if entry.authority != sent.recipient:
        raise WrongSubject("the entry is not the recipient's")
    if entry.peer != sent.sender:
        raise WrongSubject("the entry is about another sender")
    if entry.message_id != sent.message_id:
        raise WrongSubject("the entry is about another message")
    # Whether the digest must be there is parse_entry's rule: exactly when the envelope was opened.
    if entry.message_sha256 is not None and entry.message_sha256 != sent.message_sha256:
        raise WrongSubject("the recipient opened another message")
