"""What the columns and indexes of `tables` are made of, alike on both databases."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import DateTime, Dialect, Index, text
from sqlalchemy.types import TypeDecorator
from sqlmodel import Field

# A delivery that was given up, or tried in vain: the words of an index, and of what is to be found by it.
FAILING = "deliveries.status = 'dead' OR (deliveries.status = 'pending' AND deliveries.attempts_made > 0)"


class UtcDateTime(TypeDecorator[datetime]):
    """Aware in, aware out, UTC inside. SQLite would give back naive times, and compare local ones wrongly."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a stored time must carry its zone")
        utc = value.astimezone(UTC)
        return utc.replace(tzinfo=None) if dialect.name == "sqlite" else utc

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        del dialect
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def optional_time() -> Any:
    """The column of a time that is not known yet, or does not come."""
    return Field(default=None, sa_type=UtcDateTime)


def partial_index(name: str, *columns: str, where: str, unique: bool = False) -> Index:
    """An index over the rows that `where` is true of, on both databases.

    PostgreSQL hears it from the migrations alone: to say it here, too, would load a dialect that SQLite does not need.
    """
    return Index(name, *columns, unique=unique, sqlite_where=text(where))
