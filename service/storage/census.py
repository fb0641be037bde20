"""How many rows there are of what an operator watches: read at a pace that their number slows down, never by a scrape.

Each goes by an index that has only what is asked about in it: what ended long ago costs nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from sqlmodel import Session, col, func, select

from service.storage.tables import Delivery, Training, WebhookEndpoint


@dataclass(slots=True)
class Count:
    """`trainings` are those that have not ended, by status; `overdue` and `suspended` are of these."""

    trainings: dict[str, int] = field(default_factory=dict)
    overdue: int = 0
    suspended: int = 0
    endpoints: dict[str, int] = field(default_factory=dict)
    due: int = 0
    later: int = 0


class Census:
    def __init__(self, session: Session) -> None:
        self._session = session

    def count(self, now: datetime) -> Count:
        found = Count()
        for status, overdue, suspended, rows in self._session.exec(_TRAININGS):
            found.trainings[status] = found.trainings.get(status, 0) + rows
            found.overdue += rows * overdue
            found.suspended += rows * suspended
        waiting = select(func.count()).where(col(Delivery.due_at).is_not(None))
        found.due = self._session.exec(waiting.where(col(Delivery.due_at) <= now)).one()
        found.later = self._session.exec(waiting.where(col(Delivery.due_at) > now)).one()
        found.endpoints = dict(self._session.exec(_ENDPOINTS).all())
        return found


_TRAININGS = (
    select(Training.status, Training.overdue, Training.suspended, func.count())
    # Any tenant: only so does SQLite go through the index of active ones, and not through all there ever were.
    .where(col(Training.finished_at).is_(None), col(Training.tenant_id) > "")
    .group_by(Training.status, col(Training.overdue), col(Training.suspended))
)
_ENDPOINTS = (
    select(WebhookEndpoint.status, func.count())
    .where(col(WebhookEndpoint.deleted_at).is_(None), col(WebhookEndpoint.tenant_id) > "")
    .group_by(WebhookEndpoint.status)
)
