"""What rests in the store: sealed under the vault's storage key, each value for its own place.

The context of a seal names the row, so that whoever can write to the database cannot move a
sealed value to another message, case or upload (protocol §6, "At rest").
"""

from collections.abc import Sequence
from dataclasses import dataclass

from gateway.core.account import Secrets
from gateway.core.entry import SALT_BYTES, commitment_to
from gateway.core.envelope import Content, parse_content
from gateway.core.errors import Malformed
from gateway.core.ids import AuthorityId, CaseId, Digest, MessageId, parse_digest
from keys.rest import Box, StorageKey, fresh_salt
from keys.webhooks import SECRET_BYTES as WEBHOOK_SECRET_BYTES

STREAM_KEY_BYTES = 32
_TAIL_KEY_BYTES = 32


@dataclass(frozen=True, slots=True)
class UploadSecrets:
    """What opens an upload: the key of its stream, and the digest of its plain content."""

    key: bytes
    plain_sha256: Digest


@dataclass(frozen=True, slots=True)
class UploadKeys:
    """What seals an upload that is not whole: the key of its stream, and the key of its tail."""

    stream: bytes
    tail: bytes


@dataclass(frozen=True, slots=True)
class SealedDetail:
    """A detail of an entry at rest, and the commitment to it that the entry bears."""

    commitment: str
    box: Box


def box_content(
    storage: StorageKey, direction: str, peer: AuthorityId, message: MessageId, plaintext: bytes
) -> Box:
    """Seal the content of a message (the plaintext of its envelope) for its row."""
    return storage.seal(plaintext, _context("content", direction, peer, message))


def open_content(
    storage: StorageKey, direction: str, peer: AuthorityId, message: MessageId, box: Box
) -> Content:
    """Return the content in the box of `box_content`. Raises keys.errors.CannotOpen."""
    return parse_content(storage.open(box, _context("content", direction, peer, message)))


def box_history(storage: StorageKey, peer: AuthorityId, case: CaseId, history: bytes) -> Box:
    """Seal the encoded history of a case for its row."""
    return storage.seal(history, _context("history", peer, case))


def open_history(storage: StorageKey, peer: AuthorityId, case: CaseId, box: Box) -> bytes:
    """Return the history of `box_history`. Raises keys.errors.CannotOpen."""
    return storage.open(box, _context("history", peer, case))


def box_upload(storage: StorageKey, upload: str, key: bytes, plain_sha256: Digest) -> Box:
    """Seal what opens an upload for its row: the key of its stream, and its plain digest."""
    return storage.seal(key + plain_sha256.encode("ascii"), _context("upload", upload))


def open_upload(storage: StorageKey, upload: str, box: Box) -> UploadSecrets:
    """Return the secrets of `box_upload`. Raises keys.errors.CannotOpen or Malformed."""
    plaintext = storage.open(box, _context("upload", upload))
    digest = plaintext[STREAM_KEY_BYTES:].decode("ascii", "replace")
    return UploadSecrets(plaintext[:STREAM_KEY_BYTES], parse_digest(digest))


def box_unfinished(storage: StorageKey, upload: str, keys: UploadKeys) -> Box:
    """Seal the keys of an upload that is not whole for its row."""
    return storage.seal(keys.stream + keys.tail, _context("unfinished", upload))


def open_unfinished(storage: StorageKey, upload: str, box: Box) -> UploadKeys:
    """Return the keys of `box_unfinished`. Raises keys.errors.CannotOpen or Malformed."""
    plaintext = storage.open(box, _context("unfinished", upload))
    if len(plaintext) != STREAM_KEY_BYTES + _TAIL_KEY_BYTES:
        raise Malformed("the keys of an upload have another length")
    return UploadKeys(plaintext[:STREAM_KEY_BYTES], plaintext[STREAM_KEY_BYTES:])


def box_webhook(storage: StorageKey, webhook: str, secrets: Sequence[bytes]) -> Box:
    """Seal the secrets of a webhook for its row: the one in force first."""
    return storage.seal(b"".join(secrets), _context("webhook", webhook))


def open_webhook(storage: StorageKey, webhook: str, box: Box) -> tuple[bytes, ...]:
    """Return the secrets of `box_webhook`. Raises keys.errors.CannotOpen."""
    plaintext = storage.open(box, _context("webhook", webhook))
    return tuple(
        plaintext[begin : begin + WEBHOOK_SECRET_BYTES]
        for begin in range(0, len(plaintext), WEBHOOK_SECRET_BYTES)
    )


def box_account(storage: StorageKey, name: str, secrets: Secrets) -> Box:
    """Seal what a person signs in with for the row of the account."""
    return storage.seal(secrets.encode(), _context("account", name))


def open_account(storage: StorageKey, name: str, box: Box) -> Secrets:
    """Return the secrets of `box_account`. Raises keys.errors.CannotOpen."""
    return Secrets.parse(storage.open(box, _context("account", name)))


def box_detail(storage: StorageKey, detail: bytes) -> SealedDetail:
    """Seal the *detail* of an entry for its row, with a fresh salt."""
    salt = fresh_salt()
    commitment = commitment_to(salt, detail)
    return SealedDetail(commitment, storage.seal(salt + detail, _context("detail", commitment)))


def open_detail(storage: StorageKey, commitment: str, box: Box) -> bytes:
    """Return the detail to which an entry's *commitment* is, from the box of `box_detail`.

    Raises:
        keys.errors.CannotOpen: the box is of another entry, or altered.
        Malformed: what is in it is not what the entry commits to.
    """
    plaintext = storage.open(box, _context("detail", commitment))
    salt, detail = plaintext[:SALT_BYTES], plaintext[SALT_BYTES:]
    if commitment_to(salt, detail) != commitment:
        raise Malformed("a detail that its entry does not commit to")
    return detail


def subject_pseudonym(storage: StorageKey, identity: str) -> str:
    """Return the pseudonym of a person's identity (`core.findings.identities`) for the index of subjects.

    It is the same in every case and with every peer, or the index would find nothing.
    """
    return storage.pseudonym(identity.encode(), b"subject")


def name_pseudonym(storage: StorageKey, name: str) -> str:
    """Return what stands for a *name* that somebody gave to sign in: it may be a passphrase even."""
    return storage.pseudonym(name.encode("utf-8", "surrogateescape"), b"sign-in")


def _context(*parts: str) -> bytes:
    """Return a context that no other parts make: none of them contains U+0000."""
    return "\x00".join(("art18/rest/v1", *parts)).encode("ascii")
