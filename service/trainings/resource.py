"""The training as callers see it: what `GET /v1/trainings/{id}` returns, and the `data` of every event about it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from service.domain.egress import shown_url
from service.domain.event import rfc3339
from service.domain.expectation import USUAL
from service.storage.database import UnitOfWork
from service.storage.tables import Callback, Training


def current_resource(unit: UnitOfWork, row: Training) -> dict[str, Any]:
    """The resource of `row` with the callbacks that it has now."""
    position = unit.queues.positions([row]).get(row.id)
    return training_resource(row, unit.trainings.callbacks_of(row.id), position)


def training_resource(
    row: Training, callbacks: Sequence[Callback], queue_position: int | None = None
) -> dict[str, Any]:
    """JSON-ready; times are RFC 3339 in UTC. Secrets are left out, and so are query values of callback URLs.

    `queue_position`: its place in the queue, if it waits.
    """
    return {
        "id": row.id,
        "model_id": row.model_id,
        "status": row.status,
        "upstream_status": row.upstream_status,
        "overdue": row.overdue,
        "suspended": row.suspended,
        "sequence": row.sequence,
        "queue_position": queue_position,
        "created_at": rfc3339(row.created_at),
        "triggered_at": _time(row.triggered_at),
        "last_polled_at": _time(row.last_polled_at),
        "next_poll_at": _time(row.due_at),
        "finished_at": _time(row.finished_at),
        **_estimates(row),
        "failure": {"code": row.failure_code, "message": row.failure_message} if row.failure_code else None,
        "metadata": row.caller_metadata,
        "callbacks": [_callback(callback) for callback in callbacks],
        "urls": {"self": f"/v1/trainings/{row.id}", "deliveries": f"/v1/deliveries?training_id={row.id}"},
    }


def _estimates(row: Training) -> dict[str, Any]:
    if row.triggered_at is None or row.finished_at is not None:
        return {"estimated_ready_at": None, "estimated_ready_range": None}
    # Triggered by a release that did not store them: what it would have said.
    least = row.ready_expected_from or row.triggered_at + USUAL.least
    middle = row.ready_expected_at or row.triggered_at + USUAL.middle
    most = row.ready_expected_to or row.triggered_at + USUAL.most
    return {
        "estimated_ready_at": rfc3339(middle),
        "estimated_ready_range": {"from": rfc3339(least), "to": rfc3339(most)},
    }


def _callback(callback: Callback) -> dict[str, Any]:
    return {
        "url": shown_url(callback.url),
        "events": callback.events,
        "state": "active" if callback.ended_at is None else "ended",
        "last_problem": callback.last_problem,
    }


def _time(at: datetime | None) -> str | None:
    return None if at is None else rfc3339(at)
