"""The first tables."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_INTEGER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _text(name: str, *, nullable: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), nullable=nullable)


def _integer(name: str, *, nullable: bool = False) -> sa.Column[int]:
    return sa.Column(name, _INTEGER, nullable=nullable, autoincrement=False)


def _bytes(name: str, *, nullable: bool = False) -> sa.Column[bytes]:
    return sa.Column(name, sa.LargeBinary(), nullable=nullable)


def _key(table: str, *columns: str) -> sa.PrimaryKeyConstraint:
    return sa.PrimaryKeyConstraint(*columns, name=f"pk_{table}")


def _partial_index(name: str, table: str, condition: str, *columns: str) -> None:
    where = sa.text(condition)
    op.create_index(name, table, list(columns), sqlite_where=where, postgresql_where=where)


def upgrade() -> None:
    """Make every table."""
    _messages()
    _answers()
    _peers()
    _files()
    _hook()
    _log()


def _messages() -> None:
    op.create_table(
        "messages",
        _text("direction"),
        _text("peer"),
        _text("id"),
        _integer("version"),
        _text("kind"),
        _text("case"),
        _text("in_reply_to", nullable=True),
        _integer("created_ms"),
        _integer("expires_ms"),
        _integer("recorded_ms"),
        _text("state"),
        _text("message_sha256"),
        _text("envelope_sha256", nullable=True),
        _integer("entry"),
        _integer("attachments"),
        _integer("attempt"),
        _integer("next_ms"),
        _text("problem", nullable=True),
        _text("findings"),
        _key("messages", "id", "peer", "direction"),
    )
    op.create_index("ix_messages_case_entry", "messages", ["case", "entry"])
    op.create_index("ix_messages_entry", "messages", ["entry"])
    _partial_index("ix_messages_queued", "messages", "state = 'queued'", "peer", "entry")
    _partial_index("ix_messages_queued_case", "messages", "state = 'queued'", "peer", "case", "entry")
    _partial_index("ix_messages_undetermined", "messages", "state = 'undetermined'", "peer", "next_ms")
    op.create_table(
        "contents",
        _text("direction"),
        _text("peer"),
        _text("id"),
        _integer("version"),
        _bytes("wrapped_key"),
        _bytes("ciphertext"),
        _key("contents", "id", "peer", "direction"),
    )
    op.create_table(
        "envelopes",
        _text("message_id"),
        _text("sha256"),
        _integer("version"),
        _bytes("body", nullable=True),
        _key("envelopes", "message_id", "sha256"),
    )
    op.create_table(
        "cases",
        _text("peer"),
        _text("id"),
        _integer("version"),
        _text("state"),
        _integer("opened_ms"),
        _integer("changed_ms"),
        _bytes("wrapped_key"),
        _bytes("history"),
        _key("cases", "id", "peer"),
    )


def _answers() -> None:
    op.create_table(
        "answers",
        _text("peer"),
        _text("id"),
        _integer("version"),
        _text("envelope_sha256"),
        _text("message_sha256", nullable=True),
        _text("event"),
        _text("reason", nullable=True),
        _integer("entry"),
        _key("answers", "peer", "id"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "conflicts",
        _text("peer"),
        _text("id"),
        _text("envelope_sha256"),
        _integer("version"),
        _integer("entry"),
        _key("conflicts", "peer", "id", "envelope_sha256"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "receipts",
        _text("entry_sha256"),
        _integer("version"),
        _text("peer"),
        _text("id"),
        _text("event"),
        _bytes("body"),
        _integer("recorded_ms"),
        _integer("entry"),
        _key("receipts", "entry_sha256"),
    )
    op.create_index("ix_receipts_id", "receipts", ["id"])
    op.create_table(
        "notices",
        _integer("entry"),
        _integer("version"),
        _text("peer"),
        _text("id"),
        _text("state"),
        _integer("attempt"),
        _integer("next_ms"),
        _text("problem", nullable=True),
        _key("notices", "entry"),
    )
    _partial_index("ix_notices_queued", "notices", "state = 'queued'", "peer", "entry")


def _peers() -> None:
    op.create_table(
        "peers",
        _text("authority"),
        _integer("version"),
        _text("state"),
        _integer("sequence"),
        _text("card_sha256"),
        _integer("added_ms"),
        _integer("attempt"),
        _integer("next_ms"),
        _text("problem", nullable=True),
        _key("peers", "authority"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "cards",
        _text("authority"),
        _integer("sequence"),
        _text("sha256"),
        _integer("version"),
        _bytes("body"),
        _integer("pinned_ms"),
        _key("cards", "authority", "sequence", "sha256"),
    )


def _files() -> None:
    op.create_table(
        "blobs",
        _text("peer"),
        _text("sha256"),
        _integer("version"),
        _integer("size_bytes"),
        _integer("received_ms"),
        _text("claimed_by", nullable=True),
        _key("blobs", "peer", "sha256"),
    )
    _partial_index("ix_blobs_unclaimed", "blobs", "claimed_by IS NULL", "peer")
    op.create_table(
        "uploads",
        _text("id"),
        _integer("version"),
        _integer("size_bytes"),
        _text("blob_sha256"),
        _integer("blob_size_bytes"),
        _integer("stored_ms"),
        _bytes("wrapped_key"),
        _bytes("ciphertext"),
        _text("claimed_by", nullable=True),
        _key("uploads", "id"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_uploads_claimed_by", "uploads", ["claimed_by"])


def _hook() -> None:
    op.create_table(
        "idempotency",
        _text("key"),
        _integer("version"),
        _text("request_sha256"),
        _integer("status"),
        _bytes("body"),
        _integer("stored_ms"),
        _key("idempotency", "key"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "tokens",
        _text("id"),
        _integer("version"),
        _text("sha256"),
        _text("name"),
        _text("scopes"),
        _integer("created_ms"),
        _integer("expires_ms", nullable=True),
        _integer("revoked_ms", nullable=True),
        _key("tokens", "id"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "alarms",
        _text("code"),
        _text("subject"),
        _integer("version"),
        _integer("raised_ms"),
        _text("detail"),
        _key("alarms", "code", "subject"),
        sqlite_with_rowid=False,
    )


def _log() -> None:
    op.create_table(
        "entries",
        _integer("index"),
        _bytes("leaf"),
        _text("entry_id"),
        _text("event"),
        _text("peer", nullable=True),
        _text("message_id", nullable=True),
        _integer("time_ms"),
        _key("entries", "index"),
    )
    op.create_index("ix_entries_message_id", "entries", ["message_id"])
    _partial_index(
        "ix_entries_refused", "entries", "event IN ('relay.refused', 'relay.conflict')", "peer", "time_ms"
    )
    op.create_index("ix_entries_time_ms_index", "entries", ["time_ms", "index"])
    op.create_table(
        "nodes",
        _integer("level"),
        _integer("index"),
        _bytes("hash"),
        _key("nodes", "level", "index"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "head",
        _integer("id"),
        _text("authority"),
        _text("origin"),
        _integer("size"),
        _bytes("root"),
        _integer("time_ms"),
        _integer("signed", nullable=True),
        _key("head", "id"),
    )
    op.create_table(
        "checkpoints",
        _integer("size"),
        _text("text"),
        _key("checkpoints", "size"),
    )
    op.create_table(
        "details",
        _integer("entry"),
        _bytes("salt"),
        _bytes("detail"),
        _key("details", "entry"),
    )
