"""Repository of the outbox, the seam between watching and delivering: events and what is to be sent of them.

Claims, and what came of them. What callers see of deliveries, and ask to have sent again: `deliveries`.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy import Boolean, Exists, and_, bindparam, exists, or_
from sqlalchemy.orm import aliased
from sqlmodel import Session, col, func, select, update

from service.crashpoints import CrashPoint, reached
from service.domain import ids
from service.domain.backoff import longest_retry_delay
from service.domain.delivery import KEPT_WAITING, AttemptOutcome, Decision, DeliveryStatus, ErrorClass
from service.domain.egress import host_of
from service.domain.endpoint import EndpointStatus
from service.domain.facts import DELIVERED, Fact, Facts
from service.storage.claim import Claim
from service.storage.due_delivery import DueDelivery, SendLimits, due_delivery
from service.storage.tables import Attempt, Callback, Delivery, Event, Tenant, Training, WebhookEndpoint


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
# An attempt that is under way, or whose worker died.
WITHOUT_OUTCOME = and_(col(Attempt.duration_ms).is_(None), col(Attempt.error_class).is_(None))


class Outbox:
    def __init__(self, session: Session, news: News, facts: Facts) -> None:
        self._session = session
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
        """Store `event` as its tenant's next, and a delivery for each target that hears of its type.

        One to a paused webhook endpoint waits for that one's return; the others are due at once.
        """
        event.position = self._next_position(event.tenant_id)
        self._session.add(event)
        self._news.tenants.add(event.tenant_id)
        self._facts.note(Fact.EVENT, event.type)
        # Deliveries refer to the event by its id alone, so the order of the inserts is ours to keep.
        self._session.flush()
        for callback in callbacks:
            if callback.ended_at is None and event.type in callback.events:
                self._send(event, callback.url, now, rng, callback_id=callback.id)
        for endpoint in endpoints:
            if endpoint.status != EndpointStatus.DISABLED and event.type in endpoint.events:
                paused = endpoint.status == EndpointStatus.PAUSED
                self._send(event, endpoint.url, now, rng, endpoint_id=endpoint.id, held=paused)
        self._session.flush()

    def claim_due(
        self, *, now: datetime, lease_for: timedelta, limit: int, rng: random.Random, limits: SendLimits = _NO_LIMITS
    ) -> Sequence[DueDelivery]:
        """Lease due deliveries within `limits` and note the start of an attempt for each. An event never overtakes an
        earlier one of its training.
        """
        due = _CLAIM.due(
            self._session,
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
        claimed = _CLAIM.lease(self._session, chosen, until=now + lease_for)
        self._close_interrupted([row.id for row in claimed])
        self._facts.waited_for += [now - row.created_at for row in claimed if row.attempts_started == 1]
        attempts = {row.id: _started(row, now, rng) for row in claimed}
        self._session.add_all(attempts.values())
        query = (
            select(Delivery, Event.body, Training.traceparent, Tenant, Callback, WebhookEndpoint)  # type: ignore[call-overload]  # typed up to four
            .join(Event, col(Event.id) == Delivery.event_id)
            .join(Tenant, col(Tenant.id) == Delivery.tenant_id)
            .outerjoin(Training, col(Training.id) == Delivery.training_id)
            .outerjoin(Callback, col(Callback.id) == Delivery.callback_id)
            .outerjoin(WebhookEndpoint, col(WebhookEndpoint.id) == Delivery.endpoint_id)
            .where(col(Delivery.id).in_([row.id for row in claimed]))
        )
        return [
            due_delivery(row, attempts[row.id], body, tenant, callback or endpoint, now, traceparent)
            for row, body, traceparent, tenant, callback, endpoint in self._session.exec(query)
        ]

    def record(self, due: DueDelivery, outcome: AttemptOutcome, decision: Decision, *, now: datetime) -> bool:
        """Store what came of the attempt. False, and only the attempt is kept, when the lease was lost meanwhile."""
        pending = decision.status is DeliveryStatus.PENDING
        # The delivery first, as a claim does that takes it over at this moment.
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
        self._facts.note(Fact.ATTEMPT, outcome.error_class or DELIVERED)
        self._facts.attempted_for.append(outcome.duration)
        if not saved.rowcount:
            self._facts.note(Fact.ATTEMPT_OUTDATED)
        elif not pending:
            self._facts.note(Fact.DELIVERY_ENDED, decision.status)
            self._news.to_send = True  # the next event of this training may go now
        return saved.rowcount > 0

    def oldest_due(self) -> datetime | None:
        """When the delivery that waits longest became due, or the next one will."""
        # Only said so does SQLite look into the index of what is due, and not through the table.
        waiting = col(Delivery.due_at).is_not(None)
        return self._session.exec(select(func.min(col(Delivery.due_at))).where(waiting)).one()

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
        changes: dict[str, object] = {"last_problem": problem}
        if ended_at is not None:
            changes["ended_at"] = ended_at
        self._session.exec(update(Callback).where(col(Callback.id) == callback_id).values(**changes))
        if ended_at is not None:
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
        taken = (
            update(Tenant)
            .where(col(Tenant.id) == tenant_id)
            .values(event_position=col(Tenant.event_position) + 1)
            .returning(col(Tenant.event_position))
            .execution_options(synchronize_session=False)
        )
        return int(self._session.scalars(taken).one())

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
        self._session.add(
            Delivery(
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
            )
        )
        self._news.to_send = self._news.to_send or not held
        self._facts.note(Fact.DELIVERY_MADE)
        reached(CrashPoint.FAN_OUT)

    def _close_interrupted(self, delivery_ids: Sequence[str]) -> None:
        """Attempts that a dead worker left open; the retry that follows may be a duplicate for the receiver."""
        open_ones = update(Attempt).where(col(Attempt.delivery_id).in_(delivery_ids), WITHOUT_OUTCOME)
        closed = self._session.exec(open_ones.values(error_class=ErrorClass.INTERRUPTED)).rowcount
        if closed:
            self._facts.note(Fact.TAKEN_OVER, times=closed)


def _earlier_pending() -> Exists:
    """An earlier event of the same training is still to be delivered to the same target: its events go in order."""
    earlier = aliased(Delivery)
    return exists().where(
        col(earlier.training_id) == Delivery.training_id,
        col(earlier.sequence) < Delivery.sequence,
        col(earlier.status) == DeliveryStatus.PENDING,
        or_(col(earlier.callback_id) == Delivery.callback_id, col(earlier.endpoint_id) == Delivery.endpoint_id),
    )


def _to_an_inactive_endpoint() -> Exists:
    """An attempt was under way when its endpoint was paused, and its worker died: it waits with the others."""
    return exists().where(
        col(WebhookEndpoint.id) == Delivery.endpoint_id, col(WebhookEndpoint.status) != EndpointStatus.ACTIVE
    )


_CLAIM = Claim(
    Delivery,
    ~_earlier_pending(),
    ~_to_an_inactive_endpoint(),
    col(Delivery.host).not_in(bindparam("full", expanding=True)),
    col(Delivery.tenant_id).not_in(bindparam("full_tenants", expanding=True)),
    or_(bindparam("retries", type_=Boolean), col(Delivery.attempts_started) == 0),
    chosen_by=[Delivery.host, Delivery.tenant_id, Delivery.attempts_started],
    changes={"attempts_started": col(Delivery.attempts_started) + 1},
)


def _started(row: Delivery, now: datetime, rng: random.Random) -> Attempt:
    return Attempt(
        id=ids.new_id(ids.ATTEMPT, now, rng), delivery_id=row.id, number=row.attempts_started, started_at=now
    )
