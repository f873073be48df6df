"""The tables: one for each kind of row in `ports`, and those of the audit log.

A row's columns are the fields of its dataclass, by name and type, so that a new field is a
migration and nothing else. What each kind of row is kept under stands in `KINDS`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from operator import attrgetter
from typing import Any, Generic, get_args, get_type_hints

import sqlalchemy as sa

from gateway.rows import (
    AccountRow,
    AlarmRow,
    AnnouncementRow,
    AnswerRow,
    AnyRow,
    BlobRow,
    BridgeRow,
    CardRow,
    CaseRow,
    ComparedRow,
    ConflictRow,
    ContentRow,
    CosignedRow,
    CoverRow,
    CurrentProfileRow,
    CursorRow,
    DetailRow,
    EnvelopeRow,
    EpochRow,
    ErasureRow,
    ForkRow,
    HoldRow,
    IdempotencyRow,
    MessageRow,
    NoticeRow,
    PeerRow,
    ProfileRow,
    ReceiptRow,
    SessionRow,
    SignInRow,
    SubjectRow,
    TokenRow,
    UploadRow,
    WebhookRow,
    WitnessedRow,
    WitnessRow,
)

Key = tuple[str | int, ...]
"""What a row is kept under, in the order of its dataclass's docstring."""

INTEGER = sa.BigInteger().with_variant(sa.Integer, "sqlite")
"""64 bits on both databases; SQLite makes a row id of a key that is called INTEGER."""

metadata = sa.MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    }
)


def equals(column: sa.ColumnElement[Any], word: str) -> sa.ColumnElement[bool]:
    """Return the condition that *column* is the constant *word*, written into the statement.

    A partial index serves only statements in which its condition can be read.
    """
    return column == sa.literal_column(f"'{word}'")


@dataclass(frozen=True, slots=True)
class Kind(Generic[AnyRow]):
    """How one kind of row is kept: its table, and the fields that are its key.

    `key_of` returns the key of a row.
    """

    row: type[AnyRow]
    table: sa.Table
    key: tuple[str, ...]
    names: tuple[str, ...]
    key_of: Callable[[AnyRow], Key]
    _values: Callable[[AnyRow], tuple[Any, ...]]
    _enums: tuple[tuple[int, type[StrEnum]], ...]

    def values(self, row: AnyRow) -> dict[str, Any]:
        """Return the fields of *row* by name."""
        return dict(zip(self.names, self._values(row), strict=True))

    def build(self, columns: tuple[Any, ...]) -> AnyRow:
        """Return the row whose *columns* came in the order of its fields."""
        values = dict(zip(self.names, columns, strict=True))
        for position, enum in self._enums:
            values[self.names[position]] = enum(columns[position])
        return self.row(**values)


def _column(name: str, hint: Any) -> sa.Column[Any]:  # noqa: ANN401 - what a type hint is
    options = get_args(hint) or (hint,)
    plain = next(option for option in options if option is not type(None))
    plain = getattr(plain, "__supertype__", plain)
    kind: Any = {int: INTEGER, bytes: sa.LargeBinary}.get(plain, sa.Text)
    return sa.Column(name, kind, nullable=type(None) in options, autoincrement=False)


def _kind(
    row: type[AnyRow], name: str, *key: str, ordered: tuple[str, ...] = (), small: bool = True
) -> Kind[AnyRow]:
    """Return how *row* is kept, making its table.

    Args:
        row: its dataclass.
        name: of the table.
        key: the fields that are its key.
        ordered: the columns of the primary key, where another order serves more questions.
        small: the row lies in the index of its key itself, where the database can.
    """
    hints = get_type_hints(row)
    names = tuple(field.name for field in fields(row))
    table = sa.Table(
        name,
        metadata,
        *(_column(field, hints[field]) for field in names),
        sa.PrimaryKeyConstraint(*(ordered or key)),
        sqlite_with_rowid=not small,
    )
    enums = tuple(
        (position, hints[field])
        for position, field in enumerate(names)
        if isinstance(hints[field], type) and issubclass(hints[field], StrEnum)
    )
    return Kind(row, table, key, names, _getter(key), _getter(names), enums)


