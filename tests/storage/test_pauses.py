"""Polls that are put off (429), and due times that are brought forward again when the wall clock was put back."""

from collections.abc import Mapping
from datetime import datetime, timedelta

import pytest

from service.domain.delivery import DeliveryStatus
from service.domain.training import Status
from service.storage.database import Database
from service.storage.tables import Delivery, Tenant, Training
from tests.support.rows import LEASE, NOW, a_callback, a_delivery, a_tenant, a_training, an_event, store, stored

SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
YEAR = timedelta(days=365)


class TestPostpone:
    async def test_what_the_tenant_has_due_sooner_is_due_then(self, database: Database) -> None:
        await store(
            database,
            a_tenant("ten_a"),
            a_tenant("ten_b"),
            a_training("trn_overdue", due_at=NOW - MINUTE, fence=4),
            a_training("trn_sooner", due_at=NOW + MINUTE),
            a_training("trn_later", due_at=NOW + 9 * MINUTE),
            a_training("trn_suspended", suspended=True, due_at=None),
            a_training("trn_ended", status=Status.READY),
            a_training("trn_of_another", tenant="ten_b"),
        )
        await database.transaction(lambda unit: unit.trainings.postpone("ten_a", until=NOW + 5 * MINUTE))
        assert {row.id: (row.due_at, row.fence) for row in await stored(database, Training)} == {
            "trn_overdue": (NOW + 5 * MINUTE, 4),
            "trn_sooner": (NOW + 5 * MINUTE, 0),
            "trn_later": (NOW + 9 * MINUTE, 0),
            "trn_suspended": (None, 0),
            "trn_ended": (None, 0),
            "trn_of_another": (NOW, 0),
        }


class TestPausePolls:
    async def test_it_is_the_pause_of_one_tenant(self, database: Database) -> None:
        await store(database, a_tenant("ten_a"), a_tenant("ten_b"))
        await database.transaction(lambda unit: unit.tenants.pause_polls("ten_a", until=NOW + MINUTE))
        assert await pauses(database) == {"ten_a": NOW + MINUTE, "ten_b": None}

    @pytest.mark.parametrize(
        ("second", "kept"), [(NOW + MINUTE, NOW + 9 * MINUTE), (NOW + 20 * MINUTE, NOW + 20 * MINUTE)]
    )
    async def test_of_two_the_longer_one_counts(self, database: Database, second: datetime, kept: datetime) -> None:
        """Several polls of a key are answered 429 at once, and only one of them may say how long."""
        await store(database, a_tenant("ten_a"))
        await database.transaction(lambda unit: unit.tenants.pause_polls("ten_a", until=NOW + 9 * MINUTE))
        await database.transaction(lambda unit: unit.tenants.pause_polls("ten_a", until=second))
        assert await pauses(database) == {"ten_a": kept}

    async def test_a_pause_that_no_429_explains_is_shortened(self, database: Database) -> None:
        rows = {name: a_tenant(name) for name in ("ten_far", "ten_near", "ten_none")}
        rows["ten_far"].polls_paused_until = NOW + YEAR
        rows["ten_near"].polls_paused_until = NOW + MINUTE
        await store(database, *rows.values())
        await database.transaction(lambda unit: unit.tenants.shorten_pauses(latest=NOW + 60 * MINUTE))
        assert await pauses(database) == {"ten_far": NOW + 60 * MINUTE, "ten_near": NOW + MINUTE, "ten_none": None}


async def pauses(database: Database) -> dict[str, datetime | None]:
    return {tenant.id: tenant.polls_paused_until for tenant in await stored(database, Tenant)}


class TestPullInDeliveries:
    """After a year that the wall clock was put back."""

    SCHEDULE = (timedelta(0), 5 * SECOND, 5 * MINUTE, 120 * MINUTE)

    @pytest.mark.parametrize(
        ("made", "latest"),
        [
            # Never below the lease: it may be under way in another process.
            pytest.param(0, LEASE, id="first attempt"),
            pytest.param(1, LEASE, id="a short step"),
            pytest.param(2, 6 * MINUTE, id="a step and its jitter"),
            pytest.param(3, 144 * MINUTE, id="the last step and its jitter"),
        ],
    )
    async def test_none_waits_longer_than_its_step(self, database: Database, made: int, latest: timedelta) -> None:
        times = {"far": YEAR, "just_late": latest + SECOND, "in_time": latest, "soon": latest / 2, "due": -SECOND}
        await self.store(database, {name: NOW + at for name, at in times.items()}, made=made)
        assert await self.pull_in(database) == 2
        expected = {name: NOW + min(at, latest) for name, at in times.items()}
        rows = await stored(database, Delivery)
        assert {row.id: row.due_at for row in rows} == expected
        # Whoever has one under way may still record what came of it.
        assert {row.fence for row in rows} == {0}

    async def test_what_is_done_stays_done(self, database: Database) -> None:
        await self.store(database, {"done": None}, made=1, status=DeliveryStatus.DELIVERED)
        assert await self.pull_in(database) == 0
        assert [row.due_at for row in await stored(database, Delivery)] == [None]

    async def pull_in(self, database: Database) -> int:
        return await database.transaction(lambda unit: unit.outbox.pull_in(self.SCHEDULE, now=NOW, lease_for=LEASE))

    @staticmethod
    async def store(
        database: Database,
        due: Mapping[str, datetime | None],
        *,
        made: int,
        status: DeliveryStatus = DeliveryStatus.PENDING,
    ) -> None:
        await store(database, a_tenant(), a_training(), an_event())
        for name, at in due.items():
            delivery = a_delivery(name, callback=f"cbk_{name}", due_at=at, status=status)
            delivery.attempts_made = made
            await store(database, a_callback(f"cbk_{name}"), delivery)


class TestRebase:
    async def test_a_poll_that_lies_ahead_counts_as_made_now(self, database: Database) -> None:
        ahead, before = a_training("trn_ahead"), a_training("trn_before")
        ahead.last_polled_at, before.last_polled_at = NOW + SECOND, NOW - SECOND
        ended = a_training("trn_ended", status=Status.READY)
        ended.last_polled_at = NOW + SECOND
        await store(database, a_tenant(), ahead, before, ended, a_training("trn_never"))
        await database.transaction(lambda unit: unit.trainings.rebase(NOW))
        assert {row.id: (row.last_polled_at, row.due_at, row.fence) for row in await stored(database, Training)} == {
            "trn_ahead": (NOW, NOW, 0),
            "trn_before": (NOW - SECOND, NOW, 0),
            "trn_ended": (NOW + SECOND, None, 0),
            "trn_never": (None, NOW, 0),
        }


class TestOldestDue:
    async def test_of_trainings(self, database: Database) -> None:
        assert await database.read(lambda unit: unit.trainings.oldest_due()) is None
        await store(
            database,
            a_tenant(),
            a_training("trn_1", due_at=NOW - MINUTE),
            a_training("trn_2", due_at=NOW - 2 * MINUTE),
            a_training("trn_3", suspended=True, due_at=None),
        )
        assert await database.read(lambda unit: unit.trainings.oldest_due()) == NOW - 2 * MINUTE

    async def test_of_deliveries(self, database: Database) -> None:
        assert await database.read(lambda unit: unit.outbox.oldest_due()) is None
        await TestPullInDeliveries.store(database, {"first": NOW + MINUTE, "second": NOW + 2 * MINUTE}, made=0)
        assert await database.read(lambda unit: unit.outbox.oldest_due()) == NOW + MINUTE
