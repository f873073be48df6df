"""Later epochs of peers' logs."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"

_INTEGER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "epochs",
        sa.Column("origin", sa.Text(), nullable=False),
        sa.Column("version", _INTEGER, autoincrement=False, nullable=False),
        sa.Column("peer", sa.Text(), nullable=False),
        sa.Column("restored_size", _INTEGER, autoincrement=False, nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("stored_ms", _INTEGER, autoincrement=False, nullable=False),
        sa.Column("seen", _INTEGER, autoincrement=False, nullable=False),
        sa.Column("settled_ms", _INTEGER, nullable=True),
        sa.PrimaryKeyConstraint("origin", name=op.f("pk_epochs")),
    )
