"""Call counts: what several replicas count adds up, by day and kind."""

import asyncio
import datetime as dt

from service.storage.database import Database

MONDAY, TUESDAY = dt.date(2026, 2, 2), dt.date(2026, 2, 3)


async def add(database: Database, day: dt.date, **counts: int) -> None:
    await database.transaction(lambda unit: unit.call_counts.add(day, counts))


async def since(database: Database, day: dt.date) -> dict[str, int]:
    return await database.read(lambda unit: unit.call_counts.since(day))


async def test_nothing_counted_is_an_empty_sum(database: Database) -> None:
    assert await since(database, MONDAY) == {}


async def test_counts_of_a_day_and_of_days_add_up(database: Database) -> None:
    await add(database, MONDAY, poll=2, trigger=1)
    await add(database, MONDAY, poll=3)
    await add(database, TUESDAY, poll=5)
    assert await since(database, MONDAY) == {"poll": 10, "trigger": 1}
    assert await since(database, TUESDAY) == {"poll": 5}


async def test_replicas_that_count_at_once_lose_nothing(database: Database) -> None:
    await asyncio.gather(*(add(database, MONDAY, poll=1, sweep=2, trigger=3) for _ in range(8)))
    assert await since(database, MONDAY) == {"poll": 8, "sweep": 16, "trigger": 24}
