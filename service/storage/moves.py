"""The marker of a move in both of its databases, by which a gateway serves one of them at most. The copying: `move`.

    source   target
    -        arriving   began; nothing is copied yet
    leaving  arriving   rows are copied, batch by batch
    leaving  complete   all rows are there and counted
    left     complete   the end
    -        withdrawn  taken back

A gateway serves a database without a marker, or one that is `complete`.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from sqlalchemy import JSON, Connection, inspect
from sqlmodel import Field, SQLModel, col, select

from service.domain.errors import ConfigurationError
from service.storage.columns import UtcDateTime, optional_time
from service.storage.database import UnitOfWork

ONLY = 1


class MoveState(StrEnum):
    LEAVING = "leaving"
    LEFT = "left"
    ARRIVING = "arriving"
    COMPLETE = "complete"
    WITHDRAWN = "withdrawn"


class Move(SQLModel, table=True):
    """One row at most. `name` is the same in both databases; `other` says, without credentials, where the other one is.

    In the target `copied` counts the rows of each table that are there, and `batches` the transactions that brought
    them.
    """

    __tablename__ = "moves"

    id: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    name: str
    state: str
    other: str
    copied: dict[str, int] = Field(default_factory=dict, sa_type=JSON)
    batches: int = 0
    began_at: datetime = Field(sa_type=UtcDateTime)
    ended_at: datetime | None = optional_time()


_AGAIN = "give the same `photogpt-webhooks move` again, and it goes on where it ended"
_REFUSALS = {
    MoveState.LEAVING: f"This database is being moved to {{other}}: {_AGAIN}; or take it back with `move --back`.",
    MoveState.LEFT: "This database was moved to {other}: set DATABASE_URL to that one. (`move --back` takes the move "
    "back, as long as nothing has run there.)",
    MoveState.ARRIVING: f"The move from {{other}} into this database is not complete: {_AGAIN}.",
    MoveState.WITHDRAWN: "A move from {other} into this database was taken back: what is in it is of no use; drop it.",
}


def marker(unit: UnitOfWork) -> Move | None:
    """The move that this database is part of; of any database, also of one without tables."""
    if not _has_markers(unit.session.connection()):
        return None
    query = select(Move).where(col(Move.id) == ONLY).execution_options(populate_existing=True)
    return unit.session.exec(query).one_or_none()


def refuse_if_moved(connection: Connection) -> None:
    """Raise ConfigurationError if a move says that this database is not the one to be served; of any database."""
    if not _has_markers(connection):
        return
    for state, other in connection.execute(select(Move.state, Move.other)):
        if refusal := _REFUSALS.get(MoveState(state)):
            raise ConfigurationError(refusal.format(other=other))


def _has_markers(connection: Connection) -> bool:
    return inspect(connection).has_table(str(Move.__tablename__))
