"""Blobs count the messages that name them; the persons of a case are found by the case."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"

_INTEGER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Add the column and the index."""
    op.add_column("blobs", sa.Column("others", _INTEGER, nullable=False, server_default="0"))
    with op.batch_alter_table("blobs") as table:
        table.alter_column("others", server_default=None)
    op.create_index("ix_subjects_peer_case", "subjects", ["peer", "case"])
