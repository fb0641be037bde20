"""The pragmas that durability and consistency rest on (DESIGN 11, failure model 2.4), as the connections have them."""

import asyncio
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

from sqlalchemy import Engine

from service.storage.database import Database, UnitOfWork
from service.storage.sqlite import sqlite_engine

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


def test_several_processes_may_open_a_new_file_at_once(tmp_path: Path) -> None:
    """Each of them switches it to its write-ahead log; many rounds, since they have to meet in that very moment."""
    for round_number in range(30):
        together = threading.Barrier(4, timeout=10)

        def open_it(engine: Engine, together: threading.Barrier = together) -> int:
            together.wait()
            with engine.begin() as connection:
                return int(connection.exec_driver_sql("SELECT 1").scalar_one())

        url = f"sqlite:///{tmp_path}/{round_number}.db"
        engines = [sqlite_engine(url, begin="BEGIN IMMEDIATE", pool_size=1) for _ in range(4)]
        with ThreadPoolExecutor(4) as threads:
            assert list(threads.map(open_it, engines)) == [1] * 4
        for engine in engines:
            engine.dispose()
