"""Units of work that share a commit on SQLite.

When one of them fails the group is run again, each with a savepoint, so that it is undone alone: a unit of work may run
twice, and is stored once. Who waits for what, and in which thread it runs: `sqlite`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from service.crashpoints import CrashPoint, reached
from service.domain.errors import StorageUnavailable


@dataclass(slots=True, eq=False)
class Job:
    """A unit of work that waits for its commit; after that what came of it."""

    work: Callable[[Connection], Any]
    result: Any = None
    problem: BaseException | None = None


def commit_group(connection: Connection, group: Sequence[Job]) -> bool:
    """Run a group of jobs in one transaction, and note in each what came of it, after the commit. False: the commit
    failed, and with it all of them.

    Whatever goes wrong goes to those who wait for the jobs: the thread that calls this must not die of it.
    """
    try:
        if not _all_went_well(connection, group):
            with connection.begin():
                for job in group:
                    _undone_alone(connection, job)
        reached(CrashPoint.UNACKNOWLEDGED)
    except BaseException as error:  # noqa: BLE001
        for job in group:
            job.problem = error
        return False
    return True


def _all_went_well(connection: Connection, group: Sequence[Job]) -> bool:
    """Without savepoints, which nearly no group needs: where one does, nothing is stored, and all run again."""
    try:
        with connection.begin():
            for job in group:
                try:
                    job.result = job.work(connection)
                except Exception as error:
                    raise _OneFailed from error
    except _OneFailed:
        return False
    return True


class _OneFailed(Exception):
    pass


def _undone_alone(connection: Connection, job: Job) -> None:
    # In the driver's words: SQLAlchemy's own savepoint costs as much as several statements.
    driver: Any = connection.connection.dbapi_connection
    driver.execute("SAVEPOINT unit_of_work")
    try:
        job.result = job.work(connection)
    except BaseException as error:  # goes to whoever waits
        if not _still_open(connection):
            # SQLite itself rolled everything back (disk full, I/O error): nothing of the group stands. `error` may only
            # say that the savepoint is gone.
            raise StorageUnavailable("The database undid the transaction; its disk may be full.") from error
        job.problem = error
        driver.execute("ROLLBACK TO unit_of_work")
    driver.execute("RELEASE unit_of_work")


def _still_open(connection: Connection) -> bool:
    """Whether SQLite, not SQLAlchemy, thinks that the transaction goes on."""
    return bool(connection.connection.dbapi_connection and connection.connection.dbapi_connection.in_transaction)
