"""Insert that yields to a unique index: right when two requests, or two replicas, store the same thing at once."""

from __future__ import annotations

from sqlalchemy.exc import IntegrityError
from sqlmodel import Session, SQLModel


def insert_if_new(session: Session, row: SQLModel) -> bool:
    """Insert `row`; False, and nothing changed, when a unique index says that it is already there."""
    try:
        with session.begin_nested():
            session.add(row)
    except IntegrityError as error:
        if not _is_duplicate(error):
            raise  # a foreign key or a missing value: a defect of ours, and the row is not there
        return False
    return True


def _is_duplicate(error: IntegrityError) -> bool:
    """As PostgreSQL (unique_violation) and SQLite name it."""
    named = {getattr(error.orig, "sqlstate", None), getattr(error.orig, "sqlite_errorname", None)}
    return bool(named & {"23505", "SQLITE_CONSTRAINT_UNIQUE", "SQLITE_CONSTRAINT_PRIMARYKEY"})
