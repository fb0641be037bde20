"""Watched models and due deliveries as the gateway would have stored them, put into its database at once.

They go in by the gateway's own tables and bare connection: what a row needs, the tables say.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, insert
from sqlmodel import SQLModel

from bench.targets import Place, Watched
from service.domain import ids
from service.domain.egress import host_of
from service.domain.event import DEFAULT_CALLBACK_EVENTS, EventType, event_body
from service.storage.database import Database
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
    """So many deliveries to each of `hosts` in turn, all due `first_due` seconds after now."""

    count: int
    hosts: Sequence[str]
    first_due: float = 0.0


async def store_watched(database: Database, place: Place, watched: Watched) -> None:
    now = datetime.now(UTC)
    rng = random.Random(watched.count)
    for numbers in _chunks(watched.count):
        trainings, callbacks = [], []
        for number in numbers:
            due_at = now + timedelta(seconds=watched.first_due + watched.spread * number / watched.count)
            # Read one interval before it is due, as if this were an ordinary poll.
            polled_at = due_at - timedelta(seconds=place.poll_interval)
            training = _training(number, polled_at, rng, {"due_at": due_at, "status": "training"})
            trainings.append(training)
            if watched.hosts:
                host = watched.hosts[number % len(watched.hosts)]
                callbacks.append(_callback(training, place.callback_url(training["model_id"], host), rng))
        await database.run(_storing({Training: trainings, Callback: callbacks}))


async def store_deliveries(database: Database, place: Place, due: Due) -> None:
    now = datetime.now(UTC)
    due_at = now + timedelta(seconds=due.first_due)
    rng = random.Random(due.count)
    for numbers in _chunks(due.count):
        rows: dict[type[SQLModel], list[Row]] = {Training: [], Callback: [], Event: [], Delivery: []}
        for number in numbers:
            training = _training(number, now, rng, {"status": "ready", "sequence": 1, "finished_at": now})
            url = place.callback_url(training["model_id"], due.hosts[number % len(due.hosts)])
            callback = _callback(training, url, rng)
            event = _event(number, training, callback, rng)
            rows[Training].append(training)
            rows[Callback].append(callback)
            rows[Event].append(event)
            rows[Delivery].append(_delivery(event, callback, due_at, rng))
        await database.run(_storing(rows))


def _chunks(count: int) -> Iterator[range]:
    for start in range(0, count, _CHUNK):
        yield range(start, min(count, start + _CHUNK))


def _storing(rows: dict[type[SQLModel], list[Row]]) -> Any:
    def store(connection: Connection) -> None:
        for table, stored in rows.items():
            if stored:
                connection.execute(insert(table), stored)

    return store


def _training(number: int, at: datetime, rng: random.Random, changes: Row) -> Row:
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


def _callback(training: Row, url: str, rng: random.Random) -> Row:
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
