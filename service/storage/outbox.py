"""Repository of events, deliveries and attempts: the seam between watching and delivering."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Exists, exists
from sqlalchemy.orm import aliased
from sqlmodel import Session, col, func, select, update

from service.crashpoints import CrashPoint, reached
from service.domain import ids
from service.domain.backoff import longest_retry_delay
from service.domain.delivery import AttemptOutcome, Decision, DeliveryStatus, ErrorClass
from service.storage.claim import Claim
from service.storage.tables import Attempt, Callback, Delivery, Event, Tenant


@dataclass(frozen=True, slots=True)
class DueDelivery:
    """A claimed delivery: the stored bytes, where they go, and what they are signed with (sealed)."""

    id: str
    fence: int
    attempt_id: str
    attempts_made: int
    event_id: str
    training_id: str
    tenant_id: str
    body: bytes
    callback_id: str
    url: str
    sealed_callback_secret: bytes | None
    sealed_tenant_secret: bytes


class Outbox:
    """`announce` is called when there is something to send; it takes effect with the commit."""

    def __init__(self, session: Session, announce: Callable[[], None]) -> None:
        self._session = session
        self._announce = announce

    def add(self, event: Event, callbacks: Sequence[Callback], *, now: datetime, rng: random.Random) -> None:
        """Store `event` and one delivery, due at once, for each callback that has not ended and hears of its type."""
        self._session.add(event)
        # Deliveries refer to the event by its id alone, so the order of the inserts is ours to keep.
        self._session.flush()
        for callback in callbacks:
            if callback.ended_at is None and event.type in callback.events:
                self._session.add(_delivery_of(event, callback, now, rng))
                self._announce()
                reached(CrashPoint.FAN_OUT)
        self._session.flush()

    def claim_due(
        self, *, now: datetime, lease_for: timedelta, limit: int, rng: random.Random, busy: Collection[str] = ()
    ) -> Sequence[DueDelivery]:
        """Lease due deliveries and note the start of an attempt for each. An event never overtakes an earlier one.

        `busy` are deliveries that this process attempts now: no jump of the clock makes it attempt them twice at once.
        """
        due = [delivery_id for delivery_id, _ in _CLAIM.due(self._session, now=now, limit=limit, busy=busy)]
        if not due:
            return []
        claimed = _CLAIM.lease(self._session, due, until=now + lease_for)
        self._close_interrupted([row.id for row in claimed])
        attempts = {row.id: _started(row, now, rng) for row in claimed}
        self._session.add_all(attempts.values())
        query = (
            select(Delivery, Event.body, Callback, Tenant.sealed_signing_secret)
            .join(Event, col(Event.id) == Delivery.event_id)
            .join(Callback, col(Callback.id) == Delivery.callback_id)
            .join(Tenant, col(Tenant.id) == Delivery.tenant_id)
            .where(col(Delivery.id).in_([row.id for row in claimed]))
        )
        return [
            DueDelivery(
                id=row.id,
                fence=row.fence,
                attempt_id=attempts[row.id].id,
                attempts_made=row.attempts_made,
                event_id=row.event_id,
                training_id=row.training_id,
                tenant_id=row.tenant_id,
                body=body,
                callback_id=callback.id,
                url=callback.url,
                sealed_callback_secret=callback.sealed_secret,
                sealed_tenant_secret=tenant_secret,
            )
            for row, body, callback, tenant_secret in self._session.exec(query)
        ]

    def record(
        self, due: DueDelivery, outcome: AttemptOutcome, decision: Decision, *, now: datetime, problem: str | None
    ) -> bool:
        """Store what came of the attempt. False, and only the attempt is kept, when the lease was lost meanwhile."""
        self._session.exec(
            update(Attempt)
            .where(col(Attempt.id) == due.attempt_id)
            .values(
                duration_ms=round(outcome.duration / timedelta(milliseconds=1)),
                status_code=outcome.status_code,
                error_class=outcome.error_class,
                excerpt=outcome.excerpt,
            )
        )
        pending = decision.status is DeliveryStatus.PENDING
        saved = self._session.exec(
            update(Delivery)
            .where(col(Delivery.id) == due.id, col(Delivery.fence) == due.fence)
            .values(
                status=decision.status,
                attempts_made=due.attempts_made + 1,
                due_at=now + decision.retry_in if decision.retry_in is not None else None,
                finished_at=None if pending else now,
                fence=due.fence + 1,  # one claim, one outcome
            )
        )
        if saved.rowcount == 0:
            return False
        self._note_on_callback(due.callback_id, problem, ended_at=now if decision.ends_callback else None)
        if decision.ends_callback:
            self._bury_waiting(due.callback_id, now)
        if not pending:
            self._announce()  # the next event of this training may go now
        return True

    def oldest_due(self) -> datetime | None:
        """When the delivery that waits longest became due, or the next one will."""
        return self._session.exec(select(func.min(col(Delivery.due_at)))).one()

    def pull_in(self, schedule: Sequence[timedelta], *, now: datetime, lease_for: timedelta) -> int:
        """For a wall clock that was put back: no attempt is due later than its step, counted from now, allows."""
        moved = 0
        for made, step in enumerate(schedule):
            latest = now + max(longest_retry_delay(step), lease_for)
            late = update(Delivery).where(col(Delivery.due_at) > latest, col(Delivery.attempts_made) == made)
            moved += self._session.exec(late.values(due_at=latest)).rowcount
        return moved

    def get(self, tenant_id: str, delivery_id: str) -> Delivery | None:
        delivery = self._session.get(Delivery, delivery_id)
        return delivery if delivery and delivery.tenant_id == tenant_id else None

    def page(
        self, tenant_id: str, *, training_id: str | None, status: str | None, before: str | None, limit: int
    ) -> Sequence[Delivery]:
        """Newest first, ids below `before`."""
        query = select(Delivery).where(Delivery.tenant_id == tenant_id)
        if training_id:
            query = query.where(Delivery.training_id == training_id)
        if status:
            query = query.where(Delivery.status == status)
        if before:
            query = query.where(Delivery.id < before)
        return self._session.exec(query.order_by(col(Delivery.id).desc()).limit(limit)).all()

    def attempts(self, delivery_ids: Sequence[str]) -> dict[str, list[Attempt]]:
        """The attempts of each delivery, first to last."""
        found: dict[str, list[Attempt]] = {delivery_id: [] for delivery_id in delivery_ids}
        query = select(Attempt).where(col(Attempt.delivery_id).in_(delivery_ids)).order_by(col(Attempt.number))
        for attempt in self._session.exec(query):
            found[attempt.delivery_id].append(attempt)
        return found

    def callback_urls(self, callback_ids: Sequence[str]) -> dict[str, str]:
        query = select(Callback.id, Callback.url).where(col(Callback.id).in_(callback_ids))
        return dict(self._session.exec(query).all())

    def _close_interrupted(self, delivery_ids: Sequence[str]) -> None:
        """Attempts that a dead worker left open; the retry that follows may be a duplicate for the receiver."""
        self._session.exec(
            update(Attempt)
            .where(
                col(Attempt.delivery_id).in_(delivery_ids),
                col(Attempt.duration_ms).is_(None),
                col(Attempt.error_class).is_(None),
            )
            .values(error_class=ErrorClass.INTERRUPTED)
        )

    def _bury_waiting(self, callback_id: str, now: datetime) -> None:
        """Later events for a callback that has ended: they waited for the one that ended it, and are never sent."""
        self._session.exec(
            update(Delivery)
            .where(col(Delivery.callback_id) == callback_id, col(Delivery.status) == DeliveryStatus.PENDING)
            .values(status=DeliveryStatus.DEAD, due_at=None, finished_at=now, fence=col(Delivery.fence) + 1)
        )

    def _note_on_callback(self, callback_id: str, problem: str | None, ended_at: datetime | None) -> None:
        changes: dict[str, object] = {"last_problem": problem}
        if ended_at is not None:
            changes["ended_at"] = ended_at
        self._session.exec(update(Callback).where(col(Callback.id) == callback_id).values(**changes))


def _earlier_pending() -> Exists:
    """An earlier event for the same callback is still to be delivered: events of one training go in order."""
    earlier = aliased(Delivery)
    return exists().where(
        col(earlier.callback_id) == Delivery.callback_id,
        col(earlier.sequence) < Delivery.sequence,
        col(earlier.status) == DeliveryStatus.PENDING,
    )


_CLAIM = Claim(Delivery, ~_earlier_pending(), attempts_started=col(Delivery.attempts_started) + 1)


def _delivery_of(event: Event, callback: Callback, now: datetime, rng: random.Random) -> Delivery:
    return Delivery(
        id=ids.new_id(ids.DELIVERY, now, rng),
        tenant_id=event.tenant_id,
        event_id=event.id,
        training_id=event.training_id,
        callback_id=callback.id,
        event_type=event.type,
        sequence=event.sequence,
        status=DeliveryStatus.PENDING,
        created_at=now,
        due_at=now,
    )


def _started(row: Delivery, now: datetime, rng: random.Random) -> Attempt:
    return Attempt(
        id=ids.new_id(ids.ATTEMPT, now, rng), delivery_id=row.id, number=row.attempts_started, started_at=now
    )
