"""Event cursors on PostgreSQL: four writers commit in any order, and a reader elsewhere sees every event once."""

import asyncio
import random
from collections import defaultdict
from collections.abc import Sequence
from functools import partial

from sqlalchemy import text

from service.domain.event import EventType
from service.storage.database import Database, UnitOfWork, Work
from service.storage.tables import Event
from tests.storage.sending import adds
from tests.support.rows import a_tenant, a_training, an_event, store

WRITERS, READERS = 4, 3
EVENTS_EACH = 40
TENANTS = ("ten_a", "ten_b", "ten_c")
# How long a writer keeps its transaction open after it took a place among its tenant's events.
LONGEST = 0.02


def slowly(rng: random.Random, event_id: str, sequence: int) -> Work[None]:
    """Adds an event of some tenant's, and commits it a while later."""
    tenant, pause = rng.choice(TENANTS), rng.uniform(0, LONGEST)
    add = adds(an_event(event_id, tenant=tenant, training=f"trn_{tenant}", type=EventType.OVERDUE, sequence=sequence))

    def work(unit: UnitOfWork) -> None:
        add(unit)
        unit.session.connection().execute(text("SELECT pg_sleep(:pause)"), {"pause": pause})

    return work


def after(tenant: str, cursor: int, unit: UnitOfWork) -> Sequence[Event]:
    return unit.events.after(tenant, cursor, limit=3)


async def test_readers_at_three_replicas_see_every_event_once_while_four_write(postgres_url: str) -> None:
    home, *replicas = (Database(postgres_url) for _ in range(1 + WRITERS + READERS))
    await store(home, *(a_tenant(tenant) for tenant in TENANTS))
    await store(home, *(a_training(f"trn_{tenant}", tenant=tenant) for tenant in TENANTS))
    rng = random.Random(7)
    total = WRITERS * EVENTS_EACH

    async def write(database: Database, writer: int) -> None:
        for number in range(EVENTS_EACH):
            await database.transaction(slowly(rng, f"evt_{writer}_{number:02}", 1000 * writer + number))

    async def follow(database: Database) -> dict[str, list[str]]:
        seen: dict[str, list[str]] = defaultdict(list)
        cursors = dict.fromkeys(TENANTS, 0)
        while sum(map(len, seen.values())) < total:
            for tenant, cursor in cursors.items():
                page = await database.read(partial(after, tenant, cursor))
                seen[tenant] += [event.id for event in page]
                cursors[tenant] = page[-1].position if page else cursor
        return seen

    async with asyncio.timeout(100):
        *_, first, second, third = await asyncio.gather(
            *(write(database, number) for number, database in enumerate(replicas[:WRITERS])),
            *(follow(database) for database in replicas[WRITERS:]),
        )
    stored = await follow(home)
    for database in (home, *replicas):
        await database.close()
    assert first == second == third == stored
    assert len({event for events in stored.values() for event in events}) == total
