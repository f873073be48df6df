"""The migrations of the tables: Alembic, without a file of settings.

Alembic is imported only when there is something to migrate: a start finds the revision of
the database first.
"""

from pathlib import Path

from sqlalchemy import Connection

from gateway.core.errors import Misconfigured

REVISION = "0012"
"""The newest revision: the one whose outcome is `tables.metadata`."""


def migrate(connection: Connection) -> None:
    """Bring the database up to REVISION within the transaction of *connection*.

    Raises:
        Misconfigured: a newer version of the gateway wrote it.
    """
    # Alembic takes 6 MiB that a running node can do without.
    from alembic import command  # noqa: PLC0415 - see above
    from alembic.config import Config  # noqa: PLC0415 - see above
    from alembic.util.exc import CommandError  # noqa: PLC0415 - see above

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, REVISION)
    except CommandError as error:
        raise Misconfigured("store.url: a newer version of the gateway wrote this database") from error
