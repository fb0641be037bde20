"""The seam: events become deliveries, deliveries become attempts, in the order of the events."""

import random
from collections.abc import Sequence
from datetime import datetime, timedelta

import pytest

from service.domain.delivery import AttemptOutcome, Decision, DeliveryStatus, ErrorClass
from service.domain.event import DEFAULT_CALLBACK_EVENTS, EventType
from service.storage.database import Database, UnitOfWork
from service.storage.outbox import DueDelivery
from service.storage.tables import Attempt, Callback, Delivery, Event
from tests.support.rows import (
    LEASE,
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

SECOND = timedelta(seconds=1)

OK = AttemptOutcome(200, None, timedelta(milliseconds=41.6), "thanks")
FAILED = AttemptOutcome(503, ErrorClass.HTTP_5XX, timedelta(seconds=2), "busy")
REFUSED = AttemptOutcome(None, ErrorClass.REFUSED, timedelta(milliseconds=1))
GONE = AttemptOutcome(410, ErrorClass.HTTP_4XX, timedelta(milliseconds=5))

DELIVERED = Decision(DeliveryStatus.DELIVERED)
RETRY = Decision(DeliveryStatus.PENDING, retry_in=timedelta(minutes=5))
DEAD = Decision(DeliveryStatus.DEAD)
ENDED = Decision(DeliveryStatus.DEAD, ends_callback=True)


async def claim(database: Database, *, now: datetime = NOW, limit: int = 100) -> dict[str, DueDelivery]:
    """What one claim gave, by the id of the delivery."""
    rng = random.Random(int(now.timestamp() * 1e6))
    claimed: Sequence[DueDelivery] = await database.transaction(
        lambda unit: unit.outbox.claim_due(now=now, lease_for=LEASE, limit=limit, rng=rng)
    )
    return {due.id: due for due in claimed}


async def record(
    database: Database,
    due: DueDelivery,
    outcome: AttemptOutcome,
    decision: Decision,
    *,
    now: datetime = NOW,
    problem: str | None = None,
) -> bool:
    return await database.transaction(lambda unit: unit.outbox.record(due, outcome, decision, now=now, problem=problem))


async def attempts(database: Database) -> list[Attempt]:
    return sorted(await stored(database, Attempt), key=lambda attempt: (attempt.delivery_id, attempt.number))


class TestAdd:
    async def add(self, database: Database, event: Event) -> None:
        def work(unit: UnitOfWork) -> None:
            callbacks = unit.trainings.callbacks([event.training_id])[event.training_id]
            unit.outbox.add(event, callbacks, now=NOW, rng=random.Random(1))

        await database.transaction(work)

    async def test_a_delivery_is_made_for_each_callback_that_hears_of_the_type(self, database: Database) -> None:
        await store(
            database,
            a_tenant(),
            a_training(),
            a_callback("cbk_all"),
            a_callback("cbk_ready", events=[EventType.READY]),
            a_callback("cbk_deleted", events=[EventType.DELETED]),
            a_callback("cbk_none", events=[]),
        )
        await self.add(database, an_event(type=EventType.READY))
        assert {delivery.callback_id for delivery in await stored(database, Delivery)} == {"cbk_all", "cbk_ready"}

    async def test_none_is_made_for_a_callback_that_has_ended(self, database: Database) -> None:
        await store(
            database, a_tenant(), a_training(), a_callback("cbk_1"), a_callback("cbk_ended", ended_at=NOW - SECOND)
        )
        await self.add(database, an_event())
        assert (await stored_one(database, Delivery)).callback_id == "cbk_1"

    async def test_none_is_made_for_another_trainings_callback(self, database: Database) -> None:
        await store(database, a_tenant(), a_training(), a_training("trn_2"), a_callback("cbk_2", training="trn_2"))
        await self.add(database, an_event())
        assert (await stored_one(database, Event)).id == "evt_1"
        assert await stored(database, Delivery) == []

    async def test_a_callback_hears_every_end_but_a_cancellation_by_default(self, database: Database) -> None:
        await store(database, a_tenant(), a_training(), a_callback(events=DEFAULT_CALLBACK_EVENTS))
        await self.add(database, an_event("evt_1", type=EventType.STARTED, sequence=1))
        await self.add(database, an_event("evt_2", type=EventType.CANCELLED, sequence=2))
        assert await stored(database, Delivery) == []

    async def test_a_delivery_is_due_at_once_and_knows_its_event(self, database: Database) -> None:
        await store(database, a_tenant(), a_training(), a_callback())
        await self.add(database, an_event("evt_1", type=EventType.FAILED, sequence=7))
        delivery = await stored_one(database, Delivery)
        assert delivery.id.startswith("dlv_")
        assert delivery.model_dump(exclude={"id"}) == {
            "tenant_id": "ten_a",
            "event_id": "evt_1",
            "training_id": "trn_1",
            "callback_id": "cbk_1",
            "event_type": "training.failed",
            "sequence": 7,
            "status": "pending",
            "attempts_made": 0,
            "attempts_started": 0,
            "created_at": NOW,
            "finished_at": None,
            "due_at": NOW,
            "fence": 0,
        }


class TestClaim:
    async def test_gives_the_stored_bytes_and_all_that_sending_them_needs(self, database: Database) -> None:
        body = bytes(range(256))
        event = an_event()
        event.body = body
        await store(
            database,
            a_tenant(),
            a_training(),
            a_callback(url="https://receiver.example/hook?token=x", sealed_secret=b"own"),
            event,
            a_delivery(),
        )
        due = (await claim(database))["dlv_1"]
        attempt = await stored_one(database, Attempt)
        assert due == DueDelivery(
            id="dlv_1",
            fence=1,
            attempt_id=attempt.id,
            attempts_made=0,
            event_id="evt_1",
            training_id="trn_1",
            tenant_id="ten_a",
            body=body,
            callback_id="cbk_1",
            url="https://receiver.example/hook?token=x",
            sealed_callback_secret=b"own",
            sealed_tenant_secret=b"sealed secret of ten_a",
        )

    async def test_each_delivery_gets_its_own_tenants_secret_and_its_own_callback(self, database: Database) -> None:
        await one_delivery(database)
        await store(
            database,
            a_tenant("ten_b"),
            a_training("trn_b", tenant="ten_b"),
            a_callback("cbk_b", tenant="ten_b", training="trn_b", sealed_secret=b"own"),
            an_event("evt_b", tenant="ten_b", training="trn_b"),
            a_delivery("dlv_b", event="evt_b", callback="cbk_b", tenant="ten_b", training="trn_b"),
        )
        due = await claim(database)
        assert {
            key: (one.sealed_tenant_secret, one.url, one.event_id, one.sealed_callback_secret)
            for key, one in due.items()
        } == {
            "dlv_1": (b"sealed secret of ten_a", "https://receiver.example/cbk_1", "evt_1", None),
            "dlv_b": (b"sealed secret of ten_b", "https://receiver.example/cbk_b", "evt_b", b"own"),
        }

    async def test_notes_the_start_of_an_attempt(self, database: Database) -> None:
        await one_delivery(database)
        due = (await claim(database))["dlv_1"]
        attempt = await stored_one(database, Attempt)
        assert attempt.model_dump() == {
            "id": due.attempt_id,
            "delivery_id": "dlv_1",
            "number": 1,
            "started_at": NOW,
            "duration_ms": None,
            "status_code": None,
            "error_class": None,
            "excerpt": "",
        }
        assert (await stored_one(database, Delivery)).attempts_started == 1


async def one_delivery(database: Database) -> None:
    await store(database, a_tenant(), a_training(), a_callback(), an_event(), a_delivery())


class TestRecord:
    async def test_a_success_ends_the_delivery(self, database: Database) -> None:
        await one_delivery(database)
        due = (await claim(database))["dlv_1"]
        assert await record(database, due, OK, DELIVERED, now=NOW + SECOND)
        delivery = await stored_one(database, Delivery)
        assert (delivery.status, delivery.due_at, delivery.finished_at) == ("delivered", None, NOW + SECOND)
        assert (delivery.attempts_made, delivery.attempts_started) == (1, 1)
        [attempt] = await attempts(database)
        assert (attempt.duration_ms, attempt.status_code, attempt.error_class, attempt.excerpt) == (
            42,
            200,
            None,
            "thanks",
        )
        assert await claim(database, now=NOW + timedelta(days=365)) == {}

    async def test_a_failure_is_tried_again_when_the_decision_says(self, database: Database) -> None:
        await one_delivery(database)
        due = (await claim(database))["dlv_1"]
        assert await record(database, due, FAILED, RETRY, now=NOW + SECOND)
        delivery = await stored_one(database, Delivery)
        later = NOW + SECOND + timedelta(minutes=5)
        assert (delivery.status, delivery.due_at, delivery.finished_at) == ("pending", later, None)
        assert await claim(database, now=later - timedelta(microseconds=1)) == {}
        assert (await claim(database, now=later))["dlv_1"].attempts_made == 1

    async def test_the_last_failure_ends_the_delivery_and_not_the_callback(self, database: Database) -> None:
        await one_delivery(database)
        due = (await claim(database))["dlv_1"]
        assert await record(database, due, FAILED, DEAD, now=NOW + SECOND)
        delivery = await stored_one(database, Delivery)
        assert (delivery.status, delivery.due_at, delivery.finished_at) == ("dead", None, NOW + SECOND)
        assert (await stored_one(database, Callback)).ended_at is None

    async def test_a_410_ends_the_callback(self, database: Database) -> None:
        await one_delivery(database)
        due = (await claim(database))["dlv_1"]
        assert await record(database, due, GONE, ENDED, now=NOW + SECOND, problem="HTTP 410")
        callback = await stored_one(database, Callback)
        assert (callback.ended_at, callback.last_problem) == (NOW + SECOND, "HTTP 410")
        assert (await stored_one(database, Delivery)).status == "dead"

    async def test_other_callbacks_go_on_after_a_410(self, database: Database) -> None:
        await one_delivery(database)
        await store(database, a_callback("cbk_2"), a_delivery("dlv_2", callback="cbk_2"))
        due = await claim(database)
        await record(database, due["dlv_1"], GONE, ENDED, problem="HTTP 410")
        ended, other = await stored(database, Callback)
        assert ended.ended_at == NOW
        assert (other.ended_at, other.last_problem) == (None, None)
        assert [delivery.status for delivery in await stored(database, Delivery)] == ["dead", "pending"]

    async def test_the_last_problem_is_shown_until_a_delivery_succeeds(self, database: Database) -> None:
        await one_delivery(database)
        due = (await claim(database))["dlv_1"]
        await record(database, due, REFUSED, RETRY, problem="refused: nothing listens")
        assert (await stored_one(database, Callback)).last_problem == "refused: nothing listens"
        due = (await claim(database, now=NOW + timedelta(minutes=5)))["dlv_1"]
        await record(database, due, FAILED, RETRY, now=NOW + timedelta(minutes=5), problem="HTTP 503")
        assert (await stored_one(database, Callback)).last_problem == "HTTP 503"
        due = (await claim(database, now=NOW + timedelta(minutes=10)))["dlv_1"]
        await record(database, due, OK, DELIVERED, now=NOW + timedelta(minutes=10), problem=None)
        assert (await stored_one(database, Callback)).last_problem is None

    async def test_an_end_wakes_whoever_delivers_the_next_event(self, database: Database) -> None:
        await one_delivery(database)
        woken: list[str] = []
        database.on_outbox(lambda: woken.append("woken"))
        due = (await claim(database))["dlv_1"]
        await record(database, due, FAILED, RETRY)
        assert woken == []
        due = (await claim(database, now=NOW + timedelta(minutes=5)))["dlv_1"]
        await record(database, due, OK, DELIVERED)
        assert woken == ["woken"]


class TestAttempts:
    async def test_numbers_rise_and_every_outcome_is_kept(self, database: Database) -> None:
        await one_delivery(database)
        now = NOW
        for outcome, decision in [(FAILED, RETRY), (REFUSED, RETRY), (OK, DELIVERED)]:
            due = (await claim(database, now=now))["dlv_1"]
            assert await record(database, due, outcome, decision, now=now)
            now += timedelta(minutes=5)
        assert [
            (attempt.number, attempt.started_at, attempt.status_code, attempt.error_class, attempt.duration_ms)
            for attempt in await attempts(database)
        ] == [
            (1, NOW, 503, "http_5xx", 2000),
            (2, NOW + timedelta(minutes=5), None, "refused", 1),
            (3, NOW + timedelta(minutes=10), 200, None, 42),
        ]
        delivery = await stored_one(database, Delivery)
        assert (delivery.attempts_made, delivery.attempts_started) == (3, 3)

    async def test_one_whose_worker_died_is_interrupted_and_costs_no_step_of_the_schedule(
        self, database: Database
    ) -> None:
        await one_delivery(database)
        await claim(database)
        due = (await claim(database, now=NOW + LEASE))["dlv_1"]
        assert due.attempts_made == 0
        assert await record(database, due, OK, DELIVERED, now=NOW + LEASE)
        assert [(attempt.number, attempt.error_class) for attempt in await attempts(database)] == [
            (1, "interrupted"),
            (2, None),
        ]
        delivery = await stored_one(database, Delivery)
        assert (delivery.attempts_made, delivery.attempts_started) == (1, 2)

    async def test_one_that_is_recorded_is_never_called_interrupted(self, database: Database) -> None:
        await one_delivery(database)
        due = (await claim(database))["dlv_1"]
        await record(database, due, AttemptOutcome(500, ErrorClass.HTTP_5XX, timedelta(0)), RETRY)
        await claim(database, now=NOW + timedelta(minutes=5))
        assert [(attempt.number, attempt.error_class) for attempt in await attempts(database)] == [
            (1, "http_5xx"),
            (2, None),
        ]

    async def test_only_attempts_of_what_is_claimed_are_called_interrupted(self, database: Database) -> None:
        await one_delivery(database)
        await store(database, a_callback("cbk_2"), a_delivery("dlv_2", callback="cbk_2", due_at=NOW + SECOND))
        await claim(database, now=NOW)
        await claim(database, now=NOW + SECOND)
        await claim(database, now=NOW + LEASE)
        assert [(attempt.delivery_id, attempt.number, attempt.error_class) for attempt in await attempts(database)] == [
            ("dlv_1", 1, "interrupted"),
            ("dlv_1", 2, None),
            ("dlv_2", 1, None),
        ]

    @pytest.mark.parametrize("first", ["late", "in_time"])
    async def test_a_result_after_the_lease_was_lost_is_kept_as_an_attempt_and_decides_nothing(
        self, database: Database, first: str
    ) -> None:
        await one_delivery(database)
        late = (await claim(database))["dlv_1"]
        in_time = (await claim(database, now=NOW + LEASE))["dlv_1"]
        if first == "in_time":
            assert await record(database, in_time, FAILED, RETRY, now=NOW + LEASE, problem="HTTP 503")
        before = await stored_one(database, Delivery), await stored_one(database, Callback)
        woken: list[str] = []
        database.on_outbox(lambda: woken.append("woken"))
        assert not await record(database, late, GONE, ENDED, now=NOW + LEASE + SECOND, problem="HTTP 410")
        assert (await stored_one(database, Delivery), await stored_one(database, Callback)) == before
        assert woken == []
        kept = (await attempts(database))[0]
        assert (kept.number, kept.status_code, kept.error_class, kept.duration_ms) == (1, 410, "http_4xx", 5)
        if first == "late":
            assert await record(database, in_time, OK, DELIVERED, now=NOW + LEASE + SECOND)
            assert (await stored_one(database, Delivery)).status == "delivered"

    async def test_a_result_after_the_end_decides_nothing(self, database: Database) -> None:
        await one_delivery(database)
        due = (await claim(database))["dlv_1"]
        assert await record(database, due, OK, DELIVERED)
        before = await stored_one(database, Delivery)
        assert not await record(database, due, FAILED, RETRY, now=NOW + SECOND)
        assert await stored_one(database, Delivery) == before

    async def test_they_are_listed_first_to_last_for_each_delivery(self, database: Database) -> None:
        await one_delivery(database)
        await store(database, a_callback("cbk_2"), a_delivery("dlv_2", callback="cbk_2", due_at=None))
        for leases in range(12):
            await claim(database, now=NOW + leases * LEASE)
        listed = await database.read(lambda unit: unit.outbox.attempts(["dlv_1", "dlv_2", "dlv_unknown"]))
        assert {key: [attempt.number for attempt in found] for key, found in listed.items()} == {
            "dlv_1": list(range(1, 13)),
            "dlv_2": [],
            "dlv_unknown": [],
        }


class TestOrder:
    """Events of one training go to a callback in order; callbacks don't wait for each other."""

    async def two_events(self, database: Database, *, callbacks: Sequence[str] = ("cbk_1",)) -> None:
        """For each callback a delivery of a first and of a second event; the second has been due for longer."""
        await store(
            database,
            a_tenant(),
            a_training(),
            an_event("evt_1", type=EventType.OVERDUE, sequence=1),
            an_event("evt_2", type=EventType.READY, sequence=2),
        )
        for name in callbacks:
            await store(
                database,
                a_callback(name),
                a_delivery(f"{name}_first", event="evt_1", callback=name, sequence=1),
                a_delivery(f"{name}_second", event="evt_2", callback=name, sequence=2, due_at=NOW - SECOND),
            )

    async def test_a_later_event_is_not_claimed_together_with_an_earlier_one(self, database: Database) -> None:
        await self.two_events(database)
        assert set(await claim(database)) == {"cbk_1_first"}

    async def test_nor_while_the_earlier_one_is_under_way(self, database: Database) -> None:
        await self.two_events(database)
        await claim(database)
        assert await claim(database, now=NOW + SECOND) == {}

    async def test_nor_while_the_earlier_one_waits_for_its_next_attempt(self, database: Database) -> None:
        await self.two_events(database)
        due = (await claim(database))["cbk_1_first"]
        await record(database, due, FAILED, RETRY)
        assert await claim(database, now=NOW + timedelta(minutes=4)) == {}

    @pytest.mark.parametrize(("outcome", "decision"), [(OK, DELIVERED), (FAILED, DEAD)], ids=["delivered", "dead"])
    async def test_it_is_claimed_once_the_earlier_one_has_ended(
        self, database: Database, outcome: AttemptOutcome, decision: Decision
    ) -> None:
        await self.two_events(database)
        due = (await claim(database))["cbk_1_first"]
        await record(database, due, outcome, decision)
        assert set(await claim(database, now=NOW + SECOND)) == {"cbk_1_second"}

    async def test_what_waits_for_a_delivery_that_ends_its_callback_is_never_sent(self, database: Database) -> None:
        await self.two_events(database, callbacks=["cbk_1", "cbk_2"])
        due = await claim(database)
        await record(database, due["cbk_1_first"], GONE, ENDED, now=NOW + SECOND)
        await record(database, due["cbk_2_first"], OK, DELIVERED, now=NOW + SECOND)
        assert set(await claim(database, now=NOW + timedelta(days=365))) == {"cbk_2_second"}
        buried = {delivery.id: delivery for delivery in await stored(database, Delivery)}["cbk_1_second"]
        assert (buried.status, buried.due_at, buried.finished_at) == ("dead", None, NOW + SECOND)
        assert (buried.attempts_made, buried.attempts_started) == (0, 0)

    async def test_other_callbacks_are_not_held_up(self, database: Database) -> None:
        await self.two_events(database, callbacks=["cbk_1", "cbk_2"])
        due = await claim(database)
        assert set(due) == {"cbk_1_first", "cbk_2_first"}
        await record(database, due["cbk_1_first"], FAILED, RETRY)
        await record(database, due["cbk_2_first"], OK, DELIVERED)
        assert set(await claim(database, now=NOW + SECOND)) == {"cbk_2_second"}

    async def test_a_held_up_delivery_takes_no_place_in_the_batch(self, database: Database) -> None:
        await self.two_events(database)
        await store(database, a_callback("cbk_2"), a_delivery("cbk_2_first", callback="cbk_2", due_at=NOW))
        assert len(await claim(database, limit=2)) == 2


class TestPages:
    async def filled(self, database: Database) -> None:
        await store(database, a_tenant("ten_a"), a_tenant("ten_b"))
        await store(
            database,
            a_training("trn_1"),
            a_training("trn_2"),
            a_training("trn_b", tenant="ten_b"),
            an_event("evt_1", training="trn_1"),
            an_event("evt_2", training="trn_2"),
            an_event("evt_b", training="trn_b", tenant="ten_b"),
            *(a_callback(f"cbk_{number}", training="trn_1") for number in range(4)),
            a_callback("cbk_of_2", training="trn_2"),
            a_callback("cbk_of_b", training="trn_b", tenant="ten_b"),
            *(
                a_delivery(
                    f"dlv_{number}",
                    callback=f"cbk_{number}",
                    status=DeliveryStatus.DEAD if number % 2 else DeliveryStatus.PENDING,
                )
                for number in range(4)
            ),
            a_delivery("dlv_4", event="evt_2", callback="cbk_of_2", training="trn_2"),
            a_delivery("dlv_5", event="evt_b", callback="cbk_of_b", training="trn_b", tenant="ten_b"),
        )

    async def page(
        self,
        database: Database,
        tenant: str = "ten_a",
        *,
        training_id: str | None = None,
        status: str | None = None,
        before: str | None = None,
        limit: int = 50,
    ) -> list[str]:
        found = await database.read(
            lambda unit: unit.outbox.page(tenant, training_id=training_id, status=status, before=before, limit=limit)
        )
        return [delivery.id for delivery in found]

    async def test_newest_first(self, database: Database) -> None:
        await self.filled(database)
        assert await self.page(database) == ["dlv_4", "dlv_3", "dlv_2", "dlv_1", "dlv_0"]

    async def test_each_begins_where_the_one_before_ended(self, database: Database) -> None:
        await self.filled(database)
        assert await self.page(database, limit=2) == ["dlv_4", "dlv_3"]
        assert await self.page(database, limit=2, before="dlv_3") == ["dlv_2", "dlv_1"]
        assert await self.page(database, limit=2, before="dlv_1") == ["dlv_0"]
        assert await self.page(database, limit=2, before="dlv_0") == []

    async def test_filters_narrow_them_together(self, database: Database) -> None:
        await self.filled(database)
        assert await self.page(database, training_id="trn_2") == ["dlv_4"]
        assert await self.page(database, status="dead") == ["dlv_3", "dlv_1"]
        assert await self.page(database, training_id="trn_1", status="pending", before="dlv_2") == ["dlv_0"]
        assert await self.page(database, training_id="trn_2", status="dead") == []

    async def test_another_tenants_never_show(self, database: Database) -> None:
        await self.filled(database)
        assert await self.page(database, "ten_b") == ["dlv_5"]
        assert await self.page(database, "ten_a", training_id="trn_b") == []
        assert await self.page(database, "ten_nobody") == []

    async def test_another_tenants_delivery_looks_like_an_absent_one(self, database: Database) -> None:
        await self.filled(database)

        async def get(tenant: str, id: str) -> Delivery | None:
            return await database.read(lambda unit: unit.outbox.get(tenant, id))

        assert await get("ten_a", "dlv_5") is None
        assert await get("ten_a", "dlv_absent") is None
        found = await get("ten_b", "dlv_5")
        assert found is not None
        assert found.id == "dlv_5"

    async def test_callback_urls_are_found_by_id(self, database: Database) -> None:
        await self.filled(database)
        assert await database.read(lambda unit: unit.outbox.callback_urls(["cbk_0", "cbk_of_2", "cbk_absent"])) == {
            "cbk_0": "https://receiver.example/cbk_0",
            "cbk_of_2": "https://receiver.example/cbk_of_2",
        }
