"""An upload is a row from its creation: it has no digest until it is whole."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Let the digest be absent."""
    with op.batch_alter_table("uploads", table_kwargs={"sqlite_with_rowid": False}) as uploads:
        uploads.alter_column("blob_sha256", existing_type=sa.Text(), nullable=True)