def _getter(names: tuple[str, ...]) -> Callable[[Any], tuple[Any, ...]]:
    found = attrgetter(*names)
    return found if len(names) > 1 else lambda row: (found(row),)


_KINDS: tuple[Kind[Any], ...] = (
    _kind(PeerRow, "peers", "authority"),
    _kind(CardRow, "cards", "authority", "sequence", "sha256", small=False),
    _kind(ProfileRow, "profiles", "authority", "sequence", "sha256", small=False),
    _kind(CurrentProfileRow, "current_profiles", "authority"),
    _kind(
        MessageRow,
        "messages",
        *("direction", "peer", "id"),
        ordered=("id", "peer", "direction"),
        small=False,
    ),
    _kind(
        ContentRow, "contents", "direction", "peer", "id", ordered=("id", "peer", "direction"), small=False
    ),
    _kind(EnvelopeRow, "envelopes", "message_id", "sha256", small=False),
    _kind(AnswerRow, "answers", "peer", "id"),
    _kind(ConflictRow, "conflicts", "peer", "id", "envelope_sha256"),
    _kind(CaseRow, "cases", "peer", "id", ordered=("id", "peer"), small=False),
    _kind(SubjectRow, "subjects", "pseudonym", "peer", "case"),
    _kind(BlobRow, "blobs", "peer", "sha256", small=False),
    _kind(UploadRow, "uploads", "id"),
    _kind(ReceiptRow, "receipts", "entry_sha256", small=False),
    _kind(NoticeRow, "notices", "entry", small=False),
    _kind(IdempotencyRow, "idempotency", "key"),
    _kind(TokenRow, "tokens", "id"),
    _kind(AlarmRow, "alarms", "code", "subject"),
    _kind(WebhookRow, "webhooks", "id"),
    _kind(CursorRow, "cursors", "webhook"),
    _kind(AnnouncementRow, "announcements", "webhook", "entry", small=False),
    _kind(DetailRow, "details", "entry"),
    _kind(WitnessedRow, "witnessed", "origin", small=False),
    _kind(WitnessRow, "witnesses", "name"),
    _kind(CosignedRow, "cosigned", "size", "witness", small=False),
    _kind(CoverRow, "covers", "origin", "size", small=False),
    _kind(BridgeRow, "bridges", "origin", "size", small=False),
    _kind(ComparedRow, "compared", "peer"),
    _kind(ForkRow, "forks", "origin", "size", "code", small=False),
    _kind(EpochRow, "epochs", "origin", small=False),
    _kind(HoldRow, "holds", "peer", "case"),
    _kind(ErasureRow, "erasures", "id", small=False),
    _kind(AccountRow, "accounts", "name", small=False),
    _kind(SessionRow, "sessions", "sha256"),
    _kind(SignInRow, "sign_ins", "subject"),
)
KINDS: Mapping[type[Any], Kind[Any]] = {kind.row: kind for kind in _KINDS}

messages = KINDS[MessageRow].table
envelopes = KINDS[EnvelopeRow].table
cases = KINDS[CaseRow].table
subjects = KINDS[SubjectRow].table
blobs = KINDS[BlobRow].table
uploads = KINDS[UploadRow].table
receipts = KINDS[ReceiptRow].table
alarms = KINDS[AlarmRow].table
notices = KINDS[NoticeRow].table
announcements = KINDS[AnnouncementRow].table
idempotency = KINDS[IdempotencyRow].table
cosigned = KINDS[CosignedRow].table
covers = KINDS[CoverRow].table
details = KINDS[DetailRow].table

entries = sa.Table(
    "entries",
    metadata,
    sa.Column("index", INTEGER, primary_key=True, autoincrement=False),
    sa.Column("leaf", sa.LargeBinary, nullable=False),
    sa.Column("entry_id", sa.Text, nullable=False),
    sa.Column("event", sa.Text, nullable=False),
    sa.Column("peer", sa.Text),
    sa.Column("message_id", sa.Text),
    sa.Column("time_ms", INTEGER, nullable=False),
)
"""The leaves of the log; the other columns repeat what lists ask for."""

