"""What the columns and indexes of `tables` are made of, alike on both databases."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from sqlalchemy import DateTime, Dialect, Index, text
from sqlalchemy.types import TypeDecorator
from sqlmodel import Field

# A delivery that was given up, or tried in vain: the words of an index, and of what is to be found by it.
FAILING = "deliveries.status = 'dead' OR (deliveries.status = 'pending' AND deliveries.attempts_made > 0)"


_WITHOUT_ZONE = len("2026-11-23 10:44:15.000000")


class UtcDateTime(TypeDecorator[datetime]):
    """Aware in, aware out, UTC inside. SQLite would give back naive times, and compare local ones wrongly."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        del dialect
        return None if value is None else _in_utc(value)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        del dialect
        return None if value is None else value.astimezone(UTC)

    def bind_processor(self, dialect: Dialect) -> Callable[[Any], Any] | None:
        # The same words as SQLAlchemy's, which takes three times as long for them; and every row has several.
        return _as_text if dialect.name == "sqlite" else super().bind_processor(dialect)

    def result_processor(self, dialect: Dialect, coltype: object) -> Callable[[Any], Any] | None:
        return _of_text if dialect.name == "sqlite" else super().result_processor(dialect, coltype)


def _in_utc(value: datetime) -> datetime:
    if value.tzinfo is None:
        raise ValueError("a stored time must carry its zone")
    return value.astimezone(UTC)


# Of the columns of a unit of work most say when it began, or what they said in the one before.
@lru_cache(64)
def _as_text(value: datetime | None) -> str | None:
    return None if value is None else _in_utc(value).isoformat(" ", "microseconds")[:_WITHOUT_ZONE]


def _of_text(value: str | None) -> datetime | None:
    return None if value is None else datetime.fromisoformat(f"{value}+00:00")


def optional_time() -> Any:
    """The column of a time that is not known yet, or does not come."""
    return Field(default=None, sa_type=UtcDateTime)


def partial_index(name: str, *columns: str, where: str, unique: bool = False) -> Index:
    """An index over the rows that `where` is true of, on both databases.

    PostgreSQL hears it from the migrations alone: to say it here, too, would load a dialect that SQLite does not need.
    """
    return Index(name, *columns, unique=unique, sqlite_where=text(where))
