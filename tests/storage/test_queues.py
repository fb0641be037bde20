"""Queues in the database: whose turn is claimed by whom, the places in it, and what wakes one."""

from __future__ import annotations

import asyncio
import random
from datetime import datetime, timedelta

import pytest

from service.domain.training import QueueRules, Signal, Status
from service.storage.database import Database, UnitOfWork
from service.storage.due_training import watch_of
from service.storage.queues import DueQueue, QueueState
from service.storage.tables import Tenant, Training
from service.trainings.queueing import Queueing
from service.trainings.record import Held, Recorder
from tests.storage.interleaving import commit_elsewhere, uncommitted, wait_for_a_blocked_transaction
from tests.storage.plans import let_planner_know, plan_of
from tests.support.rows import LEASE, NOW, a_queued, a_tenant, a_training, store, stored

MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)
RULES = QueueRules(pause=MINUTE, expire_after=DAY)
QUEUEING = Queueing(RULES)


async def claim(
    database: Database, *, now: datetime = NOW, limit: int = 10, busy: list[str] | None = None
) -> list[DueQueue]:
    return list(await database.transaction(lambda unit: _claim(unit, now=now, limit=limit, busy=busy)))


def _claim(unit: UnitOfWork, *, now: datetime = NOW, limit: int = 10, busy: list[str] | None = None) -> list[DueQueue]:
    return list(unit.queues.claim_due(now=now, lease_for=LEASE, limit=limit, busy=busy or [], rules=RULES))


async def queues(database: Database) -> dict[str, QueueState]:
    return {
        tenant.id: QueueState(tenant.queue_due_at, tenant.queue_tried_at, tenant.queue_tries)
        for tenant in await stored(database, Tenant)
    }


async def due_times(database: Database) -> dict[str, datetime | None]:
    return {tenant: state.due_at for tenant, state in (await queues(database)).items()}


async def test_a_claim_leases_the_queues_whose_turn_it_is(database: Database) -> None:
    due = {"ten_a": NOW - DAY, "ten_b": NOW, "ten_c": NOW + timedelta(microseconds=1), "ten_d": None}
    await store(database, *(a_tenant(tenant, queue_due_at=at, queue_tries=3) for tenant, at in due.items()))
    await store(database, *(a_queued(f"trn_{tenant}", tenant=tenant, fence=7) for tenant in due))
    claimed = await claim(database)
    assert [queue.tenant_id for queue in claimed] == ["ten_a", "ten_b"]
    [first] = claimed[0].waiting
    assert (first.id, first.model_id, first.fence) == ("trn_ten_a", "model_of_trn_ten_a", 7)
    assert (first.watch.status, first.created_at) == (Status.QUEUED, NOW)
    assert (claimed[0].tries, claimed[0].sealed_key) == (3, b"sealed key")
    assert await due_times(database) == {**due, "ten_a": NOW + LEASE, "ten_b": NOW + LEASE}
    assert await claim(database) == []
    assert [queue.tenant_id for queue in await claim(database, now=NOW + LEASE)] == ["ten_c", "ten_a", "ten_b"]


async def test_a_claim_takes_no_more_than_asked_for_and_the_longest_due_first(database: Database) -> None:
    for number in (3, 1, 2):
        tenant = f"ten_{number}"
        await store(
            database, a_tenant(tenant, queue_due_at=NOW - number * MINUTE), a_queued(f"trn_{number}", tenant=tenant)
        )
    assert [queue.tenant_id for queue in await claim(database, limit=2)] == ["ten_3", "ten_2"]
    assert [queue.tenant_id for queue in await claim(database, limit=2)] == ["ten_1"]


