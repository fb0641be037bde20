"""SQLite: one writer thread that commits in groups with full sync, and a few readers.

Writers never wait for each other's locks, since there is only one; and the units of work that queue up while a commit
is on its way to the disk share the next one (`group_commit`).
"""

from __future__ import annotations

import asyncio
import queue
import sqlite3
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event, make_url
from sqlalchemy.dialects import registry
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
from sqlalchemy.exc import DBAPIError

from service.domain.errors import ConfigurationError, StorageUnavailable
from service.storage.compiled import COMPILED, Alike
from service.storage.filesystem import file_system_here, fleeting, is_network
from service.storage.group_commit import Job, commit_group
from service.telemetry.logging import get_logger

T = TypeVar("T")
_log = get_logger("sqlite")

_READERS = 4
_BUSY_TIMEOUT_MS = 5000  # failure model 2.4, "SQLite locked"
_TRIES_AT_WAL = 20
# What one connection keeps prepared. Lists make several texts of a statement (`statement`), and to prepare one anew
# takes longer than to run it.
_PREPARED = 512
# Writers wait for a checkpoint as long as it waits for readers.
_SCRUB_TIMEOUT_SECONDS = 0.2
# performance.md 4: more than this in one commit adds latency and no rate.
_LARGEST_GROUP = 512


def _refuse_or_warn(url: str, file_system: str | None) -> None:
    """Where the file lies decides whether it is safe there at all, and whether it is kept (failure model 2.4)."""
    if is_network(file_system):
        raise ConfigurationError(
            f"DATABASE_URL={url} is on a network file system ({file_system}), where SQLite can lose data: use a local "
            "disk, or PostgreSQL."
        )
    if lost_with := fleeting(file_system):
        _log.warning("database_will_not_last", file_system=file_system, lost_with=lost_with)


class Dialect(Alike, SQLiteDialect_pysqlite):
    supports_statement_cache = True


registry.register("sqlite.alike", __name__, Dialect.__name__)


@dataclass(slots=True, eq=False)
class _Asked(Job):
    """One that somebody in an event loop waits for."""

    done: asyncio.Future[Any] = field(kw_only=True)

    def answer(self) -> None:
        if self.done.done():
            return  # whoever waited has gone
        if self.problem is None:
            self.done.set_result(self.result)
        else:
            self.done.set_exception(self.problem)


