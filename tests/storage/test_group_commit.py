"""SQLite's one writer: units of work that share a commit fail alone, except when the commit itself fails."""

import asyncio
import threading
from collections.abc import Callable

import pytest
from sqlalchemy import event

from service.domain.errors import StorageUnavailable
from service.storage.database import Database, UnitOfWork
from service.storage.insert import insert_new
from service.storage.sqlite import Sqlite
from service.storage.tables import Tenant
from tests.support.outage import busy_writer
from tests.support.rows import a_tenant, store, stored


class Mishap(Exception):
    pass


def adds(id: str, *, padding: int = 0) -> Callable[[UnitOfWork], str]:
    def work(unit: UnitOfWork) -> str:
        unit.session.add(a_tenant(id, sealed_key=bytes(padding)))
        unit.session.flush()
        return id

    return work


def adds_and_raises(id: str) -> Callable[[UnitOfWork], str]:
    def work(unit: UnitOfWork) -> str:
        adds(id)(unit)
        raise Mishap(id)

    return work


def inserts_and_raises(id: str) -> Callable[[UnitOfWork], str]:
    """The same past the session, which undoes what is its own by itself."""

    def work(unit: UnitOfWork) -> str:
        insert_new(unit.transaction, a_tenant(id))
        raise Mishap(id)

    return work


async def begun(*tasks: asyncio.Task[str]) -> None:
    """Let tasks run up to where they wait for the writer: the first thing that they wait for."""
    await asyncio.wait(tasks, timeout=0)


async def together(sqlite: Database, *works: Callable[[UnitOfWork], str]) -> list[str | BaseException]:
    """What came of units of work that share a commit."""
    async with busy_writer(sqlite):
        tasks = [asyncio.create_task(sqlite.transaction(work)) for work in works]
        await begun(*tasks)
    return await asyncio.gather(*tasks, return_exceptions=True)


async def tenants(sqlite: Database) -> list[str]:
    return [tenant.id for tenant in await stored(sqlite, Tenant)]


async def test_what_waits_for_the_writer_shares_one_commit(sqlite: Database) -> None:
    commits: list[str] = []
    assert isinstance(sqlite._runner, Sqlite)
    event.listen(sqlite._runner._writing, "commit", lambda _: commits.append("commit"))
    assert await together(sqlite, *(adds(f"ten_{number:02}") for number in range(50))) == [
        f"ten_{number:02}" for number in range(50)
    ]
    assert commits == ["commit", "commit"]  # the one that kept the writer busy, and the group
    assert await tenants(sqlite) == [f"ten_{number:02}" for number in range(50)]


async def test_more_than_the_largest_group_is_committed_too(sqlite: Database) -> None:
    ids = [f"ten_{number:04}" for number in range(700)]
    assert await together(sqlite, *(adds(tenant) for tenant in ids)) == ids
    assert await tenants(sqlite) == ids


@pytest.mark.parametrize("fails", [adds_and_raises, inserts_and_raises])
async def test_one_that_raises_is_undone_alone(
    sqlite: Database, fails: Callable[[str], Callable[[UnitOfWork], str]]
) -> None:
    first, failed, last = await together(sqlite, adds("ten_a"), fails("ten_b"), adds("ten_c"))
    assert (first, last) == ("ten_a", "ten_c")
    assert isinstance(failed, Mishap)
    assert await tenants(sqlite) == ["ten_a", "ten_c"]


async def test_one_that_breaks_a_constraint_is_undone_alone(sqlite: Database) -> None:
    await store(sqlite, a_tenant("ten_a"))
    first, failed, last = await together(sqlite, adds("ten_b"), adds("ten_a"), adds("ten_c"))
    assert (first, last) == ("ten_b", "ten_c")
    assert "UNIQUE constraint failed" in str(failed)
    assert await tenants(sqlite) == ["ten_a", "ten_b", "ten_c"]


async def test_each_sees_what_those_before_it_in_the_group_did(sqlite: Database) -> None:
    def look(unit: UnitOfWork) -> str:
        return str((unit.tenants.get("ten_a") is not None, unit.tenants.get("ten_b") is not None))

    added, failed, seen = await together(sqlite, adds("ten_a"), adds_and_raises("ten_b"), look)
    assert (added, str(failed), seen) == ("ten_a", "ten_b", "(True, False)")


async def test_a_full_disk_fails_the_whole_group_and_nothing_of_it_is_stored(sqlite: Database) -> None:
    await store(sqlite, a_tenant("ten_before"))
    await sqlite.run(lambda connection: connection.exec_driver_sql("PRAGMA max_page_count=1"))  # no page more than now
    outcomes = await together(sqlite, adds("ten_a"), adds("ten_b", padding=1_000_000), adds("ten_c"))
    assert [type(outcome) for outcome in outcomes] == [StorageUnavailable] * 3
    assert await tenants(sqlite) == ["ten_before"]
    await sqlite.run(lambda connection: connection.exec_driver_sql("PRAGMA max_page_count=1000000"))
    assert await together(sqlite, adds("ten_a"), adds("ten_b", padding=1_000_000)) == ["ten_a", "ten_b"]


async def test_one_whose_caller_left_before_its_turn_is_not_begun(sqlite: Database) -> None:
    async with busy_writer(sqlite):
        left = asyncio.create_task(sqlite.transaction(adds("ten_left")))
        stayed = asyncio.create_task(sqlite.transaction(adds("ten_stayed")))
        await begun(left, stayed)
        left.cancel()
        await begun(left)
    assert await stayed == "ten_stayed"
    assert left.cancelled()
    assert await tenants(sqlite) == ["ten_stayed"]


async def test_one_whose_caller_left_in_its_turn_is_committed(sqlite: Database) -> None:
    entered, leave = threading.Event(), threading.Event()

    def work(unit: UnitOfWork) -> None:
        entered.set()
        assert leave.wait(30)
        adds("ten_a")(unit)

    left = asyncio.create_task(sqlite.transaction(work))
    assert await asyncio.to_thread(entered.wait, 30)
    left.cancel()
    await asyncio.wait([left])
    leave.set()
    await sqlite.check()
    assert await tenants(sqlite) == ["ten_a"]


async def test_closing_finishes_what_was_begun_and_refuses_what_comes_after(sqlite_url: str, sqlite: Database) -> None:
    database = Database(sqlite_url)
    async with busy_writer(database):
        task = asyncio.create_task(database.transaction(adds("ten_a")))
        await begun(task)
        closing = asyncio.create_task(database.close())
        await asyncio.wait([closing], timeout=0)
    await closing
    assert await task == "ten_a"
    with pytest.raises(StorageUnavailable):
        await database.transaction(adds("ten_b"))
    assert await tenants(sqlite) == ["ten_a"]
