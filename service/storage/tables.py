"""The tables. Rows are for use cases; pure functions and network calls get frozen values instead.

`due_at` is when a row wants work, None when it wants none; a claim moves it to the end of the lease and raises
`fence`, so that what a worker records later only counts while nobody else has claimed the row since.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import JSON, DateTime, Dialect, Index, LargeBinary, Text, false, text
from sqlalchemy.types import TypeDecorator
from sqlmodel import Field, SQLModel


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


def _time(*, index: bool = False) -> Any:
    return Field(default=None, sa_type=UtcDateTime, index=index)


class Tenant(SQLModel, table=True):
    """Whoever holds one PhotoGPT key. `sealed_key` is None when no key is kept; after a 429 its polls pause."""

    __tablename__ = "tenants"

    id: str = Field(primary_key=True)
    sealed_key: bytes | None = Field(default=None, sa_type=LargeBinary)
    sealed_signing_secret: bytes = Field(sa_type=LargeBinary)
    polls_paused_until: datetime | None = _time()
    created_at: datetime = Field(sa_type=UtcDateTime)


class Training(SQLModel, table=True):
    """Our record of one model being trained for one tenant. Active while `finished_at` is None."""

    __tablename__ = "trainings"
    __table_args__ = (
        Index(
            "uq_trainings_active",
            "tenant_id",
            "model_id",
            unique=True,
            sqlite_where=text("finished_at IS NULL"),
            postgresql_where=text("finished_at IS NULL"),
        ),
        Index(
            "ix_trainings_due",
            "due_at",
            sqlite_where=text("due_at IS NOT NULL"),
            postgresql_where=text("due_at IS NOT NULL"),
        ),
        Index("ix_trainings_tenant", "tenant_id", "id"),
    )

    id: str = Field(primary_key=True)
    tenant_id: str = Field(foreign_key="tenants.id")
    model_id: str
    status: str
    upstream_status: str | None = None
    baseline_status: str | None = None
    baseline_updated_at: str | None = None
    left_baseline: bool = False
    overdue: bool = False
    suspended: bool = False
    not_found_count: int = 0
    key_refused_count: int = 0
    readings: int = 0
    # With a default in the database, so that the release before this one can go on inserting.
    expiring: bool = Field(default=False, sa_column_kwargs={"server_default": false()})
    failure_code: str | None = None
    failure_message: str | None = None
    caller_metadata: dict[str, Any] = Field(default_factory=dict, sa_type=JSON)
    sequence: int = 0
    created_at: datetime = Field(sa_type=UtcDateTime)
    triggered_at: datetime | None = _time()
    last_polled_at: datetime | None = _time()
    finished_at: datetime | None = _time()
    due_at: datetime | None = _time()
    fence: int = 0


class Callback(SQLModel, table=True):
    """A URL given with a train request; hears about that training only. Ended by a 410."""

    __tablename__ = "callbacks"
    __table_args__ = (Index("uq_callbacks_url", "training_id", "url", unique=True),)

    id: str = Field(primary_key=True)
    tenant_id: str
    training_id: str = Field(foreign_key="trainings.id")
    url: str
    events: list[str] = Field(sa_type=JSON)
    sealed_secret: bytes | None = Field(default=None, sa_type=LargeBinary)
    created_at: datetime = Field(sa_type=UtcDateTime)
    ended_at: datetime | None = _time()
    last_problem: str | None = None


class Event(SQLModel, table=True):
    """Something that happened to a training; immutable. `body` is what is signed and sent, byte for byte."""

    __tablename__ = "events"
    __table_args__ = (
        Index("uq_events_sequence", "training_id", "sequence", unique=True),
        Index(
            "uq_events_terminal",
            "training_id",
            unique=True,
            sqlite_where=text("terminal"),
            postgresql_where=text("terminal"),
        ),
    )

    id: str = Field(primary_key=True)
    tenant_id: str
    training_id: str = Field(foreign_key="trainings.id")
    type: str
    sequence: int
    terminal: bool
    body: bytes = Field(sa_type=LargeBinary)
    created_at: datetime = Field(sa_type=UtcDateTime)


class Delivery(SQLModel, table=True):
    """One event for one callback. `attempts_made` counts recorded outcomes, `attempts_started` also lost ones."""

    __tablename__ = "deliveries"
    __table_args__ = (
        Index("uq_deliveries_target", "event_id", "callback_id", unique=True),
        Index(
            "ix_deliveries_due",
            "due_at",
            sqlite_where=text("due_at IS NOT NULL"),
            postgresql_where=text("due_at IS NOT NULL"),
        ),
        Index("ix_deliveries_order", "callback_id", "sequence"),
        Index("ix_deliveries_training", "training_id", "id"),
        Index("ix_deliveries_tenant", "tenant_id", "id"),
    )

    id: str = Field(primary_key=True)
    tenant_id: str
    event_id: str = Field(foreign_key="events.id")
    training_id: str
    callback_id: str = Field(foreign_key="callbacks.id")
    event_type: str
    sequence: int
    status: str
    attempts_made: int = 0
    attempts_started: int = 0
    created_at: datetime = Field(sa_type=UtcDateTime)
    finished_at: datetime | None = _time()
    due_at: datetime | None = _time()
    fence: int = 0


class Attempt(SQLModel, table=True):
    """One POST of a delivery. Written when it starts; without a duration it is under way, or was interrupted."""

    __tablename__ = "attempts"
    __table_args__ = (Index("uq_attempts_number", "delivery_id", "number", unique=True),)

    id: str = Field(primary_key=True)
    delivery_id: str = Field(foreign_key="deliveries.id")
    number: int
    started_at: datetime = Field(sa_type=UtcDateTime)
    duration_ms: int | None = None
    status_code: int | None = None
    error_class: str | None = None
    excerpt: str = Field(default="", sa_type=Text)


class IdempotencyKey(SQLModel, table=True):
    """What a request with this key was answered. `outcome` is None while it is under way."""

    __tablename__ = "idempotency_keys"

    tenant_id: str = Field(primary_key=True)
    key: str = Field(primary_key=True)
    fingerprint: str
    training_id: str
    outcome: dict[str, Any] | None = Field(default=None, sa_type=JSON)
    created_at: datetime = Field(sa_type=UtcDateTime)


class Heartbeat(SQLModel, table=True):
    """One row, written every few seconds: whether the database can be written is only known by writing."""

    __tablename__ = "heartbeats"

    id: int = Field(primary_key=True)
    at: datetime = Field(sa_type=UtcDateTime)
