"""What a transaction promises: all or nothing, a snapshot for readers, and a word to listeners after the commit."""

import random

import pytest
from sqlalchemy import func
from sqlalchemy.exc import DBAPIError, IntegrityError, StatementError
from sqlmodel import select

from service.domain.errors import StorageUnavailable
from service.storage.database import Database, UnitOfWork
from service.storage.tables import Delivery, Tenant
from tests.storage.interleaving import commit_elsewhere, read_elsewhere, uncommitted
from tests.support.rows import NOW, a_callback, a_delivery, a_tenant, a_training, an_event, store, stored, stored_one


class Mishap(Exception):
    """Raised by a unit of work."""


def add_tenant(unit: UnitOfWork) -> None:
    unit.session.add(a_tenant())
    unit.session.flush()


def count_tenants(unit: UnitOfWork) -> int:
    return unit.session.exec(select(func.count()).select_from(Tenant)).one()


async def test_what_returns_is_committed_and_its_value_handed_back(database: Database, database_url: str) -> None:
    def work(unit: UnitOfWork) -> str:
        add_tenant(unit)
        return "value"

    assert await database.transaction(work) == "value"
    assert read_elsewhere(database_url, count_tenants) == 1


async def test_what_raises_leaves_nothing_and_the_exception_passes_through(database: Database) -> None:
    mishap = Mishap("as it was raised")

    def work(unit: UnitOfWork) -> None:
        add_tenant(unit)
        raise mishap

    with pytest.raises(Mishap) as raised:
        await database.transaction(work)
    assert raised.value is mishap
    assert await stored(database, Tenant) == []


async def test_the_database_is_usable_after_a_rollback(database: Database) -> None:
    def work(unit: UnitOfWork) -> None:
        add_tenant(unit)
        raise Mishap

    with pytest.raises(Mishap):
        await database.transaction(work)
    await database.transaction(add_tenant)
    assert (await stored_one(database, Tenant)).id == "ten_a"


async def test_what_was_added_and_not_flushed_is_committed_too(database: Database) -> None:
    await database.transaction(lambda unit: unit.session.add(a_tenant()))
    assert (await stored_one(database, Tenant)).id == "ten_a"


async def test_readers_see_committed_data_only(database: Database, database_url: str) -> None:
    async with uncommitted(database_url, add_tenant):
        assert await database.read(count_tenants) == 0
    assert await database.read(count_tenants) == 1


async def test_a_reader_sees_one_snapshot_whatever_is_committed_meanwhile(
    database: Database, database_url: str
) -> None:
    def count_twice(unit: UnitOfWork) -> tuple[int, int]:
        before = count_tenants(unit)
        commit_elsewhere(database_url, add_tenant)
        return before, count_tenants(unit)

    assert await database.read(count_twice) == (0, 0)
    assert await database.read(count_tenants) == 1


async def test_a_reader_can_not_write(database: Database) -> None:
    with pytest.raises((StorageUnavailable, DBAPIError)) as refused:
        await database.read(add_tenant)
    assert "read" in str(refused.value.__cause__)
    assert await stored(database, Tenant) == []
    await database.transaction(add_tenant)
    assert (await stored_one(database, Tenant)).id == "ten_a"


async def test_a_mistake_in_sql_is_not_blamed_on_the_database(database: Database) -> None:
    with pytest.raises(DBAPIError):
        await database.run(lambda connection: connection.exec_driver_sql("SELECT * FROM no_such_table"))


async def test_check_passes_on_a_database_that_takes_writes(database: Database) -> None:
    await database.check()
    assert await stored(database, Tenant) == []


class TestOutboxListeners:
    @pytest.fixture
    async def heard(self, database: Database) -> list[str]:
        """One entry for each call of a listener; a training with one callback is stored."""
        await store(database, a_tenant(), a_training(), a_callback())
        calls: list[str] = []
        database.on_news(lambda news: calls.append("heard"))
        return calls

    async def test_hear_of_a_commit_that_added_deliveries(self, database: Database, heard: list[str]) -> None:
        await database.transaction(add_event)
        assert heard == ["heard"]

    async def test_are_all_called(self, database: Database, heard: list[str]) -> None:
        database.on_news(lambda news: heard.append("second"))
        await database.transaction(add_event)
        assert heard == ["heard", "second"]

    async def test_are_called_once_for_a_commit_however_many_deliveries(
        self, database: Database, heard: list[str]
    ) -> None:
        await store(database, a_callback("cbk_2"), a_callback("cbk_3"))
        await database.transaction(add_event)
        assert len(await stored(database, Delivery)) == 3
        assert heard == ["heard"]

    async def test_find_the_deliveries_committed_when_they_are_called(
        self, database: Database, database_url: str, heard: list[str]
    ) -> None:
        seen: list[int] = []
        database.on_news(
            lambda news: seen.append(
                read_elsewhere(
                    database_url, lambda unit: unit.session.exec(select(func.count()).select_from(Delivery)).one()
                )
            )
        )
        await database.transaction(add_event)
        assert seen == [1]

    async def test_do_not_hear_of_a_rollback(self, database: Database, heard: list[str]) -> None:
        def work(unit: UnitOfWork) -> None:
            add_event(unit)
            raise Mishap

        with pytest.raises(Mishap):
            await database.transaction(work)
        assert heard == []

    async def test_hear_of_an_event_that_nobody_is_sent(self, database: Database, heard: list[str]) -> None:
        """Whoever follows the events waits for it."""
        await database.transaction(
            lambda unit: unit.outbox.add(an_event(), now=NOW, rng=random.Random(1)),
        )
        assert heard == ["heard"]

    async def test_do_not_hear_of_other_commits(self, database: Database, heard: list[str]) -> None:
        await store(database, a_tenant("ten_b"), an_event(), a_delivery())
        assert heard == []


def add_event(unit: UnitOfWork) -> None:
    callbacks = unit.trainings.callbacks(["trn_1"])["trn_1"]
    unit.outbox.add(an_event(), callbacks=callbacks, now=NOW, rng=random.Random(1))


async def test_a_row_that_breaks_a_foreign_key_is_refused(database: Database) -> None:
    with pytest.raises(DBAPIError, match=r"(?i)foreign key"):
        await store(database, a_training(tenant="ten_nobody"))


async def test_a_naive_time_is_refused(database: Database) -> None:
    tenant = a_tenant()
    tenant.created_at = NOW.replace(tzinfo=None)
    with pytest.raises(StatementError, match="a stored time must carry its zone"):
        await store(database, tenant)
    assert await stored(database, Tenant) == []


async def test_an_error_does_not_tell_what_was_to_be_stored(database: Database) -> None:
    """Errors are logged, and a callback URL may carry a token."""
    url = "https://a.example/?token=s3cret"
    await store(database, a_tenant(), a_training(), a_callback("cbk_1", url=url))
    with pytest.raises(IntegrityError) as refused:
        await store(database, a_callback("cbk_2", url=url))
    assert "s3cret" not in str(refused.value)
    assert "INSERT INTO callbacks" in str(refused.value)
