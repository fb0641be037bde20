"""The two tables that rows are claimed from, under one interface: what holds for a claim holds for both."""

import random
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Protocol

from sqlmodel import select

from service.domain.delivery import DeliveryStatus
from service.domain.training import Status
from service.storage.database import Database, UnitOfWork
from service.storage.due_delivery import SendLimits
from service.storage.due_training import PollLimits
from service.storage.tables import Delivery, Training
from tests.support.rows import LEASE, a_callback, a_delivery, a_tenant, a_training, an_event, store


class Claimed(Protocol):
    @property
    def id(self) -> str: ...

    @property
    def fence(self) -> int: ...


class TrainingQueue:
    """`fill` stores one row for each id, due at its time; `claim` leases for LEASE."""

    table = Training
    due_index = "ix_trainings_due"

    async def fill(self, database: Database, due: Mapping[str, datetime | None]) -> None:
        await store(database, a_tenant(), *(a_training(row, due_at=at) for row, at in due.items()))

    async def add_finished(self, database: Database, id: str) -> None:
        await store(database, a_training(id, status=Status.READY))

    def claim(self, unit: UnitOfWork, *, now: datetime, limit: int, busy: Collection[str] = ()) -> Sequence[Claimed]:
        limits = PollLimits(busy=dict.fromkeys(busy, "ten_a"))
        return unit.trainings.claim_due(now=now, lease_for=LEASE, limit=limit, limits=limits)


class DeliveryQueue:
    """Each delivery has a callback of its own, so that none has to wait for an earlier one."""

    table = Delivery
    due_index = "ix_deliveries_due"

    def __init__(self) -> None:
        self._rng = random.Random(7)

    async def fill(self, database: Database, due: Mapping[str, datetime | None]) -> None:
        await store(
            database,
            a_tenant(),
            a_training("trn_of_all"),
            an_event("evt_of_all", training="trn_of_all"),
            *(a_callback(f"cbk_of_{row}", training="trn_of_all") for row in due),
            *(
                a_delivery(row, event="evt_of_all", callback=f"cbk_of_{row}", training="trn_of_all", due_at=at)
                for row, at in due.items()
            ),
        )

    async def add_finished(self, database: Database, id: str) -> None:
        await store(
            database,
            a_callback(f"cbk_of_{id}", training="trn_of_all"),
            a_delivery(
                id,
                event="evt_of_all",
                callback=f"cbk_of_{id}",
                training="trn_of_all",
                status=DeliveryStatus.DELIVERED,
            ),
        )

    def claim(self, unit: UnitOfWork, *, now: datetime, limit: int, busy: Collection[str] = ()) -> Sequence[Claimed]:
        return unit.outbox.claim_due(now=now, lease_for=LEASE, limit=limit, rng=self._rng, limits=SendLimits(busy=busy))


Queue = TrainingQueue | DeliveryQueue


async def claim(
    database: Database, queue: Queue, *, now: datetime, limit: int = 1000, busy: Collection[str] = ()
) -> dict[str, int]:
    """Claim in one transaction: the fence of each claimed id."""
    claimed = await database.transaction(lambda unit: queue.claim(unit, now=now, limit=limit, busy=busy))
    fences = {row.id: row.fence for row in claimed}
    assert len(fences) == len(claimed), "one claim gave a row twice"
    return fences


async def leases(database: Database, queue: Queue) -> dict[str, tuple[datetime | None, int]]:
    """`due_at` and `fence` of every row."""
    columns = select(queue.table.id, queue.table.due_at, queue.table.fence)
    rows = await database.read(lambda unit: unit.session.exec(columns).all())
    return {row_id: (due_at, fence) for row_id, due_at, fence in rows}
