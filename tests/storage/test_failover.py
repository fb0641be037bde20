"""PostgreSQL goes away and comes back: what was not stored is done again, what may be stored is looked up first."""

import asyncio
import re
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial

import asyncpg
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from service.domain.errors import ConfigurationError, Conflict, StorageUnavailable
from service.storage.database import Database, UnitOfWork
from service.storage.in_doubt import Fate, InDoubt, fate_of, own_number, start_of_server
from service.storage.postgres import Postgres
from service.storage.tables import Tenant
from tests.storage.cutting import Cut, Proxy
from tests.storage.interleaving import uncommitted, wait_for_a_blocked_transaction
from tests.support.postgres import StoppablePostgres, stoppable_postgres
from tests.support.rows import a_tenant, store, stored

# Long enough that it is never what ends a test that passes.
PATIENCE = 20.0


class Counted:
    """Stores a tenant. `first`: what it does in its first run, after that."""

    def __init__(self, id: str = "ten_a", first: Callable[[UnitOfWork], object] = lambda unit: None) -> None:
        self.runs = 0
        self._id = id
        self._first = first

    def __call__(self, unit: UnitOfWork) -> str:
        self.runs += 1
        unit.session.add(a_tenant(self._id))
        unit.session.flush()
        if self.runs == 1:
            self._first(unit)
        return self._id


async def tenants(database: Database) -> list[str]:
    return sorted(tenant.id for tenant in await stored(database, Tenant))


def end_own_connection(unit: UnitOfWork) -> None:
    unit.session.connection().exec_driver_sql("SELECT pg_terminate_backend(pg_backend_pid())")


async def execute(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url)
    await connection.execute(statement)
    await connection.close()


END_OTHERS = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
)


class TestInDoubt:
    @pytest.fixture
    async def proxy(self, postgres_url: str) -> AsyncIterator[Proxy]:
        async with Proxy(postgres_url).running() as proxy:
            yield proxy

    @pytest.fixture
    async def cut_off(self, proxy: Proxy) -> AsyncIterator[Database]:
        """A database behind the proxy."""
        database = Database(Postgres(proxy.url, patience=PATIENCE))
        yield database
        await database.close()

    async def test_what_was_stored_is_not_done_again(self, proxy: Proxy, cut_off: Database) -> None:
        work = Counted()
        proxy.cuts = [Cut.AFTER]
        assert await cut_off.transaction(work) == "ten_a"
        assert work.runs == 1
        assert not proxy.cuts
        assert await tenants(cut_off) == ["ten_a"]

    async def test_what_was_not_stored_is_done_again(self, proxy: Proxy, cut_off: Database) -> None:
        work = Counted()
        proxy.cuts = [Cut.BEFORE]
        assert await cut_off.transaction(work) == "ten_a"
        assert work.runs == 2
        assert await tenants(cut_off) == ["ten_a"]

    async def test_each_of_many_cuts_is_looked_up(self, proxy: Proxy, cut_off: Database) -> None:
        works = [Counted(f"ten_{number:02}") for number in range(40)]
        proxy.cuts = [Cut.AFTER, Cut.BEFORE, Cut.BEFORE] * 10
        assert await asyncio.gather(*map(cut_off.transaction, works)) == [f"ten_{number:02}" for number in range(40)]
        assert sum(work.runs for work in works) == 40 + 20
        assert await tenants(cut_off) == [f"ten_{number:02}" for number in range(40)]

    @pytest.mark.parametrize("cut", Cut)
    async def test_what_nobody_can_say_is_not_claimed(self, cut: Cut, postgres: Database, postgres_url: str) -> None:
        async with Proxy(postgres_url, closes=True).running() as proxy:
            database = Database(Postgres(proxy.url, patience=0.3))
            work = Counted()
            proxy.cuts = [cut]
            with pytest.raises(StorageUnavailable, match="may have stored this, or not"):
                await database.transaction(work)
            await database.close()
        assert work.runs == 1
        assert await tenants(postgres) == (["ten_a"] if cut is Cut.AFTER else [])

    async def test_what_wrote_nothing_has_nothing_to_lose(self, postgres_url: str) -> None:
        async with Proxy(postgres_url, closes=True).running() as proxy:
            database = Database(Postgres(proxy.url, patience=0.3))
            proxy.cuts = [Cut.BEFORE]
            assert await database.transaction(lambda unit: unit.tenants.get("ten_a")) is None
            assert not proxy.cuts
            await database.close()

    async def test_listeners_hear_of_it_once(self, proxy: Proxy, cut_off: Database) -> None:
        heard: list[str] = []
        cut_off.on_news(lambda news: heard.extend(news.tenants))

        def work(unit: UnitOfWork) -> None:
            Counted()(unit)
            unit.news.tenants.add("ten_a")

        proxy.cuts = [Cut.BEFORE, Cut.AFTER]
        await cut_off.transaction(work)
        assert heard == ["ten_a"]


