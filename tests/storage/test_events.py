"""Events as readers follow them: each once, in the order of their commits, whatever is committed meanwhile."""

import asyncio
from collections.abc import Collection

import pytest

from service.domain.event import EventType
from service.storage.database import Database
from tests.storage.sending import adds
from tests.support.rows import a_tenant, a_training, an_event, store

TYPES = [EventType.STARTED, EventType.OVERDUE, EventType.READY, EventType.SUSPENDED, EventType.OVERDUE]


async def filled(database: Database) -> None:
    """Five events of `ten_a` at its positions 1 to 5, two of `ten_b`."""
    await store(
        database,
        a_tenant("ten_a"),
        a_tenant("ten_b"),
        a_training("trn_a"),
        a_training("trn_b", tenant="ten_b"),
        *(
            an_event(f"evt_{9 - number}", training="trn_a", type=kind, sequence=number, position=number)
            for number, kind in enumerate(TYPES, start=1)
        ),
        *(
            an_event(f"evt_b{number}", tenant="ten_b", training="trn_b", type=kind, sequence=number, position=number)
            for number, kind in enumerate(TYPES[:2], start=1)
        ),
    )


async def after(
    database: Database, position: int, *, tenant: str = "ten_a", types: Collection[str] = (), limit: int = 100
) -> list[int]:
    found = await database.read(lambda unit: unit.events.after(tenant, position, types=types, limit=limit))
    assert {event.tenant_id for event in found} <= {tenant}
    return [event.position for event in found]


class TestAfter:
    @pytest.mark.parametrize(
        ("position", "limit", "expected"),
        [(0, 100, [1, 2, 3, 4, 5]), (3, 100, [4, 5]), (0, 2, [1, 2]), (4, 1, [5]), (5, 100, []), (99, 100, [])],
    )
    async def test_a_position_oldest_first(
        self, database: Database, position: int, limit: int, expected: list[int]
    ) -> None:
        await filled(database)
        assert await after(database, position, limit=limit) == expected

    @pytest.mark.parametrize(
        ("types", "position", "limit", "expected"),
        [
            ([EventType.OVERDUE], 0, 100, [2, 5]),
            ([EventType.OVERDUE], 2, 100, [5]),
            ([EventType.OVERDUE, EventType.READY], 0, 2, [2, 3]),
            ([EventType.DELETED], 0, 100, []),
            (["training.unheard_of"], 0, 100, []),
        ],
    )
    async def test_a_position_of_some_types(
        self, database: Database, types: list[str], position: int, limit: int, expected: list[int]
    ) -> None:
        await filled(database)
        assert await after(database, position, types=types, limit=limit) == expected

    async def test_a_position_of_this_tenant(self, database: Database) -> None:
        await filled(database)
        assert await after(database, 0, tenant="ten_b") == [1, 2]
        assert await after(database, 1, tenant="ten_b", types=[EventType.OVERDUE]) == [2]
        assert await after(database, 0, tenant="ten_nobody") == []

    async def test_a_reader_sees_every_event_once_while_many_are_added(self, database: Database) -> None:
        await store(database, a_tenant(), *(a_training(f"trn_{number}") for number in range(60)))

        async def add(number: int) -> None:
            await database.transaction(adds(an_event(f"evt_{number:02}", training=f"trn_{number}")))

        async def read_all() -> list[int]:
            seen: list[int] = []
            while len(seen) < 60:
                seen += await after(database, seen[-1] if seen else 0, limit=7)
            return seen

        *_, first, second = await asyncio.gather(*(add(number) for number in range(60)), read_all(), read_all())
        assert first == second == list(range(1, 61))


async def test_the_last_position_is_that_of_the_newest_event(database: Database) -> None:
    await store(database, a_tenant("ten_a"), a_tenant("ten_b"), a_training())

    async def last(tenant: str) -> int:
        return await database.read(lambda unit: unit.events.last_position(tenant))

    assert await last("ten_a") == 0
    for number in (1, 2):
        event = an_event(f"evt_{number}", type=EventType.OVERDUE, sequence=number)
        await database.transaction(adds(event))
        assert await last("ten_a") == number
    assert await after(database, 1) == [2]
    assert (await last("ten_b"), await last("ten_nobody")) == (0, 0)


async def test_another_tenants_event_looks_like_an_absent_one(database: Database) -> None:
    await filled(database)

    async def get(tenant: str, name: str) -> str | None:
        found = await database.read(lambda unit: unit.events.get(tenant, name))
        return found.id if found else None

    assert await get("ten_a", "evt_b1") is None
    assert await get("ten_a", "evt_absent") is None
    assert await get("ten_b", "evt_b1") == "evt_b1"
