"""The one place where the outcome of an attempt is stored: the delivery, and what it means for its target.

A target that answers 410 hears no more; a webhook endpoint that fails for 5 days is disabled, and its tenant's other
endpoints are told, all in one transaction.
"""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import datetime
from typing import Any

from service.domain import ids
from service.domain.delivery import AttemptOutcome, Decision, DeliveryStatus
from service.domain.endpoint import DisabledReason, EndpointStatus, failed_too_long
from service.domain.event import EventType, event_body
from service.domain.facts import Fact
from service.storage.database import UnitOfWork
from service.storage.due_delivery import DueDelivery
from service.storage.rows import EventRow
from service.storage.tables import WebhookEndpoint
from service.telemetry.logging import get_logger
from service.webhooks.problem import problem_of
from service.webhooks.resource import endpoint_resource

_log = get_logger("webhooks")


class OutcomeRecorder:
    def __init__(self, rng: random.Random) -> None:
        self._rng = rng

    def save(
        self, unit: UnitOfWork, due: DueDelivery, outcome: AttemptOutcome, decision: Decision, *, now: datetime
    ) -> bool:
        """Store what came of an attempt; False if the lease was lost meanwhile, and then only the attempt is kept."""
        if not due.target.is_endpoint:
            if not unit.outbox.record(due, outcome, decision, now=now):
                return False
            ended_at = now if decision.ends_target else None
            unit.outbox.note_on_callback(due.target.id, problem_of(outcome), ended_at=ended_at)
            return True
        # First: whoever pauses or deletes it at this moment changes its deliveries, too.
        endpoint = unit.endpoints.hold(due.target.id)
        if not unit.outbox.record(due, outcome, _while(endpoint, decision), now=now):
            return False
        if endpoint is not None:
            self._note_on_endpoint(unit, endpoint, outcome, decision, now)
        return True

    def disable(self, unit: UnitOfWork, endpoint: WebhookEndpoint, reason: DisabledReason, now: datetime) -> None:
        """Send nothing there any more, and say so to the tenant's other endpoints."""
        changes = {"status": EndpointStatus.DISABLED, "disabled_reason": reason, "updated_at": now}
        disabled = unit.endpoints.change(endpoint.id, changes)
        unit.deliveries.bury(endpoint.id, now=now)
        event = EventRow(
            id=ids.new_id(ids.EVENT, now, self._rng),
            tenant_id=endpoint.tenant_id,
            type=EventType.ENDPOINT_DISABLED,
            sequence=0,
            terminal=False,
            body=event_body(EventType.ENDPOINT_DISABLED, now, endpoint_resource(disabled)),
            created_at=now,
        )
        unit.outbox.add(event, endpoints=unit.endpoints.all_of(endpoint.tenant_id), now=now, rng=self._rng)
        unit.facts.note(Fact.ENDPOINT_DISABLED, reason)
        _log.warning("endpoint_disabled", endpoint_id=endpoint.id, reason=reason)

    def _note_on_endpoint(
        self, unit: UnitOfWork, endpoint: WebhookEndpoint, outcome: AttemptOutcome, decision: Decision, now: datetime
    ) -> None:
        problem = problem_of(outcome)
        failing_since = None if problem is None else endpoint.failing_since or now
        if (problem, failing_since) != (endpoint.last_problem, endpoint.failing_since):
            changes: dict[str, Any] = {"last_problem": problem, "failing_since": failing_since}
            endpoint = unit.endpoints.change(endpoint.id, changes)
        if endpoint.status == EndpointStatus.DISABLED or endpoint.deleted_at is not None:
            return
        if decision.ends_target:
            self.disable(unit, endpoint, DisabledReason.GONE, now)
        elif failing_since is not None and failed_too_long(failing_since, now):
            self.disable(unit, endpoint, DisabledReason.FAILING, now)


def _while(endpoint: WebhookEndpoint | None, decision: Decision) -> Decision:
    """The decision as the endpoint is by now: a retry waits while it is paused, and is not made once it is gone."""
    if decision.status is not DeliveryStatus.PENDING or endpoint is None:
        return decision
    if endpoint.deleted_at is not None or endpoint.status == EndpointStatus.DISABLED:
        return replace(decision, status=DeliveryStatus.DEAD, retry_in=None)
    return replace(decision, retry_in=None) if endpoint.status == EndpointStatus.PAUSED else decision
