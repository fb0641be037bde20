"""The one place where a training changes: its new state, its events and their deliveries, in one transaction.

Intake, starter, poller and cancellation all record through `Recorder`, so promise 4 is kept here or nowhere.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Any

from service.crashpoints import CrashPoint, reached
from service.domain import ids
from service.domain.event import TERMINAL_EVENTS, EventType, event_body
from service.domain.facts import Fact
from service.domain.training import TERMINAL, QueueRules, Status, Watch
from service.storage.database import UnitOfWork
from service.storage.rows import EventRow
from service.storage.tables import Training
from service.trainings.expectation import Expectations
from service.trainings.resource import training_resource

_POLLED = {"last_polled_at"}


@dataclass(frozen=True, slots=True)
class Held:
    """A training as some worker last knew it: `before` is only replaced while the row still has this `fence`."""

    id: str
    fence: int
    before: Watch


class Recorder:
    def __init__(self, rng: random.Random, queue: QueueRules) -> None:
        self._rng = rng
        self._queue = queue
        self._expectations = Expectations()

    def save(
        self,
        unit: UnitOfWork,
        held: Held,
        watch: Watch,
        *,
        now: datetime,
        due_at: datetime | None,
        announce: bool = True,
        changes: Mapping[str, Any] = MappingProxyType({}),
    ) -> Training | None:
        """Store `watch` and tell of what changed; None, and nothing stored, if somebody else was first.

        `announce=False` records the events without deliveries: for a refusal that the waiting caller is answered with.
        With `triggered_at` among `changes` goes when it is expected to be ready.
        """
        news = _news(held.before, watch)
        if "triggered_at" in changes:
            changes = {**changes, **self._expectations.at_trigger(unit, changes["triggered_at"], now=now)}
        row = unit.trainings.save(
            held.id, fence=held.fence, watch=watch, due_at=due_at, new_events=len(news), now=now, changes=changes
        )
        if row is None:
            return None
        shown = unit.trainings.callbacks_of(row.id) if news else []
        callbacks = shown if announce else []
        endpoints = unit.endpoints.all_of(row.tenant_id) if news and announce else []
        for sequence, event_type in enumerate(news, start=row.sequence - len(news) + 1):
            data = {**training_resource(row, shown), "sequence": sequence}
            event = EventRow(
                id=ids.new_id(ids.EVENT, now, self._rng),
                tenant_id=row.tenant_id,
                training_id=row.id,
                type=event_type,
                sequence=sequence,
                terminal=event_type in TERMINAL_EVENTS.values(),
                body=event_body(event_type, now, data),
                created_at=now,
            )
            unit.outbox.add(event, callbacks=callbacks, endpoints=endpoints, now=now, rng=self._rng)
        if watch.status in TERMINAL:
            unit.facts.note(Fact.TRAINING_ENDED, watch.status)
            if row.triggered_at is not None:
                unit.facts.trained_for.append(now - row.triggered_at)
            reached(CrashPoint.KEY_UNERASED)
            unit.tenants.erase_key_if_idle(row.tenant_id)
            unit.queues.wake(row.tenant_id, now, self._queue)
        return row

    def save_reading(
        self,
        unit: UnitOfWork,
        held: Held,
        watch: Watch,
        *,
        now: datetime,
        due_at: datetime | None,
        changes: Mapping[str, datetime],
    ) -> bool:
        """`save` of a reading; False if somebody else was first. Nearly all have nothing to tell, and cost less."""
        if changes.keys() == _POLLED and _tells_nothing(held.before, watch):
            polled_at = changes["last_polled_at"]
            return unit.trainings.keep(held.id, fence=held.fence, watch=watch, due_at=due_at, polled_at=polled_at)
        return self.save(unit, held, watch, now=now, due_at=due_at, changes=changes) is not None


def _tells_nothing(before: Watch, after: Watch) -> bool:
    return (
        after.status is before.status
        and after.overdue == before.overdue
        and after.suspended == before.suspended
        and after.failure == before.failure
    )


def _news(before: Watch, after: Watch) -> list[EventType]:
    """What there is to tell, in order."""
    news = []
    if before.status is Status.SUBMITTING and after.status is Status.TRAINING:
        news.append(EventType.STARTED)
    if after.overdue and not before.overdue:
        news.append(EventType.OVERDUE)
    if after.suspended and not before.suspended:
        news.append(EventType.SUSPENDED)
    if after.status is not before.status and after.status in TERMINAL_EVENTS:
        news.append(TERMINAL_EVENTS[after.status])
    return news
