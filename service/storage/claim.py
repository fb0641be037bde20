"""Leasing due rows, by two statements that are right on SQLite and on PostgreSQL: choose and lock, then lease.

SQLAlchemy leaves FOR UPDATE SKIP LOCKED out for SQLite, where the transaction has the write lock anyway. Between the
two the caller may leave rows out, which stay due. Both statements of a table are made once: making one takes longer
than running it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, Generic, TypeVar

from sqlalchemy import ColumnElement, bindparam
from sqlmodel import Session, col, select, update

from service.storage.tables import Delivery, Training

Claimable = TypeVar("Claimable", Training, Delivery)


class Claim(Generic[Claimable]):
    """How rows of one table are claimed. `only` are its own conditions, with parameters of their own."""

    def __init__(self, table: type[Claimable], *only: ColumnElement[bool], **changes: Any) -> None:
        self._due = (
            select(table.id, table.tenant_id)
            .where(
                col(table.due_at) <= bindparam("now"),
                # A forward jump of the clock ends every lease at once, also those of work that is under way here.
                col(table.id).not_in(bindparam("busy", expanding=True)),
                *only,
            )
            .order_by(col(table.due_at))
            .limit(bindparam("limit"))
            .with_for_update(skip_locked=True)
        )
        self._lease: Any = (
            update(table)
            .where(col(table.id).in_(bindparam("ids", expanding=True)))
            .values(due_at=bindparam("until"), fence=col(table.fence) + 1, **changes)
            .returning(table)
            # Nothing of these rows is in the session yet, so there is nothing to bring up to date.
            .execution_options(synchronize_session=False)
        )

    def due(
        self, session: Session, *, now: datetime, limit: int, busy: Collection[str], **parameters: Any
    ) -> Sequence[tuple[str, str]]:
        """`(id, tenant_id)` of the `limit` rows that have been due longest at `now` and are not `busy`, locked."""
        asked = {"now": now, "limit": limit, "busy": list(busy), **parameters}
        return session.exec(self._due, params=asked).all()

    def lease(self, session: Session, ids: Sequence[str], *, until: datetime) -> Sequence[Claimable]:
        """The rows of these ids, leased until then under a new fence."""
        return session.scalars(self._lease, {"ids": ids, "until": until}).all()