class TestFate:
    @pytest.fixture
    async def connection(self, postgres_url: str) -> AsyncIterator[AsyncConnection]:
        async with connected(postgres_url) as connection:
            yield connection

    async def test_of_a_commit(self, connection: AsyncConnection) -> None:
        number = await self.written(connection)
        await connection.commit()
        assert await fate_of(in_doubt(number, "now"), connection, "now") is Fate.STORED

    async def test_of_a_commit_before_the_server_started_anew(self, connection: AsyncConnection) -> None:
        """The number may be another transaction's by now."""
        number = await self.written(connection)
        await connection.commit()
        assert await fate_of(in_doubt(number, "then"), connection, "now") is Fate.UNKNOWABLE

    @pytest.mark.parametrize("start", ["then", "now"])
    async def test_of_a_rollback(self, connection: AsyncConnection, start: str) -> None:
        number = await self.written(connection)
        await connection.rollback()
        assert await fate_of(in_doubt(number, start), connection, "now") is Fate.UNDONE

    async def test_of_a_number_that_was_never_given_out(self, connection: AsyncConnection) -> None:
        assert await fate_of(in_doubt("4000000000", "then"), connection, "now") is Fate.UNDONE

    async def test_of_what_is_still_under_way(self, connection: AsyncConnection, postgres_url: str) -> None:
        number = await self.written(connection)
        async with connected(postgres_url) as other:
            assert await fate_of(in_doubt(number, "now"), other, "now") is Fate.UNDECIDED

    async def test_what_wrote_nothing_has_no_number(self, connection: AsyncConnection) -> None:
        await connection.execute(text("SELECT 1"))
        assert await own_number(connection) is None

    async def written(self, connection: AsyncConnection) -> str:
        await connection.execute(text("CREATE TEMPORARY TABLE trace ()"))
        number = await own_number(connection)
        assert number is not None
        return number


def in_doubt(number: str, start: str) -> InDoubt:
    return InDoubt(number, start, ConnectionResetError())


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[AsyncConnection]:
    engine = create_async_engine(url.replace("postgresql", "postgresql+asyncpg", 1))
    async with engine.connect() as connection:
        yield connection
    await engine.dispose()


