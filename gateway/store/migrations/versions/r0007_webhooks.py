"""Webhooks, how far the log was told to each, and what is on its way to them."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"

_INTEGER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make the tables and their indexes."""
    op.create_table(
        "webhooks",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("version", _INTEGER, autoincrement=False, nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("types", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("created_ms", _INTEGER, autoincrement=False, nullable=False),
        sa.Column("changed_ms", _INTEGER, autoincrement=False, nullable=False),
        sa.Column("wrapped_key", sa.LargeBinary(), nullable=False),
        sa.Column("ciphertext", sa.LargeBinary(), nullable=False),
        sa.Column("old_until_ms", _INTEGER, autoincrement=False, nullable=True),
        sa.Column("problem", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhooks")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "cursors",
        sa.Column("webhook", sa.Text(), nullable=False),
        sa.Column("version", _INTEGER, autoincrement=False, nullable=False),
        sa.Column("entry", _INTEGER, autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("webhook", name=op.f("pk_cursors")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "announcements",
        sa.Column("webhook", sa.Text(), nullable=False),
        sa.Column("entry", _INTEGER, autoincrement=False, nullable=False),
        sa.Column("version", _INTEGER, autoincrement=False, nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("changed_ms", _INTEGER, autoincrement=False, nullable=False),
        sa.Column("attempts", _INTEGER, autoincrement=False, nullable=False),
        sa.Column("first_ms", _INTEGER, autoincrement=False, nullable=True),
        sa.Column("next_ms", _INTEGER, autoincrement=False, nullable=False),
        sa.Column("status", _INTEGER, autoincrement=False, nullable=True),
        sa.Column("problem", sa.Text(), nullable=True),
        sa.Column("took_ms", _INTEGER, autoincrement=False, nullable=True),
        sa.PrimaryKeyConstraint("webhook", "entry", name=op.f("pk_announcements")),
    )
    op.create_index("ix_announcements_webhook_state_entry", "announcements", ["webhook", "state", "entry"])
    op.create_index("ix_announcements_changed_ms", "announcements", ["changed_ms"])
