"""Leasing due rows: one statement that is right on SQLite and on PostgreSQL.

SQLAlchemy leaves FOR UPDATE SKIP LOCKED out for SQLite, where the transaction has the write lock anyway. The rows
are chosen in a CTE, because PostgreSQL may run a LIMIT inside IN (...) more than once, and lock more than it says.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TypeVar

from sqlalchemy import ColumnElement
from sqlmodel import Session, col, select, update

from service.storage.tables import Delivery, Training

Claimable = TypeVar("Claimable", Training, Delivery)


def claim_due(
    session: Session,
    table: type[Claimable],
    *,
    now: datetime,
    lease_until: datetime,
    limit: int,
    only: Sequence[ColumnElement[bool]] = (),
    **changes: object,
) -> Sequence[Claimable]:
    """The `limit` rows that have been due longest at `now`, leased until `lease_until` under a new fence."""
    due = (
        select(table.id)
        .where(col(table.due_at) <= now, *only)
        .order_by(col(table.due_at))
        .limit(limit)
        .with_for_update(skip_locked=True)
        .cte("due")
    )
    lease = (
        update(table)
        .where(col(table.id).in_(select(due.c.id)))
        .values(due_at=lease_until, fence=col(table.fence) + 1, **changes)
        .returning(table)
        # Nothing of these rows is in the session yet, so there is nothing to bring up to date.
        .execution_options(synchronize_session=False)
    )
    return session.scalars(lease).all()
