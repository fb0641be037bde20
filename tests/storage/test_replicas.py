"""Replicas on one PostgreSQL tell each other what is new in the outbox, and get over a connection that is lost."""

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.domain.errors import Conflict
from service.domain.event import EventType
from service.storage.database import Database, UnitOfWork
from service.storage.outbox import News
from service.storage.replicas import news_of, payload_of
from tests.storage.cutting import Proxy
from tests.support.postgres import stoppable_postgres
from tests.support.rows import NOW, a_callback, a_tenant, a_training, an_event, store
from tests.support.waiting import wait_until

EVERYTHING = News(to_send=True, all_tenants=True)


class Replica:
    """One process's database, and what its listeners heard since it was last asked."""

    def __init__(self, url: str) -> None:
        self.database = Database(url)
        self.heard: list[News] = []
        self.database.on_news(self.heard.append)

    async def hears(self, news: News, *, timeout: float = 10) -> None:
        """It hears this, and nothing else meanwhile."""
        await wait_until(lambda: self.heard, what=f"{news} to be heard", timeout=timeout)
        assert self.heard.pop(0) == news

    async def adds_event(self, id: str = "evt_1") -> None:
        await self.database.transaction(lambda unit: add_event(unit, id))


def add_event(unit: UnitOfWork, id: str = "evt_1") -> None:
    callbacks = unit.trainings.callbacks(["trn_1"])["trn_1"]
    event = an_event(id, type=EventType.OVERDUE, sequence=int(id[4:]))
    unit.outbox.add(event, callbacks=callbacks, now=NOW, rng=random.Random(id))


@asynccontextmanager
async def replica(url: str) -> AsyncIterator[Replica]:
    """One that listens already."""
    made = Replica(url)
    made.database.share_news()
    try:
        await made.hears(EVERYTHING)
        yield made
    finally:
        await made.database.close()


@pytest.fixture
async def one(postgres: Database, postgres_url: str) -> AsyncIterator[Replica]:
    await store(postgres, a_tenant(), a_training(), a_callback(events=[EventType.OVERDUE]))
    async with replica(postgres_url) as one:
        yield one


@pytest.fixture
async def other(one: Replica, postgres_url: str) -> AsyncIterator[Replica]:
    async with replica(postgres_url) as other:
        yield other


async def test_what_one_commits_the_other_hears(one: Replica, other: Replica) -> None:
    await one.adds_event()
    await other.hears(News(to_send=True, tenants={"ten_a"}))


async def test_ones_own_is_heard_once(one: Replica, other: Replica) -> None:
    await one.adds_event()
    await other.hears(News(to_send=True, tenants={"ten_a"}))
    await one.hears(News(to_send=True, tenants={"ten_a"}))
    # Notifications come in order: one's own would come before this.
    assert other.database._replicas is not None
    other.database._replicas.tell(News(tenants={"ten_last"}))
    await one.hears(News(tenants={"ten_last"}))


async def test_nobody_hears_of_what_is_no_news_or_was_undone(one: Replica, other: Replica) -> None:
    def undone(unit: UnitOfWork) -> None:
        add_event(unit)
        raise Conflict("No.", code="no")

    with pytest.raises(Conflict):
        await one.database.transaction(undone)
    await store(one.database, a_tenant("ten_b"))
    await one.adds_event("evt_2")
    await other.hears(News(to_send=True, tenants={"ten_a"}))
    assert other.heard == []


async def test_many_commits_are_told_together(one: Replica, other: Replica) -> None:
    """A notification for each would queue them up behind each other."""
    replicas = one.database._replicas
    assert replicas is not None
    tenants = {f"ten_{number}" for number in range(40)}
    for tenant in tenants:
        replicas.tell(News(tenants={tenant}))
    await other.hears(News(tenants=tenants))


async def test_whose_connection_was_lost_looks_for_everything_and_hears_again(
    one: Replica, other: Replica, postgres_url: str
) -> None:
    connection = await asyncpg.connect(postgres_url)
    await connection.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
        " AND pid <> pg_backend_pid()"
    )
    await connection.close()
    await one.hears(EVERYTHING)
    await other.hears(EVERYTHING)
    await one.adds_event()
    await other.hears(News(to_send=True, tenants={"ten_a"}))


async def test_what_could_not_be_told_is_told_later(one: Replica, other: Replica, postgres_url: str) -> None:
    async with Proxy(postgres_url).running() as proxy:
        through = Database(proxy.url)
        through.share_news()
        replicas = through._replicas
        assert replicas is not None
        await replicas.listening()
        proxy.close()
        await wait_until(lambda: not replicas._listening.is_set(), what="the connection to be lost")
        replicas.tell(News(tenants={"ten_far"}))
        proxy.open()
        await other.hears(News(tenants={"ten_far"}))
        await through.close()


async def test_a_server_that_is_not_there_yet_is_waited_for() -> None:
    with stoppable_postgres() as server:
        early = Replica(server.url)
        early.database.share_news()
        with server.running():
            await early.hears(EVERYTHING)
        with server.running():
            await early.hears(EVERYTHING)
            await early.database.close()


async def test_sqlite_has_nobody_to_tell(sqlite: Database) -> None:
    sqlite.share_news()
    await store(sqlite, a_tenant(), a_training())
    await sqlite.transaction(add_event)


names = st.sets(st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=40), max_size=500)


class TestPayload:
    @given(to_send=st.booleans(), tenants=names)
    def test_it_says_what_is_new_or_that_anything_may_be(self, to_send: bool, tenants: set[str]) -> None:
        payload = payload_of(News(to_send=to_send, tenants=tenants))
        assert len(payload.encode()) < 8000
        assert news_of(payload) in (News(to_send=to_send, tenants=tenants), News(to_send=to_send, all_tenants=True))

    @pytest.mark.parametrize(("count", "named"), [(1, True), (200, True), (250, False), (5000, False)])
    def test_it_names_as_many_tenants_as_fit(self, count: int, named: bool) -> None:
        tenants = {f"ten_{number:028}" for number in range(count)}
        news = news_of(payload_of(News(tenants=tenants)))
        assert news == (News(tenants=tenants) if named else News(all_tenants=True))

    @pytest.mark.parametrize("payload", ["", "[", "{}", "null", "[1,2]", "[true]", '[true,["a"],3]', '["x",null]'])
    def test_what_is_not_understood_may_mean_anything(self, payload: str) -> None:
        assert news_of(payload) == EVERYTHING
