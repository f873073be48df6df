"""The index of persons across cases."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

_INTEGER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "subjects",
        sa.Column("pseudonym", sa.Text(), nullable=False),
        sa.Column("peer", sa.Text(), nullable=False),
        sa.Column("case", sa.Text(), nullable=False),
        sa.Column("version", _INTEGER, nullable=False, autoincrement=False),
        sa.PrimaryKeyConstraint("pseudonym", "peer", "case", name="pk_subjects"),
        sqlite_with_rowid=False,
    )
