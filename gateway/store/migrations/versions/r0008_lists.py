"""Lists that do not grow with what is stored; when a token was last used; when an answer is forgotten."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"

_INTEGER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Add the indexes and the column."""
    for column in ("kind", "state", "peer", "direction"):
        _list_index("messages", column, "entry", "entry >= 0")
    for column in ("event", "peer"):
        _list_index("entries", column, "index", "time_ms >= 0")
    op.create_index("ix_cases_peer_id", "cases", ["peer", "id"])
    op.create_index("ix_idempotency_stored_ms", "idempotency", ["stored_ms"])
    op.add_column("tokens", sa.Column("used_ms", _INTEGER, nullable=True))


def _list_index(table: str, column: str, order: str, condition: str) -> None:
    where = sa.text(condition)
    op.create_index(
        f"ix_{table}_list_{column}", table, [column, order], sqlite_where=where, postgresql_where=where
    )
