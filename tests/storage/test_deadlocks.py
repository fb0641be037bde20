"""What two replicas lock at once they lock in one order, so that neither is given up for the other's sake."""

import asyncio
from datetime import timedelta

from sqlalchemy import text
from sqlmodel import col, select, update

from service.storage.database import Database, UnitOfWork
from service.storage.due_training import watch_of
from service.storage.tables import Attempt, Delivery, Training
from tests.storage.interleaving import commit_elsewhere, uncommitted, wait_for_a_blocked_transaction
from tests.storage.sending import DELIVERED, OK, attempts, claim, one_delivery, record
from tests.support.rows import LEASE, NOW, a_tenant, a_training, store, stored

LATER = NOW + timedelta(minutes=5)
WATCH = watch_of(a_training())


def impatiently(unit: UnitOfWork) -> None:
    """Whoever waits for a lock in this transaction fails."""
    unit.session.connection().execute(text("SET LOCAL lock_timeout = '1s'"))


async def test_a_late_outcome_does_not_lock_the_attempt_that_a_claim_is_about_to_close(
    postgres: Database, postgres_url: str
) -> None:
    await one_delivery(postgres)
    late = (await claim(postgres))["dlv_1"]

    def close(unit: UnitOfWork) -> None:
        impatiently(unit)
        unit.session.exec(update(Attempt).where(col(Attempt.delivery_id) == "dlv_1").values(error_class="interrupted"))

    # A claim locks the delivery first, and then closes its attempt.
    async with uncommitted(postgres_url, lambda unit: unit.session.exec(select(Delivery.id).with_for_update()).all()):
        recording = asyncio.create_task(record(postgres, late, OK, DELIVERED, now=NOW + LEASE))
        await wait_for_a_blocked_transaction(postgres)
        commit_elsewhere(postgres_url, close)
    assert await recording
    assert [attempt.status_code for attempt in await attempts(postgres)] == [200]


async def test_a_key_is_paused_while_another_worker_records_a_poll_of_it(postgres: Database, postgres_url: str) -> None:
    await store(postgres, a_tenant(), *(a_training(f"trn_{number}", due_at=NOW) for number in (1, 2, 3)))

    def pause(unit: UnitOfWork) -> None:
        impatiently(unit)
        unit.trainings.save("trn_1", fence=0, watch=WATCH, due_at=LATER, new_events=0, now=NOW, changes={})
        unit.tenants.pause_polls("ten_a", until=LATER)
        unit.trainings.postpone("ten_a", until=LATER)

    def poll(unit: UnitOfWork) -> None:
        """Of another training of the key; an event of it would want the tenant's row next."""
        unit.trainings.save("trn_2", fence=0, watch=WATCH, due_at=NOW, new_events=0, now=NOW, changes={})

    async with uncommitted(postgres_url, poll):
        await postgres.transaction(pause)
    due = {row.id: row.due_at for row in await stored(postgres, Training)}
    assert due == {"trn_1": LATER, "trn_2": NOW, "trn_3": LATER}
    # Though it is due, it is not polled before then: its key is paused.
    assert not await postgres.transaction(lambda unit: unit.trainings.claim_due(now=NOW, lease_for=LEASE, limit=9))
