"""How a migration locks tables of a PostgreSQL that others use: briefly, or not at all, and it tries again.

To change a table takes a lock that waits for every transaction which has looked at it, and whoever comes later waits
behind that lock. So it is given up soon, before the server would look for deadlocks: it is never a request of the
running release that has to yield. On SQLite the write lock is all there is.
"""

from __future__ import annotations

from sqlalchemy import Connection, text

from service.domain.errors import StorageUnavailable
from service.storage.database import UnitOfWork
from service.telemetry.logging import get_logger

_log = get_logger("migrations")

# Any constant will do; it only has to differ from other applications' advisory locks in the same database.
_POSTGRES_LOCK = 0x70686F746F
# For another replica's migration: until this release's patience ends, nothing waits behind us here.
_TURN_SECONDS = 20
# Less than `deadlock_timeout`, which is a second.
_TABLE_MILLISECONDS = 500
# Not to be had in time; given up for a deadlock.
_LOCKED = ("55P03", "40P01")


def lock_briefly(connection: Connection) -> None:
    """Keep other migrations away until the end of this transaction, and wait for no table for long."""
    if connection.dialect.name != "postgresql":
        return
    _set(connection, "lock_timeout", f"{_TURN_SECONDS}s")
    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _POSTGRES_LOCK})
    _set(connection, "lock_timeout", f"{_TABLE_MILLISECONDS}ms")
    # An index of a large table takes its time, whatever statements of this role may take otherwise.
    _set(connection, "statement_timeout", "0")
    _set(connection, "idle_in_transaction_session_timeout", "0")


def was_locked(unavailable: StorageUnavailable) -> bool:
    return getattr(getattr(unavailable.__cause__, "orig", None), "sqlstate", None) in _LOCKED


def note_who_waits(pause: float) -> None:
    _log.info("migration_waits_for_lock", again_in=pause)


def who_is_in_the_way(unit: UnitOfWork, *, seconds: float) -> str:
    """A sentence for the operator. Of other roles' transactions a role may not see more than that they are there."""
    oldest = (
        unit.session.connection()
        .execute(
            text(
                "SELECT pid, application_name, extract(epoch FROM clock_timestamp() - xact_start) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid() AND xact_start IS NOT NULL"
                " ORDER BY xact_start LIMIT 1"
            )
        )
        .first()
    )
    who = f" (the oldest: process {oldest[0]} {oldest[1]!r}, open for {oldest[2]:.0f} s)" if oldest else ""
    return (
        f"other transactions have kept its tables locked for {seconds:g} s{who}; end them, or try again later: "
        "the running release goes on"
    )


def _set(connection: Connection, name: str, value: str) -> None:
    connection.execute(text("SELECT set_config(:name, :value, true)"), {"name": name, "value": value})
