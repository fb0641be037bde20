"""Deliveries sent again, one or all that failed at an endpoint; and what becomes of them as the endpoint changes."""

import random
from collections.abc import Callable
from datetime import datetime, timedelta

import pytest

from service.domain import ids
from service.domain.delivery import DeliveryStatus
from service.storage.database import Database, UnitOfWork
from service.storage.tables import Delivery
from tests.storage.sending import (
    DEAD,
    DELIVERED,
    FAILED,
    OK,
    RETRY,
    SECOND,
    claim,
    deliveries,
    record,
    to_an_endpoint,
    to_endpoint,
)
from tests.support.rows import LEASE, NOW, a_delivery, a_training, an_endpoint, an_event, store, stored_one

FIVE_DAYS = timedelta(days=5)
LATER = NOW + timedelta(days=10)


async def resend(database: Database, name: str, *, now: datetime = LATER) -> Delivery:
    await database.transaction(lambda unit: unit.deliveries.resend(name, now=now))
    return (await deliveries(database))[name]


class TestOne:
    @pytest.mark.parametrize(("outcome", "decision"), [(FAILED, DEAD), (OK, DELIVERED)], ids=["dead", "delivered"])
    async def test_that_has_ended_begins_its_schedule_anew(
        self, database: Database, outcome: object, decision: object
    ) -> None:
        await to_an_endpoint(database, to_endpoint("dlv_1"))
        first = (await claim(database))["dlv_1"]
        await record(database, first, outcome, decision)  # type: ignore[arg-type]
        ended = await stored_one(database, Delivery)
        row = await resend(database, "dlv_1")
        assert (row.status, row.due_at, row.finished_at, row.give_up_at) == (
            "pending",
            LATER,
            None,
            LATER + FIVE_DAYS,
        )
        assert (row.attempts_made, row.attempts_started) == (0, 1)
        assert row.fence > ended.fence
        due = (await claim(database, now=LATER))["dlv_1"]
        assert (due.event_id, due.body, due.attempts_made, due.is_retry) == (first.event_id, first.body, 0, True)

    async def test_that_has_ended_is_out_of_the_hands_of_whoever_had_it(self, database: Database) -> None:
        await to_an_endpoint(database, to_endpoint("dlv_1"))
        slow = (await claim(database))["dlv_1"]
        quick = (await claim(database, now=NOW + LEASE))["dlv_1"]
        await record(database, quick, FAILED, DEAD, now=NOW + LEASE)
        await resend(database, "dlv_1")
        assert not await record(database, slow, OK, DELIVERED, now=LATER)
        assert not await record(database, quick, OK, DELIVERED, now=LATER)
        assert (await stored_one(database, Delivery)).status == "pending"

    async def test_that_waits_goes_on_with_its_schedule_now(self, database: Database) -> None:
        await to_an_endpoint(database, to_endpoint("dlv_1"))
        await record(database, (await claim(database))["dlv_1"], FAILED, RETRY)
        row = await resend(database, "dlv_1", now=NOW + SECOND)
        assert (row.status, row.due_at, row.attempts_made, row.give_up_at) == (
            "pending",
            NOW + SECOND,
            1,
            NOW + SECOND + FIVE_DAYS,
        )
        assert (await claim(database, now=NOW + SECOND))["dlv_1"].attempts_made == 1

    async def test_alone(self, database: Database) -> None:
        await to_an_endpoint(database, *(to_endpoint(f"dlv_{status}", status=status) for status in DeliveryStatus))
        before = await deliveries(database)
        await resend(database, "dlv_dead")
        after = await deliveries(database)
        assert {name for name in after if after[name] != before[name]} == {"dlv_dead"}


def made_at(minute: int, *, endpoint: str = "whe_1", status: DeliveryStatus = DeliveryStatus.DEAD) -> Delivery:
    """Of an event at that minute."""
    at = NOW + timedelta(minutes=minute)
    row = a_delivery(
        ids.new_id(ids.DELIVERY, at, random.Random(f"{minute} {endpoint}")),
        event=f"evt_{minute}",
        training=f"trn_{minute}",
        endpoint=endpoint,
        status=status,
    )
    row.created_at = at
    return row


async def fill(database: Database, *rows: Delivery) -> None:
    await to_an_endpoint(database)
    names = {str(row.training_id) for row in rows}
    await store(
        database,
        an_endpoint("whe_2"),
        *(a_training(name) for name in names),
        *(an_event(name.replace("trn", "evt"), training=name) for name in names),
        *rows,
    )


SPAN = {"since": NOW, "until": NOW + timedelta(hours=1)}


async def count_failed(database: Database, *, since: datetime = NOW, until: datetime = SPAN["until"]) -> int:
    return await database.read(lambda unit: unit.deliveries.count_failed("whe_1", since=since, until=until))


async def resend_failed(database: Database, *, after: str = "", limit: int = 100) -> tuple[int, str | None]:
    return await database.transaction(
        lambda unit: unit.deliveries.resend_failed("whe_1", **SPAN, after=after, now=LATER, limit=limit)
    )


async def due_later(database: Database) -> list[str]:
    return sorted(name for name, row in (await deliveries(database)).items() if row.due_at == LATER)


