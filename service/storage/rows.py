"""The rows of `tables` that every training makes and reads, as values."""

from __future__ import annotations

from service.storage.statement import frozen
from service.storage.tables import Attempt, Callback, Delivery, Event, Tenant, Training, WebhookEndpoint

TenantRow = frozen(Tenant)
TrainingRow = frozen(Training)
CallbackRow = frozen(Callback)
EndpointRow = frozen(WebhookEndpoint)
EventRow = frozen(Event)
DeliveryRow = frozen(Delivery)
AttemptRow = frozen(Attempt)
