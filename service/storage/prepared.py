"""The statements that every training runs, made once: to make one takes longer than to run it.

Only what stands in the way of each train request, poll and event is here; the rest says what it wants where it asks.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from functools import cache
from typing import Any

from sqlalchemy import bindparam
from sqlmodel import SQLModel, col, select, update

from service.storage.columns import UtcDateTime
from service.storage.tables import Attempt, Callback, Delivery, Tenant, Training, WebhookEndpoint

ACTIVE_TRAINING = select(Training).where(
    col(Training.tenant_id) == bindparam("tenant_id"),
    col(Training.model_id) == bindparam("model_id"),
    col(Training.finished_at).is_(None),
)
HELD_ACTIVE_TRAINING = ACTIVE_TRAINING.with_for_update(key_share=True)

RESUME_SUSPENDED: Any = (
    update(Training)
    .where(
        col(Training.tenant_id) == bindparam("of_tenant"), col(Training.suspended), col(Training.finished_at).is_(None)
    )
    .values(
        suspended=False, key_refused_count=0, due_at=bindparam("now", type_=UtcDateTime), fence=col(Training.fence) + 1
    )
)

CALLBACKS_OF_TRAININGS = (
    select(Callback)
    .where(col(Callback.training_id).in_(bindparam("training_ids", expanding=True)))
    .order_by(col(Callback.id))
)

HELD_ENDPOINTS = (
    select(WebhookEndpoint)
    .where(col(WebhookEndpoint.tenant_id) == bindparam("tenant_id"), col(WebhookEndpoint.deleted_at).is_(None))
    .order_by(col(WebhookEndpoint.id))
    .with_for_update(read=True)
)

NEXT_POSITION: Any = (
    update(Tenant)
    .where(col(Tenant.id) == bindparam("tenant_id"))
    .values(event_position=col(Tenant.event_position) + 1)
    .returning(col(Tenant.event_position))
    .execution_options(synchronize_session=False)
)


def _new(table: type[SQLModel], columns: Iterable[str]) -> dict[str, Any]:
    """Values for `columns` that are given when the statement is run, by the names `new_COLUMN`."""
    stored = SQLModel.metadata.tables[str(table.__tablename__)].columns
    return {name: bindparam(f"new_{name}", type_=stored[name].type) for name in columns}


def values(**columns: Any) -> dict[str, Any]:
    """Those values, by these names."""
    return {f"new_{name}": value for name, value in columns.items()}


# Nothing of the rows that an attempt's outcome changes is in the session of whoever records it.
RECORD_DELIVERY: Any = (
    update(Delivery)
    .where(col(Delivery.id) == bindparam("delivery_id"), col(Delivery.fence) == bindparam("held"))
    .values(**_new(Delivery, ("status", "attempts_made", "due_at", "finished_at", "fence")))
    .execution_options(synchronize_session=False)
)
END_ATTEMPT: Any = (
    update(Attempt)
    .where(col(Attempt.id) == bindparam("attempt_id"))
    .values(**_new(Attempt, ("duration_ms", "status_code", "error_class", "excerpt")))
    .execution_options(synchronize_session=False)
)
NOTE_ON_CALLBACK: Any = (
    update(Callback)
    .where(col(Callback.id) == bindparam("callback_id"))
    .values(**_new(Callback, ("last_problem",)))
    .execution_options(synchronize_session=False)
)


def save_training(columns: Collection[str]) -> Any:
    """Sets `columns`, and raises `sequence` by `new_events`, of the training `training_id` that still has the fence
    `held` and has not ended.
    """
    return _save_training(tuple(sorted(columns)))


@cache
def _save_training(columns: tuple[str, ...]) -> Any:
    return (
        update(Training)
        .where(
            col(Training.id) == bindparam("training_id"),
            col(Training.fence) == bindparam("held"),
            col(Training.finished_at).is_(None),
        )
        .values(sequence=col(Training.sequence) + bindparam("new_events"), **_new(Training, columns))
        .returning(Training)
        .execution_options(synchronize_session=False, populate_existing=True)
    )
