"""Alembic migrations, inside the package so that no image can lack them; `migrate` brings a database to the newest."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from service.crashpoints import CrashPoint, reached
from service.domain.errors import ConfigurationError
from service.storage.database import Database
from service.storage.moves import refuse_if_moved

# Any constant will do; it only has to differ from other applications' advisory locks in the same database.
_POSTGRES_LOCK = 0x70686F746F


async def migrate(database: Database, *, moving: bool = False) -> tuple[str | None, str | None]:
    """Bring `database` to the newest revision, under a lock, in one transaction. Returns (before, after).

    Raises ConfigurationError for one that is part of a move, or was left by one, unless it is the move who asks.
    """
    return await database.migrate(_upgrade if moving else _upgrade_unless_moved)


async def revision_of(database: Database) -> str | None:
    """The revision that the database has, or None for one that is not ours, or empty."""
    return await database.run(lambda connection: MigrationContext.configure(connection).get_current_revision())


def newest_revision() -> str | None:
    return ScriptDirectory.from_config(_config()).get_current_head()


def _upgrade_unless_moved(connection: Connection) -> tuple[str | None, str | None]:
    refuse_if_moved(connection)
    return _upgrade(connection)


def _upgrade(connection: Connection) -> tuple[str | None, str | None]:
    if connection.dialect.name == "postgresql":
        # Held to the end of this transaction; on SQLite the write lock does the same.
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _POSTGRES_LOCK})
    before = MigrationContext.configure(connection).get_current_revision()
    config = _config()
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if before is not None and before not in known:
        raise ConfigurationError(f"The database is of a newer release (revision {before}): use that release.")
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
    reached(CrashPoint.MIGRATING)
    return before, MigrationContext.configure(connection).get_current_revision()


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    return config
