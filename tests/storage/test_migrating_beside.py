"""To migrate while others run: they wait briefly, one at a time does it, and the release before can start again."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from sqlalchemy import text

from service.domain.errors import ConfigurationError, StorageUnavailable
from service.storage import migrations
from service.storage.database import Database, UnitOfWork
from service.storage.migrations import OLDEST_CODE, migrate, newest_revision, revision_of
from service.storage.migrations.locks import lock_briefly
from service.storage.tables import Tenant
from tests.storage.interleaving import uncommitted, wait_for_a_blocked_transaction
from tests.support.rows import a_tenant, store, stored_one

# Long enough for a machine that has much else to do.
PATIENCE = 60.0


@pytest.fixture
async def before(postgres_database_url: str) -> AsyncIterator[Database]:
    """PostgreSQL, at an earlier revision."""
    database = Database(postgres_database_url)
    await database.migrate(lambda connection: migrations.upgrade(connection, "0005"))
    yield database
    await database.close()


def looks_at_trainings(unit: UnitOfWork) -> None:
    """As a backup does, which takes hours."""
    unit.session.connection().execute(text("SELECT count(*) FROM trainings"))


class TestWhileATableIsLocked:
    async def test_others_go_on_and_so_does_the_migration_in_the_end(
        self, before: Database, postgres_database_url: str
    ) -> None:
        async with uncommitted(postgres_database_url, looks_at_trainings):
            migrating = asyncio.create_task(migrate(before, patience=2 * PATIENCE))
            for _ in range(3):
                await wait_for_a_blocked_transaction(before)
                # Behind the migration's lock; that one would wait for as long as the block lasts.
                await asyncio.wait_for(before.transaction(looks_at_trainings), PATIENCE / 2)
            assert not migrating.done()
        assert await migrating == ("0005", newest_revision())

    async def test_it_gives_up_in_time_and_says_who_is_in_the_way(
        self, before: Database, postgres_database_url: str
    ) -> None:
        async with uncommitted(postgres_database_url, looks_at_trainings):
            with pytest.raises(
                StorageUnavailable, match=r"locked for 1 s \(the oldest: process \d+ '.*', open for \d+ s\)"
            ):
                await migrate(before, patience=1)
            assert await revision_of(before) == "0005"
        assert await migrate(before) == ("0005", newest_revision())

    async def test_what_is_before_it_is_done(self, postgres_database_url: str) -> None:
        """One revision after the other, so that none holds the locks of all: 0005 is of deliveries only."""
        database = Database(postgres_database_url)
        await database.migrate(lambda connection: migrations.upgrade(connection, "0004"))
        async with uncommitted(postgres_database_url, looks_at_trainings):
            with pytest.raises(StorageUnavailable, match="locked for 1 s"):
                await migrate(database, patience=1)
            assert await revision_of(database) == "0005"
        assert await migrate(database) == ("0005", newest_revision())
        await database.close()


class TestOneAtATime:
    async def test_a_second_migration_waits_for_the_first(self, before: Database, postgres_database_url: str) -> None:
        async with uncommitted(postgres_database_url, lambda unit: lock_briefly(unit.session.connection())):
            migrating = asyncio.create_task(migrate(before))
            await wait_for_a_blocked_transaction(before)
            assert await revision_of(before) == "0005"
        assert await migrating == ("0005", newest_revision())

    async def test_who_has_nothing_to_migrate_does_not_wait(self, postgres: Database, postgres_url: str) -> None:
        async with uncommitted(postgres_url, lambda unit: lock_briefly(unit.session.connection())):
            assert await asyncio.wait_for(migrate(postgres), PATIENCE) == (newest_revision(), newest_revision())


@pytest.fixture
async def newer(empty_url: str) -> AsyncIterator[Database]:
    """A database as a newer release has left it."""
    database = Database(empty_url)
    await migrate(database)
    await store(database, a_tenant())
    await say(database, "version_num", "9999")
    yield database
    await database.close()


async def say(database: Database, column: str, value: str | None) -> None:
    statement = text(f"UPDATE alembic_version SET {column} = :value")
    await database.run(lambda connection: connection.execute(statement, {"value": value}))


async def schema(database: Database) -> list[Any]:
    def look(unit: UnitOfWork) -> list[Any]:
        return list(unit.session.connection().execute(text("SELECT * FROM alembic_version")).mappings())

    return await database.read(look)


class TestOfANewerRelease:
    @pytest.mark.parametrize("oldest", ["0000", OLDEST_CODE, newest_revision()])
    async def test_it_is_used_as_it_is_if_that_release_says_so(self, newer: Database, oldest: str) -> None:
        await say(newer, "oldest_code", oldest)
        assert await migrate(newer) == ("9999", "9999")
        assert [dict(row) for row in await schema(newer)] == [{"version_num": "9999", "oldest_code": oldest}]
        assert (await stored_one(newer, Tenant)).id == "ten_a"

    @pytest.mark.parametrize("oldest", ["9999", None])
    async def test_it_is_refused_if_not(self, newer: Database, oldest: str | None) -> None:
        await say(newer, "oldest_code", oldest)
        with pytest.raises(ConfigurationError, match=r"of a newer release \(revision 9999\): use that release"):
            await migrate(newer)

    async def test_it_is_not_moved(self, newer: Database) -> None:
        """What that release has added would stay behind."""
        with pytest.raises(ConfigurationError, match="newer release"):
            await migrate(newer, moving=True)

    async def test_that_an_older_one_runs_no_more_is_not_taken_back(self, database: Database) -> None:
        await say(database, "oldest_code", "9998")
        await migrate(database)
        assert [row["oldest_code"] for row in await schema(database)] == ["9998"]
        await say(database, "oldest_code", "0001")
        await migrate(database)
        assert [row["oldest_code"] for row in await schema(database)] == [OLDEST_CODE]


async def test_a_database_from_before_this_was_stored_is_told(empty_url: str) -> None:
    made = Database(empty_url)
    await made.migrate(migrations.upgrade)
    assert [dict(row) for row in await schema(made)] == [{"version_num": newest_revision()}]
    await made.close()
    database = Database(empty_url)
    assert await migrate(database) == (newest_revision(), newest_revision())
    assert [row["oldest_code"] for row in await schema(database)] == [OLDEST_CODE]
    await database.close()
