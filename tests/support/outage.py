"""A database that can't be used for a while: its file is gone, or its disk is full. SQLite only."""

import asyncio
import resource
import shutil
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from service.domain.errors import StorageUnavailable
from service.storage.database import Database, UnitOfWork
from tests.support.gateway import Gateway, World


async def lose_database(world: World, gateway: Gateway) -> None:
    """As when a volume is unmounted: its connections are gone, and it can't be opened."""
    database = gateway.components.database
    runner = database._runner
    with suppress(StorageUnavailable):  # the transaction in which it is closed
        await database.run(lambda connection: connection.connection.dbapi_connection.close())  # type: ignore[union-attr]
    for kept in runner._kept.values():  # type: ignore[attr-defined]
        kept.invalidate()
    shutil.move(world.database, world.folder / "elsewhere")
    world.database.mkdir()


async def find_database(world: World) -> None:
    world.database.rmdir()
    shutil.move(world.folder / "elsewhere", world.database)


@asynccontextmanager
async def full_disk(database: Database, path: str | Path) -> AsyncIterator[None]:
    """Inside the block the write-ahead log of the database at `path`, and so every file of this process, can't grow."""
    # Far above what pytest has captured in a file by then.
    await database.run(
        lambda connection: connection.exec_driver_sql("CREATE TABLE padding AS SELECT zeroblob(1000000)")
    )
    size = Path(f"{path}-wal").stat().st_size
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@asynccontextmanager
async def busy_writer(database: Database) -> AsyncIterator[None]:
    """Inside the block the writer is busy; whatever is begun there is one group at its end."""
    entered, leave = threading.Event(), threading.Event()

    def work(unit: UnitOfWork) -> None:
        entered.set()
        assert leave.wait(30)

    task = asyncio.create_task(database.transaction(work))
    assert await asyncio.to_thread(entered.wait, 30)
    try:
        yield
    finally:
        leave.set()
        await task


def waiting_to_be_recorded(gateway: Gateway) -> int:
    """How many polls have ended, and will find the writer when it is no longer busy."""
    lines = gateway.components.trainings.poller._recording._lines
    return sum(len(line) for line in lines.values())
