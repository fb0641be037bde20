"""The tables. Rows are for use cases; pure functions and network calls get frozen values instead.

`due_at` is when a row wants work, None when it wants none; a claim moves it to the end of the lease and raises
`fence`, so that what a worker records later only counts while nobody else has claimed the row since.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, DateTime, Dialect, Index, LargeBinary, Text, false, text
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


def _partial(name: str, *columns: str, where: str, unique: bool = False) -> Index:
    """An index over the rows that `where` is true of, on both databases."""
    return Index(name, *columns, unique=unique, sqlite_where=text(where), postgresql_where=text(where))


class Tenant(SQLModel, table=True):
    """Whoever holds one PhotoGPT key. `sealed_key` is None when no key is kept; after a 429 its polls pause.

    `event_position` counts its events: they are numbered in the order of their commits, since whoever takes a number
    holds this row until then. The signing secret signs callbacks without a secret of their own; the previous one, too,
    while it is being rotated.
    """

    __tablename__ = "tenants"
    __table_args__ = (_partial("ix_tenants_key", "id", where="sealed_key IS NOT NULL"),)

    id: str = Field(primary_key=True)
    sealed_key: bytes | None = Field(default=None, sa_type=LargeBinary)
    sealed_signing_secret: bytes = Field(sa_type=LargeBinary)
    sealed_previous_secret: bytes | None = Field(default=None, sa_type=LargeBinary)
    previous_secret_until: datetime | None = _time()
    polls_paused_until: datetime | None = _time()
    event_position: int = Field(default=0, sa_type=BigInteger, sa_column_kwargs={"server_default": text("0")})
    created_at: datetime = Field(sa_type=UtcDateTime)


class Training(SQLModel, table=True):
    """Our record of one model being trained for one tenant. Active while `finished_at` is None."""

    __tablename__ = "trainings"
    __table_args__ = (
        _partial("uq_trainings_active", "tenant_id", "model_id", where="finished_at IS NULL", unique=True),
        _partial("ix_trainings_due", "due_at", where="due_at IS NOT NULL"),
        _partial("ix_trainings_finished", "finished_at", where="finished_at IS NOT NULL"),
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
    sealed_headers: bytes | None = Field(default=None, sa_type=LargeBinary)
    created_at: datetime = Field(sa_type=UtcDateTime)
    ended_at: datetime | None = _time()
    last_problem: str | None = None


class WebhookEndpoint(SQLModel, table=True):
    """A lasting subscription of a tenant. Deleted ones stay, without their secrets, while deliveries name them.

    `failing_since`: the first failure after the last success. `header_names` says which headers are sealed.
    """

    __tablename__ = "webhook_endpoints"
    __table_args__ = (_partial("ix_webhook_endpoints_tenant", "tenant_id", "id", where="deleted_at IS NULL"),)

    id: str = Field(primary_key=True)
    tenant_id: str = Field(foreign_key="tenants.id")
    url: str
    events: list[str] = Field(sa_type=JSON)
    description: str = ""
    caller_metadata: dict[str, Any] = Field(default_factory=dict, sa_type=JSON)
    header_names: list[str] = Field(default_factory=list, sa_type=JSON)
    sealed_headers: bytes | None = Field(default=None, sa_type=LargeBinary)
    sealed_secret: bytes = Field(sa_type=LargeBinary)
    sealed_previous_secret: bytes | None = Field(default=None, sa_type=LargeBinary)
    previous_secret_until: datetime | None = _time()
    retry_schedule: list[float] | None = Field(default=None, sa_type=JSON(none_as_null=True))
    status: str
    disabled_reason: str | None = None
    failing_since: datetime | None = _time()
    last_problem: str | None = None
    created_at: datetime = Field(sa_type=UtcDateTime)
    updated_at: datetime = Field(sa_type=UtcDateTime)
    deleted_at: datetime | None = _time()


class Event(SQLModel, table=True):
    """Something that happened to a training, or to a webhook endpoint (then without `training_id`); immutable.

    `body` is what is signed and sent, byte for byte. `position` is its place among the tenant's events.
    """

    __tablename__ = "events"
    __table_args__ = (
        Index("uq_events_sequence", "training_id", "sequence", unique=True),
        _partial("uq_events_terminal", "training_id", where="terminal", unique=True),
        Index("uq_events_position", "tenant_id", "position", unique=True),
        _partial("ix_events_of_endpoints", "created_at", where="training_id IS NULL"),
    )

    id: str = Field(primary_key=True)
    tenant_id: str
    training_id: str | None = Field(default=None, foreign_key="trainings.id")
    type: str
    sequence: int
    position: int = Field(default=0, sa_type=BigInteger)
    terminal: bool
    body: bytes = Field(sa_type=LargeBinary)
    created_at: datetime = Field(sa_type=UtcDateTime)


class Delivery(SQLModel, table=True):
    """One event for one callback or one webhook endpoint; the other of the two is None.

    `attempts_made` counts outcomes since the schedule began, which it does anew when somebody resends;
    `attempts_started` counts all, also lost ones. A pending one without `due_at` waits for its paused endpoint.
    `host` is what the attempts of one receiver are bounded by; `give_up_at`: when not even its breaker keeps it.
    """

    __tablename__ = "deliveries"
    __table_args__ = (
        Index("uq_deliveries_callback", "event_id", "callback_id", unique=True),
        _partial("uq_deliveries_endpoint", "event_id", "endpoint_id", where="endpoint_id IS NOT NULL", unique=True),
        # With both, so that what a full or dead host, or a tenant at its limit, holds back is passed over inside it.
        _partial("ix_deliveries_due", "due_at", "host", "tenant_id", where="due_at IS NOT NULL"),
        Index("ix_deliveries_training", "training_id", "id"),
        # For the foreign key, when a callback is deleted.
        _partial("ix_deliveries_callback", "callback_id", where="callback_id IS NOT NULL"),
        _partial("ix_deliveries_endpoint", "endpoint_id", "id", where="endpoint_id IS NOT NULL"),
        _partial("ix_deliveries_endpoint_status", "endpoint_id", "status", "id", where="endpoint_id IS NOT NULL"),
        Index("ix_deliveries_tenant", "tenant_id", "id"),
        Index("ix_deliveries_status", "tenant_id", "status", "id"),
    )

    id: str = Field(primary_key=True)
    tenant_id: str
    event_id: str = Field(foreign_key="events.id")
    training_id: str | None = None
    callback_id: str | None = Field(default=None, foreign_key="callbacks.id")
    endpoint_id: str | None = Field(default=None, foreign_key="webhook_endpoints.id")
    event_type: str
    sequence: int
    host: str
    status: str
    attempts_made: int = 0
    attempts_started: int = 0
    created_at: datetime = Field(sa_type=UtcDateTime)
    finished_at: datetime | None = _time()
    due_at: datetime | None = _time()
    give_up_at: datetime = Field(sa_type=UtcDateTime)
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
    """What a request with this key was answered. `outcome` is None while it is under way.

    Only a train request has a training.
    """

    __tablename__ = "idempotency_keys"
    __table_args__ = (Index("ix_idempotency_keys_created", "created_at"),)

    tenant_id: str = Field(primary_key=True)
    key: str = Field(primary_key=True)
    fingerprint: str
    training_id: str | None = None
    outcome: dict[str, Any] | None = Field(default=None, sa_type=JSON)
    created_at: datetime = Field(sa_type=UtcDateTime)


class Heartbeat(SQLModel, table=True):
    """One row, written every few seconds: whether the database can be written is only known by writing."""

    __tablename__ = "heartbeats"

    id: int = Field(primary_key=True)
    at: datetime = Field(sa_type=UtcDateTime)


class Keyset(SQLModel, table=True):
    """One row: the installation's own keys, sealed under the master key, whose id comes first. `sealed_at`: since when
    under this master key.
    """

    __tablename__ = "keysets"

    id: int = Field(primary_key=True)
    sealed: bytes = Field(sa_type=LargeBinary)
    created_at: datetime = Field(sa_type=UtcDateTime)
    sealed_at: datetime = Field(sa_type=UtcDateTime)


class Recovery(SQLModel, table=True):
    """A job: resend what failed at a webhook endpoint, of the events of a time. `after` is how far it has come."""

    __tablename__ = "recoveries"
    __table_args__ = (
        _partial("ix_recoveries_running", "id", where="finished_at IS NULL"),
        Index("ix_recoveries_endpoint", "endpoint_id", "id"),
    )

    id: str = Field(primary_key=True)
    tenant_id: str
    endpoint_id: str = Field(foreign_key="webhook_endpoints.id")
    since: datetime = Field(sa_type=UtcDateTime)
    until: datetime = Field(sa_type=UtcDateTime)
    total: int
    resent: int = 0
    after: str = ""
    created_at: datetime = Field(sa_type=UtcDateTime)
    finished_at: datetime | None = _time()
