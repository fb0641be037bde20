"""Tenants: one row and one signing secret each, and a key that is kept no longer than it is needed (promise 7)."""

import asyncio
import random
from collections.abc import Callable
from datetime import timedelta

import pytest

from service.domain.training import QueueRules, Signal, Status
from service.storage.database import Database, UnitOfWork
from service.storage.due_training import watch_of
from service.storage.tables import Tenant, Training
from service.trainings.record import Held, Recorder
from tests.storage.interleaving import uncommitted, wait_for_a_blocked_transaction
from tests.support.rows import NOW, a_tenant, a_training, store, stored, stored_one


async def ensure(database: Database, *, secret: bytes, minutes: int = 0) -> Tenant:
    return await database.transaction(
        lambda unit: unit.tenants.ensure("ten_a", new_secret=lambda: secret, now=NOW + timedelta(minutes=minutes))
    )


class TestEnsure:
    async def test_a_new_tenant_is_stored_with_its_secret_and_without_a_key(self, database: Database) -> None:
        assert (await ensure(database, secret=b"first")).sealed_signing_secret == b"first"
        assert (await stored_one(database, Tenant)).model_dump() == {
            "id": "ten_a",
            "sealed_key": None,
            "sealed_signing_secret": b"first",
            "sealed_previous_secret": None,
            "previous_secret_until": None,
            "polls_paused_until": None,
            "sweep_after": None,
            "queue_due_at": None,
            "queue_tried_at": None,
            "queue_tries": 0,
            "event_position": 0,
            "created_at": NOW,
        }

    async def test_twice_is_one_row_with_the_first_secret(self, database: Database) -> None:
        await ensure(database, secret=b"first")
        again = await ensure(database, secret=b"second", minutes=5)
        assert (again.sealed_signing_secret, again.created_at) == (b"first", NOW)
        assert (await stored_one(database, Tenant)).sealed_signing_secret == b"first"

    async def test_many_at_once_are_one_row_and_one_secret_for_all(self, database: Database) -> None:
        tenants = await asyncio.gather(*(ensure(database, secret=b"secret %d" % number) for number in range(12)))
        kept = (await stored_one(database, Tenant)).sealed_signing_secret
        assert {tenant.sealed_signing_secret for tenant in tenants} == {kept}

    async def test_one_that_is_not_committed_is_waited_for(self, postgres: Database, postgres_url: str) -> None:
        def first(unit: UnitOfWork) -> None:
            unit.tenants.ensure("ten_a", new_secret=lambda: b"first", now=NOW)

        async with uncommitted(postgres_url, first):
            late = asyncio.create_task(ensure(postgres, secret=b"second"))
            await wait_for_a_blocked_transaction(postgres)
        assert (await late).sealed_signing_secret == b"first"
        assert (await stored_one(postgres, Tenant)).sealed_signing_secret == b"first"


