"""A result counts only while nobody has claimed, ended or changed the training since: one end, one terminal event."""

import asyncio
import random
from dataclasses import replace
from datetime import timedelta

import pytest

from service.domain.event import DEFAULT_CALLBACK_EVENTS, EventType
from service.domain.training import Failure, QueueRules, Signal, Status, Watch
from service.storage.database import Database, UnitOfWork
from service.storage.due_training import DueTraining, watch_of
from service.storage.tables import Delivery, Event, Tenant, Training
from service.trainings.record import Held, Recorder
from tests.storage.interleaving import uncommitted, wait_for_a_blocked_transaction
from tests.support.rows import LEASE, NOW, a_callback, a_tenant, a_training, columns_of, store, stored, stored_one

READY = Signal.SEEN_READY
DELETED = Signal.SEEN_DELETED
NEXT_POLL = NOW + timedelta(minutes=5)


async def save(database: Database, watch: Watch, *, fence: int) -> Training | None:
    changes = {"last_polled_at": NOW}
    return await database.transaction(
        lambda unit: unit.trainings.save(
            "trn_1", fence=fence, watch=watch, due_at=NEXT_POLL, new_events=0, now=NOW, changes=changes
        )
    )


async def watched(database: Database, *, fence: int = 3) -> Watch:
    """Store the training, claimed so often, with a callback; return what is known of it."""
    await store(database, a_tenant(), a_training(fence=fence), a_callback())
    return watch_of(await stored_one(database, Training))


class TestSave:
    async def test_under_the_present_fence_everything_is_stored_and_the_fence_raised(self, database: Database) -> None:
        watch = await watched(database)
        seen = replace(
            watch,
            raw_status="Training",
            left_baseline=True,
            overdue=True,
            suspended=True,
            not_found_count=1,
            key_refused_count=2,
            readings=7,
        )
        saved = await save(database, seen, fence=3)
        row = await stored_one(database, Training)
        assert saved is not None
        assert columns_of(saved) == columns_of(row)
        assert watch_of(row) == seen
        assert (row.fence, row.due_at, row.last_polled_at, row.finished_at) == (4, NEXT_POLL, NOW, None)

    async def test_an_end_is_stored_with_its_reason_and_wants_no_more_polls(self, database: Database) -> None:
        watch = await watched(database)
        ended = watch.move(DELETED, Failure("not_found", "No such model."))
        await save(database, ended, fence=3)
        row = await stored_one(database, Training)
        assert (row.status, row.finished_at, row.due_at) == ("deleted", NOW, None)
        assert (row.failure_code, row.failure_message) == ("not_found", "No such model.")

    async def test_under_an_old_fence_nothing_is_stored(self, database: Database) -> None:
        watch = await watched(database)
        before = await stored_one(database, Training)
        for fence in (0, 2, 4):
            assert await save(database, watch.move(READY), fence=fence) is None
        assert await stored_one(database, Training) == before

    async def test_the_same_fence_counts_once(self, database: Database) -> None:
        watch = await watched(database)
        first = await save(database, replace(watch, readings=1), fence=3)
        second = await save(database, replace(watch, readings=2), fence=3)
        assert first is not None
        assert second is None
        assert (await stored_one(database, Training)).readings == 1

    async def test_after_the_end_nothing_is_stored_whatever_the_fence(self, database: Database) -> None:
        watch = await watched(database)
        await save(database, watch.move(READY), fence=3)
        ended = await stored_one(database, Training)
        for fence in range(6):
            assert await save(database, watch.move(DELETED), fence=fence) is None
        assert await stored_one(database, Training) == ended

    async def test_other_trainings_are_untouched(self, database: Database) -> None:
        watch = await watched(database)
        await store(database, a_training("trn_2", fence=3))
        await save(database, watch.move(READY), fence=3)
        _, other = await stored(database, Training)
        assert (other.id, other.status, other.fence) == ("trn_2", "training", 3)


class Worker:
    """Claims the only training at its own time, and later records an end that it saw."""

    def __init__(self, database: Database, seed: int) -> None:
        self._database = database
        self._recorder = Recorder(random.Random(seed), QueueRules())
        self.due: DueTraining

    async def claim(self, *, after: timedelta = timedelta(0)) -> None:
        [self.due] = await self._database.transaction(
            lambda unit: unit.trainings.claim_due(now=NOW + after, lease_for=LEASE, limit=1)
        )

    def record(self, unit: UnitOfWork, signal: Signal) -> Training | None:
        held = Held(self.due.id, self.due.fence, self.due.watch)
        return self._recorder.save(unit, held, self.due.watch.move(signal), now=NOW, due_at=None)

    async def ends_it(self, signal: Signal) -> bool:
        return await self._database.transaction(lambda unit: self.record(unit, signal)) is not None


