"""Rows as the gateway would have stored them, by its own tables: what a row needs, they say. Due deliveries, put into
its database at once.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine, insert
from sqlmodel import SQLModel

from bench.targets import Place
from service.domain import ids
from service.domain.egress import host_of
from service.domain.event import DEFAULT_CALLBACK_EVENTS, EventType, event_body
from service.storage.tables import Callback, Delivery, Event, Training
from service.trainings.resource import training_resource

# The one tenant of a sidecar with a key of its own.
TENANT = f"{ids.TENANT}_own"
_CHUNK = 5000
_EVENTS = sorted(DEFAULT_CALLBACK_EVENTS)
_KEPT = timedelta(days=4)

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Due:
    """So many deliveries to each of `hosts` in turn, all due at the time `first_due`."""

    count: int
    hosts: Sequence[str]
    first_due: float


def store_deliveries(file: Path, place: Place, due: Due) -> None:
    now = datetime.now(UTC)
    due_at = datetime.fromtimestamp(due.first_due, UTC)
    rng = random.Random(due.count)
    engine = create_engine(f"sqlite:///{file}")
    for numbers in _chunks(due.count):
        rows: dict[type[SQLModel], list[Row]] = {Training: [], Callback: [], Event: [], Delivery: []}
        for number in numbers:
            training = training_row(number, now, rng, {"status": "ready", "sequence": 1, "finished_at": now})
            url = place.callback_url(training["model_id"], due.hosts[number % len(due.hosts)])
            callback = callback_row(training, url, rng)
            event = _event(number, training, callback, rng)
            rows[Training].append(training)
            rows[Callback].append(callback)
            rows[Event].append(event)
            rows[Delivery].append(_delivery(event, callback, due_at, rng))
        with engine.begin() as connection:
            for table, stored in rows.items():
                connection.execute(insert(table), stored)
    engine.dispose()


def _chunks(count: int) -> Iterator[range]:
    for start in range(0, count, _CHUNK):
        yield range(start, min(count, start + _CHUNK))


def training_row(number: int, at: datetime, rng: random.Random, changes: Row) -> Row:
    return {
        "id": ids.new_id(ids.TRAINING, at, rng),
        "tenant_id": TENANT,
        "model_id": f"watched-{number:07d}",
        "upstream_status": "training",
        "baseline_status": "new",
        "left_baseline": True,
        "caller_metadata": {},
        "created_at": at,
        "submitted_at": at,
        "triggered_at": at,
        "last_polled_at": at,
        "due_at": None,
        "finished_at": None,
        **changes,
    }


def callback_row(training: Row, url: str, rng: random.Random) -> Row:
    at = training["created_at"]
    return {
        "id": ids.new_id(ids.CALLBACK, at, rng),
        "tenant_id": TENANT,
        "training_id": training["id"],
        "url": url,
        "events": _EVENTS,
        "created_at": at,
    }


def _event(number: int, training: Row, callback: Row, rng: random.Random) -> Row:
    at = training["created_at"]
    told = training_resource(Training(**training), [Callback(**callback)])
    return {
        "id": ids.new_id(ids.EVENT, at, rng),
        "tenant_id": TENANT,
        "training_id": training["id"],
        "type": EventType.READY,
        "sequence": 1,
        "position": number + 1,
        "terminal": True,
        "body": event_body(EventType.READY, at, told),
        "created_at": at,
    }


def _delivery(event: Row, callback: Row, due_at: datetime, rng: random.Random) -> Row:
    at = event["created_at"]
    return {
        "id": ids.new_id(ids.DELIVERY, at, rng),
        "tenant_id": TENANT,
        "event_id": event["id"],
        "training_id": event["training_id"],
        "callback_id": callback["id"],
        "event_type": event["type"],
        "sequence": 1,
        "host": host_of(callback["url"]),
        "status": "pending",
        "created_at": at,
        "due_at": due_at,
        "give_up_at": at + _KEPT,
    }
