"""One process at a time on one SQLite file: by a lock beside it, which ends with whoever holds it, however that ends.

The database file itself must not be locked: SQLite's own locks on it would be lost when ours is closed. Releases before
this lock don't take it; `refuse_if_open` finds them, too.
"""

from __future__ import annotations

import errno
import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from service.domain.errors import DatabaseInUse, StorageUnavailable

_NO_PLACE = frozenset({errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOENT, errno.ENOTDIR})
_LONGEST_HOLDER = 100


@contextmanager
def alone(database: Path | None, holder: str) -> Iterator[None]:
    """Inside the block nobody else is in such a block for this file; None: for PostgreSQL, which takes any number.

    `holder`: who this is, for the message of whoever else tries. Raises DatabaseInUse; StorageUnavailable where no lock
    can be made.
    """
    if database is None:
        yield
        return
    # By any path that leads to it.
    real = database.resolve()
    descriptor = _opened(real.with_name(real.name + ".lock"))
    if descriptor is None:
        yield
        return
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise _in_use(database, f" by {_said(descriptor)}") from None
        _say(descriptor, f"{holder} (process {os.getpid()})")
        yield
    finally:
        os.close(descriptor)  # which ends the lock; the file stays, since another may be about to lock it


def refuse_if_open(database: Path) -> None:
    """Raise DatabaseInUse if any program at all has this SQLite file open at this moment.

    Each connection to a database in WAL mode holds a shared lock for as long as it lives.
    """
    with closing(sqlite3.connect(f"{database.resolve().as_uri()}?mode=rw", 0, uri=True, isolation_level=None)) as probe:
        probe.execute("PRAGMA locking_mode = EXCLUSIVE")
        try:
            probe.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorname != "SQLITE_BUSY":
                raise StorageUnavailable(f"The database {database} can't be used: {error}.") from error
            raise _in_use(database, "") from None
        except sqlite3.DatabaseError as error:
            raise StorageUnavailable(f"The database {database} can't be used: {error}.") from error
        probe.execute("ROLLBACK")


def _opened(path: Path) -> int | None:
    """None where nothing can be written: nobody can share a database there, and SQLite says what is wrong."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        if error.errno not in _NO_PLACE:
            raise StorageUnavailable(f"The lock {path} can't be made: {error.strerror}.") from error
    with suppress(OSError):
        return os.open(path, os.O_RDONLY)
    return None


def _say(descriptor: int, holder: str) -> None:
    # Only for messages: a full or read-only disk is no reason not to go on.
    with suppress(OSError):
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, holder.encode(), 0)


def _said(descriptor: int) -> str:
    return os.pread(descriptor, _LONGEST_HOLDER, 0).decode(errors="replace") or "another process"


def _in_use(database: Path, by: str) -> DatabaseInUse:
    return DatabaseInUse(
        f"The database {database} is in use{by}, and SQLite serves one process: end that one first. For several at "
        "once there is PostgreSQL."
    )
