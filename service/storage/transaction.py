"""One transaction, for the repositories: hot statements go to the driver, everything else by a session, which is made
when it is first asked for. It begins and commits nothing: that is the runner's.
"""

from __future__ import annotations

import sqlite3
from types import TracebackType
from typing import Any, Self, TypeVar

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError
from sqlmodel import Session

from service.storage.statement import Statement

T = TypeVar("T")


class Transaction:
    """Leaving it without an error flushes what the session still has; the session is gone afterwards.

    `shared`: others may have their units of work in the same transaction of the database.
    """

    def __init__(self, connection: Connection, *, shared: bool = True) -> None:
        self._shared = shared
        self.connection = connection
        self._dialect = connection.dialect
        self._driver: Any = None if self._dialect.name != "sqlite" else connection.connection.dbapi_connection
        self._session: Session | None = None

    @property
    def session(self) -> Session:
        if self._session is None:
            # A flush that fails must undo no more than this unit of work: on SQLite others share its transaction. On
            # PostgreSQL the runner undoes and repeats them (`groups`).
            mode = "create_savepoint" if self.is_sqlite and self._shared else "rollback_only"
            self._session = Session(
                bind=self.connection,
                expire_on_commit=False,
                autoflush=False,
                join_transaction_mode=mode,  # type: ignore[arg-type]  # one of its literals
            )
        return self._session

    @property
    def is_sqlite(self) -> bool:
        return self._driver is not None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._session is None:
            return
        with self._session as session:
            if error is None:
                session.commit()

    def all(self, statement: Statement[T], **values: Any) -> list[T]:
        """What comes back, row by row."""
        said = statement.for_(self._dialect)
        rows = self._run(*said.call(values)).fetchall()
        row = statement.row
        return [row(said.columns(found)) for found in rows]

    def first(self, statement: Statement[T], **values: Any) -> T | None:
        found = self.all(statement, **values)
        return found[0] if found else None

    def one(self, statement: Statement[T], **values: Any) -> T:
        [found] = self.all(statement, **values)
        return found

    def run(self, statement: Statement[Any], **values: Any) -> int:
        """How many rows it changed."""
        said = statement.for_(self._dialect)
        return int(self._run(*said.call(values)).rowcount)

    def run_given(self, statement: Statement[Any], values: list[Any]) -> int:
        """The same, of values in the order of its parameters."""
        said = statement.for_(self._dialect)
        return int(self._run(said.text, said.processed(values)).rowcount)

    def _run(self, text: str, parameters: tuple[Any, ...]) -> Any:
        if self._session is not None:
            self._session.flush()  # what was added before comes before
        if self._driver is None:
            # With SQLAlchemy's view of errors and lost connections, and at its price.
            return self.connection.exec_driver_sql(text, parameters)
        try:
            return self._driver.execute(text, parameters)
        except sqlite3.Error as error:
            raise DBAPIError.instance(
                text, parameters, error, sqlite3.Error, hide_parameters=True, dialect=self._dialect
            ) from error


class Repository:
    """Part of a unit of work: some tables of its transaction."""

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    @property
    def _session(self) -> Session:
        return self._transaction.session
