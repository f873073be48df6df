"""Witnesses of the log, what covers receipts, details sealed, holds and erasures."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"

_INTEGER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make the tables, and give messages a time of erasure.

    Details that lay open are given up: their entries, and every proof, stay as they are.
    """
    op.drop_table("details")
    op.add_column("messages", sa.Column("erased_ms", _INTEGER, nullable=True))
    op.create_table(
        "details",
        sa.Column("entry", _INTEGER, autoincrement=False, nullable=False),
        sa.Column("version", _INTEGER, autoincrement=False, nullable=False),
        sa.Column("wrapped_key", sa.LargeBinary(), nullable=False),
        sa.Column("ciphertext", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("entry", name=op.f("pk_details")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "witnessed",
        sa.Column("origin", sa.Text(), nullable=False),
        sa.Column("version", _INTEGER, autoincrement=False, nullable=False),
        sa.Column("peer", sa.Text(), nullable=False),
        sa.Column("size", _INTEGER, autoincrement=False, nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("cosignatures", sa.Text(), nullable=False),
        sa.Column("witnessed_ms", _INTEGER, autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("origin", name=op.f("pk_witnessed")),
    )
    op.create_table(
        "witnesses",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("version", _INTEGER, autoincrement=False, nullable=False),
        sa.Column("size", _INTEGER, autoincrement=False, nullable=False),
        sa.Column("cosigned_ms", _INTEGER, autoincrement=False, nullable=True),
        sa.Column("problem", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_witnesses")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "cosigned",
        sa.Column("size", _INTEGER, autoincrement=False, nullable=False),
        sa.Column("witness", sa.Text(), nullable=False),
        sa.Column("version", _INTEGER, autoincrement=False, nullable=False),
        sa.Column("lines", sa.Text(), nullable=False),
        sa.Column("time_s", _INTEGER, autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("size", "witness", name=op.f("pk_cosigned")),
    )
    op.create_table(
        "covers",
        sa.Column("origin", sa.Text(), nullable=False),
        sa.Column("size", _INTEGER, autoincrement=False, nullable=False),
        sa.Column("version", _INTEGER, autoincrement=False, nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("stored_ms", _INTEGER, autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("origin", "size", name=op.f("pk_covers")),
    )
    op.create_table(
        "bridges",
        sa.Column("origin", sa.Text(), nullable=False),
        sa.Column("size", _INTEGER, autoincrement=False, nullable=False),
        sa.Column("version", _INTEGER, autoincrement=False, nullable=False),
        sa.Column("cover", _INTEGER, autoincrement=False, nullable=False),
        sa.Column("proof", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("origin", "size", name=op.f("pk_bridges")),
    )
    op.create_table(
        "compared",
        sa.Column("peer", sa.Text(), nullable=False),
        sa.Column("version", _INTEGER, autoincrement=False, nullable=False),
        sa.Column("entry", _INTEGER, autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("peer", name=op.f("pk_compared")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "forks",
        sa.Column("origin", sa.Text(), nullable=False),
        sa.Column("size", _INTEGER, autoincrement=False, nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("version", _INTEGER, autoincrement=False, nullable=False),
        sa.Column("peer", sa.Text(), nullable=False),
        sa.Column("first", sa.Text(), nullable=False),
        sa.Column("second", sa.Text(), nullable=False),
        sa.Column("found_ms", _INTEGER, autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("origin", "size", "code", name=op.f("pk_forks")),
    )
    op.create_table(
        "holds",
        sa.Column("peer", sa.Text(), nullable=False),
        sa.Column("case", sa.Text(), nullable=False),
        sa.Column("version", _INTEGER, autoincrement=False, nullable=False),
        sa.Column("added_ms", _INTEGER, autoincrement=False, nullable=False),
        sa.Column("entry", _INTEGER, autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("peer", "case", name=op.f("pk_holds")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "erasures",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("version", _INTEGER, autoincrement=False, nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("selection", sa.Text(), nullable=False),
        sa.Column("proposed_by", sa.Text(), nullable=False),
        sa.Column("proposed_ms", _INTEGER, autoincrement=False, nullable=False),
        sa.Column("changed_ms", _INTEGER, autoincrement=False, nullable=False),
        sa.Column("entry", _INTEGER, autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_erasures")),
    )
    where = sa.text("recorded_ms >= 0")
    op.create_index(
        "ix_receipts_list_peer", "receipts", ["peer", "entry"], sqlite_where=where, postgresql_where=where
    )
    op.create_index("ix_cosigned_witness_size", "cosigned", ["witness", "size"])
