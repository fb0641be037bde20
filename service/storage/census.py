"""How many rows there are of what an operator watches: read at a pace that their number slows down, never by a scrape.

Each goes by an index that has only what is asked about in it: what ended long ago costs nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlmodel import col, func, select

from service.domain.training import ACTIVE
from service.storage.tables import Delivery, Training, WebhookEndpoint
from service.storage.transaction import Repository


@dataclass(slots=True)
class Count:
    """`trainings` are those that have not ended, by status; `overdue` and `suspended` are of these."""

    trainings: dict[str, int] = field(default_factory=dict)
    overdue: int = 0
    suspended: int = 0
    endpoints: dict[str, int] = field(default_factory=dict)
    due: int = 0
    later: int = 0


class Census(Repository):
    def count(self, now: datetime) -> Count:
        *by_status, overdue, suspended = self._session.exec(_TRAININGS).one()
        found = Count(dict(zip(ACTIVE, by_status, strict=True)), overdue, suspended)
        waiting = select(func.count()).where(col(Delivery.due_at).is_not(None))
        found.due = self._session.exec(waiting.where(col(Delivery.due_at) <= now)).one()
        found.later = self._session.exec(waiting.where(col(Delivery.due_at) > now)).one()
        found.endpoints = dict(self._session.exec(_ENDPOINTS).all())
        return found


# Side by side in one pass: to put them into groups SQLite would sort them all.
_FIGURES: list[Any] = [
    *(func.count().filter(col(Training.status) == status) for status in ACTIVE),
    func.count().filter(col(Training.overdue)),
    func.count().filter(col(Training.suspended)),
]
_TRAININGS: Any = select(*_FIGURES).where(col(Training.finished_at).is_(None))
_ENDPOINTS = (
    select(WebhookEndpoint.status, func.count())
    .where(col(WebhookEndpoint.deleted_at).is_(None))
    .group_by(WebhookEndpoint.status)
)
