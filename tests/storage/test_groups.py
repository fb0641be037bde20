"""PostgreSQL: units of work of one tenant that wait at the same time share a commit, and fail alone all the same."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

import pytest
from sqlalchemy import Connection, text

from service.domain.errors import StorageUnavailable
from service.storage.database import Database, UnitOfWork
from service.storage.groups import Groups
from service.storage.postgres import Postgres
from service.storage.tables import Tenant
from tests.storage.cutting import Cut, Proxy
from tests.storage.interleaving import uncommitted, wait_for_a_blocked_transaction
from tests.support.rows import a_tenant, store, stored

T = TypeVar("T")

_OURS = "ten_of_all"
_NUMBER = text("SELECT CAST(pg_current_xact_id() AS text)")


class Mishap(Exception):
    pass


class Adds:
    """Stores a tenant, and returns the number of its transaction."""

    def __init__(self, id: str, *, fails: bool = False) -> None:
        self.runs = 0
        self._id = id
        self._fails = fails

    def __call__(self, unit: UnitOfWork) -> str:
        self.runs += 1
        unit.session.add(a_tenant(self._id))
        unit.session.flush()
        if self._fails:
            raise Mishap(self._id)
        return str(unit.session.scalar(_NUMBER))


def touches_ours(unit: UnitOfWork) -> str:
    return str(unit.outbox._next_position(_OURS))


@asynccontextmanager
async def busy(url: str, database: Database) -> AsyncIterator[None]:
    """Whoever works for the tenant waits for a row that somebody else holds, until the end of the block."""
    await store(database, a_tenant(_OURS))
    async with uncommitted(url, touches_ours):
        first = asyncio.create_task(database.transaction(touches_ours, of=_OURS))
        await wait_for_a_blocked_transaction(database)
        yield
    await first


def waiting(database: Database, *works: Callable[[UnitOfWork], str], of: str = _OURS) -> list[asyncio.Task[str]]:
    return [asyncio.create_task(database.transaction(work, of=of)) for work in works]


async def together(url: str, database: Database, *works: Callable[[UnitOfWork], str]) -> list[str | BaseException]:
    """What came of units of work that wait behind the same first one."""
    async with busy(url, database):
        tasks = waiting(database, *works)
        await asyncio.wait(tasks, timeout=0)
    return await asyncio.gather(*tasks, return_exceptions=True)


async def tenants(database: Database) -> list[str]:
    return sorted(tenant.id for tenant in await stored(database, Tenant) if tenant.id != _OURS)


def named(number: int) -> list[str]:
    return [f"ten_{place:02}" for place in range(number)]


async def test_what_waits_for_one_tenant_shares_a_commit(postgres_url: str, postgres: Database) -> None:
    numbers = await together(postgres_url, postgres, *map(Adds, named(10)))
    assert len(set(numbers)) == 1
    assert await tenants(postgres) == named(10)


async def test_more_than_the_largest_group_is_stored_too(postgres_url: str, postgres: Database) -> None:
    works = [Adds(name) for name in named(40)]
    numbers = await together(postgres_url, postgres, *works)
    assert 3 <= len(set(numbers)) < 40
    assert [work.runs for work in works] == [1] * 40
    assert await tenants(postgres) == named(40)


async def test_one_that_raises_is_undone_alone(postgres_url: str, postgres: Database) -> None:
    works = [Adds("ten_00"), Adds("ten_01", fails=True), Adds("ten_02")]
    first, failed, last = await together(postgres_url, postgres, *works)
    assert isinstance(failed, Mishap)
    assert first != last  # each for itself
    assert await tenants(postgres) == ["ten_00", "ten_02"]


async def test_one_that_breaks_a_constraint_is_undone_alone(postgres_url: str, postgres: Database) -> None:
    first, second, last = await together(postgres_url, postgres, Adds("ten_00"), Adds("ten_00"), Adds("ten_02"))
    assert sum(isinstance(result, Exception) for result in (first, second)) == 1
    assert isinstance(last, str)
    assert await tenants(postgres) == ["ten_00", "ten_02"]


async def test_nobody_waits_for_another_tenant(postgres_url: str, postgres: Database) -> None:
    async with busy(postgres_url, postgres):
        ours = waiting(postgres, Adds("ten_00"), Adds("ten_01"))
        await asyncio.gather(*waiting(postgres, Adds("ten_02"), Adds("ten_03"), of="ten_b"))
        assert await tenants(postgres) == ["ten_02", "ten_03"]
    assert len(set(await asyncio.gather(*ours))) == 1


async def test_what_nobody_waits_for_any_more_is_not_begun(postgres_url: str, postgres: Database) -> None:
    given_up = Adds("ten_01")
    async with busy(postgres_url, postgres):
        first, second, third = waiting(postgres, Adds("ten_00"), given_up, Adds("ten_02"))
        await asyncio.wait([first, second, third], timeout=0)
        second.cancel()
    await asyncio.gather(first, third)
    assert given_up.runs == 0
    assert await tenants(postgres) == ["ten_00", "ten_02"]


@asynccontextmanager
async def cut_off_at(cut: Cut, url: str, *works: Adds) -> AsyncIterator[list[asyncio.Task[str]]]:
    """Works of one group, whose COMMIT is cut."""
    async with Proxy(url).running() as proxy:
        database = Database(Postgres(proxy.url, patience=20))
        plan = [cut]

        def is_first_of_the_group(unit: UnitOfWork) -> str:
            proxy.cuts = [plan.pop()] if plan else []
            return touches_ours(unit)

        async with busy(url, database):
            tasks = waiting(database, is_first_of_the_group, *works)
            await asyncio.wait(tasks, timeout=0)
        yield tasks
        assert not plan
        assert not proxy.cuts
        assert await tenants(database) == named(5)
        await database.close()


@pytest.mark.parametrize(("cut", "runs"), [(Cut.AFTER, 1), (Cut.BEFORE, 2)])
async def test_a_commit_without_an_answer_is_looked_up_for_the_whole_group(
    postgres_url: str, cut: Cut, runs: int
) -> None:
    works = [Adds(name) for name in named(5)]
    async with cut_off_at(cut, postgres_url, *works) as tasks:
        await asyncio.gather(*tasks)
        assert [work.runs for work in works] == [runs] * 5


async def test_a_group_that_may_be_stored_is_not_run_again() -> None:
    async def once(work: Callable[[Connection], T]) -> T:
        raise StorageUnavailable("It may have stored this, or not.")

    async def alone(work: Callable[[Connection], T]) -> T:
        raise Mishap

    groups = Groups(once=once, alone=alone)
    results = await asyncio.gather(*(groups.write(lambda _: None, _OURS) for _ in range(6)), return_exceptions=True)
    assert [type(result) for result in results] == 6 * [StorageUnavailable]
