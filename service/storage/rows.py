"""The rows of `tables` that every training makes and reads, as values."""

from __future__ import annotations

from service.storage.statement import frozen
from service.storage.tables import Attempt, Callback, Delivery, Event, Tenant, Training, WebhookEndpoint

TenantRow = frozen(Tenant)
TrainingRow = frozen(Training)
# What decides about polls, and no more: half of what is read of trainings is read of those that are due.
PolledRow = frozen(
    Training,
    without=[
        "caller_metadata",
        "sequence",
        "queues",
        "ready_expected_from",
        "ready_expected_at",
        "ready_expected_to",
        "finished_at",
    ],
)
CallbackRow = frozen(Callback)
EndpointRow = frozen(WebhookEndpoint)
EventRow = frozen(Event)
DeliveryRow = frozen(Delivery)
AttemptRow = frozen(Attempt)
