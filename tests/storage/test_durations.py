"""How long the last trainings took that became ready."""

from datetime import datetime, timedelta

from service.domain.training import TERMINAL, Status
from service.storage.database import Database
from service.storage.tables import Training
from tests.support.rows import NOW, a_tenant, a_training, store

MINUTE = timedelta(minutes=1)


def ended(number: int, took: timedelta, *, status: Status = Status.READY, at: datetime | None = None) -> Training:
    """The one of that number is the last but so many to end."""
    row = a_training(f"trn_{number:04}", status=status)
    row.finished_at = at or NOW - number * MINUTE
    row.triggered_at = row.finished_at - took
    return row


async def durations(database: Database, limit: int = 200) -> list[timedelta]:
    return await database.read(lambda unit: unit.history.durations(limit=limit))


async def test_of_none_there_is_none(database: Database) -> None:
    await store(database, a_tenant(), a_training())
    assert await durations(database) == []


async def test_the_last_to_end_come_first_and_only_so_many(database: Database) -> None:
    rows = [ended(number, (20 + number) * MINUTE) for number in range(10)]
    await store(database, a_tenant(), *reversed(rows[::2]), *rows[1::2])
    assert await durations(database) == [(20 + number) * MINUTE for number in range(10)]
    assert await durations(database, limit=3) == [20 * MINUTE, 21 * MINUTE, 22 * MINUTE]


async def test_only_those_that_became_ready_count(database: Database) -> None:
    others = [ended(number, MINUTE, status=status) for number, status in enumerate(sorted(TERMINAL))]
    await store(database, a_tenant(), *others, ended(100, 22 * MINUTE), a_training("trn_active"))
    assert sorted(await durations(database)) == [MINUTE, 22 * MINUTE]


async def test_one_without_a_known_trigger_does_not_count(database: Database) -> None:
    odd = ended(1, MINUTE)
    odd.triggered_at = None
    await store(database, a_tenant(), odd, ended(2, 21 * MINUTE))
    assert await durations(database) == [21 * MINUTE]


async def test_they_count_whoever_s_they_are(database: Database) -> None:
    row = ended(1, 21 * MINUTE)
    row.tenant_id = "ten_b"
    await store(database, a_tenant("ten_a"), a_tenant("ten_b"), row, ended(2, 22 * MINUTE))
    assert await durations(database) == [21 * MINUTE, 22 * MINUTE]


async def test_it_does_not_look_far_for_such_that_became_ready(database: Database) -> None:
    others = [ended(number, MINUTE, status=Status.CANCELLED) for number in range(999)]
    await store(database, a_tenant(), *others, ended(2000, 21 * MINUTE), ended(2001, 22 * MINUTE))
    assert await durations(database) == [21 * MINUTE]
