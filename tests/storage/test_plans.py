"""A million deliveries in the database, or a sample of them (`--deliveries`): whatever is asked goes by an index.

Plans and counts, no times. SQLite plans without knowing the rows, so its plans are named here one by one; PostgreSQL
knows them, chooses among its indexes, and is held to how much it reads.
"""

import random
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import timedelta
from itertools import chain, combinations
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from sqlmodel import SQLModel, col, func, select

from service.domain.event import EventType
from service.storage.database import Database, UnitOfWork
from service.storage.deliveries import DeliveryFilter
from service.storage.due_delivery import SendLimits
from service.storage.migrations import migrate
from service.storage.overview import DeliverySearch, TrainingSearch
from service.storage.tables import Delivery
from tests.storage import filling
from tests.storage.filling import BEGAN, END, PER_TRAINING, id_of
from tests.storage.interleaving import in_another_thread
from tests.storage.plans import Plan, plan_of
from tests.support.postgres import PostgresServer
from tests.support.rows import LEASE, a_tenant, an_endpoint, store

# Reading a page of 51 takes SQLite some 1,300 instructions.
A_PAGE = 3_000
LIMIT = 51
DAY = timedelta(days=1)
FILLING = 1800.0
pytestmark = pytest.mark.timeout(FILLING)

Look = Callable[[Callable[[UnitOfWork], object]], Any]


async def _filled(url: str, deliveries: int) -> None:
    database = Database(url)
    await migrate(database)
    endpoints = [an_endpoint(f"whe_{name}_{number}", tenant=f"ten_{name}") for name in "ab" for number in (1, 2, 3)]
    await store(database, a_tenant("ten_a"), a_tenant("ten_b"), *endpoints)
    await database.run(lambda connection: filling.fill(connection, deliveries))
    if url.startswith("postgresql"):
        await database.run(lambda connection: connection.exec_driver_sql("ANALYZE"))
    await database.close()


@pytest.fixture(scope="module")
def deliveries(request: pytest.FixtureRequest) -> int:
    return int(request.config.getoption("--deliveries"))


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def filled_url(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, deliveries: int
) -> Iterator[str]:
    if request.param == "sqlite":
        folder: Path = tmp_path_factory.mktemp("filled")
        url = f"sqlite:///{folder / 'gateway.db'}"
        in_another_thread(lambda: _filled(url, deliveries), patience=FILLING)
        yield url
        shutil.rmtree(folder)
    else:
        server: PostgresServer = request.getfixturevalue("postgres_server")
        url = in_another_thread(server.create_database)
        in_another_thread(lambda: _filled(url, deliveries), patience=FILLING)
        yield url
        in_another_thread(lambda: server.drop_database(url))


@pytest.fixture
async def filled(filled_url: str) -> AsyncIterator[Database]:
    database = Database(filled_url)
    yield database
    await database.close()


@pytest.fixture
def look(filled: Database, deliveries: int) -> Look:
    async def plan(work: Callable[[UnitOfWork], object]) -> Plan:
        return await plan_of(filled, work, small=deliveries < 500_000)

    return plan


@pytest.fixture
def on_sqlite(filled_url: str) -> bool:
    return filled_url.startswith("sqlite")


def leads(asked: DeliveryFilter) -> str:
    """The index that a list with this filter goes by."""
    if asked.training_id:
        return "ix_deliveries_training"
    if asked.endpoint_id:
        return "ix_deliveries_endpoint_status" if asked.status else "ix_deliveries_endpoint"
    return "ix_deliveries_status" if asked.status else "ix_deliveries_tenant"


