"""Transactions that overlap, in an order that the test decides: each in a thread and a Database of its own.

A unit of work can't await, so a test can't stop in the middle of one by itself; a thread can.
"""

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import TypeVar

from sqlalchemy import text

from service.storage.database import Database, UnitOfWork
from tests.support.waiting import wait_until

T = TypeVar("T")

_PATIENCE = 30.0


def in_another_thread(work: Callable[[], Awaitable[T]], *, patience: float = _PATIENCE) -> T:
    """Run `work` to its end in a loop of its own, even from inside a running loop or a unit of work."""

    async def run() -> T:
        return await work()

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(lambda: asyncio.run(run())).result(patience)


def commit_elsewhere(url: str, work: Callable[[UnitOfWork], T]) -> T:
    """Run and commit `work` on another connection, while the caller may hold a transaction open."""

    async def run() -> T:
        database = Database(url)
        try:
            return await database.transaction(work)
        finally:
            await database.close()

    return in_another_thread(run)


def read_elsewhere(url: str, work: Callable[[UnitOfWork], T]) -> T:
    async def run() -> T:
        database = Database(url)
        try:
            return await database.read(work)
        finally:
            await database.close()

    return in_another_thread(run)


@asynccontextmanager
async def uncommitted(url: str, work: Callable[[UnitOfWork], object]) -> AsyncIterator[None]:
    """Inside the block `work` is done and not committed; at its end it is."""
    done, end = threading.Event(), threading.Event()

    def hold(unit: UnitOfWork) -> None:
        work(unit)
        done.set()
        assert end.wait(_PATIENCE)

    def run() -> None:
        try:
            commit_elsewhere(url, hold)
        finally:
            done.set()

    task = asyncio.create_task(asyncio.to_thread(run))
    try:
        assert await asyncio.to_thread(done.wait, _PATIENCE)
        yield
    finally:
        end.set()
        await task


async def wait_for_a_blocked_transaction(postgres: Database) -> None:
    """Until some transaction in this PostgreSQL database waits for another's lock."""
    waiting = text(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )

    async def blocked() -> bool:
        return bool(await postgres.read(lambda unit: unit.session.connection().scalar(waiting)))

    await wait_until(blocked, what="a transaction that waits for a lock")
