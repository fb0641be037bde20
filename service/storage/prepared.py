"""What every train request, poll and attempt runs, and every heartbeat, said once (`statement`).

Only what stands in the way of each of them is here; the rest says what it wants where it asks, by a session.
"""

from __future__ import annotations

from datetime import datetime
from functools import cache
from operator import itemgetter
from typing import Any

from sqlalchemy import Column, bindparam, false, func, select, update

from service.storage.installation import Heartbeat
from service.storage.rows import CallbackRow, EndpointRow, TenantRow, TrainingRow
from service.storage.statement import Change, Statement, listed, parameters, rows_of, table_of
from service.storage.tables import Attempt, Callback, Delivery, Event, Tenant, Training, WebhookEndpoint

TENANTS, TRAININGS, CALLBACKS = table_of(Tenant), table_of(Training), table_of(Callback)
ENDPOINTS, EVENTS = table_of(WebhookEndpoint), table_of(Event)
DELIVERIES, ATTEMPTS = table_of(Delivery), table_of(Attempt)
_HEARTBEATS = table_of(Heartbeat)


def _oldest(due: Column[Any]) -> Statement[datetime | None]:
    """When the row that waits longest became due, or the next one will."""
    # Only said so does SQLite look into the index of what is due, and not through the table.
    return Statement(select(func.min(due)).where(due.is_not(None)), itemgetter(0))


OLDEST_TRAINING, OLDEST_DELIVERY = _oldest(TRAININGS.c.due_at), _oldest(DELIVERIES.c.due_at)
OLDEST_QUEUE = _oldest(TENANTS.c.queue_due_at)
BEAT = Change(update(_HEARTBEATS).where(_HEARTBEATS.c.id == 1).values(at=bindparam("now", type_=_HEARTBEATS.c.at.type)))

TENANT = Statement(select(TENANTS).where(TENANTS.c.id == bindparam("tenant_id")), rows_of(TenantRow))
HOLD_TENANT: Statement[Any] = Statement(
    select(TENANTS.c.sealed_key.is_not(None))
    .where(TENANTS.c.id == bindparam("tenant_id"))
    .with_for_update(key_share=True)
)

TRAINING = Statement(select(TRAININGS).where(TRAININGS.c.id == bindparam("training_id")), rows_of(TrainingRow))
_active = select(TRAININGS).where(
    TRAININGS.c.tenant_id == bindparam("tenant_id"),
    TRAININGS.c.model_id == bindparam("model_id"),
    TRAININGS.c.finished_at.is_(None),
)
ACTIVE_TRAINING = Statement(_active, rows_of(TrainingRow))
HELD_ACTIVE_TRAINING = Statement(_active.with_for_update(key_share=True), rows_of(TrainingRow))

RESUME_SUSPENDED = Change(
    update(TRAININGS)
    .where(TRAININGS.c.tenant_id == bindparam("of_tenant"), TRAININGS.c.suspended, TRAININGS.c.finished_at.is_(None))
    .values(
        suspended=False,
        key_refused_count=0,
        due_at=bindparam("now", type_=TRAININGS.c.due_at.type),
        fence=TRAININGS.c.fence + 1,
    )
)

CALLBACKS_OF_TRAININGS = Statement(
    select(CALLBACKS).where(listed(CALLBACKS.c.training_id, "training_ids")).order_by(CALLBACKS.c.id),
    rows_of(CallbackRow),
)

HELD_ENDPOINTS = Statement(
    select(ENDPOINTS)
    .where(ENDPOINTS.c.tenant_id == bindparam("tenant_id"), ENDPOINTS.c.deleted_at.is_(None))
    .order_by(ENDPOINTS.c.id)
    .with_for_update(read=True),
    rows_of(EndpointRow),
)

NEXT_POSITION: Statement[Any] = Statement(
    update(TENANTS)
    .where(TENANTS.c.id == bindparam("tenant_id"))
    .values(event_position=TENANTS.c.event_position + 1)
    .returning(TENANTS.c.event_position)
)

RECORD_DELIVERY = Change(
    update(DELIVERIES)
    .where(DELIVERIES.c.id == bindparam("delivery_id"), DELIVERIES.c.fence == bindparam("held"))
    .values(**parameters(DELIVERIES, ("status", "attempts_made", "due_at", "finished_at", "fence")))
)
END_ATTEMPT = Change(
    update(ATTEMPTS)
    .where(ATTEMPTS.c.id == bindparam("attempt_id"))
    .values(**parameters(ATTEMPTS, ("duration_ms", "status_code", "error_class", "excerpt")))
)
NOTE_ON_CALLBACK = Change(
    update(CALLBACKS)
    .where(CALLBACKS.c.id == bindparam("callback_id"))
    .values(**parameters(CALLBACKS, ("last_problem",)))
)


_is_held = (
    TRAININGS.c.id == bindparam("training_id"),
    TRAININGS.c.fence == bindparam("held"),
    TRAININGS.c.finished_at.is_(None),
)
_COUNTED = ("upstream_status", "left_baseline", "not_found_count", "key_refused_count", "readings", "expiring")
KEEP_TRAINING = Change(
    update(TRAININGS)
    .where(*_is_held)
    .values(
        fence=TRAININGS.c.fence + 1,
        to_confirm=false(),
        **parameters(TRAININGS, (*_COUNTED, "last_polled_at", "due_at")),
    )
)
_TOLD = ("status", "overdue", "suspended", "failure_code", "failure_message")


@cache
def save_training(others: tuple[str, ...]) -> Statement[Training]:
    """Sets all that a watch says and these `others`, and raises `sequence` by `new_events`, of the training
    `training_id` that still has the fence `held` and has not ended.
    """
    return Statement(
        update(TRAININGS)
        .where(*_is_held)
        .values(
            fence=TRAININGS.c.fence + 1,
            to_confirm=false(),
            sequence=TRAININGS.c.sequence + bindparam("new_events"),
            **parameters(TRAININGS, (*_COUNTED, *_TOLD, "due_at", *others)),
        )
        .returning(*TRAININGS.columns),
        rows_of(TrainingRow),
    )
