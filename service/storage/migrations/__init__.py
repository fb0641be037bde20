"""Alembic migrations, inside the package so that no image can lack them; `migrate` brings a database to the newest.

The release before goes on running meanwhile, and can start again afterwards: a migration expands, and what it leaves
behind a later one contracts. Which code may still run on a database is stored in it, beside its revision.
"""

from __future__ import annotations

from functools import cache, partial
from pathlib import Path

from sqlalchemy import Connection, inspect, text

from service.clock import Clock, SystemClock
from service.crashpoints import CrashPoint, reached
from service.domain.errors import ConfigurationError, StorageUnavailable
from service.storage.database import Database
from service.storage.migrations.locks import lock_briefly, note_who_waits, was_locked, who_is_in_the_way
from service.storage.moves import refuse_if_moved
from service.telemetry.logging import get_logger

_log = get_logger("migrations")

# Code of this revision and of later ones may run on a database that this release has migrated. At least the release
# before; who contracts raises it.
OLDEST_CODE = "0006"

_FOLDER = Path(__file__).parent
# Of SQLite; `make schema` writes it.
NEWEST_SCHEMA = _FOLDER / "newest.sql"
_PATIENCE_SECONDS = 60.0
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 5.0


async def migrate(
    database: Database, *, moving: bool = False, patience: float = _PATIENCE_SECONDS, clock: Clock | None = None
) -> tuple[str | None, str | None]:
    """Bring `database` to the newest revision, under a lock, in one transaction; on a PostgreSQL that is in use, in one
    for each revision. Returns (before, after).

    One of a newer release stays as it is, if that release says that our code can run on it. Raises ConfigurationError
    for one that is part of a move, or was left by one, unless it is the move who asks; StorageUnavailable when others
    have kept a table locked for `patience` seconds.
    """
    clock = clock or SystemClock()
    until = clock.monotonic() + patience
    pause = _FIRST_PAUSE
    steps: list[tuple[str | None, str | None]] = []
    while True:
        try:
            steps.append(await database.migrate(partial(_migrate, moving=moving)))
            if not _goes_on(steps[-1][1]):
                return steps[0][0], steps[-1][1]
            continue
        except StorageUnavailable as unavailable:
            if not was_locked(unavailable):
                raise
            if clock.monotonic() + pause > until:
                raise StorageUnavailable(await database.read(partial(who_is_in_the_way, seconds=patience))) from None
        note_who_waits(pause)
        await clock.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE)


async def revision_of(database: Database) -> str | None:
    """The revision that the database has, or None for one that is not ours, or empty."""
    return await database.run(_revision)


def newest_revision() -> str:
    return max(_known())


def upgrade(connection: Connection, revision: str = "head") -> None:
    """Run the migrations up to this one, in the transaction of `connection`."""
    # Most starts have nothing to do, and Alembic would be a good part of what they load.
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(_FOLDER).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, revision)


def _migrate(connection: Connection, *, moving: bool) -> tuple[str | None, str | None]:
    if not moving:
        refuse_if_moved(connection)
    newest = newest_revision()
    # Where there is nothing to do, nobody waits for a release that migrates.
    if _revision(connection) != newest or (_oldest_code(connection) or "") < OLDEST_CODE:
        lock_briefly(connection)
    before = _revision(connection)
    if before is not None and before not in _known():
        _refuse_unless_compatible(connection, before, moving=moving)
        return before, before
    if before is None and connection.dialect.name == "sqlite":
        _make_at_once(connection)
    elif before != newest:
        # Who held the locks of several revisions would stand across from requests more often.
        upgrade(connection, "head" if before is None or connection.dialect.name == "sqlite" else "+1")
    _note_oldest_code(connection)
    reached(CrashPoint.MIGRATING)
    return before, _revision(connection)


def _make_at_once(connection: Connection) -> None:
    """What the migrations come to: running each of them on a new file is a quarter of a first start's time, and leaves
    11 MB in its memory.
    """
    for statement in NEWEST_SCHEMA.read_text("utf-8").split(";\n"):
        connection.exec_driver_sql(statement)
    noted = text("INSERT INTO alembic_version (version_num) VALUES (:newest)")
    connection.execute(noted, {"newest": newest_revision()})


def _goes_on(revision: str | None) -> bool:
    return revision in _known() and revision != newest_revision()


def _refuse_unless_compatible(connection: Connection, revision: str, *, moving: bool) -> None:
    """A move copies the tables that it knows, so that it can do nothing with a newer database."""
    oldest = _oldest_code(connection)
    if moving or oldest is None or newest_revision() < oldest:
        raise ConfigurationError(f"The database is of a newer release (revision {revision}): use that release.")
    _log.info("database_of_newer_release", revision=revision, ours=newest_revision())


def _oldest_code(connection: Connection) -> str | None:
    """None where no release has said so yet."""
    if not _has_oldest_code(connection):
        return None
    oldest: str | None = connection.scalar(text("SELECT oldest_code FROM alembic_version"))
    return oldest


def _note_oldest_code(connection: Connection) -> None:
    """In the table that has the revision, of which it is a part; Alembic leaves other columns alone."""
    if not _has_oldest_code(connection):
        connection.execute(text("ALTER TABLE alembic_version ADD COLUMN oldest_code VARCHAR(32)"))
    raised = "UPDATE alembic_version SET oldest_code = :ours WHERE oldest_code IS NULL OR oldest_code < :ours"
    connection.execute(text(raised), {"ours": OLDEST_CODE})


def _has_oldest_code(connection: Connection) -> bool:
    found = inspect(connection)
    return found.has_table("alembic_version") and any(
        column["name"] == "oldest_code" for column in found.get_columns("alembic_version")
    )


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    revision: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
    return revision


@cache
def _known() -> frozenset[str]:
    """By the names of their files, as one of our tests has it: Alembic would run all of them to know."""
    return frozenset(path.name.partition("_")[0] for path in _FOLDER.glob("versions/[0-9]*_*.py"))