class TestOverlappingWorkers:
    async def test_of_two_under_different_fences_the_later_claim_wins(self, database: Database) -> None:
        await watched(database, fence=0)
        frozen, taking_over = Worker(database, 1), Worker(database, 2)
        await frozen.claim()
        await taking_over.claim(after=LEASE)
        assert (frozen.due.fence, taking_over.due.fence) == (1, 2)
        late, in_time = await asyncio.gather(frozen.ends_it(DELETED), taking_over.ends_it(READY))
        assert (late, in_time) == (False, True)
        await assert_one_end(database, "ready")

    async def test_the_order_of_their_records_does_not_matter(self, database: Database) -> None:
        await watched(database, fence=0)
        frozen, taking_over = Worker(database, 1), Worker(database, 2)
        await frozen.claim()
        await taking_over.claim(after=LEASE)
        assert await taking_over.ends_it(READY)
        assert not await frozen.ends_it(DELETED)
        await assert_one_end(database, "ready")

    async def test_of_two_under_the_same_fence_one_wins(self, database: Database) -> None:
        await watched(database, fence=0)
        worker = Worker(database, 1)
        await worker.claim()
        ready, deleted = await asyncio.gather(worker.ends_it(READY), worker.ends_it(DELETED))
        assert ready is not deleted
        await assert_one_end(database, "ready" if ready else "deleted")

    async def test_of_many_at_once_one_wins(self, database: Database) -> None:
        await watched(database, fence=0)
        workers = [Worker(database, seed) for seed in range(12)]
        for number, worker in enumerate(workers):
            await worker.claim(after=number * LEASE)
        outcomes = await asyncio.gather(*(worker.ends_it(READY) for worker in workers for _ in range(2)))
        assert outcomes.count(True) == 1
        await assert_one_end(database, "ready")

    async def test_a_record_waits_for_one_that_is_not_committed_and_then_loses(
        self, postgres: Database, postgres_url: str
    ) -> None:
        await watched(postgres, fence=0)
        worker = Worker(postgres, 1)
        await worker.claim()
        async with uncommitted(postgres_url, lambda unit: worker.record(unit, READY)):
            late = asyncio.create_task(worker.ends_it(DELETED))
            await wait_for_a_blocked_transaction(postgres)
        assert not await late
        await assert_one_end(postgres, "ready")

    async def test_a_claim_passes_over_a_training_whose_record_is_not_committed(
        self, postgres: Database, postgres_url: str
    ) -> None:
        await watched(postgres, fence=0)
        worker = Worker(postgres, 1)
        await worker.claim()
        async with uncommitted(postgres_url, lambda unit: worker.record(unit, READY)):
            claimed = await postgres.transaction(
                lambda unit: unit.trainings.claim_due(now=NOW + LEASE, lease_for=LEASE, limit=1)
            )
            assert claimed == []
        await assert_one_end(postgres, "ready")


async def assert_one_end(database: Database, status: str) -> None:
    assert (await stored_one(database, Training)).status == status
    event = await stored_one(database, Event)
    assert (event.type, event.terminal, event.sequence) == (f"training.{status}", True, 1)
    assert (await stored_one(database, Delivery)).event_id == event.id
    assert (await stored_one(database, Tenant)).sealed_key is None


class Mishap(Exception):
    pass


class TestOneTransaction:
    """Promise 4: a status change, its events and its deliveries are stored together or not at all."""

    async def record(self, database: Database, watch: Watch, *, mishap: bool) -> None:
        before = await stored_one(database, Training)

        def work(unit: UnitOfWork) -> None:
            held = Held(before.id, before.fence, watch_of(before))
            assert (
                Recorder(random.Random(1), QueueRules()).save(unit, held, watch, now=NOW, due_at=NEXT_POLL) is not None
            )
            if mishap:
                raise Mishap

        await database.transaction(work)

    async def test_all_of_it(self, database: Database) -> None:
        watch = await watched(database)
        await self.record(database, watch.move(READY), mishap=False)
        await assert_one_end(database, "ready")

    async def test_or_nothing_of_it(self, database: Database) -> None:
        watch = await watched(database)
        before = await stored_one(database, Training)
        with pytest.raises(Mishap):
            await self.record(database, watch.move(READY), mishap=True)
        assert await stored_one(database, Training) == before
        assert await stored(database, Event) == []
        assert await stored(database, Delivery) == []
        assert (await stored_one(database, Tenant)).sealed_key == b"sealed key"

    async def test_it_can_be_recorded_again_after_a_rollback(self, database: Database) -> None:
        watch = await watched(database)
        with pytest.raises(Mishap):
            await self.record(database, watch.move(READY), mishap=True)
        await self.record(database, watch.move(READY), mishap=False)
        await assert_one_end(database, "ready")

    async def test_several_events_of_one_change_are_numbered_in_order(self, database: Database) -> None:
        await store(
            database,
            a_tenant(),
            a_training(status=Status.SUBMITTING, sequence=4),
            a_callback(events=[*DEFAULT_CALLBACK_EVENTS, EventType.STARTED, EventType.OVERDUE]),
        )
        submitting = watch_of(await stored_one(database, Training))
        await self.record(database, replace(submitting.move(Signal.CONFIRMED), overdue=True), mishap=False)
        events = sorted(await stored(database, Event), key=lambda event: event.sequence)
        assert [(event.sequence, event.type, event.terminal) for event in events] == [
            (5, "training.started", False),
            (6, "training.overdue", False),
        ]
        assert sorted(delivery.sequence for delivery in await stored(database, Delivery)) == [5, 6]
        assert (await stored_one(database, Training)).sequence == 6

    async def test_a_change_with_nothing_to_tell_makes_no_event(self, database: Database) -> None:
        watch = await watched(database)
        await self.record(database, replace(watch, readings=1), mishap=False)
        assert (await stored_one(database, Training)).readings == 1
        assert await stored(database, Event) == []
        assert await stored(database, Delivery) == []
