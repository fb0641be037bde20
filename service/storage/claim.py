"""Leasing due rows, by two statements that are right on SQLite and on PostgreSQL: choose and lock, then lease.

SQLAlchemy leaves FOR UPDATE SKIP LOCKED out for SQLite, where the transaction has the write lock anyway. Between the
two the caller may leave rows out, which stay due. Both statements of a table are made once: making one takes longer
than running it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Any, Generic, TypeVar

from sqlalchemy import ColumnElement, bindparam
from sqlmodel import Session, col, select, update

from service.storage.tables import Delivery, Training

Claimable = TypeVar("Claimable", Training, Delivery)


class Claim(Generic[Claimable]):
    """How rows of one table are claimed. `only` are its own conditions, with parameters of their own; `chosen_by` the
    columns that decide which of the due rows are leased; `changes` what a lease changes beside.
    """

    def __init__(
        self,
        table: type[Claimable],
        *only: ColumnElement[bool],
        chosen_by: Sequence[Any],
        changes: Mapping[str, Any] = MappingProxyType({}),
    ) -> None:
        self._due = (
            select(table.id, *chosen_by)
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
    ) -> Sequence[Any]:
        """`(id, *chosen_by)` of the `limit` rows that have been due longest at `now` and are not `busy`, locked."""
        asked = {"now": now, "limit": limit, "busy": list(busy), **parameters}
        rows: Sequence[Any] = session.exec(self._due, params=asked).all()
        return rows

    def lease(self, session: Session, ids: Sequence[str], *, until: datetime) -> Sequence[Claimable]:
        """The rows of these ids, leased until then under a new fence."""
        return session.scalars(self._lease, {"ids": ids, "until": until}).all()


def within_room(due: Sequence[tuple[str, str]], rooms: dict[str, int], others: int | None) -> list[str]:
    """The ids of those `(id, group)` that fit into their group's room, which is used up by this.

    `others`: the room of each group that `rooms` does not name; None for no bound at all.
    """
    if others is None:
        return [row_id for row_id, _ in due]
    chosen = []
    for row_id, group in due:
        room = rooms.setdefault(group, others)
        if room > 0:
            rooms[group] = room - 1
            chosen.append(row_id)
    return chosen
