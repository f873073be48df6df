"""A blob of a peer is a row from its first byte: it says when it became whole."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

_INTEGER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Add the column; blobs from before were recorded when they were whole."""
    op.add_column("blobs", sa.Column("whole_ms", _INTEGER, nullable=True))
    op.execute("UPDATE blobs SET whole_ms = received_ms")
