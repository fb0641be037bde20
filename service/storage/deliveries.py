"""Repository of deliveries as their owners see them: the log, what is sent again, and what is held or buried.

How they are claimed and attempted: `outbox`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Exists, exists
from sqlmodel import col, func, select, update

from service.domain import ids
from service.domain.delivery import KEPT_WAITING, DeliveryStatus
from service.domain.facts import Fact, Facts
from service.storage.outbox import WITHOUT_OUTCOME, News
from service.storage.tables import Attempt, Callback, Delivery, WebhookEndpoint
from service.storage.transaction import Repository, Transaction
from service.storage.unindexed import unindexed


@dataclass(frozen=True, slots=True)
class DeliveryFilter:
    """Which deliveries of a tenant: created from `since` on and before `until`, and so on; None: no matter."""

    training_id: str | None = None
    endpoint_id: str | None = None
    status: str | None = None
    since: datetime | None = None
    until: datetime | None = None


class Deliveries(Repository):
    def __init__(self, transaction: Transaction, news: News, facts: Facts) -> None:
        super().__init__(transaction)
        self._news = news
        self._facts = facts

    def get(self, tenant_id: str, delivery_id: str, *, hold: bool = False) -> Delivery | None:
        """`hold`: nobody else changes it before the end of this transaction."""
        query = select(Delivery).where(Delivery.id == delivery_id, Delivery.tenant_id == tenant_id)
        return self._session.exec(query.with_for_update() if hold else query).one_or_none()

    def page(self, tenant_id: str, asked: DeliveryFilter, *, before: str | None, limit: int) -> Sequence[Delivery]:
        """Newest first, ids below `before`. Ids sort by time of creation, so that times are places in each index."""
        found: Sequence[Delivery] = self._session.exec(page_query(tenant_id, asked, before=before, limit=limit)).all()
        return found

    def attempts(self, delivery_ids: Sequence[str]) -> dict[str, list[Attempt]]:
        """The attempts of each delivery, first to last."""
        found: dict[str, list[Attempt]] = {delivery_id: [] for delivery_id in delivery_ids}
        query = select(Attempt).where(col(Attempt.delivery_id).in_(delivery_ids)).order_by(col(Attempt.number))
        for attempt in self._session.exec(query):
            found[attempt.delivery_id].append(attempt)
        return found

    def urls(self, rows: Sequence[Delivery]) -> dict[str, str]:
        """The URL of each delivery's target, by the id of that target."""
        callbacks = select(Callback.id, Callback.url).where(col(Callback.id).in_({row.callback_id for row in rows}))
        endpoints = select(WebhookEndpoint.id, WebhookEndpoint.url).where(
            col(WebhookEndpoint.id).in_({row.endpoint_id for row in rows})
        )
        return {**dict(self._session.exec(callbacks).all()), **dict(self._session.exec(endpoints).all())}

    def under_way(self, delivery_id: str, *, since: datetime) -> bool:
        """Whether an attempt was started, not longer ago than `since`, and has no outcome."""
        query = select(func.count()).where(
            col(Attempt.delivery_id) == delivery_id,
            col(Attempt.started_at) > since,
            WITHOUT_OUTCOME,
        )
        return self._session.exec(query).one() > 0

    def resend(self, delivery_id: str, *, now: datetime) -> None:
        """Begin its schedule anew, or, if it is still to be delivered, go on with it now."""
        self._resend([delivery_id], now)

    def count_failed(self, endpoint_id: str, *, since: datetime, until: datetime) -> int:
        """How many deliveries of events of that time failed at this endpoint and were not delivered since."""
        kinds = _failed(endpoint_id, since, until)
        return sum(self._session.exec(select(func.count()).select_from(Delivery).where(*kind)).one() for kind in kinds)

    def resend_failed(
        self, endpoint_id: str, *, since: datetime, until: datetime, after: str, now: datetime, limit: int
    ) -> tuple[int, str | None]:
        """Resend the first `limit` failed ones with ids above `after`. How many, and the last id; None: no more."""
        found: list[str] = []
        for kind in _failed(endpoint_id, since, until, after):
            query = select(Delivery.id).where(*kind).order_by(col(Delivery.id)).limit(limit)
            found += self._session.exec(query.with_for_update()).all()
        first = sorted(found)[:limit]
        if not first:
            return 0, None
        self._resend(first, now)
        return len(first), first[-1]

    def hold(self, endpoint_id: str) -> None:
        """What waits for this endpoint waits for its return. An attempt under way keeps its lease."""
        self._change_pending(endpoint_id, ~_under_way(), due_at=None)

    def release(self, endpoint_id: str, *, now: datetime) -> None:
        """It is back: send what was held."""
        self._change_pending(endpoint_id, col(Delivery.due_at).is_(None), due_at=now, give_up_at=now + KEPT_WAITING)
        self._news.to_send = True

    def bury(self, endpoint_id: str, *, now: datetime) -> None:
        """It is disabled or gone: what waits for it is not sent. An attempt under way may still succeed."""
        buried = self._change_pending(endpoint_id, status=DeliveryStatus.DEAD, due_at=None, finished_at=now)
        self._facts.note(Fact.DELIVERY_ENDED, DeliveryStatus.DEAD, buried)

    def redirect(self, endpoint_id: str, *, host: str) -> None:
        """The endpoint has moved: what waits goes to its new host."""
        self._change_pending(endpoint_id, host=host)

    def _change_pending(self, endpoint_id: str, *only: ColumnElement[bool], **values: Any) -> int:
        of_endpoint = col(Delivery.endpoint_id) == endpoint_id, col(Delivery.status) == DeliveryStatus.PENDING
        pending = update(Delivery).where(*of_endpoint, *only).execution_options(synchronize_session=False)
        return self._session.exec(pending.values(**values)).rowcount

    def _resend(self, delivery_ids: Sequence[str], now: datetime) -> None:
        """One that has ended begins its schedule anew; one that has not is due now, where it is in its schedule."""
        chosen = update(Delivery).where(col(Delivery.id).in_(delivery_ids))
        pending = col(Delivery.status) == DeliveryStatus.PENDING
        due_now = {"due_at": now, "give_up_at": now + KEPT_WAITING}
        self._session.exec(chosen.where(pending).values(**due_now))
        self._session.exec(
            chosen.where(~pending).values(
                status=DeliveryStatus.PENDING,
                attempts_made=0,
                finished_at=None,
                fence=col(Delivery.fence) + 1,
                **due_now,
            )
        )
        self._news.to_send = True


