"""What two replicas lock at once they lock in one order, so that neither is given up for the other's sake."""

import asyncio

from sqlalchemy import text
from sqlmodel import col, select, update

from service.storage.database import Database, UnitOfWork
from service.storage.tables import Attempt, Delivery
from tests.storage.interleaving import commit_elsewhere, uncommitted, wait_for_a_blocked_transaction
from tests.storage.sending import DELIVERED, OK, attempts, claim, one_delivery, record
from tests.support.rows import LEASE, NOW


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
