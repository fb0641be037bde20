"""Rows for tests of what is stored: valid and small, with a default for whatever a test does not care about."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any, TypeVar

from sqlmodel import SQLModel, select

from service.domain.delivery import KEPT_WAITING, DeliveryStatus
from service.domain.endpoint import EndpointStatus
from service.domain.event import DEFAULT_CALLBACK_EVENTS, DEFAULT_ENDPOINT_EVENTS, TERMINAL_EVENTS, EventType
from service.domain.training import TERMINAL, Status
from service.storage.database import Database, UnitOfWork
from service.storage.tables import (
    Callback,
    Delivery,
    Event,
    IdempotencyKey,
    Recovery,
    Tenant,
    Training,
    WebhookEndpoint,
)

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
LEASE = timedelta(seconds=60)

Row = TypeVar("Row", bound=SQLModel)

_positions = count(1_000_000)


def a_tenant(
    id: str = "ten_a",
    *,
    sealed_key: bytes | None = b"sealed key",
    queue_due_at: datetime | None = None,
    queue_tried_at: datetime | None = None,
    queue_tries: int = 0,
    polls_paused_until: datetime | None = None,
) -> Tenant:
    return Tenant(
        id=id,
        sealed_key=sealed_key,
        sealed_signing_secret=b"sealed secret of " + id.encode(),
        queue_due_at=queue_due_at,
        queue_tried_at=queue_tried_at,
        queue_tries=queue_tries,
        polls_paused_until=polls_paused_until,
        created_at=NOW,
    )


def a_queued(
    id: str = "trn_1", *, tenant: str = "ten_a", model: str | None = None, created_at: datetime = NOW, fence: int = 0
) -> Training:
    """A training that waits for room at PhotoGPT."""
    training = a_training(id, tenant=tenant, model=model, status=Status.QUEUED, due_at=None, fence=fence)
    training.triggered_at, training.queues, training.created_at = None, True, created_at
    return training


def a_training(
    id: str = "trn_1",
    *,
    tenant: str = "ten_a",
    model: str | None = None,
    status: Status = Status.TRAINING,
    due_at: datetime | None = NOW,
    suspended: bool = False,
    sequence: int = 0,
    fence: int = 0,
) -> Training:
    """Of a model of its own, unless `model` says otherwise; a terminal status is one that was reached at NOW."""
    finished = status in TERMINAL
    return Training(
        id=id,
        tenant_id=tenant,
        model_id=model or f"model_of_{id}",
        status=status,
        suspended=suspended,
        sequence=sequence,
        created_at=NOW - timedelta(minutes=10),
        triggered_at=NOW - timedelta(minutes=10),
        finished_at=NOW if finished else None,
        due_at=None if finished else due_at,
        fence=fence,
    )


def a_callback(
    id: str = "cbk_1",
    *,
    training: str = "trn_1",
    tenant: str = "ten_a",
    url: str | None = None,
    events: Iterable[EventType] = DEFAULT_CALLBACK_EVENTS,
    sealed_secret: bytes | None = None,
    ended_at: datetime | None = None,
) -> Callback:
    """At a URL of its own, unless `url` says otherwise."""
    return Callback(
        id=id,
        tenant_id=tenant,
        training_id=training,
        url=url or f"https://receiver.example/{id}",
        events=sorted(events),
        sealed_secret=sealed_secret,
        created_at=NOW,
        ended_at=ended_at,
    )


def an_endpoint(
    id: str = "whe_1",
    *,
    tenant: str = "ten_a",
    url: str | None = None,
    events: Iterable[EventType] = DEFAULT_ENDPOINT_EVENTS,
    status: EndpointStatus = EndpointStatus.ACTIVE,
    deleted_at: datetime | None = None,
) -> WebhookEndpoint:
    """At a URL of its own, unless `url` says otherwise."""
    return WebhookEndpoint(
        id=id,
        tenant_id=tenant,
        url=url or f"https://receiver.example/{id}",
        events=sorted(events),
        sealed_secret=b"sealed secret of " + id.encode(),
        status=status,
        created_at=NOW,
        updated_at=NOW,
        deleted_at=deleted_at,
    )


def an_event(
    id: str = "evt_1",
    *,
    training: str = "trn_1",
    tenant: str = "ten_a",
    type: EventType = EventType.READY,
    sequence: int = 1,
    position: int | None = None,
) -> Event:
    """At a position of its own, unless `position` says otherwise."""
    return Event(
        id=id,
        tenant_id=tenant,
        training_id=training,
        type=type,
        sequence=sequence,
        position=next(_positions) if position is None else position,
        terminal=type in TERMINAL_EVENTS.values(),
        body=b'{"type":"' + type.encode() + b'"}',
        created_at=NOW,
    )


def a_delivery(
    id: str = "dlv_1",
    *,
    event: str = "evt_1",
    callback: str = "cbk_1",
    training: str = "trn_1",
    tenant: str = "ten_a",
    sequence: int = 1,
    host: str = "receiver.example:443",
    endpoint: str | None = None,
    status: DeliveryStatus = DeliveryStatus.PENDING,
    due_at: datetime | None = NOW,
) -> Delivery:
    """A status other than pending is one that was reached at NOW."""
    pending = status is DeliveryStatus.PENDING
    return Delivery(
        id=id,
        tenant_id=tenant,
        event_id=event,
        training_id=training,
        callback_id=callback if endpoint is None else None,
        endpoint_id=endpoint,
        host=host,
        event_type=EventType.READY,
        sequence=sequence,
        status=status,
        created_at=NOW,
        finished_at=None if pending else NOW,
        due_at=due_at if pending else None,
        give_up_at=NOW + KEPT_WAITING,
    )


def a_recovery(
    id: str = "rec_1", *, endpoint: str = "whe_1", tenant: str = "ten_a", finished_at: datetime | None = None
) -> Recovery:
    """Of the day before NOW."""
    return Recovery(
        id=id,
        tenant_id=tenant,
        endpoint_id=endpoint,
        since=NOW - timedelta(days=1),
        until=NOW,
        total=0,
        created_at=NOW,
        finished_at=finished_at,
    )


def an_idempotency_key(
    key: str = "key-1",
    *,
    tenant: str = "ten_a",
    fingerprint: str = "fingerprint",
    training: str = "trn_1",
    created_at: datetime = NOW,
) -> IdempotencyKey:
    return IdempotencyKey(
        tenant_id=tenant, key=key, fingerprint=fingerprint, training_id=training, created_at=created_at
    )


async def store(database: Database, *rows: SQLModel) -> None:
    """Commit `rows` as they are, parents before children whatever their order here."""

    def insert(unit: UnitOfWork) -> None:
        for table in SQLModel.metadata.sorted_tables:
            unit.session.add_all(row for row in rows if row.__tablename__ == table.name)
            unit.session.flush()

    await database.transaction(insert)


async def stored(database: Database, table: type[Row]) -> Sequence[Row]:
    """All committed rows, in the order of their primary keys."""
    order = SQLModel.metadata.tables[str(table.__tablename__)].primary_key.columns
    return await database.read(lambda unit: unit.session.exec(select(table).order_by(*order)).all())


async def stored_one(database: Database, table: type[Row]) -> Row:
    """The only committed row."""
    [row] = await stored(database, table)
    return row


def columns_of(row: SQLModel) -> dict[str, Any]:
    """Of a row of either kind: a session's, or a frozen one."""
    table = SQLModel.metadata.tables[str(row.__tablename__)]
    return {column.name: getattr(row, column.name) for column in table.columns}
