"""Connections and transactions, for SQLite and PostgreSQL alike.

A transaction is a plain function of a UnitOfWork: `await database.transaction(work)`. It can't await, so no
transaction is ever open across a network call. On SQLite it runs in the one writer thread, under BEGIN IMMEDIATE;
on PostgreSQL on a pooled asyncpg connection.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlmodel import Session

from service.domain.errors import ConfigurationError, StorageUnavailable
from service.storage.idempotency import Idempotency
from service.storage.outbox import Outbox
from service.storage.tenants import Tenants
from service.storage.trainings import Trainings

T = TypeVar("T")

_READERS = 4
_BUSY_TIMEOUT_MS = 5000  # failure model 2.4, "SQLite locked"
_POSTGRES_POOL = 16


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
        self._runner: _Runner = _Sqlite(url) if url.startswith("sqlite") else _Postgres(url)
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
    except (OperationalError, OSError) as error:
        raise StorageUnavailable("The database can't be used at the moment.") from error
    except DBAPIError as error:
        if error.connection_invalidated:
            raise StorageUnavailable("The connection to the database was lost.") from error
        raise


def _commit(connection: Connection, work: Work[T]) -> tuple[T, bool]:
    with Session(bind=connection, expire_on_commit=False, autoflush=False) as session:
        unit = UnitOfWork(session)
        result = work(unit)
        session.commit()
        return result, unit.outbox_filled


def _look(connection: Connection, work: Work[T]) -> T:
    with Session(bind=connection, expire_on_commit=False, autoflush=False) as session:
        return work(UnitOfWork(session))


class _Sqlite:
    """One writer thread with one connection, so that writers never wait for each other's locks; a few readers."""

    def __init__(self, url: str) -> None:
        path = Path(url.removeprefix("sqlite:///"))
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigurationError(f"DATABASE_URL={url}: {path.parent} can't be made: {error}") from error
        self._writing = _sqlite_engine(url, begin="BEGIN IMMEDIATE", pool_size=1, read_only=False)
        self._reading = _sqlite_engine(url, begin="BEGIN", pool_size=_READERS, read_only=True)
        self._writer = ThreadPoolExecutor(1, "sqlite-writer")
        self._readers = ThreadPoolExecutor(_READERS, "sqlite-reader")

    async def write(self, work: Callable[[Connection], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._writer, _in_transaction, self._writing, work)

    async def read(self, work: Callable[[Connection], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._readers, _in_transaction, self._reading, work)

    async def close(self) -> None:
        self._readers.shutdown()
        self._writer.shutdown()
        self._reading.dispose()
        self._writing.dispose()


def _in_transaction(engine: Engine, work: Callable[[Connection], T]) -> T:
    with engine.begin() as connection:
        return work(connection)


def _sqlite_engine(url: str, *, begin: str, pool_size: int, read_only: bool) -> Engine:
    engine = create_engine(url, pool_size=pool_size, max_overflow=0, connect_args={"check_same_thread": False})

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _record: object) -> None:
        # The driver would otherwise begin transactions by itself, deferred and only before some statements.
        connection.isolation_level = None
        for pragma in (
            "journal_mode=WAL",
            "synchronous=FULL",  # WAL with NORMAL may lose acknowledged commits at power loss (failure model 2.4)
            f"busy_timeout={_BUSY_TIMEOUT_MS}",
            "foreign_keys=ON",
            f"query_only={'ON' if read_only else 'OFF'}",
        ):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def begin_transaction(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    return engine


class _Postgres:
    """SQLAlchemy's own bridge runs the same synchronous unit of work on asyncpg."""

    def __init__(self, url: str) -> None:
        self._engine: AsyncEngine = create_async_engine(
            url.replace("postgresql://", "postgresql+asyncpg://", 1),
            pool_size=_POSTGRES_POOL,
            max_overflow=0,
            pool_pre_ping=True,
        )

    async def write(self, work: Callable[[Connection], T]) -> T:
        async with self._engine.begin() as connection:
            return await connection.run_sync(work)

    async def read(self, work: Callable[[Connection], T]) -> T:
        async with self._engine.connect() as connection:
            return await connection.run_sync(work)

    async def close(self) -> None:
        await self._engine.dispose()
