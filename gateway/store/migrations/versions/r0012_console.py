"""Accounts of the console, its sessions, and attempts to sign in that failed."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"

_INTEGER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "accounts",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("version", _INTEGER, autoincrement=False, nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("roles", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("created_ms", _INTEGER, autoincrement=False, nullable=False),
        sa.Column("changed_ms", _INTEGER, autoincrement=False, nullable=False),
        sa.Column("wrapped_key", sa.LargeBinary(), nullable=False),
        sa.Column("ciphertext", sa.LargeBinary(), nullable=False),
        sa.Column("link_sha256", sa.Text(), nullable=True),
        sa.Column("link_until_ms", _INTEGER, nullable=True),
        sa.Column("step", _INTEGER, autoincrement=False, nullable=False),
        sa.Column("language", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_accounts")),
    )
    op.create_table(
        "sessions",
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("version", _INTEGER, autoincrement=False, nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("created_ms", _INTEGER, autoincrement=False, nullable=False),
        sa.Column("seen_ms", _INTEGER, autoincrement=False, nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("sha256", name=op.f("pk_sessions")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "sign_ins",
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("version", _INTEGER, autoincrement=False, nullable=False),
        sa.Column("failures", _INTEGER, autoincrement=False, nullable=False),
        sa.Column("failed_ms", _INTEGER, autoincrement=False, nullable=False),
        sa.Column("until_ms", _INTEGER, autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("subject", name=op.f("pk_sign_ins")),
        sqlite_with_rowid=False,
    )
