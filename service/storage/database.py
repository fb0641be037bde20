"""Connections and transactions, for SQLite and PostgreSQL alike.

A transaction is a plain function of a UnitOfWork: `await database.transaction(work)`. It can't await, so no
transaction is ever open across a network call. How each database runs it: `sqlite` and `postgres`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol, TypeVar

from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as NoConnectionFree
from sqlmodel import Session

from service.domain.errors import StorageUnavailable
from service.storage.idempotency import Idempotency
from service.storage.outbox import Outbox
from service.storage.postgres import Postgres
from service.storage.sqlite import Sqlite
from service.storage.tenants import Tenants
from service.storage.trainings import Trainings

T = TypeVar("T")

# What PostgreSQL, and not a statement of ours, is to blame for: connection, resources, operator (starting, shutting
# down), I/O, a transaction that it gave up (deadlock), read-only after a failover, a lock not available.
_POSTGRES_UNAVAILABLE = ("08", "53", "57", "58", "40", "25006", "55P03")


class UnitOfWork:
    """What one transaction can do. Nothing in here commits."""

    def __init__(self, session: Session) -> None:
        self.outbox_filled = False
        self.trainings = Trainings(session)
        self.outbox = Outbox(session, self._fill_outbox)
        self.tenants = Tenants(session)
        self.idempotency = Idempotency(session)
        self.session = session

    def _fill_outbox(self) -> None:
        self.outbox_filled = True


Work = Callable[[UnitOfWork], T]


class _Runner(Protocol):
    """How one kind of database runs a function of a connection."""

    async def write(self, work: Callable[[Connection], T]) -> T: ...

    async def read(self, work: Callable[[Connection], T]) -> T: ...

    async def close(self) -> None: ...


class Database:
    """StorageUnavailable is raised for whatever the database itself is to blame for: locked, full, gone."""

    def __init__(self, url: str) -> None:
        self._runner: _Runner = Sqlite(url) if url.startswith("sqlite") else Postgres(url)
        self._on_outbox: list[Callable[[], None]] = []

    def on_outbox(self, listener: Callable[[], None]) -> None:
        """Call `listener` after each commit that put something into the outbox."""
        self._on_outbox.append(listener)

    async def transaction(self, work: Work[T]) -> T:
        """Run `work` in one transaction: committed when it returns, rolled back when it raises."""
        with _blaming_the_database():
            result, outbox_filled = await self._runner.write(lambda connection: _commit(connection, work))
        if outbox_filled:
            for listener in self._on_outbox:
                listener()
        return result

    async def read(self, work: Work[T]) -> T:
        """Run `work` on a consistent snapshot, without the write lock."""
        with _blaming_the_database():
            return await self._runner.read(lambda connection: _look(connection, work))

    async def run(self, work: Callable[[Connection], T]) -> T:
        """Run `work` on the bare write connection, inside a transaction: for migrations."""
        with _blaming_the_database():
            return await self._runner.write(work)

    async def check(self) -> None:
        """Raise StorageUnavailable unless the database takes a write transaction now."""
        await self.run(lambda connection: connection.execute(text("SELECT 1")))

    async def close(self) -> None:
        await self._runner.close()


@contextmanager
def _blaming_the_database() -> Iterator[None]:
    try:
        yield
    except (NoConnectionFree, OSError) as error:
        raise StorageUnavailable("The database can't be used at the moment.") from error
    except DBAPIError as error:
        if error.connection_invalidated:
            raise StorageUnavailable("The connection to the database was lost.") from error
        if _is_unavailable(error):
            raise StorageUnavailable("The database can't be used at the moment.") from error
        raise


def _is_unavailable(error: DBAPIError) -> bool:
    sqlstate = getattr(error.orig, "sqlstate", None)
    if sqlstate is not None:
        return str(sqlstate).startswith(_POSTGRES_UNAVAILABLE)
    # SQLite says OperationalError for a wrong statement too, as SQLITE_ERROR; locked, full, read-only have their own.
    return isinstance(error, OperationalError) and getattr(error.orig, "sqlite_errorname", "") != "SQLITE_ERROR"


def _commit(connection: Connection, work: Work[T]) -> tuple[T, bool]:
    # The commit, and on SQLite the savepoint, are the runner's.
    with Session(
        bind=connection, expire_on_commit=False, autoflush=False, join_transaction_mode="rollback_only"
    ) as session:
        unit = UnitOfWork(session)
        result = work(unit)
        session.commit()
        return result, unit.outbox_filled


def _look(connection: Connection, work: Work[T]) -> T:
    with Session(bind=connection, expire_on_commit=False, autoflush=False) as session:
        return work(UnitOfWork(session))