async def test_the_one_with_the_lowest_id_is_first_whatever_else_the_tenant_has(database: Database) -> None:
    await store(
        database,
        a_tenant(queue_due_at=NOW),
        a_tenant("ten_b"),
        a_training("trn_0"),
        a_training("trn_1", status=Status.SUBMITTING),
        a_training("trn_2", status=Status.REJECTED),
        a_queued("trn_3", tenant="ten_b"),
        a_queued("trn_5"),
        a_queued("trn_4"),
    )
    [due] = await claim(database)
    assert [waiting.id for waiting in due.waiting] == ["trn_4"]


@pytest.mark.parametrize("age", [DAY, 2 * DAY])
async def test_behind_one_that_has_waited_too_long_more_are_looked_at(database: Database, age: timedelta) -> None:
    old = [a_queued(f"trn_{number:03}", created_at=NOW - age) for number in range(130)]
    await store(database, a_tenant(queue_due_at=NOW), *old)
    [due] = await claim(database)
    assert [waiting.id for waiting in due.waiting] == [row.id for row in old[:100]]


async def test_a_queue_in_which_nothing_waits_is_due_no_more(database: Database) -> None:
    await store(database, a_tenant(queue_due_at=NOW - DAY), a_training("trn_1"))
    assert await claim(database) == []
    assert await due_times(database) == {"ten_a": None}


async def test_a_queue_that_is_worked_on_here_is_left_alone(database: Database) -> None:
    await store(database, a_tenant(queue_due_at=NOW), a_queued())
    assert await claim(database, busy=["ten_a"]) == []
    assert await due_times(database) == {"ten_a": NOW}


@pytest.mark.parametrize(("until", "claimed"), [(None, 1), (NOW, 1), (NOW + timedelta(seconds=1), 0)])
async def test_a_key_that_pauses_is_not_used(database: Database, until: datetime | None, claimed: int) -> None:
    await store(database, a_tenant(queue_due_at=NOW, polls_paused_until=until), a_queued())
    assert len(await claim(database)) == claimed


async def test_two_claimers_never_hold_the_same_queue(database: Database, database_url: str) -> None:
    tenants = [f"ten_{number:02}" for number in range(40)]
    await store(database, *(a_tenant(tenant, queue_due_at=NOW) for tenant in tenants))
    await store(database, *(a_queued(f"trn_{tenant}", tenant=tenant) for tenant in tenants))
    others = [Database(database_url) for _ in range(4)]
    found: list[str] = []

    async def claim_all(one: Database) -> None:
        while due := await claim(one, limit=3):
            found.extend(queue.tenant_id for queue in due)

    await asyncio.gather(*(claim_all(one) for one in others))
    assert sorted(found) == tenants
    for one in others:
        await one.close()


async def test_what_another_replica_is_claiming_is_passed_over(postgres: Database, postgres_url: str) -> None:
    await store(postgres, a_tenant("ten_a", queue_due_at=NOW - MINUTE), a_tenant("ten_b", queue_due_at=NOW))
    await store(postgres, a_queued("trn_a", tenant="ten_a"), a_queued("trn_b", tenant="ten_b"))
    async with uncommitted(postgres_url, lambda unit: _claim(unit, limit=1)):
        assert [queue.tenant_id for queue in await claim(postgres)] == ["ten_b"]


async def test_one_that_comes_while_another_goes_behind_waits_for_it(postgres: Database, postgres_url: str) -> None:
    """Two requests of a tenant at once: one is tried, and the other sees that."""
    await store(postgres, a_tenant())

    def first(unit: UnitOfWork) -> None:
        assert not QUEUEING.goes_behind(unit, "ten_a", NOW)
        row = a_training("trn_1", status=Status.SUBMITTING)
        row.queues = True
        unit.trainings.add(row)

    async with uncommitted(postgres_url, first):
        second = asyncio.create_task(asyncio.to_thread(commit_elsewhere, postgres_url, _goes_behind))
        await wait_for_a_blocked_transaction(postgres)
    assert await second
    assert await queues(postgres) == {"ten_a": QueueState(NOW + MINUTE, NOW, 0)}


