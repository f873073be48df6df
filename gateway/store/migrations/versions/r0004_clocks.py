"""When the next clock of a case runs out, and which have."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

_INTEGER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Add the columns; cases from before are looked at when the node starts (core.clocks.LOOK_NOW_MS)."""
    op.add_column("cases", sa.Column("clock_ms", _INTEGER, nullable=True))
    op.add_column("cases", sa.Column("overdue", sa.Text(), nullable=True))
    op.execute("UPDATE cases SET clock_ms = 0")
    where = sa.text("clock_ms IS NOT NULL")
    op.create_index("ix_cases_clock", "cases", ["clock_ms"], sqlite_where=where, postgresql_where=where)
