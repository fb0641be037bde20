"""Repository of the outbox, the seam between watching and delivering: events and what is to be sent of them.

Claims, and what came of them. What callers see of deliveries, and ask to have sent again: `deliveries`.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy import Boolean, Exists, and_, bindparam, exists, or_
from sqlmodel import col, select, update

from service.crashpoints import CrashPoint, reached
from service.domain import ids
from service.domain.backoff import longest_retry_delay
from service.domain.delivery import KEPT_WAITING, AttemptOutcome, Decision, DeliveryStatus, ErrorClass
from service.domain.egress import host_of
from service.domain.endpoint import EndpointStatus
from service.domain.facts import DELIVERED, Fact, Facts
from service.storage import prepared
from service.storage.claim import Claim
from service.storage.due_delivery import CONTENTS, DueDelivery, SendLimits, due_delivery
from service.storage.insert import insert_new
from service.storage.rows import AttemptRow, DeliveryRow
from service.storage.statement import Change, listed, unlisted, values
from service.storage.tables import Attempt, Callback, Delivery, Event, WebhookEndpoint
from service.storage.transaction import Repository, Transaction


@dataclass(slots=True)
class News:
    """What transactions have put into the outbox: whether there is something to send, and whose events are new.

    `all_tenants`: anybody's may be, since nobody knows.
    """

    to_send: bool = False
    tenants: set[str] = field(default_factory=set)
    all_tenants: bool = False

    def add(self, other: News) -> None:
        self.to_send = self.to_send or other.to_send
        self.tenants |= other.tenants
        self.all_tenants = self.all_tenants or other.all_tenants


_NO_LIMITS = SendLimits()
_DELIVERIES, _ATTEMPTS, _ENDPOINTS = prepared.DELIVERIES, prepared.ATTEMPTS, prepared.ENDPOINTS
# An attempt that is under way, or whose worker died.
WITHOUT_OUTCOME = and_(_ATTEMPTS.c.duration_ms.is_(None), _ATTEMPTS.c.error_class.is_(None))


class Outbox(Repository):
    def __init__(self, transaction: Transaction, news: News, facts: Facts) -> None:
        super().__init__(transaction)
        self._news = news
        self._facts = facts

    def add(
        self,
        event: Event,
        *,
        callbacks: Sequence[Callback] = (),
        endpoints: Sequence[WebhookEndpoint] = (),
        now: datetime,
        rng: random.Random,
    ) -> None:
        """Store `event`, whose position is given here, as its tenant's next, and a delivery for each target that hears
        of its type. One to a paused webhook endpoint waits for that one's return; the others are due at once.
        """
        insert_new(self._transaction, event, position=self._next_position(event.tenant_id))
        self._news.tenants.add(event.tenant_id)
        self._facts.note(Fact.EVENT, event.type)
        for callback in callbacks:
            if callback.ended_at is None and event.type in callback.events:
                self._send(event, callback.url, now, rng, callback_id=callback.id)
        for endpoint in endpoints:
            if endpoint.status != EndpointStatus.DISABLED and event.type in endpoint.events:
                paused = endpoint.status == EndpointStatus.PAUSED
                self._send(event, endpoint.url, now, rng, endpoint_id=endpoint.id, held=paused)

    def claim_due(
        self, *, now: datetime, lease_for: timedelta, limit: int, rng: random.Random, limits: SendLimits = _NO_LIMITS
    ) -> Sequence[DueDelivery]:
        """Lease due deliveries within `limits` and note the start of an attempt for each. An event never overtakes an
        earlier one of its training.
        """
        due = _CLAIM.due(
            self._transaction,
            now=now,
            limit=limit,
            busy=limits.busy,
            full=limits.full,
            full_tenants=limits.full_tenants,
            retries=limits.retries is None or limits.retries > 0,
        )
        chosen = limits.fitting(due)
        if not chosen:
            return []
        claimed = _CLAIM.lease(self._transaction, chosen, until=now + lease_for)
        self._close_interrupted([row.id for row in claimed])
        self._facts.waited_for += [now - row.created_at for row in claimed if row.attempts_started == 1]
        attempts = {row.id: _started(row, now, rng) for row in claimed}
        for attempt in attempts.values():
            insert_new(self._transaction, attempt)
        contents = self._transaction.all(CONTENTS, deliveries=chosen)
        rows = {row.id: row for row in claimed}
        return [
            due_delivery(rows[content.delivery_id], attempts[content.delivery_id].id, content, now)
            for content in contents
        ]

    def record(self, due: DueDelivery, outcome: AttemptOutcome, decision: Decision, *, now: datetime) -> bool:
        """Store what came of the attempt. False, and only the attempt is kept, when the lease was lost meanwhile."""
        pending = decision.status is DeliveryStatus.PENDING
        # The delivery first, as a claim does that takes it over at this moment.
        saved = self._transaction.run(
            prepared.RECORD_DELIVERY,
            delivery_id=due.id,
            held=due.fence,
            **values(
                status=decision.status,
                attempts_made=due.attempts_made + 1,
                due_at=now + decision.retry_in if decision.retry_in is not None else None,
                finished_at=None if pending else now,
                fence=due.fence + 1,  # one claim, one outcome
            ),
        )
        self._transaction.run(
            prepared.END_ATTEMPT,
            attempt_id=due.attempt_id,
            **values(
                duration_ms=round(outcome.duration / timedelta(milliseconds=1)),
                status_code=outcome.status_code,
                error_class=outcome.error_class,
                excerpt=outcome.excerpt,
            ),
        )
        self._facts.note(Fact.ATTEMPT, outcome.error_class or DELIVERED)
        self._facts.attempted_for.append(outcome.duration)
        if not saved:
            self._facts.note(Fact.ATTEMPT_OUTDATED)
        elif not pending:
            self._facts.note(Fact.DELIVERY_ENDED, decision.status)
            self._news.to_send = True  # the next event of this training may go now
        return bool(saved)

    def oldest_due(self) -> datetime | None:
        """When the delivery that waits longest became due, or the next one will."""
        return self._transaction.one(prepared.OLDEST_DELIVERY)

    def pull_in(self, schedule: Sequence[timedelta], *, now: datetime, lease_for: timedelta) -> int:
        """For a wall clock that was put back: no attempt is due later than its step, counted from now, allows."""
        moved = 0
        for made, step in enumerate(schedule):
            latest = now + max(longest_retry_delay(step), lease_for)
            late = update(Delivery).where(col(Delivery.due_at) > latest, col(Delivery.attempts_made) == made)
            moved += self._session.exec(late.values(due_at=latest)).rowcount
        return moved

    def give_up_waiting(self, hosts: Sequence[str], *, now: datetime, limit: int) -> int:
        """Bury what waits for one of these hosts, whose breakers are open, and has waited too long. How many."""
        waiting = self._session.exec(
            select(Delivery.id)
            .where(col(Delivery.host).in_(hosts), col(Delivery.due_at) <= now, col(Delivery.give_up_at) <= now)
            .limit(limit)
            .with_for_update(skip_locked=True)
        ).all()
        # Not in one statement: PostgreSQL may choose a plan that asks for the rows again and again, and so for more.
        buried = self._session.exec(
            update(Delivery)
            .where(col(Delivery.id).in_(waiting))
            .values(status=DeliveryStatus.DEAD, due_at=None, finished_at=now, fence=col(Delivery.fence) + 1)
        ).rowcount
        self._facts.note(Fact.DELIVERY_ENDED, DeliveryStatus.DEAD, buried)
        return buried

    def note_on_callback(self, callback_id: str, problem: str | None, *, ended_at: datetime | None) -> None:
        """Note the last problem, or that there is none; and its end, with which what waits for it ends too."""
        self._transaction.run(prepared.NOTE_ON_CALLBACK, callback_id=callback_id, **values(last_problem=problem))
        if ended_at is not None:
            self._session.exec(update(Callback).where(col(Callback.id) == callback_id).values(ended_at=ended_at))
            training = select(Callback.training_id).where(col(Callback.id) == callback_id).scalar_subquery()
            ended = self._session.exec(
                update(Delivery)
                .where(
                    col(Delivery.training_id) == training,
                    col(Delivery.callback_id) == callback_id,
                    col(Delivery.status) == DeliveryStatus.PENDING,
                )
                .values(status=DeliveryStatus.DEAD, due_at=None, finished_at=ended_at, fence=col(Delivery.fence) + 1)
            )
            self._facts.note(Fact.DELIVERY_ENDED, DeliveryStatus.DEAD, ended.rowcount)

    def _next_position(self, tenant_id: str) -> int:
        """Whoever takes a number keeps the tenant's row until the commit: numbers are committed in their order, and a
        reader who has seen one has seen all before it.
        """
        [position] = self._transaction.one(prepared.NEXT_POSITION, tenant_id=tenant_id)
        return int(position)

    def _send(
        self,
        event: Event,
        url: str,
        now: datetime,
        rng: random.Random,
        *,
        callback_id: str | None = None,
        endpoint_id: str | None = None,
        held: bool = False,
    ) -> None:
        insert_new(
            self._transaction,
            DeliveryRow(
                id=ids.new_id(ids.DELIVERY, now, rng),
                tenant_id=event.tenant_id,
                event_id=event.id,
                training_id=event.training_id,
                callback_id=callback_id,
                endpoint_id=endpoint_id,
                event_type=event.type,
                sequence=event.sequence,
                host=host_of(url),
                status=DeliveryStatus.PENDING,
                created_at=now,
                due_at=None if held else now,
                give_up_at=now + KEPT_WAITING,
            ),
        )
        self._news.to_send = self._news.to_send or not held
        self._facts.note(Fact.DELIVERY_MADE)
        reached(CrashPoint.FAN_OUT)

    def _close_interrupted(self, delivery_ids: Sequence[str]) -> None:
        """Attempts that a dead worker left open; the retry that follows may be a duplicate for the receiver."""
        closed = self._transaction.run(_CLOSE_INTERRUPTED, deliveries=delivery_ids)
        if closed:
            self._facts.note(Fact.TAKEN_OVER, times=closed)


def _earlier_pending() -> Exists:
    """An earlier event of the same training is still to be delivered to the same target: its events go in order."""
    earlier = _DELIVERIES.alias()
    return exists().where(
        earlier.c.training_id == _DELIVERIES.c.training_id,
        earlier.c.sequence < _DELIVERIES.c.sequence,
        earlier.c.status == DeliveryStatus.PENDING,
        or_(
            earlier.c.callback_id == _DELIVERIES.c.callback_id,
            earlier.c.endpoint_id == _DELIVERIES.c.endpoint_id,
        ),
    )


def _to_an_inactive_endpoint() -> Exists:
    """An attempt was under way when its endpoint was paused, and its worker died: it waits with the others."""
    return exists().where(_ENDPOINTS.c.id == _DELIVERIES.c.endpoint_id, _ENDPOINTS.c.status != EndpointStatus.ACTIVE)


_CLAIM = Claim(
    DeliveryRow,
    ~_earlier_pending(),
    ~_to_an_inactive_endpoint(),
    unlisted(_DELIVERIES.c.host, "full"),
    unlisted(_DELIVERIES.c.tenant_id, "full_tenants"),
    or_(bindparam("retries", type_=Boolean), _DELIVERIES.c.attempts_started == 0),
    chosen_by=["host", "tenant_id", "attempts_started"],
    changes={"attempts_started": _DELIVERIES.c.attempts_started + 1},
)
_CLOSE_INTERRUPTED = Change(
    update(_ATTEMPTS)
    .where(
        listed(_ATTEMPTS.c.delivery_id, "deliveries"),
        WITHOUT_OUTCOME,
    )
    .values(error_class=ErrorClass.INTERRUPTED)
)


def _started(row: Delivery, now: datetime, rng: random.Random) -> Attempt:
    return AttemptRow(
        id=ids.new_id(ids.ATTEMPT, now, rng), delivery_id=row.id, number=row.attempts_started, started_at=now
    )
