"""Leasing due rows, by two statements that are right on SQLite and on PostgreSQL: choose and lock, then lease.

SQLAlchemy leaves FOR UPDATE SKIP LOCKED out for SQLite, where the transaction has the write lock anyway. Between the
two the caller may leave rows out, which stay due.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Any, Generic, TypeVar

from sqlalchemy import ColumnElement, bindparam, select, update

from service.storage.statement import Statement, columns_of, listed, rows_of, table_of, unlisted
from service.storage.tables import Delivery, Training
from service.storage.transaction import Transaction

Claimable = TypeVar("Claimable", Training, Delivery)


class Claim(Generic[Claimable]):
    """How rows of one table are claimed, each as a frozen `row`. `only` are its own conditions, with parameters of
    their own; `chosen_by` the columns that decide which of the due rows are leased; `changes` what a lease changes
    beside.
    """

    def __init__(
        self,
        row: type[Claimable],
        *only: ColumnElement[bool],
        chosen_by: Sequence[str],
        changes: Mapping[str, Any] = MappingProxyType({}),
    ) -> None:
        table = table_of(row)
        self._due: Statement[Any] = Statement(
            select(table.c.id, *(table.c[name] for name in chosen_by))
            .where(
                table.c.due_at <= bindparam("now"),
                # A forward jump of the clock ends every lease at once, also those of work that is under way here.
                unlisted(table.c.id, "busy"),
                *only,
            )
            .order_by(table.c.due_at)
            .limit(bindparam("limit"))
            .with_for_update(skip_locked=True)
        )
        self._lease: Statement[Claimable] = Statement(
            update(table)
            .where(listed(table.c.id, "ids"))
            .values(due_at=bindparam("until", type_=table.c.due_at.type), fence=table.c.fence + 1, **changes)
            .returning(*columns_of(row)),
            rows_of(row),
        )

    def due(
        self, transaction: Transaction, *, now: datetime, limit: int, busy: Collection[str], **parameters: Any
    ) -> Sequence[Any]:
        """`(id, *chosen_by)` of the `limit` rows that have been due longest at `now` and are not `busy`, locked."""
        return transaction.all(self._due, now=now, limit=limit, busy=busy, **parameters)

    def lease(self, transaction: Transaction, ids: Sequence[str], *, until: datetime) -> Sequence[Claimable]:
        """The rows of these ids, leased until then under a new fence."""
        return transaction.all(self._lease, ids=ids, until=until)


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