class TestGoneForAMoment:
    async def test_a_connection_lost_before_the_commit_is_made_anew(self, patient: Database) -> None:
        work = Counted(first=end_own_connection)
        assert await patient.transaction(work) == "ten_a"
        assert work.runs == 2
        assert await tenants(patient) == ["ten_a"]

    async def test_whatever_is_raised_for_it(self, patient: Database) -> None:
        def mistaken(unit: UnitOfWork) -> None:
            try:
                end_own_connection(unit)
            finally:
                raise Conflict("Taken.", code="taken")

        work = Counted(first=mistaken)
        assert await patient.transaction(work) == "ten_a"
        assert work.runs == 2

    async def test_while_something_is_read(self, patient: Database) -> None:
        await store(patient, a_tenant())
        runs: list[int] = []

        def look(unit: UnitOfWork) -> bool:
            runs.append(1)
            if len(runs) == 1:
                end_own_connection(unit)
            return unit.tenants.get("ten_a") is not None

        assert await patient.read(look)
        assert len(runs) == 2

    async def test_of_two_that_wait_for_each_other_both_go_through(self, patient: Database) -> None:
        await store(patient, a_tenant("ten_a"), a_tenant("ten_b"))
        entered = 0

        def crosses(first: str, second: str) -> Callable[[UnitOfWork], None]:
            def work(unit: UnitOfWork) -> None:
                unit.tenants.keep_key(first, b"k")
                unit.session.connection().exec_driver_sql("SELECT pg_sleep(0.3)")
                unit.tenants.keep_key(second, b"k")
                nonlocal entered
                entered += 1

            return work

        await asyncio.gather(
            patient.transaction(crosses("ten_a", "ten_b")), patient.transaction(crosses("ten_b", "ten_a"))
        )
        assert entered == 2

    async def test_every_connection_at_once(self, patient: Database, postgres_url: str) -> None:
        works = [Counted(f"ten_{number:02}") for number in range(60)]
        tasks = [asyncio.create_task(patient.transaction(work)) for work in works]
        for _ in range(5):
            await execute(postgres_url, END_OTHERS)
        assert await asyncio.gather(*tasks) == [f"ten_{number:02}" for number in range(60)]
        assert len(await tenants(patient)) == 60

    async def test_a_server_that_has_become_a_standby_is_left(self, postgres_database_url: str) -> None:
        """Its connections stay read-only, whatever comes after: so they must have been replaced."""
        patient = Database(Postgres(postgres_database_url, patience=PATIENCE))
        name = postgres_database_url.rpartition("/")[2]
        await patient.run(lambda connection: connection.exec_driver_sql("CREATE TABLE trace ()"))
        await execute(postgres_database_url, f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
        await execute(postgres_database_url, END_OTHERS)
        task = asyncio.create_task(
            patient.run(lambda c: c.exec_driver_sql("INSERT INTO trace DEFAULT VALUES").rowcount)
        )
        await asyncio.wait([task], timeout=0.5)
        assert not task.done()
        await execute(
            postgres_database_url,
            f'BEGIN READ WRITE; ALTER DATABASE "{name}" RESET default_transaction_read_only; COMMIT',
        )
        assert await task == 1
        await patient.close()

    @pytest.fixture
    async def patient(self, postgres_url: str) -> AsyncIterator[Database]:
        database = Database(Postgres(postgres_url, patience=PATIENCE))
        yield database
        await database.close()


class TestGone:
    async def test_it_is_waited_for_as_long_as_patience_lasts(self, server: StoppablePostgres) -> None:
        patient = Database(Postgres(server.url, patience=PATIENCE))
        hasty = Database(Postgres(server.url, patience=0.2))
        with server.running():
            await patient.run(lambda connection: connection.exec_driver_sql("CREATE TABLE trace ()"))
            await hasty.check()
        task = asyncio.create_task(patient.run(lambda c: c.exec_driver_sql("INSERT INTO trace DEFAULT VALUES")))
        with pytest.raises(StorageUnavailable):
            await hasty.check()
        assert not task.done()
        with server.running():
            await task
            await hasty.check()
            counted = await patient.run(lambda c: c.exec_driver_sql("SELECT count(*) FROM trace").scalar())
            await patient.close()
            await hasty.close()
        assert counted == 1

    async def test_each_start_is_known_from_the_one_before(self, server: StoppablePostgres) -> None:
        """Also the one after a crash that the server does not survive; one that it does is test_a_backend_killed."""
        starts = []
        for crashes in (False, True, False):
            with server.running():
                starts.append(await start_at(server))
                assert await start_at(server) == starts[-1]
                if crashes:
                    server.crash()
        assert len(set(starts)) == 3

    async def test_a_backend_killed_makes_the_server_recover_and_is_known(self, server: StoppablePostgres) -> None:
        with server.running():
            before = await start_at(server)
            patient = Database(Postgres(server.url, patience=PATIENCE))
            killed: list[int] = []

            def look(unit: UnitOfWork) -> None:
                if not killed:
                    killed.append(unit.session.connection().scalar(text("SELECT pg_backend_pid()")) or 0)
                    server.kill(killed[0])
                unit.session.connection().exec_driver_sql("SELECT 1")

            await patient.transaction(look)
            await patient.close()
            assert await start_at(server) != before

    @pytest.fixture
    def server(self) -> Iterator[StoppablePostgres]:
        with stoppable_postgres() as server:
            yield server


async def start_at(server: StoppablePostgres) -> str:
    connection = await asyncpg.connect(server.url)
    try:
        return await start_of_server(connection)
    finally:
        await connection.close()


class TestConnections:
    async def test_a_peer_that_is_gone_is_noticed(self, postgres: Database) -> None:
        def options(connection: object) -> tuple[int, int]:
            wire = connection.connection.driver_connection._transport.get_extra_info("socket")  # type: ignore[attr-defined]
            return (
                wire.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE),
                wire.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT),
            )

        assert await postgres.run(options) == (1, 10_000)

    async def test_a_transaction_that_is_left_alone_does_not_keep_its_locks(self, postgres: Database) -> None:
        def settings(unit: UnitOfWork) -> list[object]:
            names = ("lock_timeout", "idle_in_transaction_session_timeout")
            return [unit.session.connection().scalar(text(f"SHOW {name}")) for name in names]

        assert await postgres.transaction(settings) == ["5s", "15s"]

    async def test_who_waits_too_long_for_a_lock_gives_up(self, postgres: Database, postgres_url: str) -> None:
        await store(postgres, a_tenant())

        def work(unit: UnitOfWork) -> None:
            unit.session.connection().exec_driver_sql("SET LOCAL lock_timeout = '100ms'")
            unit.tenants.hold("ten_a")

        async with uncommitted(postgres_url, lambda unit: unit.tenants.hold("ten_a")):
            task = asyncio.create_task(postgres.transaction(work))
            await wait_for_a_blocked_transaction(postgres)
            with pytest.raises(StorageUnavailable):
                await task

    @pytest.mark.parametrize(
        ("change", "said"),
        [
            pytest.param(lambda url: f"{url}_no", 'database ".*_no" does not exist', id="no such database"),
            pytest.param(lambda url: url.replace("app@", "nobody@"), 'role "nobody" does not exist', id="no such role"),
        ],
    )
    async def test_a_wrong_url_is_said_in_the_servers_words(
        self, postgres_url: str, change: Callable[[str], str], said: str
    ) -> None:
        database = Database(change(postgres_url))
        with pytest.raises(StorageUnavailable) as unavailable:
            await database.check()
        assert unavailable.match("can't be used")
        cause = unavailable.value.__cause__
        assert re.search(said, str(getattr(cause, "orig", cause)))
        await database.close()

    async def test_a_url_that_is_none_is_a_wrong_setting(self) -> None:
        database = Database("postgresql://app@127.0.0.1:port/gateway")
        with pytest.raises(ConfigurationError, match="DATABASE_URL"):
            await database.check()
        await database.close()

    async def test_the_usual_options_of_a_url_are_understood(self, postgres_url: str) -> None:
        database = Database(f"{postgres_url}?sslmode=prefer&target_session_attrs=read-write&application_name=gateway")
        name = await database.run(lambda connection: connection.exec_driver_sql("SHOW application_name").scalar())
        await database.close()
        assert name == "gateway"

    async def test_connections_are_had_in_the_order_of_asking(self, postgres: Database) -> None:
        """Otherwise whoever asks again and again takes them all, and others wait in vain."""
        rounds: list[int] = []

        async def asks_again_and_again() -> None:
            for number in range(3):
                await postgres.transaction(partial(_note, rounds, number))

        await all_connected(postgres)
        await asyncio.gather(*(asks_again_and_again() for _ in range(60)))
        assert rounds.index(2) > max(at for at, number in enumerate(rounds) if number == 0)


async def all_connected(database: Database) -> None:
    """Open every connection of the pool: one that is opened later holds up the one that asked for it."""
    until_all_are_there = text("SELECT pg_sleep(0.2)")
    await asyncio.gather(*(database.run(lambda connection: connection.execute(until_all_are_there)) for _ in range(16)))


def _note(rounds: list[int], number: int, _unit: UnitOfWork) -> None:
    rounds.append(number)
