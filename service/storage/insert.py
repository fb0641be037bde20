"""Insert that yields to a unique index: right when two requests, or two replicas, store the same thing at once."""

from __future__ import annotations

from sqlalchemy.exc import IntegrityError
from sqlmodel import Session, SQLModel


def insert_if_new(session: Session, row: SQLModel) -> bool:
    """Insert `row`; False, and nothing changed, when a unique index says that it is already there."""
    try:
        with session.begin_nested():
            session.add(row)
    except IntegrityError:
        return False
    return True
