"""What comes of an attempt: the delivery after it, and the log of attempts."""

from datetime import datetime, timedelta

import pytest

from service.domain.delivery import AttemptOutcome, DeliveryStatus, ErrorClass
from service.domain.event import EventType
from service.storage.database import Database
from service.storage.tables import Callback, Delivery
from tests.storage.sending import (
    DEAD,
    DELIVERED,
    ENDED,
    FAILED,
    GONE,
    OK,
    REFUSED,
    RETRY,
    SECOND,
    Heard,
    attempts,
    claim,
    deliveries,
    one_delivery,
    record,
)
from tests.support.rows import LEASE, NOW, a_callback, a_delivery, an_endpoint, an_event, store, stored, stored_one


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

    async def test_an_end_of_the_target_is_the_end_of_the_delivery(self, database: Database) -> None:
        await one_delivery(database)
        due = (await claim(database))["dlv_1"]
        assert await record(database, due, GONE, ENDED, now=NOW + SECOND)
        delivery = await stored_one(database, Delivery)
        assert (delivery.status, delivery.due_at, delivery.finished_at) == ("dead", None, NOW + SECOND)

    async def test_an_end_wakes_whoever_delivers_the_next_event(self, database: Database) -> None:
        await one_delivery(database)
        heard = Heard(database)
        due = (await claim(database))["dlv_1"]
        await record(database, due, FAILED, RETRY)
        assert heard.news == []
        due = (await claim(database, now=NOW + timedelta(minutes=5)))["dlv_1"]
        await record(database, due, OK, DELIVERED)
        assert heard.to_send == [True]


class TestNoteOnCallback:
    async def note(self, database: Database, problem: str | None, *, ended_at: datetime | None = None) -> None:
        await database.transaction(lambda unit: unit.outbox.note_on_callback("cbk_1", problem, ended_at=ended_at))

    async def test_the_last_problem_is_shown_until_there_is_none(self, database: Database) -> None:
        await one_delivery(database)
        for problem in ("refused: nothing listens", "HTTP 503", None):
            await self.note(database, problem)
            callback = await stored_one(database, Callback)
            assert (callback.last_problem, callback.ended_at) == (problem, None)
        assert (await stored_one(database, Delivery)).status == "pending"

    async def test_an_end_buries_what_waits_for_it_and_nothing_else(self, database: Database) -> None:
        await one_delivery(database)
        await store(
            database,
            an_event("evt_0", type=EventType.STARTED, sequence=0),
            a_delivery("dlv_0", event="evt_0", status=DeliveryStatus.DELIVERED),
            a_callback("cbk_2"),
            a_delivery("dlv_2", callback="cbk_2"),
            an_endpoint(),
            a_delivery("dlv_3", endpoint="whe_1"),
        )
        due = (await claim(database))["dlv_1"]
        await self.note(database, "HTTP 410", ended_at=NOW + SECOND)
        found = await deliveries(database)
        assert {key: one.status for key, one in found.items()} == {
            "dlv_0": "delivered",
            "dlv_1": "dead",
            "dlv_2": "pending",
            "dlv_3": "pending",
        }
        assert (found["dlv_1"].due_at, found["dlv_1"].finished_at) == (None, NOW + SECOND)
        ended, other = await stored(database, Callback)
        assert (ended.ended_at, ended.last_problem) == (NOW + SECOND, "HTTP 410")
        assert (other.ended_at, other.last_problem) == (None, None)
        assert not await record(database, due, FAILED, RETRY, now=NOW + SECOND), "it was raised from the dead"


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
            assert await record(database, in_time, FAILED, RETRY, now=NOW + LEASE)
        before = await stored_one(database, Delivery)
        heard = Heard(database)
        assert not await record(database, late, GONE, ENDED, now=NOW + LEASE + SECOND)
        assert await stored_one(database, Delivery) == before
        assert heard.news == []
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
