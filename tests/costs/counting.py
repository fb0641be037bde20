"""What really reaches a database: each statement, heard from SQLite's driver or read in PostgreSQL's own log.

So it does not matter by which way a statement comes there: an ORM, its core, or the bare driver.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pytest

_AROUND = re.compile(r"(BEGIN|START TRANSACTION|COMMIT|ROLLBACK|SAVEPOINT|RELEASE)\b")
# A transaction that writes; the others look, and have nothing to commit.
_WRITES = {
    "sqlite": re.compile(r"BEGIN IMMEDIATE"),
    "postgres": re.compile(r"(BEGIN|START TRANSACTION)(?!.*READ ONLY)"),
}
# What replicas tell each other goes by a connection of its own, much at once, and when it happens to.
_TOLD = re.compile(r"SELECT pg_notify\(")
_LOGGED = re.compile(r"LOG:  (?:statement|execute [^:]*): (.*)")
_SHOWN = 160


@dataclass(frozen=True)
class Statements:
    """`texts`: in their order, without what opens and ends transactions and savepoints. `commits`: of what was
    written.
    """

    texts: Sequence[str]
    savepoints: int
    commits: int

    def __str__(self) -> str:
        return "\n".join(f"  {number:2}. {text[:_SHOWN]}" for number, text in enumerate(self.texts, 1))


def statements(heard: Sequence[str], database: str) -> Statements:
    return Statements(
        texts=[text for text in heard if not _AROUND.match(text) and not _TOLD.match(text)],
        savepoints=sum(text.startswith("SAVEPOINT") for text in heard),
        commits=sum(bool(_WRITES[database].match(text)) for text in heard),
    )


class Ear(Protocol):
    def take(self) -> Statements:
        """What was run since it was last asked."""


class SqliteEar:
    def __init__(self) -> None:
        self._heard: list[str] = []

    def hear(self, statement: str) -> None:
        # What a trigger runs is told as a comment.
        if not statement.startswith("--"):
            self._heard.append(" ".join(statement.split()))

    def take(self) -> Statements:
        heard, self._heard = self._heard, []
        return statements(heard, "sqlite")


class PostgresEar:
    """Reads the log of a server that logs every statement."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._read = 0

    def take(self) -> Statements:
        with self._log.open("rb") as log:
            log.seek(self._read)
            text = log.read().decode()
            self._read = log.tell()
        # The lines of one statement are indented but for the first.
        found = map(_LOGGED.search, text.replace("\n\t", " ").splitlines())
        return statements([" ".join(one[1].split()) for one in found if one], "postgres")


@contextmanager
def listening_to_sqlite() -> Iterator[SqliteEar]:
    """Hear all connections that are opened meanwhile, by whomever. (The driver's `connect` has two names.)"""
    ear, connect = SqliteEar(), sqlite3.connect

    def heard(*arguments: Any, **options: Any) -> sqlite3.Connection:
        connection: sqlite3.Connection = connect(*arguments, **options)
        connection.set_trace_callback(ear.hear)
        return connection

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sqlite3, "connect", heard)
        patch.setattr(sqlite3.dbapi2, "connect", heard)
        yield ear
