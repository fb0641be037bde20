"""Repository of what is over: how long it took; deleting it, children before parents, a batch at a time."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, bindparam, exists
from sqlmodel import SQLModel, col, delete, select

from service.domain.delivery import DeliveryStatus
from service.domain.training import Status
from service.storage import prepared
from service.storage.statement import Statement
from service.storage.tables import (
    Attempt,
    Callback,
    Delivery,
    Event,
    IdempotencyKey,
    Recovery,
    Training,
    WebhookEndpoint,
)
from service.storage.transaction import Repository

# So many of those that ended last are looked at for such that became ready, so that the look is always a short one.
_LOOKED_AT = 1000


class History(Repository):
    def durations(self, *, limit: int) -> list[timedelta]:
        """How long the last trainings that became ready took, from the trigger to the reading that saw it."""
        found = self._transaction.all(_LAST_READY, limit=limit)
        return [finished_at - triggered_at for triggered_at, finished_at in found]

    def prune(self, before: datetime, *, keys_before: datetime, limit: int) -> int:
        """Delete some of what ended before then; how many rows. 0: there is nothing more of it."""
        return (
            self._trainings(before, limit)
            + self._endpoint_events(before, limit)
            + self._keys(keys_before, limit)
            + self._delete(Recovery, col(Recovery.finished_at) < before, limit, Recovery.id)
            + self._endpoints(before, limit)
        )

    def _trainings(self, before: datetime, limit: int) -> int:
        kept = exists().where(col(Delivery.training_id) == Training.id, _not_over(before))
        query = select(Training.id).where(col(Training.finished_at) < before, ~kept)
        ended = self._session.exec(query.order_by(col(Training.finished_at)).limit(limit)).all()
        if not ended:
            return 0
        deliveries = select(Delivery.id).where(col(Delivery.training_id).in_(ended))
        return sum(
            self._remove(table, where)
            for table, where in (
                (Attempt, col(Attempt.delivery_id).in_(deliveries)),
                (Delivery, col(Delivery.training_id).in_(ended)),
                (Event, col(Event.training_id).in_(ended)),
                (Callback, col(Callback.training_id).in_(ended)),
                (Training, col(Training.id).in_(ended)),
            )
        )

    def _endpoint_events(self, before: datetime, limit: int) -> int:
        """Events of webhook endpoints, which belong to no training."""
        kept = exists().where(col(Delivery.event_id) == Event.id, _not_over(before))
        query = select(Event.id).where(col(Event.training_id).is_(None), col(Event.created_at) < before, ~kept)
        events = self._session.exec(query.limit(limit)).all()
        if not events:
            return 0
        deliveries = select(Delivery.id).where(col(Delivery.event_id).in_(events))
        return (
            self._remove(Attempt, col(Attempt.delivery_id).in_(deliveries))
            + self._remove(Delivery, col(Delivery.event_id).in_(events))
            + self._remove(Event, col(Event.id).in_(events))
        )

    def _keys(self, before: datetime, limit: int) -> int:
        """The oldest, by their time alone: that is where their index leads. Those of one moment go together."""
        made = col(IdempotencyKey.created_at)
        query = select(IdempotencyKey.created_at).where(made < before).order_by(made).limit(limit)
        oldest = self._session.exec(query).all()
        return self._remove(IdempotencyKey, made <= oldest[-1]) if oldest else 0

    def _endpoints(self, before: datetime, limit: int) -> int:
        """Deleted webhook endpoints that nothing names any more."""
        named = exists().where(col(Delivery.endpoint_id) == WebhookEndpoint.id)
        job = exists().where(col(Recovery.endpoint_id) == WebhookEndpoint.id)
        return self._delete(
            WebhookEndpoint, (col(WebhookEndpoint.deleted_at) < before) & ~named & ~job, limit, WebhookEndpoint.id
        )

    def _delete(self, table: type[SQLModel], where: ColumnElement[bool], limit: int, key: Any) -> int:
        chosen = self._session.exec(select(key).where(where).limit(limit)).all()
        return self._remove(table, where & col(key).in_(chosen)) if chosen else 0

    def _remove(self, table: type[SQLModel], where: ColumnElement[bool]) -> int:
        return int(self._session.exec(delete(table).where(where)).rowcount)


def _not_over(before: datetime) -> ColumnElement[bool]:
    """Still to be delivered, or ended since then, as what was resent."""
    return (col(Delivery.status) == DeliveryStatus.PENDING) | (col(Delivery.finished_at) >= before)


_ended = prepared.TRAININGS.c
_LAST = (
    select(_ended.status, _ended.triggered_at, _ended.finished_at)
    .where(_ended.finished_at.is_not(None))
    .order_by(_ended.finished_at.desc())
    .limit(_LOOKED_AT)
    .subquery()
)
_LAST_READY: Statement[Any] = Statement(
    select(_LAST.c.triggered_at, _LAST.c.finished_at)
    .where(_LAST.c.status == Status.READY, _LAST.c.triggered_at.is_not(None))
    .order_by(_LAST.c.finished_at.desc())
    .limit(bindparam("limit"))
)
