"""How many rows there are of what an operator watches: read at a pace that their number slows down, never by a scrape.

Each goes by an index that has only what is asked about in it: what ended long ago costs nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from operator import itemgetter
from typing import Any

from sqlalchemy import bindparam, func, select

from service.domain.training import ACTIVE
from service.storage.prepared import DELIVERIES, ENDPOINTS, TRAININGS
from service.storage.statement import Statement
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
        asked = self._transaction
        *by_status, overdue, suspended = asked.one(_TRAININGS)
        found = Count(dict(zip(ACTIVE, by_status, strict=True)), overdue, suspended)
        found.due, found.later = asked.one(_DUE, now=now), asked.one(_LATER, now=now)
        found.endpoints = dict(asked.all(_ENDPOINTS))
        return found


# Side by side in one pass: to put them into groups SQLite would sort them all.
_FIGURES: list[Any] = [
    *(func.count().filter(TRAININGS.c.status == status) for status in ACTIVE),
    func.count().filter(TRAININGS.c.overdue),
    func.count().filter(TRAININGS.c.suspended),
]
_TRAININGS: Statement[Any] = Statement(select(*_FIGURES).where(TRAININGS.c.finished_at.is_(None)))
_NOW = bindparam("now", type_=DELIVERIES.c.due_at.type)
_WAITING = select(func.count()).where(DELIVERIES.c.due_at.is_not(None))
_DUE: Statement[int] = Statement(_WAITING.where(DELIVERIES.c.due_at <= _NOW), itemgetter(0))
_LATER: Statement[int] = Statement(_WAITING.where(DELIVERIES.c.due_at > _NOW), itemgetter(0))
_ENDPOINTS: Statement[Any] = Statement(
    select(ENDPOINTS.c.status, func.count()).where(ENDPOINTS.c.deleted_at.is_(None)).group_by(ENDPOINTS.c.status)
)