def _goes_behind(unit: UnitOfWork) -> bool:
    return QUEUEING.goes_behind(unit, "ten_a", NOW)


# --- places ---


async def test_the_place_of_each(database: Database) -> None:
    await store(database, a_tenant(), a_tenant("ten_b"), a_training("trn_1"), a_queued("trn_0", tenant="ten_b"))
    await store(database, *(a_queued(f"trn_{number}") for number in (3, 5, 4, 2)))
    rows = {row.id: row for row in await stored(database, Training)}

    def look(unit: UnitOfWork) -> None:
        mine = [row for row in rows.values() if row.tenant_id == "ten_a"]
        assert unit.queues.positions(mine) == {"trn_2": 1, "trn_3": 2, "trn_4": 3, "trn_5": 4}
        assert unit.queues.positions([rows["trn_5"], rows["trn_3"]]) == {"trn_3": 2, "trn_5": 4}
        for row, place in {"trn_0": 1, "trn_2": 1, "trn_3": 2, "trn_5": 4}.items():
            assert unit.queues.positions([rows[row]]) == {row: place}

    await database.read(look)


async def test_where_nobody_waits_a_place_costs_no_query(database: Database) -> None:
    await store(database, a_tenant(), a_training("trn_1"), a_training("trn_2", status=Status.READY))
    rows = await stored(database, Training)
    plan = await plan_of(database, lambda unit: unit.queues.positions(rows), small=True)
    assert plan.steps == []


async def test_it_all_goes_by_indexes(database: Database) -> None:
    await store(database, a_tenant(queue_due_at=NOW), a_queued("trn_1"), a_queued("trn_2"))
    rows = await stored(database, Training)
    await store(database, *(a_training(f"trn_ended_{number:04}", status=Status.READY) for number in range(500)))
    await let_planner_know(database)
    for work, tables in (
        (_claim, {"tenants": "ix_tenants_queue", "trainings": "ix_trainings_queue"}),
        (lambda unit: unit.queues.positions(rows), {"trainings": "ix_trainings_queue"}),
        (lambda unit: unit.queues.positions(rows[:1]), {"trainings": "ix_trainings_queue"}),
        (lambda unit: unit.queues.has_waiting("ten_a"), {"trainings": "ix_trainings_queue"}),
        (lambda unit: unit.queues.is_trying("ten_a"), {"trainings": "uq_trainings_active"}),
        (lambda unit: unit.queues.oldest_due(), {"tenants": "ix_tenants_queue"}),
    ):
        plan = await plan_of(database, work, small=True)
        for table, index in tables.items():
            assert index in plan.indexes(table), plan.steps
        assert plan.read_whole.isdisjoint({"tenants", "trainings"}), plan.steps


# --- turns ---


async def goes_behind(database: Database, now: datetime = NOW) -> bool:
    return await database.transaction(lambda unit: QUEUEING.goes_behind(unit, "ten_a", now))


async def test_without_a_queue_it_is_tried_and_that_is_noted(database: Database) -> None:
    await store(database, a_tenant(), a_training("trn_1"), a_training("trn_2", status=Status.SUBMITTING))
    assert not await goes_behind(database)
    assert await queues(database) == {"ten_a": QueueState(None, NOW, 0)}


@pytest.mark.parametrize(
    ("due", "tried", "then"),
    [
        (NOW + 9 * MINUTE, NOW - MINUTE, NOW + 9 * MINUTE),
        (None, NOW - DAY, NOW),
        (None, NOW - MINUTE / 2, NOW + MINUTE / 2),
        (NOW, NOW - MINUTE / 2, NOW + MINUTE / 2),
        (None, None, NOW),
    ],
)
async def test_behind_others_it_waits_and_the_queue_has_a_turn(
    database: Database, due: datetime | None, tried: datetime | None, then: datetime
) -> None:
    await store(database, a_tenant(queue_due_at=due, queue_tried_at=tried), a_queued())
    assert await goes_behind(database)
    assert await queues(database) == {"ten_a": QueueState(then, tried, 0)}


