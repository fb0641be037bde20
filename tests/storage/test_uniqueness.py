"""What there may be only one of, even when two requests or two replicas make it at once."""

import asyncio
import random
from datetime import timedelta

import pytest
from sqlalchemy.exc import IntegrityError
from sqlmodel import SQLModel

from service.domain.event import EventType
from service.domain.training import Status
from service.storage.database import Database, UnitOfWork
from service.storage.insert import insert_if_new
from service.storage.tables import Attempt, Callback, Delivery, Event, Tenant, Training
from tests.storage.interleaving import uncommitted, wait_for_a_blocked_transaction
from tests.support.rows import (
    NOW,
    a_callback,
    a_delivery,
    a_tenant,
    a_training,
    an_event,
    store,
    stored,
    stored_one,
)


async def add(database: Database, training: Training) -> bool:
    return await database.transaction(lambda unit: unit.trainings.add(training))


class TestActiveTrainings:
    async def test_one_per_tenant_and_model(self, database: Database) -> None:
        await store(database, a_tenant(), a_training("trn_1", model="m"))
        assert not await add(database, a_training("trn_2", model="m"))
        assert [row.id for row in await stored(database, Training)] == ["trn_1"]

    async def test_other_models_and_other_tenants_do_not_matter(self, database: Database) -> None:
        await store(database, a_tenant("ten_a"), a_tenant("ten_b"), a_training("trn_1", model="m"))
        assert await add(database, a_training("trn_2", model="n"))
        assert await add(database, a_training("trn_3", model="m", tenant="ten_b"))
        assert [row.id for row in await stored(database, Training)] == ["trn_1", "trn_2", "trn_3"]

    @pytest.mark.parametrize("end", [Status.READY, Status.CANCELLED, Status.EXPIRED])
    async def test_another_is_possible_after_the_end_of_the_first(self, database: Database, end: Status) -> None:
        await store(database, a_tenant(), a_training("trn_1", model="m", status=end))
        assert await add(database, a_training("trn_2", model="m"))
        assert not await add(database, a_training("trn_3", model="m"))
        assert [row.id for row in await stored(database, Training)] == ["trn_1", "trn_2"]

    async def test_a_suspended_one_is_active(self, database: Database) -> None:
        await store(database, a_tenant(), a_training("trn_1", model="m", suspended=True, due_at=None))
        assert not await add(database, a_training("trn_2", model="m"))

    async def test_of_many_added_at_once_one_is_stored(self, database: Database) -> None:
        await store(database, a_tenant())

        outcomes = await asyncio.gather(
            *(add(database, a_training(f"trn_{number}", model="m")) for number in range(12))
        )
        assert outcomes.count(True) == 1
        assert len(await stored(database, Training)) == 1

    async def test_one_that_is_not_committed_is_waited_for(self, postgres: Database, postgres_url: str) -> None:
        await store(postgres, a_tenant())
        async with uncommitted(postgres_url, lambda unit: unit.trainings.add(a_training("trn_1", model="m"))):
            late = asyncio.create_task(add(postgres, a_training("trn_2", model="m")))
            await wait_for_a_blocked_transaction(postgres)
        assert not await late
        assert (await stored_one(postgres, Training)).id == "trn_1"


class TestInsertIfNew:
    async def test_a_refused_row_leaves_the_transaction_usable(self, database: Database) -> None:
        await store(database, a_tenant("ten_known", sealed_key=b"first"))

        def work(unit: UnitOfWork) -> list[bool]:
            unit.session.add(a_tenant("ten_before"))
            return [
                insert_if_new(unit.transaction, a_tenant("ten_known", sealed_key=b"second")),
                insert_if_new(unit.transaction, a_tenant("ten_new")),
                insert_if_new(unit.transaction, a_tenant("ten_known", sealed_key=b"third")),
                unit.trainings.add(a_training(tenant="ten_new")),
            ]

        assert await database.transaction(work) == [False, True, False, True]
        tenants = {tenant.id: tenant.sealed_key for tenant in await stored(database, Tenant)}
        assert tenants == {"ten_before": b"sealed key", "ten_known": b"first", "ten_new": b"sealed key"}
        assert (await stored_one(database, Training)).tenant_id == "ten_new"

    async def test_a_refused_row_is_not_stored_later_in_the_transaction(self, database: Database) -> None:
        await store(database, a_tenant(), a_training("trn_1", model="m"))

        def work(unit: UnitOfWork) -> bool:
            added = unit.trainings.add(a_training("trn_2", model="m"))
            unit.session.flush()
            return added

        assert not await database.transaction(work)
        assert (await stored_one(database, Training)).id == "trn_1"

    async def test_another_constraint_than_a_unique_one_is_an_error(self, database: Database) -> None:
        with pytest.raises(IntegrityError, match=r"(?i)foreign key"):
            await add(database, a_training(tenant="ten_nobody"))
        assert await stored(database, Training) == []


