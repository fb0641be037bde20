"""The pragmas that durability and consistency rest on (DESIGN 11, failure model 2.4), as the connections have them."""

import asyncio
import sqlite3
import threading
from contextlib import closing

from service.storage.database import Database, UnitOfWork

PROMISED = {
    "journal_mode": "wal",
    "synchronous": 2,  # FULL: an acknowledged commit survives a power loss
    "foreign_keys": 1,
    "busy_timeout": 5000,
}


async def test_the_writer_has_them(sqlite: Database) -> None:
    assert await sqlite.transaction(pragmas) == {**PROMISED, "query_only": 0}


async def test_every_reader_has_them(sqlite: Database) -> None:
    # All four are inside at once, so that none is asked twice.
    together = threading.Barrier(4, timeout=10)

    def work(unit: UnitOfWork) -> dict[str, object]:
        together.wait()
        return pragmas(unit)

    found = await asyncio.gather(*(sqlite.read(work) for _ in range(4)))
    assert found == [{**PROMISED, "query_only": 1}] * 4


async def test_a_writer_has_the_write_lock_from_its_beginning_on(sqlite: Database, sqlite_url: str) -> None:
    """So it never has to give up half-way because another process wrote in between."""

    def another_may_write(_unit: UnitOfWork) -> bool:
        with closing(sqlite3.connect(sqlite_url.removeprefix("sqlite:///"), isolation_level=None, timeout=0)) as other:
            try:
                other.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError:
                return False
            return True

    assert not await sqlite.transaction(another_may_write)
    assert await sqlite.read(another_may_write)


def pragmas(unit: UnitOfWork) -> dict[str, object]:
    connection = unit.session.connection()
    names = ("journal_mode", "synchronous", "foreign_keys", "busy_timeout", "query_only")
    return {name: connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in names}
