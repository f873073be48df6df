"""State as it crosses to the store: frozen records, each with the `version` it was judged on.

Version 0 says that the row must not exist yet; the store compares, and writes `version + 1`.
The docstring of each names its key, in the order in which a lookup gives it.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Self, TypeVar

from gateway.core.card import Card
from gateway.core.custody import SealedDetail
from gateway.core.ids import AuthorityId, CaseId, Digest, MessageId
from gateway.core.profile import Profile

THIS_ENTRY = -1
"""In a row's `entry`: the index that the change's first audit entry is about to get."""
UNCLAIMED_MS = 7 * 24 * 3_600_000
"""How long a blob or an upload waits for its message, and an upload for its rest (protocol §7)."""
NEVER_PINNED = 0
"""In a card's `pinned_ms`: it contradicts the pinned one."""


class Direction(StrEnum):
    """Which way a message went, seen from this node."""

    IN = "in"
    OUT = "out"


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerRow:
    """A peer whose card was pinned in a ceremony. Key: authority.

    `sequence` is that of the pinned card. `attempt` and `next_ms` are the one backoff of the
    way to this peer; `problem` is the code of its last failure.
    """

    authority: AuthorityId
    version: int
    state: str  # active | suspended
    sequence: int
    card_sha256: Digest
    added_ms: int
    attempt: int = 0
    next_ms: int = 0
    problem: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CardRow:
    """A card as it was signed, kept for ever. Key: authority, sequence, sha256.

    `pinned_ms` is NEVER_PINNED for a second card with one sequence: kept as the proof, not believed.
    """

    authority: AuthorityId
    sequence: int
    sha256: Digest
    version: int
    body: bytes
    pinned_ms: int

    @classmethod
    def of(cls, card: Card, pinned_ms: int) -> Self:
        """Return the row of a *card* that is not stored yet."""
        return cls(
            authority=card.authority,
            sequence=card.sequence,
            sha256=card.sha256,
            version=0,
            body=card.raw,
            pinned_ms=pinned_ms,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileRow:
    """A profile as it was signed, a peer's or our own, kept for ever. Key: authority, sequence, sha256."""

    authority: AuthorityId
    sequence: int
    sha256: Digest
    version: int
    body: bytes
    stored_ms: int

    @classmethod
    def of(cls, profile: Profile, stored_ms: int) -> Self:
        """Return the row of a *profile* that is not stored yet."""
        return cls(
            authority=profile.authority,
            sequence=profile.sequence,
            sha256=profile.sha256,
            version=0,
            body=profile.jws.encode("ascii"),
            stored_ms=stored_ms,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CurrentProfileRow:
    """Which profile of an authority is in force. Key: authority.

    Whoever records another one moves this row, so that two profiles cannot follow one.
    """

    authority: AuthorityId
    version: int
    sequence: int
    sha256: Digest


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageRow:
    """What a list needs of a message, in the clear. Key: direction, peer, id.

    `entry` is the index of the entry that recorded it: it orders messages. `attempt`,
    `next_ms` and `problem` (code of the last unsigned answer) belong to outgoing ones.
    `envelope_sha256` is the newest posted, or the accepted, envelope; None while held.
    `attachments` counts them. `findings` is a JSON list without content. `erased_ms` is when its content
    was erased, None while it is there.
    """

    direction: Direction
    peer: AuthorityId
    id: MessageId
    version: int
    kind: str
    case: CaseId
    in_reply_to: MessageId | None
    created_ms: int
    expires_ms: int
    recorded_ms: int
    state: str
    message_sha256: Digest
    envelope_sha256: Digest | None
    entry: int
    attachments: int = 0
    attempt: int = 0
    next_ms: int = 0
    problem: str | None = None
    findings: str = "[]"
    erased_ms: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ContentRow:
    """JWS and blob keys at rest (core.custody). Key: direction, peer, id.

    Erasing a message is destroying `wrapped_key`.
    """

    direction: Direction
    peer: AuthorityId
    id: MessageId
    version: int
    wrapped_key: bytes
    ciphertext: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvelopeRow:
    """An envelope that was or may be posted. Key: message_id, sha256.

    `body` is None after the final answer; the digest stays, since later receipts name it.
    """

    message_id: MessageId
    sha256: Digest
    version: int
    body: bytes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerRow:
    """The one signed answer to (peer, id): what intake and `close` both write. Key: peer, id."""

    peer: AuthorityId
    id: MessageId
    version: int
    envelope_sha256: Digest
    message_sha256: Digest | None
    event: str
    reason: str | None
    entry: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ConflictRow:
    """The signed answer to another message under a known id. Key: peer, id, envelope_sha256."""

    peer: AuthorityId
    id: MessageId
    envelope_sha256: Digest
    version: int
    entry: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseRow:
    """A case between this authority and one peer. Key: peer, id.

    `history` is the sealed `core.case.History` (core.custody); every message that joins or
    leaves the case moves this row, so that two decisions on one case cannot cross.
    `clock_ms` is when somebody is to look at its clocks (core.clocks), None if none runs;
    `overdue` names those whose running out is on record, as a JSON list, None if there is none.
    """

    peer: AuthorityId
    id: CaseId
    version: int
    state: str
    opened_ms: int
    changed_ms: int
    wrapped_key: bytes
    history: bytes
    clock_ms: int | None = None
    overdue: str | None = None

    @classmethod
    def opened(cls, peer: AuthorityId, case: CaseId, now_ms: int) -> Self:
        """Return a new case: it gets its history and its state with its first message."""
        return cls(
            peer=peer,
            id=case,
            version=0,
            state="",
            opened_ms=now_ms,
            changed_ms=now_ms,
            wrapped_key=b"",
            history=b"",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SubjectRow:
    """That a person is in a case. Key: pseudonym, peer, case.

    `pseudonym` stands for name and date of birth (core.custody): by itself it tells nothing.
    """

    pseudonym: str
    peer: AuthorityId
    case: CaseId
    version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BlobRow:
    """An encrypted attachment of a peer on disk. Key: peer, sha256.

    It is recorded before its first byte is, with the `size_bytes` that were announced.
    `received_ms` is when it was begun, `whole_ms` when all of it was there, and was what its digest says;
    None until then. `claimed_by` is the incoming message whose receipt covers it, or None; `others` counts
    further messages that name it too.
    """

    peer: AuthorityId
    sha256: Digest
    version: int
    size_bytes: int
    received_ms: int
    claimed_by: MessageId | None = None
    whole_ms: int | None = None
    others: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadRow:
    """An attachment that our own system brings, encrypted on disk. Key: id (a UUID).

    It is recorded before its first byte is, with the `size_bytes` that were announced and the
    `blob_size_bytes` that they will make. `blob_sha256` is None until it is whole.
    `stored_ms` is when it was begun, and once it is whole, when it became so.
    `wrapped_key` and `ciphertext` hold at rest its keys, and once it is whole its key and plain
    digest (core.custody). `claimed_by` is the outgoing message that carries it, or None.
    """

    id: str
    version: int
    size_bytes: int
    blob_sha256: Digest | None
    blob_size_bytes: int
    stored_ms: int
    wrapped_key: bytes
    ciphertext: bytes
    claimed_by: MessageId | None = None

    @property
    def expires_ms(self) -> int:
        """When it goes, if nothing has claimed it by then."""
        return self.stored_ms + UNCLAIMED_MS


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiptRow:
    """A receipt of a peer that holds. Key: entry_sha256 (of the peer's entry).

    `peer`, `id`: the outgoing message that it is about. `entry`: our own record of it.
    One that contradicts an earlier final answer is kept too, beside an alarm.
    """

    entry_sha256: Digest
    version: int
    peer: AuthorityId
    id: MessageId
    event: str
    body: bytes
    recorded_ms: int
    entry: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NoticeRow:
    """A later receipt of ours on its way to the sender of an incoming message. Key: entry.

    `state`: queued, delivered or dropped.
    """

    entry: int
    version: int
    peer: AuthorityId
    id: MessageId
    state: str
    attempt: int = 0
    next_ms: int = 0
    problem: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class IdempotencyRow:
    """The stored answer to a keyed POST at the hook. Key: key (of one token)."""

    key: str
    version: int
    request_sha256: Digest
    status: int
    body: bytes
    stored_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRow:
    """A bearer token of the hook, by its hash. Key: id.

    `used_ms` is when it was last used, to some minutes; None before the first time.
    """

    id: str
    version: int
    sha256: Digest
    name: str
    scopes: str  # space separated, sorted
    created_ms: int
    expires_ms: int | None
    revoked_ms: int | None = None
    used_ms: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AlarmRow:
    """Something that an operator should know. Key: code, subject (no content)."""

    code: str
    subject: str
    version: int
    raised_ms: int
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookRow:
    """Where events are told to. Key: id (a UUID).

    `types` are those that it wants, space separated and sorted; empty for all. `state`: enabled or
    disabled; `problem` is why the node itself disabled it. `wrapped_key` and `ciphertext` hold its
    secrets at rest (core.custody): two until `old_until_ms`, when the older one ends.
    """

    id: str
    version: int
    url: str
    types: str
    state: str
    created_ms: int
    changed_ms: int
    wrapped_key: bytes
    ciphertext: bytes
    old_until_ms: int | None = None
    problem: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CursorRow:
    """How far the log was told to a webhook: up to and with `entry`. Key: webhook.

    Apart from the webhook, so that telling and changing it do not meet.
    """

    webhook: str
    version: int
    entry: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnouncementRow:
    """An event on its way to a webhook, once it was tried or asked for. Key: webhook, entry.

    `state`: pending, delivered, failed or dropped. `attempts` counts since it became due, the first was
    at `first_ms`. `status`, `problem` and `took_ms` are of the last attempt. `changed_ms` is when
    something last happened to it.
    """

    webhook: str
    entry: int
    version: int
    type: str
    state: str
    changed_ms: int
    attempts: int = 0
    first_ms: int | None = None
    next_ms: int = 0
    status: int | None = None
    problem: str | None = None
    took_ms: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DetailRow:
    """What the commitment of an entry of ours hides. Key: entry (its index).

    `wrapped_key` and `ciphertext` hold salt and detail at rest (core.custody); without this row the
    commitment says nothing any more, and every proof still holds.
    """

    entry: int
    version: int
    wrapped_key: bytes
    ciphertext: bytes

    @classmethod
    def of(cls, sealed: SealedDetail) -> Self:
        """Return the row of the detail to which the first entry of a change commits."""
        box = sealed.box
        return cls(entry=THIS_ENTRY, version=0, wrapped_key=box.wrapped_key, ciphertext=box.ciphertext)


@dataclass(frozen=True, slots=True, kw_only=True)
class WitnessedRow:
    """The newest checkpoint of a peer's log that was cosigned here. Key: origin.

    `text` has the log's two signatures, `cosignatures` are our two lines under it.
    """

    origin: str
    version: int
    peer: AuthorityId
    size: int
    text: str
    cosignatures: str
    witnessed_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WitnessRow:
    """A witness of our own log, and how far it has come. Key: name.

    `size` is that of the newest checkpoint that it cosigned, 0 for none, at `cosigned_ms` by our clock;
    `problem` is the code of the last attempt's failure.
    """

    name: str
    version: int
    size: int = 0
    cosigned_ms: int | None = None
    problem: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CosignedRow:
    """What a witness put under a checkpoint of our own log. Key: size, witness.

    `lines` are its signature lines; `time_s` is by its clock.
    """

    size: int
    witness: str
    version: int
    lines: str
    time_s: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CoverRow:
    """A cosigned checkpoint of a peer's log that covers receipts of it. Key: origin, size.

    `text` is the note with every signature that the peer had at hand.
    """

    origin: str
    size: int
    version: int
    text: str
    stored_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BridgeRow:
    """That the checkpoint of a receipt is the beginning of a cosigned one. Key: origin, size.

    `cover` is the size of that one (`CoverRow`), `proof` the RFC 6962 consistency proof, one hash a line.
    """

    origin: str
    size: int
    version: int
    cover: int
    proof: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedRow:
    """How far a peer's receipts were compared with its log. Key: peer.

    `entry` is the index of our own entry that recorded the last one of them; -1 before the first.
    """

    peer: AuthorityId
    version: int
    entry: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ForkRow:
    """Two checkpoints that one log signed and that contradict each other. Key: origin, size, code.

    `size` is that of `first`, the smaller one. `code` is `two_roots` for two roots at that size, which is
    proof of misbehaviour by itself; `inconsistent` where no consistency proof led from `first` to `second`.
    """

    origin: str
    size: int
    code: str
    version: int
    peer: AuthorityId
    first: str
    second: str
    found_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochRow:
    """A later epoch of a peer's log, and how far our messages were looked through for it. Key: origin.

    The peer's log was taken up again at `restored_size`; `body` is the receipt that proves it. Receipts
    are looked through up to and with our own entry `seen`; `settled_ms` is when the last one was, None
    until then.
    """

    origin: str
    version: int
    peer: AuthorityId
    restored_size: int
    body: bytes
    stored_ms: int
    seen: int = -1
    settled_ms: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldRow:
    """A legal hold on a case: nothing of it is erased. Key: peer, case.

    `entry` recorded it; why is the detail of that entry.
    """

    peer: AuthorityId
    case: CaseId
    version: int
    added_ms: int
    entry: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ErasureRow:
    """Messages that one operator proposed to erase, for another one to confirm. Key: id (a UUID).

    `selection` names them, and says how they were judged (web.erasures). `state`: proposed, done or
    withdrawn.
    `proposed_by` is the account of the proposer. `entry` recorded the proposal.
    """

    id: str
    version: int
    state: str
    selection: str
    proposed_by: str
    proposed_ms: int
    changed_ms: int
    entry: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountRow:
    """A person who may use the console. Key: name.

    `id` stands for the person in entries. `roles` are space separated and sorted; `state`: invited, active or
    disabled. `wrapped_key` and `ciphertext` hold at rest what the person signs in with
    (core.account.Secrets). `link_sha256` is of the one-time link that waits for the person until
    `link_until_ms`. `step` is the newest time step whose code was used: none is taken twice. `language` is
    what the person chose, if anything.
    """

    name: str
    version: int
    id: str
    roles: str
    state: str
    created_ms: int
    changed_ms: int
    wrapped_key: bytes
    ciphertext: bytes
    link_sha256: Digest | None = None
    link_until_ms: int | None = None
    step: int = 0
    language: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionRow:
    """That a browser is signed in, by the hash of what its cookie says. Key: sha256.

    `account` is a name. `seen_ms` is when it was last used, to a minute.
    """

    sha256: Digest
    version: int
    account: str
    created_ms: int
    seen_ms: int
    address: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SignInRow:
    """Attempts to sign in that failed. Key: subject.

    `subject` is the pseudonym of a name that was given, whether anybody has it or not, or an address.
    Until `until_ms` no attempt is looked at.
    """

    subject: str
    version: int
    failures: int
    failed_ms: int
    until_ms: int


Row = (
    PeerRow
    | CardRow
    | ProfileRow
    | CurrentProfileRow
    | MessageRow
    | ContentRow
    | EnvelopeRow
    | AnswerRow
    | ConflictRow
    | CaseRow
    | SubjectRow
    | BlobRow
    | UploadRow
    | ReceiptRow
    | NoticeRow
    | IdempotencyRow
    | TokenRow
    | AlarmRow
    | WebhookRow
    | CursorRow
    | AnnouncementRow
    | DetailRow
    | WitnessedRow
    | WitnessRow
    | CosignedRow
    | CoverRow
    | BridgeRow
    | ComparedRow
    | ForkRow
    | EpochRow
    | HoldRow
    | ErasureRow
    | AccountRow
    | SessionRow
    | SignInRow
)
AnyRow = TypeVar("AnyRow", bound=Row)