class TestEvents:
    async def test_one_terminal_event_per_training(self, database: Database) -> None:
        await self.with_event(database, type=EventType.READY, sequence=1)
        await self.refused(database, an_event("evt_2", type=EventType.DELETED, sequence=2))

    async def test_one_event_per_sequence_number_of_a_training(self, database: Database) -> None:
        await self.with_event(database, type=EventType.STARTED, sequence=1)
        await self.refused(database, an_event("evt_2", type=EventType.OVERDUE, sequence=1))

    async def test_other_events_are_as_many_as_there_are(self, database: Database) -> None:
        await self.with_event(database, type=EventType.STARTED, sequence=1)
        await store(
            database,
            an_event("evt_2", type=EventType.SUSPENDED, sequence=2),
            an_event("evt_3", type=EventType.SUSPENDED, sequence=3),
            an_event("evt_4", type=EventType.READY, sequence=4),
        )
        assert [event.id for event in await stored(database, Event)] == ["evt_1", "evt_2", "evt_3", "evt_4"]

    async def test_trainings_do_not_disturb_each_other(self, database: Database) -> None:
        await self.with_event(database, type=EventType.READY, sequence=1)
        await store(database, a_training("trn_2"), an_event("evt_2", training="trn_2"))
        assert [event.training_id for event in await stored(database, Event)] == ["trn_1", "trn_2"]

    async def with_event(self, database: Database, *, type: EventType, sequence: int) -> None:
        await store(database, a_tenant(), a_training(), an_event(type=type, sequence=sequence))

    async def refused(self, database: Database, event: Event) -> None:
        with pytest.raises(IntegrityError):
            await database.transaction(lambda unit: unit.outbox.add(event, now=NOW, rng=random.Random(1)))
        assert (await stored_one(database, Event)).id == "evt_1"


async def test_one_delivery_per_event_and_callback(database: Database) -> None:
    await store(database, a_tenant(), a_training(), a_callback(), an_event(), a_delivery())
    with pytest.raises(IntegrityError):
        await store(database, a_delivery("dlv_2"))
    assert (await stored_one(database, Delivery)).id == "dlv_1"


async def test_an_event_is_not_delivered_twice_to_a_callback_that_is_listed_twice(database: Database) -> None:
    await store(database, a_tenant(), a_training(), a_callback())
    with pytest.raises(IntegrityError):
        await database.transaction(
            lambda unit: unit.outbox.add(
                an_event(), callbacks=2 * unit.trainings.callbacks(["trn_1"])["trn_1"], now=NOW, rng=random.Random(1)
            )
        )
    assert await stored(database, Event) == []


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (a_callback("cbk_1", url="https://a.example/"), a_callback("cbk_2", url="https://a.example/")),
        (
            Attempt(id="att_1", delivery_id="dlv_1", number=1, started_at=NOW),
            Attempt(id="att_2", delivery_id="dlv_1", number=1, started_at=NOW + timedelta(seconds=1)),
        ),
    ],
    ids=["callback per training and URL", "attempt per delivery and number"],
)
async def test_one_for_each(database: Database, first: SQLModel, second: SQLModel) -> None:
    def copy(row: SQLModel) -> SQLModel:
        return type(row)(**row.model_dump())

    await store(database, a_tenant(), a_training(), an_event(), a_callback("cbk_0"), a_delivery(callback="cbk_0"))
    await store(database, copy(first))
    with pytest.raises(IntegrityError):
        await store(database, copy(second))


async def test_the_same_url_may_hear_of_several_trainings(database: Database) -> None:
    await store(database, a_tenant(), a_training("trn_1"), a_training("trn_2"))
    await store(database, a_callback("cbk_1", training="trn_1", url="https://a.example/"))
    await store(database, a_callback("cbk_2", training="trn_2", url="https://a.example/"))
    assert [callback.id for callback in await stored(database, Callback)] == ["cbk_1", "cbk_2"]
