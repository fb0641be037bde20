"""The real storage on SQLite in memory: the same engine, savepoints and group commit, without the writer's thread."""

from __future__ import annotations

import asyncio
import random
import sqlite3
from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, event
from sqlalchemy.pool import StaticPool

from service.storage.database import Database
from service.storage.group_commit import Job, commit_group
from service.storage.migrations import migrate
from service.storage.sqlite import sqlite_engine
from tests.simulation.faults import Faults
from tests.storage.interleaving import in_another_thread

T = TypeVar("T")


class Crash(BaseException):  # no error: nothing in the gateway may catch it as one
    """The process has ended at this point."""


class Disk:
    """Outlives every process. `outage`: it can't be written, as when another process locks it or it is full."""

    def __init__(self, faults: Faults, rng: random.Random) -> None:
        self.engine = _engine()
        raw = self.engine.raw_connection().driver_connection
        assert isinstance(raw, sqlite3.Connection)
        self.raw = raw
        self.raw.deserialize(_migrated())
        self.faults = faults
        self.rng = rng
        self.outage = False
        self.on_commit: Callable[[], None] = lambda: None


class Handle:
    """One process's `storage.database.Runner`; `dead` once that process has ended."""

    one_writer = True

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self._queued: list[tuple[Job, asyncio.Future[Any]]] = []
        self.dead = False

    async def write(self, work: Callable[[Connection], T], of: str | None = None) -> T:
        await self._latency()
        if self._disk.outage or self._disk.faults.strikes("database is locked"):
            raise OSError("the disk can't be written")
        waiting: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        if not self._queued:
            asyncio.get_running_loop().call_soon(self._commit)
        self._queued.append((Job(work), waiting))
        return await waiting

    async def read(self, work: Callable[[Connection], T]) -> T:
        await self._latency()
        with self._disk.engine.begin() as connection:
            return work(connection)

    migrate = write

    async def scrub(self) -> bool:
        return True

    async def close(self) -> None:
        self.dead = True

    async def _latency(self) -> None:
        slow = self._disk.faults.strikes("database is slow")
        await asyncio.sleep(self._disk.rng.uniform(0, 2.0 if slow else 0.01))
        if self.dead:
            await asyncio.Event().wait()  # until the crash has cancelled this task

    def _commit(self) -> None:
        group, self._queued = self._queued, []
        if self.dead:
            return
        _reasons_to_fail.append(self._reason_to_fail)
        try:
            with self._disk.engine.connect() as connection:
                commit_group(connection, [job for job, _ in group])
        finally:
            _reasons_to_fail.pop()
        self._disk.on_commit()
        for job, waiting in group:
            if waiting.cancelled():
                continue
            if job.problem is None:
                waiting.set_result(job.result)
            elif not self.dead:
                waiting.set_exception(job.problem)

    def _reason_to_fail(self) -> BaseException | None:
        if self.dead:
            return Crash()  # a unit of this group ran into a crash point, and the whole group is lost with the process
        return OSError("the disk is full") if self._disk.faults.strikes("commit fails") else None


# Of the commit that is under way, if one is.
_reasons_to_fail: list[Callable[[], BaseException | None]] = []


def _fail(_connection: Connection) -> None:
    for reason_to_fail in _reasons_to_fail:
        if reason := reason_to_fail():
            raise reason


@cache
def _engine() -> Engine:
    """One for all runs, each of which fills it anew: it keeps the statements that it has compiled."""
    engine = sqlite_engine("sqlite://", begin="BEGIN", pool_size=1, poolclass=StaticPool)
    # Once for all: to listen and to stop listening takes longer than many a commit.
    event.listen(engine, "commit", _fail)
    return engine


@cache
def _migrated() -> bytes:
    """An empty database with all its tables: migrating for every seed would take longer than the seed."""
    disk = sqlite_engine("sqlite://", begin="BEGIN", pool_size=1, poolclass=StaticPool)

    class Direct:
        one_writer = True

        async def write(self, work: Callable[[Connection], T], of: str | None = None) -> T:
            with disk.begin() as connection:
                return work(connection)

        read = migrate = write

        async def scrub(self) -> bool:
            return True

        async def close(self) -> None: ...

    in_another_thread(lambda: migrate(Database(Direct())))
    raw = disk.raw_connection().driver_connection
    assert isinstance(raw, sqlite3.Connection)
    return raw.serialize()
