"""Webhook endpoints and recoveries: each its tenant's alone, a deleted one hidden but kept."""

import asyncio
from datetime import timedelta

from service.domain.endpoint import EndpointStatus
from service.storage.database import Database, UnitOfWork
from service.storage.tables import Recovery, WebhookEndpoint
from tests.storage.interleaving import uncommitted, wait_for_a_blocked_transaction
from tests.support.rows import NOW, a_recovery, a_tenant, an_endpoint, store, stored, stored_one

LATER = NOW + timedelta(hours=1)


async def filled(database: Database) -> None:
    await store(
        database,
        a_tenant("ten_a"),
        a_tenant("ten_b"),
        *(an_endpoint(f"whe_{number}") for number in range(5)),
        an_endpoint("whe_deleted", deleted_at=NOW),
        an_endpoint("whe_paused", status=EndpointStatus.PAUSED),
        an_endpoint("whe_b", tenant="ten_b"),
    )


ALL = ["whe_paused", "whe_4", "whe_3", "whe_2", "whe_1", "whe_0"]


class TestEndpoints:
    async def test_what_is_added_is_stored_with_its_defaults(self, database: Database) -> None:
        await store(database, a_tenant())
        await database.transaction(lambda unit: unit.endpoints.add(an_endpoint()))
        row = await stored_one(database, WebhookEndpoint)
        assert row == an_endpoint()
        assert (row.retry_schedule, row.header_names, row.caller_metadata, row.description) == (None, [], {}, "")

    async def test_pages_are_newest_first_and_without_deleted_ones(self, database: Database) -> None:
        await filled(database)

        async def page(tenant: str = "ten_a", *, before: str | None = None, limit: int = 100) -> list[str]:
            found = await database.read(lambda unit: unit.endpoints.page(tenant, before=before, limit=limit))
            return [endpoint.id for endpoint in found]

        assert await page() == ALL
        assert await page(limit=2) == ALL[:2]
        assert await page(limit=2, before="whe_4") == ALL[2:4]
        assert await page("ten_b") == ["whe_b"]
        assert await page("ten_nobody") == []

    async def test_all_of_a_tenant_are_what_an_event_goes_to(self, database: Database) -> None:
        await filled(database)
        found = await database.transaction(lambda unit: unit.endpoints.all_of("ten_a"))
        assert [endpoint.id for endpoint in found] == ALL[::-1]
        counts = await database.read(lambda unit: [unit.endpoints.count(name) for name in ("ten_a", "ten_b", "ten_c")])
        assert counts == [6, 1, 0]

    async def test_another_tenants_or_a_deleted_one_looks_like_an_absent_one(self, database: Database) -> None:
        await filled(database)

        def look(unit: UnitOfWork) -> list[str | None]:
            asked = [("ten_a", "whe_1"), ("ten_b", "whe_1"), ("ten_a", "whe_deleted"), ("ten_a", "whe_absent")]
            found = [unit.endpoints.get(*one, hold=hold) for hold in (False, True) for one in asked]
            return [endpoint.id if endpoint else None for endpoint in found]

        assert await database.transaction(look) == ["whe_1", None, None, None] * 2

    async def test_whoever_records_an_attempt_still_finds_a_deleted_one(self, database: Database) -> None:
        await filled(database)
        found = await database.transaction(lambda unit: unit.endpoints.hold("whe_deleted"))
        assert found is not None
        assert found.deleted_at == NOW
        assert await database.transaction(lambda unit: unit.endpoints.hold("whe_absent")) is None

    async def test_a_change_changes_what_it_names_and_gives_the_row_after_it(self, database: Database) -> None:
        await filled(database)
        before = {row.id: row for row in await stored(database, WebhookEndpoint)}

        def change(unit: UnitOfWork) -> WebhookEndpoint:
            assert unit.endpoints.get("ten_a", "whe_1") is not None
            return unit.endpoints.change("whe_1", {"status": EndpointStatus.PAUSED, "retry_schedule": [0, 1.5]})

        changed = await database.transaction(change)
        after = {row.id: row for row in await stored(database, WebhookEndpoint)}
        assert changed == after.pop("whe_1")
        old = before.pop("whe_1")
        assert changed.model_dump() == old.model_dump() | {"status": "paused", "retry_schedule": [0, 1.5]}
        assert after == before

    async def test_one_that_is_held_is_changed_by_nobody_else(self, postgres: Database, postgres_url: str) -> None:
        await filled(postgres)
        pausing = {"status": EndpointStatus.PAUSED}
        async with uncommitted(postgres_url, lambda unit: unit.endpoints.hold("whe_1")):
            change = asyncio.create_task(postgres.transaction(lambda unit: unit.endpoints.change("whe_1", pausing)))
            await wait_for_a_blocked_transaction(postgres)
            assert (await postgres.transaction(lambda unit: unit.endpoints.change("whe_2", pausing))).id == "whe_2"
        assert (await change).status == "paused"


class TestRecoveries:
    async def add(self, database: Database, *recoveries: Recovery) -> None:
        def work(unit: UnitOfWork) -> None:
            for recovery in recoveries:
                unit.endpoints.add_recovery(recovery)

        await filled(database)
        await database.transaction(work)

    async def test_is_found_by_its_tenant_and_endpoint_alone(self, database: Database) -> None:
        await self.add(database, a_recovery("rec_1"))

        def look(unit: UnitOfWork) -> list[str | None]:
            asked = [
                ("ten_a", "whe_1", "rec_1"),
                ("ten_b", "whe_1", "rec_1"),
                ("ten_a", "whe_2", "rec_1"),
                ("ten_a", "whe_1", "rec_2"),
            ]
            found = [unit.endpoints.recovery(*one) for one in asked]
            return [recovery.id if recovery else None for recovery in found]

        assert await database.read(look) == ["rec_1", None, None, None]
        assert await stored_one(database, Recovery) == a_recovery("rec_1")

    async def test_those_that_run_are_oldest_first(self, database: Database) -> None:
        await self.add(
            database,
            a_recovery("rec_3"),
            a_recovery("rec_1"),
            a_recovery("rec_2", finished_at=NOW),
            a_recovery("rec_4"),
        )

        async def running(limit: int) -> list[str]:
            return list(await database.read(lambda unit: unit.endpoints.running_recoveries(limit)))

        assert await running(9) == ["rec_1", "rec_3", "rec_4"]
        assert await running(2) == ["rec_1", "rec_3"]

    async def test_one_that_is_done_is_not_worked_on(self, database: Database) -> None:
        await self.add(database, a_recovery("rec_1"), a_recovery("rec_2", finished_at=NOW))

        async def held(name: str) -> bool:
            return await database.transaction(lambda unit: unit.endpoints.hold_recovery(name) is not None)

        assert [await held(name) for name in ("rec_1", "rec_2", "rec_3")] == [True, False, False]

    async def test_two_workers_work_one_after_the_other(self, postgres: Database, postgres_url: str) -> None:
        await self.add(postgres, a_recovery("rec_1"))

        def finish(unit: UnitOfWork) -> None:
            job = unit.endpoints.hold_recovery("rec_1")
            assert job is not None
            job.finished_at = LATER
            unit.session.flush()

        async with uncommitted(postgres_url, finish):
            other = asyncio.create_task(
                postgres.transaction(lambda unit: unit.endpoints.hold_recovery("rec_1") is None)
            )
            await wait_for_a_blocked_transaction(postgres)
        assert await other, "it was done before the other worker had it"
