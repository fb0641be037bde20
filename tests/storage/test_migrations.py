"""Migrations: they bring any database to what the tables say, once, together or not at all."""

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect
from sqlalchemy.exc import DBAPIError
from sqlmodel import SQLModel

from service.storage import migrations
from service.storage.database import Database
from service.storage.migrations import migrate, newest_revision
from service.storage.tables import Tenant
from tests.storage.newest_schema import migrated_step_by_step, tables_and_indexes
from tests.support.rows import a_tenant, store, stored_one

FOLDER = Path(migrations.__file__).parent
TABLES = {
    "alembic_version",
    "attempts",
    "call_counts",
    "callbacks",
    "deliveries",
    "events",
    "heartbeats",
    "idempotency_keys",
    "keysets",
    "moves",
    "recoveries",
    "tenants",
    "trainings",
    "webhook_endpoints",
}


@pytest.fixture
async def empty(empty_url: str) -> AsyncIterator[Database]:
    database = Database(empty_url)
    yield database
    await database.close()


async def tables(database: Database) -> set[str]:
    return await database.run(lambda connection: set(inspect(connection).get_table_names()))


async def test_an_empty_database_is_brought_to_the_newest_revision(empty: Database) -> None:
    assert await tables(empty) == set()
    assert await migrate(empty) == (None, newest_revision())
    assert await tables(empty) >= TABLES
    await store(empty, a_tenant())
    assert (await stored_one(empty, Tenant)).id == "ten_a"


async def test_repeated_it_changes_nothing(empty: Database) -> None:
    await migrate(empty)
    await store(empty, a_tenant())
    assert await migrate(empty) == (newest_revision(), newest_revision())
    assert (await stored_one(empty, Tenant)).id == "ten_a"


async def test_two_replicas_that_start_at_once_migrate_once(empty: Database, empty_url: str) -> None:
    other = Database(empty_url)
    outcomes = await asyncio.gather(migrate(empty), migrate(other))
    await other.close()
    assert sorted(outcomes, key=str) == sorted(
        [(None, newest_revision()), (newest_revision(), newest_revision())], key=str
    )
    assert await tables(empty) >= TABLES


async def test_the_migrated_database_is_what_the_tables_say(database: Database) -> None:
    def differences(connection: Connection) -> list[object]:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        return list(compare_metadata(context, SQLModel.metadata))

    assert await database.run(differences) == []


async def test_a_new_sqlite_file_is_made_as_the_migrations_would(sqlite: Database) -> None:
    def without_order(statements: list[str]) -> list[list[str]]:
        """Of indexes and constraints, where Alembic has none when it makes a table anew."""
        return sorted(sorted(line.strip(" ,") for line in statement.splitlines()) for statement in statements)

    at_once, by_steps = await sqlite.run(tables_and_indexes), await migrated_step_by_step()
    assert without_order(at_once) == without_order(by_steps), "`make schema` writes newest.sql anew"


async def test_the_conditions_of_partial_indexes_are_what_the_tables_say(database: Database) -> None:
    """Which the comparison above does not look at."""

    def conditions(connection: Connection) -> dict[str, str]:
        kind = "sqlite_where" if connection.dialect.name == "sqlite" else "postgresql_where"
        return {
            str(index["name"]): re.sub(r"[()]|::text| = 1$", "", str(index["dialect_options"][kind]))
            for table in SQLModel.metadata.sorted_tables
            for index in inspect(connection).get_indexes(table.name)
            if kind in index.get("dialect_options", {})
        }

    assert await database.run(conditions) == {
        "ix_deliveries_failing": "status = 'dead' OR status = 'pending' AND attempts_made > 0",
        "ix_tenants_key": "sealed_key IS NOT NULL",
        "ix_tenants_queue": "queue_due_at IS NOT NULL",
        "ix_trainings_queue": "status = 'queued'",
        "ix_trainings_suspended": "suspended",
        "uq_trainings_active": "finished_at IS NULL",
        "ix_trainings_due": "due_at IS NOT NULL",
        "ix_trainings_finished": "finished_at IS NOT NULL",
        "ix_webhook_endpoints_tenant": "deleted_at IS NULL",
        "uq_events_terminal": "terminal",
        "ix_events_of_endpoints": "training_id IS NULL",
        "uq_deliveries_endpoint": "endpoint_id IS NOT NULL",
        "ix_deliveries_due": "due_at IS NOT NULL",
        "ix_deliveries_callback": "callback_id IS NOT NULL",
        "ix_deliveries_endpoint": "endpoint_id IS NOT NULL",
        "ix_deliveries_endpoint_status": "endpoint_id IS NOT NULL",
        "ix_recoveries_running": "finished_at IS NULL",
    }


async def test_one_that_fails_leaves_nothing_behind(empty: Database) -> None:
    # In the way of the last table that the first migration makes.
    await empty.run(lambda connection: connection.exec_driver_sql("CREATE TABLE attempts (id INTEGER)"))
    with pytest.raises(DBAPIError, match="already exists"):
        await migrate(empty)
    assert await tables(empty) == {"attempts"}
    await empty.run(lambda connection: connection.exec_driver_sql("DROP TABLE attempts"))
    assert await migrate(empty) == (None, newest_revision())
    assert await tables(empty) >= TABLES


def test_every_file_is_in_one_chain_with_one_head() -> None:
    scripts = ScriptDirectory(str(FOLDER))
    chain = list(scripts.walk_revisions())
    assert scripts.get_heads() == [newest_revision()]
    assert len(scripts.get_bases()) == 1
    assert not any(script.is_branch_point or script.is_merge_point for script in chain)
    files = {path.name for path in (FOLDER / "versions").glob("*.py")} - {"__init__.py"}
    assert {Path(script.path).name for script in chain} == files


def test_a_file_is_named_by_its_revision() -> None:
    for script in ScriptDirectory(str(FOLDER)).walk_revisions():
        assert Path(script.path).name.startswith(f"{script.revision}_")
