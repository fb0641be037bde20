from urllib.parse import urlsplit

import asyncpg

from tests.support.postgres import PostgresServer


async def test_the_server_answers(postgres_database_url: str) -> None:
    connection = await asyncpg.connect(postgres_database_url)
    version = await connection.fetchval("SELECT version()")
    await connection.close()
    assert version.startswith("PostgreSQL ")


async def test_each_database_is_empty_and_apart(postgres_server: PostgresServer, postgres_database_url: str) -> None:
    other_url = await postgres_server.create_database()
    one, other = await asyncpg.connect(postgres_database_url), await asyncpg.connect(other_url)
    await one.execute("CREATE TABLE trace ()")
    assert await other.fetchval("SELECT to_regclass('trace')") is None
    await other.close()
    await one.close()
    await postgres_server.drop_database(other_url)


async def test_a_database_can_be_copied(postgres_server: PostgresServer, postgres_database_url: str) -> None:
    connection = await asyncpg.connect(postgres_database_url)
    await connection.execute("CREATE TABLE trace ()")
    await connection.close()
    copy = await postgres_server.create_database(template=urlsplit(postgres_database_url).path[1:])
    connection = await asyncpg.connect(copy)
    assert await connection.fetchval("SELECT to_regclass('trace')") == "trace"
    await connection.close()
    await postgres_server.drop_database(copy)


async def test_a_database_is_dropped_under_an_open_connection(postgres_server: PostgresServer) -> None:
    url = await postgres_server.create_database()
    connection = await asyncpg.connect(url)
    await postgres_server.drop_database(url)
    assert connection.is_closed() or not await _answers(connection)


async def _answers(connection: asyncpg.Connection) -> bool:
    try:
        await connection.fetchval("SELECT 1")
    except (asyncpg.PostgresError, asyncpg.InterfaceError, ConnectionError):
        return False
    return True


def test_a_test_without_a_loop_gets_a_database_too(postgres_database_url: str) -> None:
    assert urlsplit(postgres_database_url).scheme == "postgresql"