def every_filter(trainings: int) -> list[DeliveryFilter]:
    """Each alone and all combinations: for an endpoint with a few failures, and for one that is paused."""
    training_id = id_of("trn", trainings // 20 * 10 + 1, trainings)
    span = {"since": END - 300 * DAY, "until": END - 100 * DAY}
    found: list[DeliveryFilter] = []
    for endpoint_id, status in [("whe_a_1", "dead"), ("whe_a_3", "delivered"), ("whe_a_3", "pending")]:
        values: dict[str, Any] = {"training_id": training_id, "endpoint_id": endpoint_id, "status": status, **span}
        subsets = chain.from_iterable(combinations(values, size) for size in range(len(values) + 1))
        found += [DeliveryFilter(**{name: values[name] for name in names}) for names in subsets]
    return list(dict.fromkeys(found))


def listing(asked: DeliveryFilter, before: str | None) -> Callable[[UnitOfWork], object]:
    return lambda unit: unit.deliveries.page("ten_a", asked, before=before, limit=LIMIT)


def resending(endpoint: str, after: str) -> Callable[[UnitOfWork], object]:
    span = {"since": BEGAN, "until": END}
    return lambda unit: unit.deliveries.resend_failed(endpoint, **span, after=after, now=END, limit=100)


async def test_every_list_of_deliveries_goes_by_an_index(look: Look, on_sqlite: bool, deliveries: int) -> None:
    trainings = deliveries // PER_TRAINING
    for asked in every_filter(trainings):
        for before in (None, id_of("dlv", trainings // 2, trainings)):
            plan = await look(listing(asked, before))
            assert not plan.read_whole, (asked, plan)
            assert plan.sorted_rows <= PER_TRAINING, (asked, plan)
            if on_sqlite or asked.training_id:
                assert plan.indexes("deliveries") == {leads(asked)}, (asked, plan)
            # PostgreSQL may walk along the newest ones and leave out what does not fit, if it thinks that to be seldom.
            assert plan.effort <= (A_PAGE if on_sqlite else deliveries // 5), (asked, plan)


OVERVIEW: dict[str, tuple[Callable[[UnitOfWork], object], int]] = {
    "what trains": (lambda unit: unit.overview.active(), 60),
    "hosts": (lambda unit: unit.overview.failing_hosts(since=END - 5 * DAY), 200),
    "how soon": (lambda unit: unit.overview.lately_sent(limit=300), 20),
    "how long": (lambda unit: unit.history.durations(limit=200), 30),
    "trainings": (lambda unit: unit.overview.trainings(TrainingSearch(), before=None, limit=50), 4),
    "those that failed": (lambda unit: unit.overview.trainings(TrainingSearch("failed"), before=None, limit=50), 250),
    "deliveries": (lambda unit: unit.overview.deliveries(DeliverySearch(), before=None, limit=50), 4),
    "those that fail": (lambda unit: unit.overview.deliveries(DeliverySearch("failing"), before=None, limit=50), 250),
    "those at a host": (
        lambda unit: unit.overview.deliveries(DeliverySearch("failing", "dead.example:443"), before=None, limit=50),
        250,
    ),
    "those of a tenant": (
        lambda unit: unit.overview.deliveries(DeliverySearch(tenant_id="ten_b"), before=None, limit=50),
        250,
    ),
}


@pytest.mark.parametrize("name", OVERVIEW)
async def test_what_operators_see_is_never_much(look: Look, on_sqlite: bool, name: str) -> None:
    """`most`: thousand instructions of SQLite, hundreds of PostgreSQL's rows; however many deliveries there are."""
    work, most = OVERVIEW[name]
    plan = await look(work)
    assert not plan.read_whole & {"deliveries", "events", "attempts", "trainings"}, plan
    assert plan.effort <= most * (1_000 if on_sqlite else 100), (plan.effort, plan)


async def test_active_trainings_are_looked_through_by_their_index(look: Look) -> None:
    plan = await look(lambda unit: unit.overview.active())
    assert plan.indexes("trainings") == {"uq_trainings_active"}


async def test_hosts_that_fail_are_found_by_their_index(look: Look) -> None:
    plan = await look(lambda unit: unit.overview.failing_hosts(since=END - 5 * DAY))
    assert "ix_deliveries_failing" in plan.indexes("deliveries")
    assert not [step for step in plan.steps if step.startswith("SCAN deliveries")], plan


async def test_the_spans_of_the_lists_are_those_of_the_rows(filled: Database) -> None:
    """What is filled in by SQL has ids that tell its time, as real ones do: else the plans above would show little."""
    since, until = END - 300 * DAY, END - 299 * DAY
    asked = DeliveryFilter(since=since, until=until)
    found = await filled.read(lambda unit: unit.deliveries.page("ten_a", asked, before=None, limit=100_000))
    made = col(Delivery.created_at)
    count = select(func.count()).where(col(Delivery.tenant_id) == "ten_a", made >= since, made < until)
    assert len(found) == await filled.read(lambda unit: unit.session.exec(count).one()) > 0


@pytest.mark.parametrize("types", [(), (EventType.READY, EventType.FAILED)], ids=["all", "of two types"])
async def test_events_are_followed_by_index(
    look: Look, on_sqlite: bool, deliveries: int, types: tuple[str, ...]
) -> None:
    middle = deliveries // PER_TRAINING // 2
    plan = await look(lambda unit: unit.events.after("ten_a", middle, types=types, limit=LIMIT))
    assert plan.indexes("events") == {"uq_events_position"}
    assert (plan.sorted_rows, plan.read_whole) == (0, set())
    assert plan.effort <= (A_PAGE if on_sqlite else 10 * LIMIT)


@pytest.mark.parametrize(
    "limits",
    [
        SendLimits(),
        SendLimits(rooms={"dead.example:443": 0, "whe-a2.example:443": 0}, others=8),
        SendLimits(rooms={f"receiver-{number}.example:443": number % 2 for number in range(1000)}, others=8),
        SendLimits(busy=[f"dlv_{number}" for number in range(500)], others=8),
        SendLimits(others=8, retries=0),
        SendLimits(
            others=8, tenants={"ten_b": 0} | {f"ten_{number}": number % 2 for number in range(1000)}, per_tenant=64
        ),
    ],
    ids=["no limits", "dead hosts", "a thousand hosts", "many busy", "no retries", "tenants at their limit"],
)
async def test_a_claim_goes_to_what_is_due(look: Look, limits: SendLimits, deliveries: int) -> None:
    rng = random.Random(7)
    plan = await look(lambda unit: unit.outbox.claim_due(now=END, lease_for=LEASE, limit=100, rng=rng, limits=limits))
    assert plan.indexes("deliveries") >= {"ix_deliveries_due"}
    assert "ix_deliveries_training" in plan.indexes("deliveries"), "how an earlier event is looked for"
    assert not plan.read_whole & {"deliveries", "events", "attempts", "callbacks", "trainings"}, plan


async def test_what_is_due_next_is_looked_up(look: Look, on_sqlite: bool) -> None:
    for work in (lambda unit: unit.outbox.oldest_due(), lambda unit: unit.trainings.oldest_due()):
        plan = await look(work)
        assert not plan.read_whole, plan
        assert plan.effort <= 500, plan


async def test_what_counts_against_a_limit_is_counted_by_index(look: Look, on_sqlite: bool) -> None:
    trainings = await look(lambda unit: unit.trainings.count_active("ten_a"))
    endpoints = await look(lambda unit: unit.endpoints.count("ten_a"))
    assert not trainings.read_whole | endpoints.read_whole
    assert trainings.indexes("trainings") == {"uq_trainings_active"}
    if on_sqlite:
        assert trainings.effort <= 500, trainings


async def test_suspended_trainings_are_looked_for_among_suspended_ones(look: Look, on_sqlite: bool) -> None:
    plan = await look(lambda unit: unit.trainings.resume_suspended("ten_a", now=END))
    assert not plan.read_whole
    if on_sqlite:
        assert plan.indexes("trainings") == {"ix_trainings_suspended"}
        assert plan.effort <= 500, plan


@pytest.mark.parametrize("endpoint", ["whe_a_1", "whe_a_2", "whe_a_3"])
async def test_what_failed_is_counted_and_resent_by_index(
    look: Look, on_sqlite: bool, deliveries: int, endpoint: str
) -> None:
    trainings = deliveries // PER_TRAINING
    counted = await look(lambda unit: unit.deliveries.count_failed(endpoint, since=BEGAN, until=END))
    assert not counted.read_whole - {"attempts"}, counted
    for after in ("", id_of("dlv", trainings * 9 // 10, trainings)):
        plan = await look(resending(endpoint, after))
        assert not plan.read_whole, plan
        assert "ix_deliveries_endpoint_status" in plan.indexes("deliveries")
        assert "ix_deliveries_tenant" not in plan.indexes("deliveries")
        if on_sqlite:
            # Resending a hundred takes twelve thousand; what has been delivered in between costs nothing.
            assert plan.sorted_rows == 0, plan
            assert plan.effort <= 20_000 + (deliveries if endpoint == "whe_a_3" else 0), plan


async def test_what_an_endpoint_or_callback_leaves_waiting_is_found_by_index(look: Look, deliveries: int) -> None:
    callback = id_of("cbk", 5, deliveries // PER_TRAINING)
    for work in (
        lambda unit: unit.deliveries.hold("whe_a_2"),
        lambda unit: unit.deliveries.release("whe_a_3", now=END),
        lambda unit: unit.deliveries.bury("whe_a_2", now=END),
        lambda unit: unit.outbox.note_on_callback(callback, "gone", ended_at=END),
        lambda unit: unit.outbox.give_up_waiting(["dead.example:443"], now=END + 9 * DAY, limit=200),
    ):
        plan = await look(work)
        assert not plan.read_whole, plan


def referring(table: str, column: str) -> Callable[[UnitOfWork], object]:
    lookup = text(f"SELECT 1 FROM {table} WHERE {column} = :value")
    return lambda unit: unit.session.connection().execute(lookup, {"value": "x"}).all()


async def test_how_long_the_last_ones_took_is_looked_up_among_the_last(look: Look, on_sqlite: bool) -> None:
    """Here none of them became ready, as may be: it does not look on and on."""
    plan = await look(lambda unit: unit.history.durations(limit=200))
    assert plan.indexes("trainings") == {"ix_trainings_finished"}
    assert "trainings" not in plan.read_whole
    assert plan.effort <= (25_000 if on_sqlite else 2100), plan


class TestPruning:
    async def test_goes_by_indexes(self, look: Look, on_sqlite: bool) -> None:
        plan = await look(lambda unit: unit.history.prune(END - 30 * DAY, keys_before=END - DAY, limit=200))
        assert not plan.read_whole & {"deliveries", "events", "attempts", "callbacks", "trainings", "idempotency_keys"}
        assert "ix_trainings_finished" in plan.indexes("trainings")
        if on_sqlite:
            # Some 650 instructions a training, of which each has ten rows.
            assert plan.effort <= 250_000, plan

    async def test_of_nothing_costs_nothing(self, look: Look, on_sqlite: bool) -> None:
        plan = await look(lambda unit: unit.history.prune(BEGAN, keys_before=BEGAN, limit=200))
        assert plan.effort <= 1000, plan

    async def test_looks_up_by_index_what_refers_to_a_row_that_goes(self, look: Look) -> None:
        """Which the database does by itself, for each foreign key."""
        pruned = {"trainings", "events", "callbacks", "deliveries", "webhook_endpoints"}
        keys = [
            (table.name, column.name)
            for table in SQLModel.metadata.sorted_tables
            for column in table.columns
            for key in column.foreign_keys
            if key.column.table.name in pruned
        ]
        assert len(keys) == 7
        for table, column in keys:
            plan = await look(referring(table, column))
            assert not plan.read_whole, (table, column, plan)
            assert plan.indexes(table), (table, column, plan)


async def test_what_an_operator_watches_is_counted_among_what_has_not_ended(
    look: Look, on_sqlite: bool, deliveries: int
) -> None:
    """One in a hundred trainings, and what is to be sent; not all there ever were."""
    plan = await look(lambda unit: unit.census.count(END))
    assert not plan.read_whole - {"webhook_endpoints"}, plan  # of which there are six
    assert plan.indexes("trainings") == {"uq_trainings_active"}
    assert plan.indexes("deliveries") == {"ix_deliveries_due"}
    watched = deliveries // PER_TRAINING // 100
    assert plan.effort <= (80 * watched + 1000 if on_sqlite else 6 * watched + 100), plan
