"""The pragmas that durability and consistency rest on (DESIGN 11, failure model 2.4), as the connections have them."""

import asyncio
import threading

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


async def test_a_writer_has_the_write_lock_from_its_first_statement_on(sqlite: Database, sqlite_url: str) -> None:
    def work(unit: UnitOfWork) -> bool:
        return bool(unit.session.connection().connection.driver_connection.in_transaction)  # type: ignore[union-attr]

    assert await sqlite.transaction(work)


def pragmas(unit: UnitOfWork) -> dict[str, object]:
    connection = unit.session.connection()
    names = ("journal_mode", "synchronous", "foreign_keys", "busy_timeout", "query_only")
    return {name: connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in names}