def page_query(tenant_id: str, asked: DeliveryFilter, *, before: str | None, limit: int) -> Any:
    """The statement behind `Deliveries.page`: a training leads to its few deliveries, else an endpoint to its own.

    What leads is said here: SQLite knows nothing of the rows and would go by the tenant, through all it has.
    """
    conditions = [
        (Delivery.training_id, asked.training_id),
        (Delivery.endpoint_id, asked.endpoint_id),
        (Delivery.tenant_id, tenant_id),
    ]
    leading, *others = [(column, value) for column, value in conditions if value]
    query = select(Delivery).where(col(leading[0]) == leading[1])
    for column, value in others:
        query = query.where(unindexed(column) == value)
    if asked.status:
        status = unindexed(col(Delivery.status)) if asked.training_id else col(Delivery.status)
        query = query.where(status == asked.status)
    if asked.since:
        query = query.where(Delivery.id >= ids.first_id(ids.DELIVERY, asked.since))
    ends = [end for end in (before, asked.until and ids.first_id(ids.DELIVERY, asked.until)) if end]
    if ends:
        query = query.where(Delivery.id < min(ends))
    return query.order_by(col(Delivery.id).desc()).limit(limit)


def _failed(endpoint_id: str, since: datetime, until: datetime, after: str = "") -> list[list[ColumnElement[bool]]]:
    """Given up; or tried in vain and waiting for the next attempt. One that is under way is neither.

    Two lists of conditions, since each has its place in an index, and both together have none.
    """
    of_that_time = [
        col(Delivery.endpoint_id) == endpoint_id,
        col(Delivery.id) > after if after else col(Delivery.id) >= ids.first_id(ids.DELIVERY, since),
        col(Delivery.id) < ids.first_id(ids.DELIVERY, until),
    ]
    dead = col(Delivery.status) == DeliveryStatus.DEAD
    pending = col(Delivery.status) == DeliveryStatus.PENDING
    return [
        [*of_that_time, dead],
        [*of_that_time, pending, col(Delivery.attempts_made) > 0, col(Delivery.due_at).is_not(None), ~_under_way()],
    ]


def _under_way() -> Exists:
    """An attempt was started and has no outcome."""
    return exists().where(col(Attempt.delivery_id) == Delivery.id, WITHOUT_OUTCOME)
