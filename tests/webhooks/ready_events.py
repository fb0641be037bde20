"""Events for one webhook endpoint, each of a training of its own, so that none waits for another."""

from __future__ import annotations

import random
from datetime import datetime

from service.domain import ids
from service.domain.event import EventType
from service.domain.training import Status
from service.keyring import Keyring
from service.storage.database import Database, UnitOfWork
from service.storage.tables import Event, Training, WebhookEndpoint
from tests.support.gateway import SECRET
from tests.support.rows import a_tenant, an_endpoint, store


async def subscribe(database: Database, keyring: Keyring, url: str, *, name: str) -> WebhookEndpoint:
    """A webhook endpoint of a tenant of its own."""
    endpoint = an_endpoint(f"whe_{name}", tenant=f"ten_{name}", url=url)
    endpoint.sealed_secret = keyring.seal_secret(endpoint.id, SECRET)
    await store(database, a_tenant(endpoint.tenant_id), endpoint)
    return endpoint


def becomes_ready(unit: UnitOfWork, endpoint: WebhookEndpoint, now: datetime, rng: random.Random) -> str:
    """A training has just ended, and `endpoint` is to hear of it. The id of the event."""
    training = Training(
        id=ids.new_id(ids.TRAINING, now, rng),
        tenant_id=endpoint.tenant_id,
        model_id="model",
        status=Status.READY,
        created_at=now,
        finished_at=now,
    )
    unit.session.add(training)
    unit.session.flush()
    event = Event(
        id=ids.new_id(ids.EVENT, now, rng),
        tenant_id=endpoint.tenant_id,
        training_id=training.id,
        type=EventType.READY,
        sequence=1,
        terminal=True,
        body=b"{}",
        created_at=now,
    )
    event_id = event.id
    unit.outbox.add(event, endpoints=[endpoint], now=now, rng=rng)
    return event_id
