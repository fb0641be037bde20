"""What came of a call is recorded even when the database is gone for a while; and a beat tells whether it is."""

from collections.abc import Callable
from datetime import timedelta
from typing import TypeVar

import pytest

from service.domain.errors import StorageUnavailable
from service.domain.training import Status, Watch
from service.storage.database import Database, UnitOfWork
from service.storage.installation import Heartbeat
from service.storage.tables import Tenant, Training
from tests.storage.unreliable import Hurried, Unreliable
from tests.support.clock import FakeClock
from tests.support.outage import full_disk
from tests.support.rows import NOW, a_tenant, a_training, store, stored, stored_one

T = TypeVar("T")
LATER = NOW + timedelta(seconds=2)


def adds_tenant(unit: UnitOfWork) -> str:
    unit.session.add(a_tenant())
    return "added"


async def settle(runner: Unreliable, work: Callable[[UnitOfWork], T], *, within: float) -> T:
    clock = Hurried()
    return await Database(runner).settle(work, of="ten_a", clock=clock, until=clock.monotonic() + within)


class TestSettle:
    async def test_a_database_that_is_there_is_asked_once(self, database: Database) -> None:
        runner, clock = Unreliable(database._runner, failures=0), FakeClock()
        assert await Database(runner).settle(adds_tenant, of="ten_a", clock=clock, until=clock.monotonic()) == "added"
        assert runner.tries == 1

    @pytest.mark.parametrize("failures", [1, 2, 30])
    async def test_it_is_tried_every_second_until_the_database_is_back(self, database: Database, failures: int) -> None:
        runner = Unreliable(database._runner, failures=failures)
        assert await settle(runner, adds_tenant, within=60) == "added"
        assert runner.tries == failures + 1
        assert (await stored_one(database, Tenant)).id == "ten_a"

    @pytest.mark.parametrize(("within", "tries"), [(-1, 1), (0, 1), (0.9, 1), (1, 2), (5, 6), (60, 61)])
    async def test_it_is_given_up_in_time(self, database: Database, within: float, tries: int) -> None:
        runner = Unreliable(database._runner, failures=1000)
        with pytest.raises(StorageUnavailable):
            await settle(runner, adds_tenant, within=within)
        assert runner.tries == tries
        assert await stored(database, Tenant) == []

    async def test_an_error_of_ours_is_not_tried_again(self, database: Database) -> None:
        def mistake(_unit: UnitOfWork) -> None:
            raise LookupError("ours")

        runner = Unreliable(database._runner, failures=0)
        with pytest.raises(LookupError, match="ours"):
            await settle(runner, mistake, within=60)
        assert runner.tries == 1

    async def test_what_went_through_unnoticed_is_not_done_twice(self, database: Database) -> None:
        """The fence of the first try is gone, so that the second changes nothing."""
        await store(database, a_tenant(), a_training(fence=7))

        def record(unit: UnitOfWork) -> bool:
            watch = Watch(Status.READY, NOW)
            row = unit.trainings.save("trn_1", fence=7, watch=watch, due_at=None, new_events=1, now=NOW, changes={})
            return row is not None

        runner = Unreliable(database._runner, failures=1, after_commit=True)
        assert await settle(runner, record, within=60) is False
        row = await stored_one(database, Training)
        assert (row.status, row.fence, row.sequence) == ("ready", 8, 1)


class TestBeat:
    async def test_it_writes_one_row_over_and_over(self, database: Database) -> None:
        for now in (NOW, LATER):
            await database.beat(now)
            assert (await stored_one(database, Heartbeat)).at == now

    async def test_a_full_disk_has_no_pulse(self, sqlite: Database, sqlite_url: str) -> None:
        await sqlite.beat(NOW)
        async with full_disk(sqlite, sqlite_url.removeprefix("sqlite:///")):
            await sqlite.check()
            with pytest.raises(StorageUnavailable):
                await sqlite.beat(LATER)
            assert (await stored_one(sqlite, Heartbeat)).at == NOW
        await sqlite.beat(LATER)
        assert (await stored_one(sqlite, Heartbeat)).at == LATER


class Fatal(BaseException):
    """As SystemExit and KeyboardInterrupt: `except Exception` does not catch it."""


class TestWriterThread:
    async def test_it_outlives_whatever_a_unit_of_work_raises(self, sqlite: Database) -> None:
        def dies(unit: UnitOfWork) -> None:
            unit.session.add(a_tenant("ten_undone"))
            unit.session.flush()
            raise Fatal

        with pytest.raises(Fatal):
            await sqlite.transaction(dies)
        await store(sqlite, a_tenant())
        assert (await stored_one(sqlite, Tenant)).id == "ten_a"

    async def test_it_outlives_a_commit_that_fails(self, sqlite: Database, monkeypatch: pytest.MonkeyPatch) -> None:
        def dies(_point: object) -> None:
            raise Fatal

        # Reached after a commit and before anybody is told of it.
        monkeypatch.setattr("service.storage.group_commit.reached", dies)
        with pytest.raises(Fatal):
            await store(sqlite, a_tenant())
        monkeypatch.undo()
        await store(sqlite, a_tenant("ten_b"))
        assert [tenant.id for tenant in await stored(sqlite, Tenant)] == ["ten_a", "ten_b"]
