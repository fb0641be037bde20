"""Sweeps on both databases: what a claim puts together, what is stored of it, and whom it keeps out meanwhile."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from service.domain.training import Status
from service.storage.database import Database, UnitOfWork
from service.storage.due_training import DueTraining, PollLimits
from service.storage.sweeps import MOST_OF_ONE_SWEEP, DueSweep, SweepLimits
from service.storage.tables import Tenant, Training
from tests.storage.plans import let_planner_know, plan_of
from tests.support.rows import LEASE, NOW, a_tenant, a_training, store, stored

SECOND = timedelta(seconds=1)
INTERVAL = timedelta(seconds=300)
LATER = NOW + 100 * SECOND
LIMITS = SweepLimits(
    may_list=lambda watch: not watch.overdue, again=NOW + 0.8 * INTERVAL, longest=1.1 * INTERVAL, busy=()
)


def claim(unit: UnitOfWork, *, now: datetime = NOW, share: int = 2) -> list[DueTraining | DueSweep]:
    due = unit.trainings.claim_due(now=now, lease_for=LEASE, limit=100, limits=PollLimits(per_tenant=share))
    return unit.sweeps.begin(due, now=now, until=now + LEASE, limits=LIMITS)


async def claimed(database: Database, **how: Any) -> list[DueTraining | DueSweep]:
    return await database.transaction(lambda unit: claim(unit, **how))


async def swept(database: Database, **how: Any) -> DueSweep:
    [sweep] = await claimed(database, **how)
    assert isinstance(sweep, DueSweep)
    return sweep


def waiting(id: str, **changes: Any) -> Training:
    row = a_training(id, due_at=LATER)
    row.last_polled_at = NOW - 200 * SECOND
    for name, value in changes.items():
        setattr(row, name, value)
    return row


async def rows(database: Database) -> dict[str, Training]:
    return {row.id: row for row in await stored(database, Training)}


async def the_tenant(database: Database) -> Tenant:
    [row] = await stored(database, Tenant)
    return row


async def test_all_trainings_of_a_key_are_in_the_sweep_and_one_share_is_claimed(database: Database) -> None:
    due = [a_training(f"trn_due_{number}", due_at=NOW - SECOND) for number in range(5)]
    await store(database, a_tenant(), *due, waiting("trn_later"))
    sweep = await swept(database)
    assert len(sweep.claimed) == 2
    assert sorted(training.id for training in sweep.due) == [f"trn_due_{number}" for number in range(5)]
    assert [training.id for training in sweep.others] == ["trn_later"]
    fences = {training.id: training.fence for training in sweep.watched}
    assert fences == {row.id: row.fence for row in await stored(database, Training)}
    tenant = await the_tenant(database)
    assert (tenant.polls_paused_until, tenant.sweep_after) == (NOW + LEASE, LIMITS.again)


@pytest.mark.parametrize(
    "other",
    [
        None,
        a_training("trn_other", status=Status.READY),
        a_training("trn_other", status=Status.SUBMITTING, due_at=LATER),
        a_training("trn_other", due_at=None, suspended=True),
        waiting("trn_other", overdue=True),
        waiting("trn_other", due_at=NOW + 30 * SECOND, last_polled_at=NOW - 301 * SECOND),
        waiting("trn_other", due_at=LATER, to_confirm=True),
        a_training("trn_other", tenant="ten_b", due_at=LATER),
    ],
    ids=["none", "ended", "submitting", "suspended", "overdue", "polled by another", "to confirm", "another tenant's"],
)
async def test_for_one_training_there_is_no_sweep(database: Database, other: Training | None) -> None:
    copies = [] if other is None else [Training(**other.model_dump())]
    await store(database, a_tenant(), a_tenant("ten_b"), a_training("trn_1"), *copies)
    [due] = await claimed(database)
    assert isinstance(due, DueTraining)
    tenants = await stored(database, Tenant)
    assert {(tenant.polls_paused_until, tenant.sweep_after) for tenant in tenants} == {(None, None)}


async def test_what_is_to_be_confirmed_is_claimed_by_itself_though_it_was_polled_just_now(database: Database) -> None:
    confirm = waiting("trn_confirm", due_at=NOW, last_polled_at=NOW - SECOND, to_confirm=True)
    just_now = waiting("trn_just_now", due_at=NOW, last_polled_at=NOW - SECOND)
    await store(database, a_tenant(), confirm, just_now)
    limits = PollLimits(INTERVAL)
    due = await database.transaction(
        lambda unit: unit.trainings.claim_due(now=NOW, lease_for=LEASE, limit=9, limits=limits)
    )
    assert [(training.id, training.to_confirm) for training in due] == [("trn_confirm", True)]


@pytest.mark.parametrize(("after", "sweeps"), [(NOW, True), (NOW - SECOND, True), (NOW + SECOND, False)])
async def test_a_key_is_swept_again_only_after_its_time(database: Database, after: datetime, sweeps: bool) -> None:
    tenant = a_tenant()
    tenant.sweep_after = after
    await store(database, tenant, a_training("trn_1"), a_training("trn_2"))
    assert [type(item) for item in await claimed(database)] == ([DueSweep] if sweeps else [DueTraining] * 2)


async def test_keeping_is_by_the_fence(database: Database) -> None:
    await store(database, a_tenant(), a_training("trn_1"), waiting("trn_2", key_refused_count=2), waiting("trn_3"))
    sweep = await swept(database)

    def taken(unit: UnitOfWork) -> None:
        row = unit.session.get(Training, "trn_3")
        assert row is not None
        row.fence += 1

    await database.transaction(taken)
    due_at = NOW + INTERVAL
    await database.transaction(
        lambda unit: unit.sweeps.keep(sweep.watched, raw_status="Training", now=NOW + SECOND, due_at=due_at)
    )
    now = await rows(database)
    for kept in (now["trn_1"], now["trn_2"]):
        assert (kept.upstream_status, kept.last_polled_at, kept.due_at) == ("Training", NOW + SECOND, due_at)
        assert (kept.key_refused_count, kept.readings) == (0, 1)
    assert (now["trn_3"].upstream_status, now["trn_3"].due_at, now["trn_3"].readings) == (None, LATER, 0)
    assert now["trn_1"].fence > sweep.claimed[0].fence


async def test_what_is_confirmed_is_due_at_once_and_nobodys(database: Database) -> None:
    await store(database, a_tenant(), a_training("trn_1"), waiting("trn_2"))
    sweep = await swept(database)

    def record(unit: UnitOfWork) -> None:
        unit.sweeps.confirm(sweep.watched, now=NOW + SECOND)
        unit.sweeps.end(sweep, again=LATER)

    await database.transaction(record)
    again = await claimed(database, now=NOW + SECOND)
    assert sorted((due.id, due.to_confirm) for due in again if isinstance(due, DueTraining)) == [
        ("trn_1", True),
        ("trn_2", True),
    ]


async def test_a_sweep_ends_its_own_pause_and_no_other(database: Database) -> None:
    await store(database, a_tenant(), a_training("trn_1"), a_training("trn_2"))
    sweep = await swept(database)
    until = NOW + timedelta(hours=1)
    await database.transaction(lambda unit: unit.tenants.pause_polls("ten_a", until=until))
    await database.transaction(lambda unit: unit.sweeps.end(sweep, again=LATER))
    tenant = await the_tenant(database)
    assert (tenant.polls_paused_until, tenant.sweep_after) == (until, LATER)


async def test_of_very_many_a_part_is_swept_and_the_rest_may_be_at_once(database: Database) -> None:
    many = (a_training(f"trn_{number:05}", due_at=NOW - SECOND) for number in range(MOST_OF_ONE_SWEEP + 50))
    await store(database, a_tenant(), *many)
    sweep = await swept(database)
    assert MOST_OF_ONE_SWEEP - 2 <= len(sweep.watched) <= MOST_OF_ONE_SWEEP + 2
    assert (await the_tenant(database)).sweep_after == NOW


async def test_while_a_key_is_swept_no_other_replica_claims_what_is_due_of_it(database: Database) -> None:
    await store(database, a_tenant(), *(a_training(f"trn_{number}", due_at=NOW - SECOND) for number in range(4)))
    assert len((await swept(database)).watched) == 4
    assert await claimed(database) == []
    assert len(await claimed(database, now=NOW + LEASE)) == 2


async def test_a_sweep_goes_to_the_active_trainings_of_its_tenant(database: Database) -> None:
    ended = (a_training(f"trn_ended_{number:04}", status=Status.READY) for number in range(500))
    await store(database, a_tenant(), *ended, a_training("trn_1"), a_training("trn_2"))
    await let_planner_know(database)
    plan = await plan_of(database, claim, small=True)
    assert not {"trainings", "tenants"} & plan.read_whole
    assert "uq_trainings_active" in plan.indexes("trainings")
