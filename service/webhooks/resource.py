"""Webhook endpoints and recoveries as callers see them, and as events tell of them."""

from __future__ import annotations

from typing import Any

from service.domain.egress import shown_url
from service.domain.event import rfc3339
from service.storage.tables import Recovery, WebhookEndpoint


def endpoint_resource(row: WebhookEndpoint) -> dict[str, Any]:
    """JSON-ready. Secrets and header values are left out; values in the URL's query are masked."""
    return {
        "id": row.id,
        "url": shown_url(row.url),
        "events": row.events,
        "description": row.description,
        "metadata": row.caller_metadata,
        "headers": dict.fromkeys(row.header_names, "***"),
        "retry_schedule": row.retry_schedule,
        "status": row.status,
        "disabled_reason": row.disabled_reason,
        "failing_since": None if row.failing_since is None else rfc3339(row.failing_since),
        "last_problem": row.last_problem,
        "previous_secret_until": None if row.previous_secret_until is None else rfc3339(row.previous_secret_until),
        "created_at": rfc3339(row.created_at),
        "updated_at": rfc3339(row.updated_at),
        "urls": {
            "self": f"/v1/webhook-endpoints/{row.id}",
            "deliveries": f"/v1/deliveries?endpoint_id={row.id}",
        },
    }


def recovery_resource(row: Recovery) -> dict[str, Any]:
    """`total` was counted when it was asked for, `resent` so far."""
    return {
        "id": row.id,
        "endpoint_id": row.endpoint_id,
        "status": "running" if row.finished_at is None else "done",
        "since": rfc3339(row.since),
        "until": rfc3339(row.until),
        "total": row.total,
        "resent": row.resent,
        "created_at": rfc3339(row.created_at),
        "finished_at": None if row.finished_at is None else rfc3339(row.finished_at),
        "urls": {"self": f"/v1/webhook-endpoints/{row.endpoint_id}/recoveries/{row.id}"},
    }
