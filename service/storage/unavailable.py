"""Which errors are the database's own fault, and no mistake of ours; and which of them pass when one tries again."""

from __future__ import annotations

from contextlib import AbstractContextManager
from types import TracebackType

from sqlalchemy.exc import DBAPIError, InternalError, OperationalError
from sqlalchemy.exc import TimeoutError as NoConnectionFree

from service.domain.errors import StorageUnavailable

# What PostgreSQL, and not a statement of ours, is to blame for: connection, login, resources, operator (starting,
# shutting down), I/O, a transaction that it gave up (deadlock), no such database, read-only after a failover, a
# right that was taken away, a lock not available.
_POSTGRES_UNAVAILABLE = ("08", "28", "53", "57", "58", "40", "3D000", "25006", "42501", "55P03")
# And of these what may be gone a moment later: a restart, a failover, a deadlock, too many connections.
_POSTGRES_PASSING = ("08", "40", "57P", "53300")


class _Blaming:
    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if isinstance(error, NoConnectionFree | OSError):
            raise StorageUnavailable("The database can't be used at the moment.") from error
        if isinstance(error, DBAPIError):
            if error.connection_invalidated:
                raise StorageUnavailable("The connection to the database was lost.") from error
            if _is_unavailable(error):
                raise StorageUnavailable("The database can't be used at the moment.") from error


# One for all: it remembers nothing, and each unit of work goes through it.
_BLAMING = _Blaming()


def blaming_the_database() -> AbstractContextManager[None]:
    """Turns what the database is to blame for into StorageUnavailable."""
    return _BLAMING


def passes(error: BaseException) -> bool:
    """Whether PostgreSQL may be able a moment later to do what it failed to do."""
    if isinstance(error, DBAPIError):
        lost = error.connection_invalidated or is_confused(error)
        return lost or sqlstate(error).startswith(_POSTGRES_PASSING)
    return isinstance(error, OSError)


def is_confused(error: BaseException) -> bool:
    """As asyncpg is by a connection that ends where it does not expect it; and when no host is the one to write to."""
    return isinstance(error, InternalError) and not sqlstate(error)


def sqlstate(error: DBAPIError) -> str:
    """Empty where there is none."""
    return str(getattr(error.orig, "sqlstate", None) or "")


def _is_unavailable(error: DBAPIError) -> bool:
    if is_confused(error):
        return True
    if state := sqlstate(error):
        return state.startswith(_POSTGRES_UNAVAILABLE)
    # SQLite says OperationalError for a wrong statement too, as SQLITE_ERROR; locked, full, read-only have their own.
    return isinstance(error, OperationalError) and getattr(error.orig, "sqlite_errorname", "") != "SQLITE_ERROR"
