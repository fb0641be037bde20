"""The tables. Rows are for use cases; pure functions and network calls get frozen values instead.

`due_at` is when a row wants work, None when it wants none; a claim moves it to the end of the lease and raises
`fence`, so that what a worker records later only counts while nobody else has claimed the row since.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, Index, LargeBinary, Text, false, text
from sqlmodel import Field, SQLModel

from service.storage.columns import FAILING, UtcDateTime, optional_time, partial_index


class Tenant(SQLModel, table=True):
    """Whoever holds one PhotoGPT key. `sealed_key` is None when no key is kept; after a 429 its polls pause.

    `sweep_after`: before then its models are polled one by one. `queue_due_at` is when the first of its queue may be
    tried next, None without a queue; `queue_tries` counts those in vain since the last that was not.

    `event_position` counts its events: they are numbered in the order of their commits, since whoever takes a number
    holds this row until then. The signing secret signs callbacks without a secret of their own; the previous one, too,
    while it is being rotated.
    """

    __tablename__ = "tenants"
    __table_args__ = (
        partial_index("ix_tenants_key", "id", where="sealed_key IS NOT NULL"),
        partial_index("ix_tenants_queue", "queue_due_at", where="queue_due_at IS NOT NULL"),
    )

    id: str = Field(primary_key=True)
    sealed_key: bytes | None = Field(default=None, sa_type=LargeBinary)
    sealed_signing_secret: bytes = Field(sa_type=LargeBinary)
    sealed_previous_secret: bytes | None = Field(default=None, sa_type=LargeBinary)
    previous_secret_until: datetime | None = optional_time()
    polls_paused_until: datetime | None = optional_time()
    sweep_after: datetime | None = optional_time()
    queue_due_at: datetime | None = optional_time()
    queue_tried_at: datetime | None = optional_time()
    queue_tries: int = Field(default=0, sa_column_kwargs={"server_default": text("0")})
    event_position: int = Field(default=0, sa_type=BigInteger, sa_column_kwargs={"server_default": text("0")})
    created_at: datetime = Field(sa_type=UtcDateTime)


class Training(SQLModel, table=True):
    """Our record of one model being trained for one tenant. Active while `finished_at` is None.

    `queues`: it waits when PhotoGPT has no room. `submitted_at`: when the intent to trigger it was stored, None while
    it waits. `to_confirm`: what another reading says of it is to be confirmed, sooner than it would be polled.
    `traceparent`: what its polls and attempts are traced under.
    """

    __tablename__ = "trainings"
    __table_args__ = (
        partial_index("uq_trainings_active", "tenant_id", "model_id", where="finished_at IS NULL", unique=True),
        partial_index("ix_trainings_due", "due_at", where="due_at IS NOT NULL"),
        partial_index("ix_trainings_finished", "finished_at", where="finished_at IS NOT NULL"),
        partial_index("ix_trainings_queue", "tenant_id", "id", where="status = 'queued'"),
        Index("ix_trainings_tenant", "tenant_id", "id"),
        # Each train request looks for them, and its tenant may have very many others.
        partial_index("ix_trainings_suspended", "tenant_id", where="suspended = 1"),
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
    queues: bool = Field(default=False, sa_column_kwargs={"server_default": false()})
    to_confirm: bool = Field(default=False, sa_column_kwargs={"server_default": false()})
    created_at: datetime = Field(sa_type=UtcDateTime)
    submitted_at: datetime | None = optional_time()
    triggered_at: datetime | None = optional_time()
    ready_expected_from: datetime | None = optional_time()
    ready_expected_at: datetime | None = optional_time()
    ready_expected_to: datetime | None = optional_time()
    last_polled_at: datetime | None = optional_time()
    finished_at: datetime | None = optional_time()
    due_at: datetime | None = optional_time()
    fence: int = 0
    traceparent: str | None = None


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
    ended_at: datetime | None = optional_time()
    last_problem: str | None = None


class WebhookEndpoint(SQLModel, table=True):
    """A lasting subscription of a tenant. Deleted ones stay, without their secrets, while deliveries name them.

    `failing_since`: the first failure after the last success. `header_names` says which headers are sealed.
    """

    __tablename__ = "webhook_endpoints"
    __table_args__ = (partial_index("ix_webhook_endpoints_tenant", "tenant_id", "id", where="deleted_at IS NULL"),)

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
    previous_secret_until: datetime | None = optional_time()
    retry_schedule: list[float] | None = Field(default=None, sa_type=JSON(none_as_null=True))
    status: str
    disabled_reason: str | None = None
    failing_since: datetime | None = optional_time()
    last_problem: str | None = None
    created_at: datetime = Field(sa_type=UtcDateTime)
    updated_at: datetime = Field(sa_type=UtcDateTime)
    deleted_at: datetime | None = optional_time()


class Event(SQLModel, table=True):
    """Something that happened to a training, or to a webhook endpoint (then without `training_id`); immutable.

    `body` is what is signed and sent, byte for byte. `position` is its place among the tenant's events.
    """

    __tablename__ = "events"
    __table_args__ = (
        Index("uq_events_sequence", "training_id", "sequence", unique=True),
        partial_index("uq_events_terminal", "training_id", where="terminal", unique=True),
        Index("uq_events_position", "tenant_id", "position", unique=True),
        partial_index("ix_events_of_endpoints", "created_at", where="training_id IS NULL"),
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
        partial_index(
            "uq_deliveries_endpoint", "event_id", "endpoint_id", where="endpoint_id IS NOT NULL", unique=True
        ),
        # With both, so that what a full or dead host, or a tenant at its limit, holds back is passed over inside it.
        partial_index("ix_deliveries_due", "due_at", "host", "tenant_id", where="due_at IS NOT NULL"),
        Index("ix_deliveries_training", "training_id", "id"),
        # For the foreign key, when a callback is deleted.
        partial_index("ix_deliveries_callback", "callback_id", where="callback_id IS NOT NULL"),
        partial_index("ix_deliveries_endpoint", "endpoint_id", "id", where="endpoint_id IS NOT NULL"),
        partial_index("ix_deliveries_endpoint_status", "endpoint_id", "status", "id", where="endpoint_id IS NOT NULL"),
        Index("ix_deliveries_tenant", "tenant_id", "id"),
        Index("ix_deliveries_status", "tenant_id", "status", "id"),
        partial_index("ix_deliveries_failing", "host", "id", where=FAILING),
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
    finished_at: datetime | None = optional_time()
    due_at: datetime | None = optional_time()
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


class Recovery(SQLModel, table=True):
    """A job: resend what failed at a webhook endpoint, of the events of a time. `after` is how far it has come."""

    __tablename__ = "recoveries"
    __table_args__ = (
        partial_index("ix_recoveries_running", "id", where="finished_at IS NULL"),
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
    finished_at: datetime | None = optional_time()