class TestAllThatFailed:
    async def test_are_those_given_up_and_those_that_wait_after_a_failure(self, database: Database) -> None:
        untried, waiting, held, under_way, delivered, dead = (
            made_at(minute, status=status)
            for minute, status in enumerate(
                [DeliveryStatus.PENDING] * 4 + [DeliveryStatus.DELIVERED, DeliveryStatus.DEAD]
            )
        )
        waiting.attempts_made = held.attempts_made = under_way.attempts_made = 1
        waiting.due_at = NOW + timedelta(hours=2)
        untried.due_at, held.due_at = NOW + timedelta(hours=2), None
        names = {"waiting": waiting.id, "dead": dead.id}
        await fill(database, untried, waiting, held, under_way, delivered, dead)
        assert len(await claim(database)) == 1
        assert await count_failed(database) == 2
        assert await resend_failed(database) == (2, max(names.values()))
        assert await due_later(database) == sorted(names.values())

    async def test_are_those_of_this_endpoint_and_time(self, database: Database) -> None:
        rows = [made_at(minute) for minute in (-1, 0, 59, 60)]
        inside = sorted(row.id for row in rows[1:3])
        await fill(database, *rows, made_at(30, endpoint="whe_2"))
        assert await count_failed(database) == 2
        assert await resend_failed(database) == (2, inside[-1])
        assert await due_later(database) == inside

    @pytest.mark.parametrize("limit", [1, 3, 7, 100])
    async def test_are_resent_in_batches_none_twice_and_none_left_out(self, database: Database, limit: int) -> None:
        rows = [made_at(minute, status=list(DeliveryStatus)[minute % 3]) for minute in range(21)]
        for row in rows[::6]:
            row.attempts_made, row.due_at = 1, NOW + timedelta(days=1)
        failed = sorted(row.id for row in rows if row.status == "dead" or row.attempts_made)
        await fill(database, *rows)
        total = await count_failed(database)
        after, sizes = "", []
        while (batch := await resend_failed(database, after=after, limit=limit))[1] is not None:
            sizes.append(batch[0])
            assert batch[1] > after
            after = batch[1]
        assert batch == (0, None)
        assert total == sum(sizes) == len(failed) == 11
        assert all(size == limit for size in sizes[:-1])
        assert await due_later(database) == failed
        assert {(await deliveries(database))[name].fence for name in failed} <= {0, 1}, "one was resent twice"

    async def test_nothing_failed(self, database: Database) -> None:
        await fill(database, made_at(1, status=DeliveryStatus.DELIVERED))
        assert await count_failed(database) == 0
        assert await resend_failed(database) == (0, None)

    async def test_what_was_resent_and_waits_is_not_failed_before_it_fails_again(self, database: Database) -> None:
        await fill(database, made_at(1))
        assert (await resend_failed(database))[0] == 1
        assert await count_failed(database) == 0
        due = next(iter((await claim(database, now=LATER)).values()))
        await record(database, due, FAILED, RETRY, now=LATER)
        assert await count_failed(database) == 1


class TestTheirEndpoint:
    async def change(self, database: Database, work: Callable[[UnitOfWork], None]) -> dict[str, Delivery]:
        """One delivery in each status, of this and of another endpoint; what `work` has changed of them."""
        rows = [
            made_at(number, endpoint=endpoint, status=status)
            for endpoint in ("whe_1", "whe_2")
            for number, status in enumerate(DeliveryStatus)
        ]
        names = {row.id: f"{row.status} {row.endpoint_id}" for row in rows}
        await fill(database, *rows)
        before = await deliveries(database)
        await database.transaction(work)
        after = await deliveries(database)
        return {names[name]: row for name, row in after.items() if row != before[name]}

    async def test_is_paused_so_what_waits_is_held(self, database: Database) -> None:
        changed = await self.change(database, lambda unit: unit.deliveries.hold("whe_1"))
        assert set(changed) == {"pending whe_1"}
        assert (changed["pending whe_1"].status, changed["pending whe_1"].due_at) == ("pending", None)
        assert {due.target.id for due in (await claim(database, now=LATER)).values()} == {"whe_2"}

    async def test_is_back_so_what_was_held_is_due_and_kept_as_long_as_anything_new(self, database: Database) -> None:
        def pause_and_return(unit: UnitOfWork) -> None:
            unit.deliveries.hold("whe_1")
            unit.deliveries.release("whe_1", now=LATER)

        changed = await self.change(database, pause_and_return)
        assert set(changed) == {"pending whe_1"}
        assert (changed["pending whe_1"].due_at, changed["pending whe_1"].give_up_at) == (LATER, LATER + FIVE_DAYS)

    async def test_is_gone_so_what_waits_is_dead(self, database: Database) -> None:
        changed = await self.change(database, lambda unit: unit.deliveries.bury("whe_1", now=LATER))
        assert set(changed) == {"pending whe_1"}
        row = changed["pending whe_1"]
        assert (row.status, row.due_at, row.finished_at) == ("dead", None, LATER)

    async def test_is_gone_while_an_attempt_is_under_way_that_may_still_succeed(self, database: Database) -> None:
        await to_an_endpoint(database, to_endpoint("dlv_1"))
        due = (await claim(database))["dlv_1"]
        await database.transaction(lambda unit: unit.deliveries.bury("whe_1", now=NOW))
        assert await record(database, due, OK, DELIVERED, now=NOW + SECOND)
        assert (await stored_one(database, Delivery)).status == "delivered"

    async def test_has_moved_so_what_waits_goes_to_its_new_host(self, database: Database) -> None:
        changed = await self.change(database, lambda unit: unit.deliveries.redirect("whe_1", host="new.example:443"))
        assert {name: row.host for name, row in changed.items()} == {"pending whe_1": "new.example:443"}