async def test_soon_after_a_try_in_vain_it_waits(database: Database) -> None:
    await store(database, a_tenant(queue_tried_at=NOW, queue_tries=1))
    assert await goes_behind(database, NOW + MINUTE / 2)
    assert await due_times(database) == {"ten_a": NOW + MINUTE}
    assert not await goes_behind(database, NOW + MINUTE)


async def test_tries_in_vain_are_counted(database: Database) -> None:
    await store(database, a_tenant(queue_tries=2), a_queued())
    await database.transaction(lambda unit: QUEUEING.in_vain(unit, "ten_a", NOW))
    assert await queues(database) == {"ten_a": QueueState(NOW + 4 * MINUTE, None, 3)}


@pytest.mark.parametrize(("started", "tries"), [(True, 0), (False, 4)])
@pytest.mark.parametrize(("waiting", "due"), [(1, NOW + MINUTE), (0, None)])
async def test_the_next_has_its_turn_if_there_is_one(
    database: Database, started: bool, tries: int, waiting: int, due: datetime | None
) -> None:
    await store(database, a_tenant(queue_tries=4, queue_due_at=NOW), *(a_queued() for _ in range(waiting)))
    await database.transaction(lambda unit: QUEUEING.next(unit, "ten_a", NOW, started=started))
    assert await queues(database) == {"ten_a": QueueState(due, None, tries)}


# --- the end of a training ---


@pytest.mark.parametrize(
    ("due", "tried", "then"),
    [
        (None, None, None),
        (None, NOW - DAY, None),
        (NOW + DAY, None, NOW),
        (NOW + DAY, NOW - DAY, NOW),
        (NOW + DAY, NOW - MINUTE / 2, NOW + MINUTE / 2),
        (NOW - MINUTE, NOW - DAY, NOW - MINUTE),
        (NOW + MINUTE / 4, NOW - MINUTE / 2, NOW + MINUTE / 4),
    ],
)
@pytest.mark.parametrize(("signal", "wakes"), [(Signal.SEEN_READY, True), (Signal.STOPPED, True), (None, False)])
async def test_an_end_is_the_turn_of_whoever_waits_and_nothing_else_is(
    database: Database,
    due: datetime | None,
    tried: datetime | None,
    then: datetime | None,
    signal: Signal | None,
    wakes: bool,
) -> None:
    await store(database, a_tenant(queue_due_at=due, queue_tried_at=tried), a_tenant("ten_b", queue_due_at=NOW + DAY))
    await store(database, a_training("trn_1"), a_queued("trn_2"))

    def end(unit: UnitOfWork) -> None:
        row = unit.trainings.get("ten_a", "trn_1")
        assert row is not None
        before = watch_of(row)
        held, after = Held(row.id, row.fence, before), before if signal is None else before.move(signal)
        assert Recorder(random.Random(1), RULES).save(unit, held, after, now=NOW, due_at=NOW + MINUTE)

    await database.transaction(end)
    assert await due_times(database) == {"ten_a": then if wakes else due, "ten_b": NOW + DAY}


async def test_a_clock_that_was_put_back_brings_queues_forward(database: Database) -> None:
    await store(
        database,
        a_tenant("ten_a", queue_due_at=NOW + DAY, queue_tried_at=NOW + DAY),
        a_tenant("ten_b", queue_due_at=NOW + MINUTE, queue_tried_at=NOW - MINUTE),
        a_tenant("ten_c"),
    )
    assert await database.transaction(lambda unit: unit.queues.pull_in(NOW, latest=NOW + 5 * MINUTE)) == 1
    assert await queues(database) == {
        "ten_a": QueueState(NOW + 5 * MINUTE, NOW, 0),
        "ten_b": QueueState(NOW + MINUTE, NOW - MINUTE, 0),
        "ten_c": QueueState(None, None, 0),
    }
