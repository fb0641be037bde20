"""Alembic migrations, inside the package so that no image can lack them; `migrate` brings a database to the newest."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from service.crashpoints import CrashPoint, reached
from service.storage.database import Database

# Any constant will do; it only has to differ from other applications' advisory locks in the same database.
_POSTGRES_LOCK = 0x70686F746F


async def migrate(database: Database) -> tuple[str | None, str | None]:
    """Bring `database` to the newest revision, under a lock, in one transaction. Returns (before, after)."""
    return await database.migrate(_upgrade)


def newest_revision() -> str | None:
    return ScriptDirectory.from_config(_config()).get_current_head()


def _upgrade(connection: Connection) -> tuple[str | None, str | None]:
    if connection.dialect.name == "postgresql":
        # Held to the end of this transaction; on SQLite the write lock does the same.
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _POSTGRES_LOCK})
    before = MigrationContext.configure(connection).get_current_revision()
    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
    reached(CrashPoint.MIGRATING)
    return before, MigrationContext.configure(connection).get_current_revision()


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    return config
