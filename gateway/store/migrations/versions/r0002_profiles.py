"""The profiles of authorities, and which of each is in force."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_INTEGER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make the two tables."""
    op.create_table(
        "profiles",
        sa.Column("authority", sa.Text(), nullable=False),
        sa.Column("sequence", _INTEGER, nullable=False, autoincrement=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("version", _INTEGER, nullable=False, autoincrement=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("stored_ms", _INTEGER, nullable=False, autoincrement=False),
        sa.PrimaryKeyConstraint("authority", "sequence", "sha256", name="pk_profiles"),
    )
    op.create_table(
        "current_profiles",
        sa.Column("authority", sa.Text(), nullable=False),
        sa.Column("version", _INTEGER, nullable=False, autoincrement=False),
        sa.Column("sequence", _INTEGER, nullable=False, autoincrement=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("authority", name="pk_current_profiles"),
        sqlite_with_rowid=False,
    )
