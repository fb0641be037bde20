"""The log of deliveries: pages through every filter, and what belongs to the deliveries on a page."""

import random
from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import chain, combinations
from typing import Any

import pytest

from service.domain import ids
from service.domain.delivery import DeliveryStatus
from service.domain.event import EventType
from service.storage.database import Database
from service.storage.deliveries import DeliveryFilter
from service.storage.tables import Delivery
from tests.storage.sending import FAILED, RETRY, attempts, claim, one_delivery, record, to_an_endpoint, to_endpoint
from tests.support.rows import (
    LEASE,
    NOW,
    a_callback,
    a_delivery,
    a_tenant,
    a_training,
    an_endpoint,
    an_event,
    store,
)

MINUTE = timedelta(minutes=1)
MADE = 72
EVERYTHING = DeliveryFilter()
ALL: dict[str, Any] = {
    "training_id": "trn_a1",
    "endpoint_id": "whe_a1",
    "status": "dead",
    "since": NOW + 20 * MINUTE,
    "until": NOW + 60 * MINUTE,
}
SUBSETS = chain.from_iterable(combinations(ALL, size) for size in range(len(ALL) + 1))
EVERY_FILTER = [DeliveryFilter(**{name: ALL[name] for name in names}) for names in SUBSETS]


def kept() -> Iterator[Delivery]:
    """One a minute: of two tenants, two trainings each, two endpoints and a callback, in every status."""
    rng = random.Random(7)
    for number in range(MADE):
        owner = "b" if number % 6 == 0 else "a"
        training = f"{owner}{number // 6 % 2}"
        target = number % 3
        row = a_delivery(
            ids.new_id(ids.DELIVERY, NOW + number * MINUTE, rng),
            event=f"evt_{number}",
            callback=f"cbk_{training}",
            endpoint=f"whe_{owner}{target}" if target else None,
            training=f"trn_{training}",
            tenant=f"ten_{owner}",
            status=list(DeliveryStatus)[number // 12 % 3],
        )
        row.created_at = NOW + number * MINUTE
        yield row


async def filled(database: Database) -> list[Delivery]:
    """What is stored, newest first."""
    rows = list(kept())
    trainings = [f"{owner}{number}" for owner in "ab" for number in range(2)]
    await store(
        database,
        *(a_tenant(f"ten_{owner}") for owner in "ab"),
        *(a_training(f"trn_{name}", tenant=f"ten_{name[0]}") for name in trainings),
        *(a_callback(f"cbk_{name}", training=f"trn_{name}", tenant=f"ten_{name[0]}") for name in trainings),
        *(an_endpoint(f"whe_{owner}{number}", tenant=f"ten_{owner}") for owner in "ab" for number in (1, 2)),
        *(
            # Of a type that a training may have many of.
            an_event(
                row.event_id,
                training=str(row.training_id),
                tenant=row.tenant_id,
                type=EventType.OVERDUE,
                sequence=number,
            )
            for number, row in enumerate(rows)
        ),
        *(Delivery(**row.model_dump()) for row in rows),
    )
    return rows[::-1]


async def page(
    database: Database,
    tenant: str = "ten_a",
    asked: DeliveryFilter = EVERYTHING,
    *,
    before: str | None = None,
    limit: int = 100,
) -> list[str]:
    found = await database.read(lambda unit: unit.deliveries.page(tenant, asked, before=before, limit=limit))
    return [delivery.id for delivery in found]


def fits(row: Delivery, tenant: str, asked: DeliveryFilter) -> bool:
    """The same by the times and columns of the row."""
    return (
        row.tenant_id == tenant
        and asked.training_id in (None, row.training_id)
        and asked.endpoint_id in (None, row.endpoint_id)
        and asked.status in (None, row.status)
        and (asked.since is None or row.created_at >= asked.since)
        and (asked.until is None or row.created_at < asked.until)
    )


class TestPages:
    async def test_newest_first_and_each_begins_where_the_one_before_ended(self, database: Database) -> None:
        expected = [row.id for row in await filled(database) if row.tenant_id == "ten_a"]
        found: list[str] = []
        while more := await page(database, before=found[-1] if found else None, limit=7):
            assert len(more) <= 7
            found += more
        assert found == expected
        assert len(found) == 60

    async def test_filters_narrow_them_together(self, database: Database) -> None:
        rows = await filled(database)
        for asked in EVERY_FILTER:
            expected = [row.id for row in rows if fits(row, "ten_a", asked)]
            assert expected, f"a filter that nothing fits shows little: {asked}"
            assert await page(database, asked=asked) == expected, asked
            # The second page, too, whichever of `until` and the cursor ends it.
            assert await page(database, asked=asked, before=expected[0], limit=3) == expected[1:4], asked
            assert await page(database, asked=asked, before="dlv_z", limit=3) == expected[:3], asked

    async def test_another_tenants_never_show(self, database: Database) -> None:
        rows = await filled(database)
        for asked in EVERY_FILTER:
            expected = [row.id for row in rows if fits(row, "ten_b", asked)]
            assert await page(database, "ten_b", asked) == expected, asked
            assert await page(database, "ten_nobody", asked) == [], asked
            assert expected == [] or (asked.training_id, asked.endpoint_id) == (None, None)

    @pytest.mark.parametrize(
        ("since", "until", "expected"),
        [
            (NOW + 10 * MINUTE, NOW + 12 * MINUTE, [11, 10]),
            (NOW + 10 * MINUTE, NOW + 10 * MINUTE, []),
            (NOW + 12 * MINUTE, NOW + 10 * MINUTE, []),
            (NOW + 10 * MINUTE + timedelta(milliseconds=1), NOW + 12 * MINUTE + timedelta(milliseconds=1), [11]),
            (NOW - timedelta(days=365), NOW + 3 * MINUTE, [2, 1]),
            (NOW + 70 * MINUTE, NOW + timedelta(days=365), [71, 70]),
        ],
    )
    async def test_a_span_has_its_beginning_in_it_and_not_its_end(
        self, database: Database, since: datetime, until: datetime, expected: list[int]
    ) -> None:
        rows = (await filled(database))[::-1]
        asked = DeliveryFilter(since=since, until=until)
        assert await page(database, asked=asked) == [rows[number].id for number in expected]


class TestOne:
    async def test_another_tenants_looks_like_an_absent_one(self, database: Database) -> None:
        await one_delivery(database)

        async def get(tenant: str, name: str, *, hold: bool) -> str | None:
            found = await database.transaction(lambda unit: unit.deliveries.get(tenant, name, hold=hold))
            return found.id if found else None

        for hold in (False, True):
            assert await get("ten_b", "dlv_1", hold=hold) is None
            assert await get("ten_a", "dlv_absent", hold=hold) is None
            assert await get("ten_a", "dlv_1", hold=hold) == "dlv_1"

    async def test_it_is_under_way_from_its_claim_to_its_outcome(self, database: Database) -> None:
        await to_an_endpoint(database, to_endpoint("dlv_1"), to_endpoint("dlv_2", due_at=None))

        async def under_way(now: datetime = NOW) -> list[bool]:
            names, since = ("dlv_1", "dlv_2"), now - LEASE
            return await database.read(lambda unit: [unit.deliveries.under_way(name, since=since) for name in names])

        assert await under_way() == [False, False]
        await claim(database)
        assert await under_way() == [True, False]
        assert await under_way(NOW + LEASE) == [False, False], "its worker is dead"
        due = (await claim(database, now=NOW + LEASE))["dlv_1"]
        assert await under_way() == [True, False]
        await record(database, due, FAILED, RETRY, now=NOW + LEASE)
        assert await under_way() == [False, False], "an interrupted attempt counts"


class TestWhatBelongsToThem:
    async def test_attempts_are_listed_first_to_last_for_each(self, database: Database) -> None:
        await to_an_endpoint(database, to_endpoint("dlv_1"), to_endpoint("dlv_2", due_at=None))
        for leases in range(12):
            await claim(database, now=NOW + leases * LEASE)
        listed = await database.read(lambda unit: unit.deliveries.attempts(["dlv_1", "dlv_2", "dlv_unknown"]))
        assert {key: [attempt.number for attempt in found] for key, found in listed.items()} == {
            "dlv_1": list(range(1, 13)),
            "dlv_2": [],
            "dlv_unknown": [],
        }
        assert listed["dlv_1"] == await attempts(database)

    async def test_urls_are_found_of_callbacks_and_endpoints(self, database: Database) -> None:
        await one_delivery(database)
        await store(
            database,
            an_endpoint("whe_1", deleted_at=NOW),
            an_endpoint("whe_unasked"),
            a_delivery("dlv_2", endpoint="whe_1"),
        )
        rows = [a_delivery("dlv_1"), a_delivery("dlv_2", endpoint="whe_1")]
        assert await database.read(lambda unit: unit.deliveries.urls(rows)) == {
            "cbk_1": "https://receiver.example/cbk_1",
            "whe_1": "https://receiver.example/whe_1",
        }
        assert await database.read(lambda unit: unit.deliveries.urls([])) == {}
