"""Times come back as the instant that was stored, in UTC, and are compared as instants."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from service.storage.database import Database
from service.storage.tables import Tenant, Training
from tests.support.rows import LEASE, a_tenant, a_training, store, stored_one

KOLKATA = timezone(timedelta(hours=5, minutes=30))


async def test_another_zone_comes_back_as_the_same_instant_in_utc(database: Database) -> None:
    tenant = a_tenant()
    tenant.created_at = datetime(2026, 3, 1, 1, 15, 30, 123456, tzinfo=KOLKATA)
    await store(database, tenant)
    found = (await stored_one(database, Tenant)).created_at
    assert found == datetime(2026, 2, 28, 19, 45, 30, 123456, tzinfo=UTC)
    assert found.utcoffset() == timedelta(0)
    assert found.isoformat() == "2026-02-28T19:45:30.123456+00:00"


@pytest.mark.parametrize(
    ("now", "claimed"),
    [
        (datetime(2026, 3, 1, 17, 29, 59, 999999, tzinfo=KOLKATA), []),
        (datetime(2026, 3, 1, 17, 30, 0, 0, tzinfo=KOLKATA), ["trn_1"]),
        (datetime(2026, 3, 1, 11, 59, 59, 999999, tzinfo=UTC), []),
        (datetime(2026, 3, 1, 12, 0, 0, 0, tzinfo=UTC), ["trn_1"]),
    ],
)
async def test_what_is_due_is_compared_as_an_instant_to_the_microsecond(
    database: Database, now: datetime, claimed: list[str]
) -> None:
    await store(database, a_tenant(), a_training(due_at=datetime(2026, 3, 1, 12, 0, tzinfo=UTC)))
    due = await database.transaction(lambda unit: unit.trainings.claim_due(now=now, lease_for=LEASE, limit=10))
    assert [training.id for training in due] == claimed


async def test_no_time_stays_no_time(database: Database) -> None:
    await store(database, a_tenant(), a_training(due_at=None))
    found = await stored_one(database, Training)
    assert (found.due_at, found.last_polled_at, found.finished_at) == (None, None, None)


async def test_a_claim_at_a_naive_time_is_refused(database: Database) -> None:
    with pytest.raises(ValueError, match="a stored time must carry its zone"):
        await database.transaction(
            lambda unit: unit.trainings.claim_due(
                now=datetime(2026, 3, 1, 12, 0, tzinfo=UTC).replace(tzinfo=None), lease_for=LEASE, limit=1
            )
        )
