"""Inserts of rows, whether frozen or not, in the driver's words."""

from __future__ import annotations

from functools import cache
from typing import Any

from sqlmodel import SQLModel

from service.storage.statement import Insert
from service.storage.transaction import Transaction


def insert_new(transaction: Transaction, row: SQLModel, **others: Any) -> None:
    """Insert `row`, which nobody can have inserted before, with `others` in place of some of its values."""
    statement = _into(str(row.__tablename__), yields=False)
    transaction.run_given(statement, statement.values(row, **others))


def insert_if_new(transaction: Transaction, row: SQLModel) -> bool:
    """Insert `row`; False, and nothing changed, when a unique index says that it is already there: right when two
    requests, or two replicas, store the same thing at once.
    """
    statement = _into(str(row.__tablename__), yields=True)
    return transaction.run_given(statement, statement.values(row)) > 0


@cache
def _into(table: str, *, yields: bool) -> Insert:
    return Insert(SQLModel.metadata.tables[table], yields=yields)