class TestKey:
    async def erase_if_idle(self, database: Database, tenant: str = "ten_a") -> None:
        await database.transaction(lambda unit: unit.tenants.erase_key_if_idle(tenant))

    async def test_the_newest_is_kept(self, database: Database) -> None:
        await store(database, a_tenant("ten_a", sealed_key=None), a_tenant("ten_b", sealed_key=b"b"))
        await database.transaction(lambda unit: unit.tenants.keep_key("ten_a", b"old"))
        await database.transaction(lambda unit: unit.tenants.keep_key("ten_a", b"new"))
        assert [tenant.sealed_key for tenant in await stored(database, Tenant)] == [b"new", b"b"]

    async def test_it_comes_with_each_claimed_training_of_its_tenant(self, database: Database) -> None:
        await store(
            database,
            a_tenant("ten_a", sealed_key=b"a"),
            a_tenant("ten_b", sealed_key=None),
            a_training("trn_1"),
            a_training("trn_2"),
            a_training("trn_b", tenant="ten_b"),
        )
        claimed = await database.transaction(
            lambda unit: unit.trainings.claim_due(now=NOW, lease_for=timedelta(seconds=60), limit=9)
        )
        assert {due.id: due.sealed_key for due in claimed} == {"trn_1": b"a", "trn_2": b"a", "trn_b": None}

    async def test_it_is_erased_when_no_training_is_left(self, database: Database) -> None:
        await store(database, a_tenant())
        await self.erase_if_idle(database)
        assert (await stored_one(database, Tenant)).sealed_key is None

    async def test_it_is_erased_after_the_last_training_has_ended(self, database: Database) -> None:
        await store(
            database,
            a_tenant(),
            a_training("trn_1", status=Status.READY),
            a_training("trn_2", status=Status.CANCELLED),
        )
        await self.erase_if_idle(database)
        assert (await stored_one(database, Tenant)).sealed_key is None

    @pytest.mark.parametrize(
        "active",
        [
            a_training("trn_2"),
            a_training("trn_2", status=Status.SUBMITTING),
            a_training("trn_2", suspended=True, due_at=None),
        ],
        ids=["training", "submitting", "suspended"],
    )
    async def test_it_is_kept_while_one_is_active(self, database: Database, active: Training) -> None:
        await store(database, a_tenant(), a_training("trn_1", status=Status.READY), Training(**active.model_dump()))
        await self.erase_if_idle(database)
        assert (await stored_one(database, Tenant)).sealed_key == b"sealed key"

    async def test_other_tenants_neither_keep_it_nor_lose_theirs(self, database: Database) -> None:
        await store(
            database, a_tenant("ten_a"), a_tenant("ten_b"), a_tenant("ten_c"), a_training("trn_b", tenant="ten_b")
        )
        await self.erase_if_idle(database, "ten_a")
        assert [tenant.sealed_key for tenant in await stored(database, Tenant)] == [
            None,
            b"sealed key",
            b"sealed key",
        ]

    async def test_a_training_that_begins_at_the_same_moment_keeps_it(
        self, postgres: Database, postgres_url: str
    ) -> None:
        """The last training ends while another, not yet committed, begins: polls of that one need the key."""
        await store(postgres, a_tenant(sealed_key=b"old"), a_training("trn_1", status=Status.READY))

        def begin(unit: UnitOfWork) -> None:
            assert unit.trainings.add(a_training("trn_2"))
            unit.tenants.keep_key("ten_a", b"new")

        async with uncommitted(postgres_url, begin):
            ending = asyncio.create_task(self.erase_if_idle(postgres))
            await wait_for_a_blocked_transaction(postgres)
        await ending
        assert (await stored_one(postgres, Tenant)).sealed_key == b"new"

    async def test_it_is_erased_when_the_last_two_trainings_end_at_the_same_moment(
        self, postgres: Database, postgres_url: str
    ) -> None:
        """Neither sees the other's end before it is committed."""
        await store(postgres, a_tenant(), a_training("trn_1"), a_training("trn_2"))
        async with uncommitted(postgres_url, ends("trn_1")):
            other = asyncio.create_task(postgres.transaction(ends("trn_2")))
            await wait_for_a_blocked_transaction(postgres)
        await other
        assert [training.status for training in await stored(postgres, Training)] == ["ready", "ready"]
        assert (await stored_one(postgres, Tenant)).sealed_key is None

    async def test_a_training_that_begins_after_its_erasure_has_a_key(
        self, postgres: Database, postgres_url: str
    ) -> None:
        await store(postgres, a_tenant(sealed_key=b"old"), a_training("trn_1", status=Status.READY))

        def begin(unit: UnitOfWork) -> None:
            assert unit.trainings.add(a_training("trn_2"))
            unit.tenants.keep_key("ten_a", b"new")

        async with uncommitted(postgres_url, lambda unit: unit.tenants.erase_key_if_idle("ten_a")):
            beginning = asyncio.create_task(postgres.transaction(begin))
            await wait_for_a_blocked_transaction(postgres)
        await beginning
        assert (await stored_one(postgres, Tenant)).sealed_key == b"new"


def ends(training_id: str) -> Callable[[UnitOfWork], None]:
    """Record the end of the training, as everybody does."""

    def work(unit: UnitOfWork) -> None:
        row = unit.trainings.get("ten_a", training_id)
        assert row is not None
        watch = watch_of(row)
        held = Held(row.id, row.fence, watch)
        recorder = Recorder(random.Random(training_id), QueueRules())
        assert recorder.save(unit, held, watch.move(Signal.SEEN_READY), now=NOW, due_at=None) is not None

    return work


class TestLimits:
    """What is counted and what is added are one step: whoever comes second counts what the first has added."""

    def takes_the_last_place(self, name: str, most: int) -> Callable[[UnitOfWork], bool]:
        def work(unit: UnitOfWork) -> bool:
            unit.tenants.hold("ten_a")
            return unit.trainings.count_active("ten_a") < most and unit.trainings.add(a_training(name))

        return work

    async def test_only_active_trainings_of_the_tenant_are_counted(self, database: Database) -> None:
        ended = [a_training(f"trn_{status}", status=status) for status in (Status.READY, Status.CANCELLED)]
        active = [a_training(f"trn_{status}", status=status) for status in (Status.SUBMITTING, Status.TRAINING)]
        suspended = a_training("trn_s", suspended=True, due_at=None)
        others = a_training("trn_b", tenant="ten_b")
        await store(database, a_tenant(), a_tenant("ten_b"), *ended, *active, suspended, others)
        names = ("ten_a", "ten_b", "ten_c")
        assert await database.read(lambda unit: [unit.trainings.count_active(name) for name in names]) == [3, 1, 0]

    async def test_many_at_once_take_no_more_than_there_are_places(self, database: Database) -> None:
        await store(database, a_tenant())
        added = await asyncio.gather(
            *(database.transaction(self.takes_the_last_place(f"trn_{number}", 3)) for number in range(12))
        )
        assert sum(added) == 3
        assert len(await stored(database, Training)) == 3

    async def test_one_that_is_not_committed_is_waited_for(self, postgres: Database, postgres_url: str) -> None:
        await store(postgres, a_tenant())
        async with uncommitted(postgres_url, self.takes_the_last_place("trn_1", 1)):
            late = asyncio.create_task(postgres.transaction(self.takes_the_last_place("trn_2", 1)))
            await wait_for_a_blocked_transaction(postgres)
        assert not await late
        assert [row.id for row in await stored(postgres, Training)] == ["trn_1"]
