"""A database that can't be used is StorageUnavailable, nothing is stored, and it heals by itself."""

import socket
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncpg
import pytest
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from service.domain.errors import ConfigurationError, StorageUnavailable
from service.storage.database import Database, UnitOfWork
from service.storage.postgres import Postgres
from service.storage.tables import Callback, Tenant
from tests.support.postgres import stoppable_postgres
from tests.support.rows import a_callback, a_tenant, a_training, store, stored, stored_one


class TestSqlite:
    async def test_locked_by_another_process(self, sqlite: Database, sqlite_url: str) -> None:
        await wait_less_for_locks(sqlite)
        with locked(sqlite_url):
            with pytest.raises(StorageUnavailable):
                await store(sqlite, a_tenant())
            with pytest.raises(StorageUnavailable):
                await sqlite.check()
        assert await stored(sqlite, Tenant) == []
        await store(sqlite, a_tenant())
        assert (await stored_one(sqlite, Tenant)).id == "ten_a"

    async def test_readers_go_on_while_it_is_locked(self, sqlite: Database, sqlite_url: str) -> None:
        await store(sqlite, a_tenant())
        with locked(sqlite_url):
            assert (await stored_one(sqlite, Tenant)).id == "ten_a"

    async def test_full(self, sqlite: Database) -> None:
        await store(sqlite, a_tenant(), a_training())
        pages = await sqlite.run(lambda connection: pragma(connection, "page_count"))
        await sqlite.run(lambda connection: pragma(connection, f"max_page_count={pages}"))
        with pytest.raises(StorageUnavailable):
            await store(sqlite, a_callback(sealed_secret=bytes(1_000_000)))
        assert await stored(sqlite, Callback) == []
        assert (await stored_one(sqlite, Tenant)).id == "ten_a"
        await sqlite.run(lambda connection: pragma(connection, "max_page_count=1000000"))
        await store(sqlite, a_callback(sealed_secret=bytes(1_000_000)))
        assert (await stored_one(sqlite, Callback)).id == "cbk_1"

    async def test_a_file_that_can_not_be_opened(self, tmp_path: Path) -> None:
        (tmp_path / "folder.db").mkdir()
        database = Database(f"sqlite:///{tmp_path / 'folder.db'}")
        with pytest.raises(StorageUnavailable):
            await database.check()
        await database.close()

    def test_a_folder_that_can_not_be_made_is_a_wrong_setting(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(ConfigurationError, match="DATABASE_URL"):
            Database(f"sqlite:///{tmp_path / 'file' / 'gateway.db'}")

    async def test_its_folder_is_made(self, tmp_path: Path) -> None:
        database = Database(f"sqlite:///{tmp_path / 'deep' / 'down' / 'gateway.db'}")
        await database.check()
        await database.close()
        assert (tmp_path / "deep" / "down" / "gateway.db").is_file()


class TestPostgres:
    async def test_not_there(self) -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))  # and does not listen: refused, and nobody else's meanwhile
            url = f"postgresql://app@127.0.0.1:{taken.getsockname()[1]}/postgres"
            database = Database(Postgres(url, patience=0))
            with pytest.raises(StorageUnavailable):
                await database.check()
            with pytest.raises(StorageUnavailable):
                await database.read(lambda unit: unit.tenants.get("ten_a"))
            await database.close()

    async def test_stopped_while_connections_are_pooled(self) -> None:
        with stoppable_postgres() as server:
            database = Database(Postgres(server.url, patience=0))
            with server.running():
                await database.check()
            with pytest.raises(StorageUnavailable):
                await store(database, a_tenant())
            with pytest.raises(StorageUnavailable):
                await database.read(lambda unit: unit.tenants.get("ten_a"))
            await database.close()

    async def test_a_connection_lost_in_the_middle_of_a_transaction(
        self, postgres: Database, postgres_url: str
    ) -> None:
        def work(unit: UnitOfWork) -> None:
            unit.session.add(a_tenant())
            unit.session.flush()
            unit.session.connection().exec_driver_sql("SELECT pg_terminate_backend(pg_backend_pid())")

        hasty = Database(Postgres(postgres_url, patience=0))
        with pytest.raises(StorageUnavailable):
            await hasty.transaction(work)
        await hasty.close()
        assert await stored(postgres, Tenant) == []

    async def test_connections_that_died_in_the_pool_are_replaced_unnoticed(
        self, postgres: Database, postgres_url: str
    ) -> None:
        await store(postgres, a_tenant())
        other = await asyncpg.connect(postgres_url)
        await other.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        await other.close()
        assert (await stored_one(postgres, Tenant)).id == "ten_a"
        await store(postgres, a_tenant("ten_b"))

    @pytest.mark.parametrize(
        "sqlstate",
        [
            pytest.param("53100", id="disk full"),
            pytest.param("53300", id="too many connections"),
            pytest.param("57P01", id="shutting down"),
            pytest.param("57P03", id="starting up"),
            pytest.param("25006", id="read-only after a failover"),
            pytest.param("28P01", id="password refused"),
            pytest.param("3D000", id="no such database"),
            pytest.param("42501", id="right taken away"),
            pytest.param("40P01", id="deadlock"),
            pytest.param("55P03", id="lock not available"),
            pytest.param("58030", id="input/output error"),
        ],
    )
    async def test_an_error_of_the_server_is_blamed_on_it(self, postgres_url: str, sqlstate: str) -> None:
        database = Database(Postgres(postgres_url, patience=0))
        with pytest.raises(StorageUnavailable):
            await database.run(lambda connection: raise_in_postgres(connection, sqlstate))
        await database.check()
        await database.close()

    @pytest.mark.parametrize("sqlstate", ["53100", "53200", "55P03", "58030", "28P01", "3D000", "42501"])
    async def test_what_does_not_pass_is_not_tried_again(self, postgres: Database, sqlstate: str) -> None:
        tries: list[str] = []

        def work(connection: Connection) -> None:
            tries.append(sqlstate)
            raise_in_postgres(connection, sqlstate)

        with pytest.raises(StorageUnavailable):
            await postgres.run(work)
        assert tries == [sqlstate]

    @pytest.mark.parametrize(
        "sqlstate", [pytest.param("42P01", id="no such table"), pytest.param("22021", id="NUL in a text")]
    )
    async def test_an_error_of_ours_is_not(self, postgres: Database, sqlstate: str) -> None:
        with pytest.raises(DBAPIError):
            await postgres.run(lambda connection: raise_in_postgres(connection, sqlstate))
        await postgres.check()


async def wait_less_for_locks(sqlite: Database) -> None:
    await sqlite.run(lambda connection: pragma(connection, "busy_timeout=50"))


@contextmanager
def locked(sqlite_url: str) -> Iterator[None]:
    other = sqlite3.connect(sqlite_url.removeprefix("sqlite:///"), isolation_level=None)
    try:
        other.execute("BEGIN EXCLUSIVE")
        yield
        other.execute("ROLLBACK")
    finally:
        other.close()


def pragma(connection: Connection, text: str) -> object:
    return connection.exec_driver_sql(f"PRAGMA {text}").scalar()


def raise_in_postgres(connection: Connection, sqlstate: str) -> None:
    connection.exec_driver_sql(f"DO $$ BEGIN RAISE EXCEPTION 'test' USING ERRCODE = '{sqlstate}'; END $$")