class Sqlite:
    """`on_group` hears, in the writer's thread, how many units of work are about to share a commit."""

    one_writer = True

    def __init__(self, url: str, on_group: Callable[[int], None] = lambda _size: None) -> None:
        path = Path(url.removeprefix("sqlite:///"))
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigurationError(f"DATABASE_URL={url}: {path.parent} can't be made: {error}") from error
        _refuse_or_warn(url, file_system_here(path.parent))
        self._url = url
        self._path = path
        self._on_group = on_group
        self._writing = sqlite_engine(url, begin="BEGIN IMMEDIATE", pool_size=1)
        self._reading = sqlite_engine(url, begin="BEGIN", pool_size=_READERS, read_only=True)
        self._jobs: queue.SimpleQueue[_Asked | None] = queue.SimpleQueue()
        self._closed = False
        self._writer = threading.Thread(target=self._write_groups, name="sqlite-writer", daemon=True)
        self._writer.start()
        self._readers = ThreadPoolExecutor(_READERS, "sqlite-reader")
        # By reader's thread: each keeps its own, as the writer does.
        self._kept: dict[int, Connection] = {}

    async def write(self, work: Callable[[Connection], T], of: str | None = None) -> T:  # noqa: ARG002  # any two share one
        """Run `work` in the writer thread; returns after the commit that holds it."""
        if self._closed:
            raise StorageUnavailable("The database is closed.")  # nobody would take the job out of the queue
        job = _Asked(work, done=asyncio.get_running_loop().create_future())
        self._jobs.put(job)
        result: T = await job.done
        return result

    async def read(self, work: Callable[[Connection], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._readers, self._read, work)

    async def migrate(self, work: Callable[[Connection], T]) -> T:
        """As `write`, for changes of tables: one is made anew and the old one dropped, which foreign keys would forbid.

        They are checked before the commit instead (sqlite.org/lang_altertable.html, "Making Other Kinds Of Changes").
        """
        return await asyncio.get_running_loop().run_in_executor(self._readers, self._migrate, work)

    async def scrub(self) -> bool:
        """Empty the write-ahead log into the database: until then it holds what was erased. False: not at this time."""
        return await asyncio.get_running_loop().run_in_executor(self._readers, self._checkpoint)

    async def close(self) -> None:
        """Finish what is queued, then close."""
        self._closed = True
        self._jobs.put(None)
        await asyncio.get_running_loop().run_in_executor(self._readers, self._writer.join)
        self._readers.shutdown()
        for connection in self._kept.values():
            connection.close()
        self._reading.dispose()
        self._writing.dispose()

    def _read(self, work: Callable[[Connection], T]) -> T:
        thread = threading.get_ident()
        connection = self._kept.get(thread)
        if connection is None or connection.invalidated:
            connection = self._kept[thread] = self._reading.connect()
        try:
            with connection.begin():
                return work(connection)
        except DBAPIError:
            connection.invalidate()
            raise

    def _migrate(self, work: Callable[[Connection], T]) -> T:
        engine = sqlite_engine(self._url, begin="BEGIN IMMEDIATE", pool_size=1, foreign_keys=False)
        try:
            with engine.begin() as connection:
                return _checking_foreign_keys(connection, work)
        finally:
            engine.dispose()

    def _checkpoint(self) -> bool:
        try:
            with closing(sqlite3.connect(self._path, _SCRUB_TIMEOUT_SECONDS, isolation_level=None)) as connection:
                busy, _, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        except sqlite3.OperationalError:  # locked, or no space for the pages
            return False
        return not busy

    def _write_groups(self) -> None:
        # Kept: to take one out of the pool and to give it back takes three times an empty transaction.
        connection: Connection | None = None
        last = False
        while not last and (first := self._jobs.get()) is not None:
            group, last = _queued_behind(first, self._jobs)
            self._on_group(len(group))
            wanted = [job for job in group if not job.done.cancelled()]
            try:
                connection = connection or self._writing.connect()
            except Exception as error:  # noqa: BLE001  # goes to whoever waits
                for job in wanted:
                    job.problem = error
            else:
                if not commit_group(connection, wanted):
                    # What is wrong may be this connection, as when its volume was mounted anew.
                    connection.invalidate()
                    connection.close()
                    connection = None
            _answer(wanted)
        if connection is not None:
            connection.close()


def _answer(group: Sequence[_Asked]) -> None:
    """Wake whoever waits: each event loop once, since that takes a system call."""
    for loop in {job.done.get_loop() for job in group}:
        with suppress(RuntimeError):  # closed, and nobody waits
            loop.call_soon_threadsafe(_answer_those_of, loop, group)


def _answer_those_of(loop: asyncio.AbstractEventLoop, group: Sequence[_Asked]) -> None:
    for job in group:
        if job.done.get_loop() is loop:
            job.answer()


def _queued_behind(first: _Asked, jobs: queue.SimpleQueue[_Asked | None]) -> tuple[list[_Asked], bool]:
    """`first` and what else waits already, and whether the end of all jobs was among it."""
    group = [first]
    while len(group) < _LARGEST_GROUP:
        try:
            job = jobs.get_nowait()
        except queue.Empty:
            break
        if job is None:
            return group, True
        group.append(job)
    return group, False


def _checking_foreign_keys(connection: Connection, work: Callable[[Connection], T]) -> T:
    result = work(connection)
    broken = connection.exec_driver_sql("PRAGMA foreign_key_check").all()
    if broken:
        raise ConfigurationError(f"The database has rows that refer to missing ones, in {broken[0][0]}: not migrated.")
    return result


def sqlite_engine(
    url: str, *, begin: str, pool_size: int, read_only: bool = False, foreign_keys: bool = True, **options: Any
) -> Engine:
    """An engine whose connections sync fully, begin with `begin`, and keep their transactions to us."""
    engine = create_engine(
        make_url(url).set(drivername="sqlite+alike"),
        connect_args={"check_same_thread": False, "cached_statements": _PREPARED},
        execution_options={"compiled_cache": COMPILED},
        hide_parameters=True,  # errors are logged, and what is stored may be a token in a URL
        **(options or {"pool_size": pool_size, "max_overflow": 0}),
    )

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _record: object) -> None:
        # The driver would otherwise begin transactions by itself, deferred and only before some statements.
        connection.isolation_level = None
        _log_ahead(connection)
        for pragma in (
            "synchronous=FULL",  # WAL with NORMAL may lose acknowledged commits at power loss (failure model 2.4)
            f"busy_timeout={_BUSY_TIMEOUT_MS}",
            "secure_delete=ON",  # what is deleted or replaced is overwritten: an erased key is gone from the file
            f"foreign_keys={'ON' if foreign_keys else 'OFF'}",
            # A large group's savepoints would spill into a temporary file, and a read-only root has no place for one.
            "temp_store=MEMORY",
            f"query_only={'ON' if read_only else 'OFF'}",
        ):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def begin_transaction(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    return engine


def _log_ahead(connection: sqlite3.Connection) -> None:
    """Switch the file to its write-ahead log, which is refused at once, and not after the timeout, while another
    connection is about to do the same (sqlite.org/wal.html): then that one's end is waited for.
    """
    for _ in range(_TRIES_AT_WAL):
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorname != "SQLITE_BUSY":
                raise
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("ROLLBACK")
    connection.execute("PRAGMA journal_mode=WAL")