nodes = sa.Table(
    "nodes",
    metadata,
    sa.Column("level", INTEGER, primary_key=True, autoincrement=False),
    sa.Column("index", INTEGER, primary_key=True, autoincrement=False),
    sa.Column("hash", sa.LargeBinary, nullable=False),
    sqlite_with_rowid=False,
)
"""The complete nodes of the tree, the leaf hashes at level 0."""

head = sa.Table(
    "head",
    metadata,
    sa.Column("id", INTEGER, primary_key=True, autoincrement=False),
    sa.Column("authority", sa.Text, nullable=False),
    sa.Column("origin", sa.Text, nullable=False),
    sa.Column("size", INTEGER, nullable=False),
    sa.Column("root", sa.LargeBinary, nullable=False),
    sa.Column("time_ms", INTEGER, nullable=False),
    sa.Column("signed", INTEGER),
)
"""The one row whose lock orders all writing; `signed` is the size of the newest checkpoint."""

checkpoints = sa.Table(
    "checkpoints",
    metadata,
    sa.Column("size", INTEGER, primary_key=True, autoincrement=False),
    sa.Column("text", sa.Text, nullable=False),
)

REFUSALS = ("relay.refused", "relay.conflict")
"""The events of signed refusals of envelopes, which are limited for each peer."""


def refused() -> sa.ColumnElement[bool]:
    """Return the condition that an entry is a signed refusal."""
    return entries.c.event.in_([sa.literal_column(f"'{event}'") for event in REFUSALS])


def listed(column: sa.ColumnElement[int]) -> sa.ColumnElement[bool]:
    """Return a condition that every row meets, and by which a list says that it is one.

    The indexes of lists are for statements that say so, and for no others: a planner that has not seen
    the data could take one of them for the statements of delivery, which have better ones. It must not
    bound the list where a cursor does: of two bounds on one side SQLite follows one, and not the nearer.
    """
    return column >= sa.literal_column("0")


def _where(name: str, condition: sa.ColumnElement[bool], *columns: sa.Column[Any]) -> sa.Index:
    return sa.Index(name, *columns, sqlite_where=condition, postgresql_where=condition)


sa.Index(None, messages.c.entry)
sa.Index(None, messages.c.case, messages.c.entry)
for _listed in (messages.c.kind, messages.c.state, messages.c.peer, messages.c.direction):
    _where(f"ix_messages_list_{_listed.name}", listed(messages.c.entry), _listed, messages.c.entry)
_where("ix_messages_queued", equals(messages.c.state, "queued"), messages.c.peer, messages.c.entry)
_where(
    "ix_messages_queued_case",
    equals(messages.c.state, "queued"),
    messages.c.peer,
    messages.c.case,
    messages.c.entry,
)
_where(
    "ix_messages_undetermined", equals(messages.c.state, "undetermined"), messages.c.peer, messages.c.next_ms
)
_where("ix_notices_queued", equals(notices.c.state, "queued"), notices.c.peer, notices.c.entry)
_where("ix_blobs_unclaimed", blobs.c.claimed_by.is_(None), blobs.c.peer)
sa.Index(None, cases.c.peer, cases.c.id)
sa.Index(None, subjects.c.peer, subjects.c.case)
_where("ix_cases_clock", cases.c.clock_ms.is_not(None), cases.c.clock_ms)
sa.Index(None, announcements.c.webhook, announcements.c.state, announcements.c.entry)
sa.Index(None, announcements.c.changed_ms)
sa.Index(None, uploads.c.claimed_by)
_where("ix_entries_refused", refused(), entries.c.peer, entries.c.time_ms)
sa.Index(None, receipts.c.id)
_where("ix_receipts_list_peer", listed(receipts.c.recorded_ms), receipts.c.peer, receipts.c.entry)
sa.Index(None, cosigned.c.witness, cosigned.c.size)
sa.Index(None, entries.c.message_id)
sa.Index(None, entries.c.time_ms, entries.c.index)
for _listed in (entries.c.event, entries.c.peer):
    _where(f"ix_entries_list_{_listed.name}", listed(entries.c.time_ms), _listed, entries.c.index)
sa.Index(None, idempotency.c.stored_ms)
