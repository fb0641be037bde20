"""One suite, two databases: `database` runs a test once on SQLite and once on PostgreSQL, migrated, its own, empty."""

import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import pytest
from sqlmodel import SQLModel

from service.storage.database import Database
from service.storage.migrations import migrate
from tests.storage.interleaving import in_another_thread
from tests.support.postgres import PostgresServer


@pytest.fixture(scope="session")
def migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file to copy: migrating for every test would take longer than the tests."""
    path = tmp_path_factory.mktemp("migrated") / "gateway.db"
    in_another_thread(lambda: _migrate(f"sqlite:///{path}"))
    return path


@pytest.fixture(scope="session")
def migrated_postgres(postgres_server: PostgresServer) -> Iterator[str]:
    """A database to be emptied after each test: a new one takes half a second, even as a copy."""
    url = in_another_thread(postgres_server.create_database)
    in_another_thread(lambda: _migrate(url))
    yield url
    in_another_thread(lambda: postgres_server.drop_database(url))


async def _migrate(url: str) -> None:
    database = Database(url)
    await migrate(database)
    await database.close()


@pytest.fixture
def sqlite_url(migrated_sqlite: Path, tmp_path: Path) -> str:
    return f"sqlite:///{shutil.copy(migrated_sqlite, tmp_path / 'gateway.db')}"


@pytest.fixture
async def postgres_url(migrated_postgres: str) -> AsyncIterator[str]:
    yield migrated_postgres
    connection = await asyncpg.connect(migrated_postgres)
    await connection.execute(";".join(f"DELETE FROM {table}" for table in reversed(SQLModel.metadata.sorted_tables)))
    await connection.close()


@pytest.fixture(params=["sqlite", "postgres"])
def database_url(request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue(f"{request.param}_url"))


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = Database(database_url)
    yield database
    await database.close()


@pytest.fixture
async def sqlite(sqlite_url: str) -> AsyncIterator[Database]:
    """For what only SQLite has."""
    database = Database(sqlite_url)
    yield database
    await database.close()


@pytest.fixture
async def postgres(postgres_url: str) -> AsyncIterator[Database]:
    """For what only PostgreSQL can do: transactions that overlap."""
    database = Database(postgres_url)
    yield database
    await database.close()


@pytest.fixture
def empty_sqlite_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'before.db'}"


@pytest.fixture(params=["empty_sqlite_url", "postgres_database_url"], ids=["sqlite", "postgres"])
def empty_url(request: pytest.FixtureRequest) -> str:
    """A database without tables, to be filled by an earlier release."""
    return str(request.getfixturevalue(request.param))
