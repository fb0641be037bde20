"""What a dispatcher does with the outbox, for tests: claim, and record what came of an attempt."""

import random
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta

from service.domain.delivery import AttemptOutcome, Decision, DeliveryStatus, ErrorClass
from service.storage.database import Database, UnitOfWork
from service.storage.due_delivery import DueDelivery, SendLimits
from service.storage.outbox import News
from service.storage.tables import Attempt, Delivery, Event
from tests.support.rows import (
    LEASE,
    NOW,
    a_callback,
    a_delivery,
    a_tenant,
    a_training,
    an_endpoint,
    an_event,
    store,
    stored,
)

SECOND = timedelta(seconds=1)

_rng = random.Random(20260301)

OK = AttemptOutcome(200, None, timedelta(milliseconds=41.6), "thanks")
FAILED = AttemptOutcome(503, ErrorClass.HTTP_5XX, timedelta(seconds=2), "busy")
REFUSED = AttemptOutcome(None, ErrorClass.REFUSED, timedelta(milliseconds=1))
GONE = AttemptOutcome(410, ErrorClass.HTTP_4XX, timedelta(milliseconds=5))

DELIVERED = Decision(DeliveryStatus.DELIVERED)
RETRY = Decision(DeliveryStatus.PENDING, retry_in=timedelta(minutes=5))
DEAD = Decision(DeliveryStatus.DEAD)
ENDED = Decision(DeliveryStatus.DEAD, ends_target=True)


async def claim(
    database: Database, *, now: datetime = NOW, limit: int = 100, limits: SendLimits | None = None
) -> dict[str, DueDelivery]:
    """What one claim gave, by the id of the delivery."""
    claimed: Sequence[DueDelivery] = await database.transaction(
        lambda unit: unit.outbox.claim_due(
            now=now, lease_for=LEASE, limit=limit, rng=_rng, limits=limits or SendLimits()
        )
    )
    found = {due.id: due for due in claimed}
    assert len(found) == len(claimed), "one claim gave a delivery twice"
    return found


async def record(
    database: Database, due: DueDelivery, outcome: AttemptOutcome, decision: Decision, *, now: datetime = NOW
) -> bool:
    return await database.transaction(lambda unit: unit.outbox.record(due, outcome, decision, now=now))


def adds(
    event: Event, *, callbacks: bool = True, endpoints: bool = True, now: datetime = NOW
) -> Callable[[UnitOfWork], None]:
    """Put `event` into the outbox, for the callbacks of its training and the endpoints of its tenant."""

    def work(unit: UnitOfWork) -> None:
        of_training = unit.trainings.callbacks([event.training_id])[event.training_id] if event.training_id else []
        unit.outbox.add(
            event,
            callbacks=of_training,
            endpoints=unit.endpoints.all_of(event.tenant_id),
            now=now,
            rng=random.Random(event.id),
        )

    return work


async def attempts(database: Database) -> list[Attempt]:
    return sorted(await stored(database, Attempt), key=lambda attempt: (attempt.delivery_id, attempt.number))


async def deliveries(database: Database) -> Mapping[str, Delivery]:
    return {delivery.id: delivery for delivery in await stored(database, Delivery)}


async def one_delivery(database: Database) -> None:
    """`dlv_1`, due, to a callback."""
    await store(database, a_tenant(), a_training(), a_callback(), an_event(), a_delivery())


async def to_an_endpoint(database: Database, *rows: Delivery) -> None:
    """Deliveries to `whe_1`, each with a training and an event of its own, which are made here."""
    await store(
        database,
        a_tenant(),
        an_endpoint(),
        *(a_training(f"trn_of_{row.id}") for row in rows),
        *(an_event(f"evt_of_{row.id}", training=f"trn_of_{row.id}") for row in rows),
        *rows,
    )


def to_endpoint(id: str, *, status: DeliveryStatus = DeliveryStatus.PENDING, due_at: datetime | None = NOW) -> Delivery:
    return a_delivery(id, event=f"evt_of_{id}", training=f"trn_of_{id}", endpoint="whe_1", status=status, due_at=due_at)


class Heard:
    """The news that a database has told of."""

    def __init__(self, database: Database) -> None:
        self.news: list[News] = []
        database.on_news(self.news.append)

    @property
    def to_send(self) -> list[bool]:
        return [news.to_send for news in self.news]
