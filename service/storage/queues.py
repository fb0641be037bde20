"""Repository of queues: the trainings of a tenant that wait for room at PhotoGPT, the one with the lowest id first.

A queue is leased as a whole, by its tenant's `queue_due_at`; what a worker then does to one of its trainings is fenced
by that row. Whoever lets a training wait sees to it that its queue is due at some time.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import bindparam, or_
from sqlalchemy import text as sql
from sqlmodel import col, func, select, update

from service.domain.queue import has_waited_too_long, soonest_try
from service.domain.training import QueueRules, Status, Watch
from service.storage import prepared
from service.storage.due_training import watch_of
from service.storage.statement import Statement, unlisted
from service.storage.tables import Tenant, Training
from service.storage.trainings import active_of
from service.storage.transaction import Repository

# So many that have waited too long are looked at in one turn.
_BATCH = 100


@dataclass(frozen=True, slots=True)
class Waiting:
    """A queued training, and the fence under which it may be changed."""

    id: str
    model_id: str
    fence: int
    watch: Watch
    created_at: datetime
    traceparent: str | None


@dataclass(frozen=True, slots=True)
class DueQueue:
    """A claimed queue: its first training, and those behind it if that one has waited too long."""

    tenant_id: str
    sealed_key: bytes | None
    tries: int
    waiting: tuple[Waiting, ...]


@dataclass(frozen=True, slots=True)
class QueueState:
    """When it is due, None without a queue; when its key was last tried; how often in vain since it last was not."""

    due_at: datetime | None
    tried_at: datetime | None
    tries: int


class Queues(Repository):
    def hold(self, tenant_id: str) -> QueueState:
        """The tenant's queue; whoever else holds it waits for the end of this transaction."""
        due_at, tried_at, tries = self._session.exec(_HOLD, params={"tenant": tenant_id}).one()
        return QueueState(due_at, tried_at, tries)

    def has_waiting(self, tenant_id: str) -> bool:
        return self._session.exec(_FIRST, params={"tenant": tenant_id, "limit": 1}).first() is not None

    def is_trying(self, tenant_id: str) -> bool:
        """Whether a training that may have to wait is being triggered, or nobody knows yet what came of it."""
        trying = select(Training.id).where(
            *active_of(tenant_id),
            Training.status == Status.SUBMITTING,
            col(Training.queues),
        )
        return self._session.exec(trying.limit(1)).first() is not None

    def positions(self, rows: Sequence[Training]) -> dict[str, int]:
        """The place of each that waits, 1 is next. All of `rows` are one tenant's; a query only if one waits."""
        waiting = [row for row in rows if row.status == Status.QUEUED]
        if not waiting:
            return {}
        if len(waiting) == 1:
            [row] = waiting
            ahead = select(func.count()).where(
                _IS_QUEUED, col(Training.tenant_id) == row.tenant_id, col(Training.id) <= row.id
            )
            return {row.id: self._session.exec(ahead).one()}
        ids = self._session.exec(
            select(Training.id)
            .where(
                _IS_QUEUED,
                Training.tenant_id == waiting[0].tenant_id,
                col(Training.id) <= max(row.id for row in waiting),
            )
            .order_by(col(Training.id))
        )
        places = {training_id: place for place, training_id in enumerate(ids, start=1)}
        return {row.id: places[row.id] for row in waiting}

    def claim_due(
        self, *, now: datetime, lease_for: timedelta, limit: int, busy: Collection[str], rules: QueueRules
    ) -> Sequence[DueQueue]:
        """Lease queues whose turn has come. One in which nothing waits any more is due no more."""
        due = self._transaction.all(_DUE, now=now, limit=limit, busy=busy)
        claimed = []
        for tenant_id, sealed_key, tries in due:
            waiting = self._waiting(tenant_id, now, rules)
            self.put(tenant_id, due_at=now + lease_for if waiting else None)
            if waiting:
                claimed.append(DueQueue(tenant_id, sealed_key, tries, waiting))
        return claimed

    def put(self, tenant_id: str, **changes: Any) -> None:
        """Change what QueueState has of this tenant's queue."""
        values = {f"queue_{name}": value for name, value in changes.items()}
        self._session.exec(update(Tenant).where(col(Tenant.id) == tenant_id).values(**values))

    def wake(self, tenant_id: str, now: datetime, rules: QueueRules) -> None:
        """There may be room for this tenant's next one, if any waits: a training of its has ended."""
        due_at, tried_at = self._transaction.one(_LOOK, tenant=tenant_id)
        soonest = soonest_try(now, tried_at, rules)
        if due_at is not None and due_at > soonest:
            self.put(tenant_id, due_at=soonest)

    def pull_in(self, now: datetime, *, latest: datetime) -> int:
        """For a wall clock that was put back, or a restart with a shorter pause: let no queue rest longer than that,
        and no try lie ahead. Returns how many queues moved.
        """
        self._session.exec(update(Tenant).where(col(Tenant.queue_tried_at) > now).values(queue_tried_at=now))
        moved = self._session.exec(update(Tenant).where(col(Tenant.queue_due_at) > latest).values(queue_due_at=latest))
        return moved.rowcount

    def oldest_due(self) -> datetime | None:
        """When the queue that waits longest became due, or the next one will."""
        return self._transaction.one(prepared.OLDEST_QUEUE)

    def _waiting(self, tenant_id: str, now: datetime, rules: QueueRules) -> tuple[Waiting, ...]:
        first = self._first(tenant_id, 1)
        if first and has_waited_too_long(first[0].created_at, now, rules):
            return self._first(tenant_id, _BATCH)
        return first

    def _first(self, tenant_id: str, count: int) -> tuple[Waiting, ...]:
        rows = self._session.exec(_FIRST, params={"tenant": tenant_id, "limit": count}).all()
        return tuple(
            Waiting(row.id, row.model_id, row.fence, watch_of(row), row.created_at, row.traceparent) for row in rows
        )


# Written out, and not as a parameter: only so does SQLite see that the index of what is queued has it.
_IS_QUEUED = sql("trainings.status = 'queued'")
_FIRST = (
    select(Training)
    .where(_IS_QUEUED, col(Training.tenant_id) == bindparam("tenant"))
    .order_by(col(Training.id))
    .limit(bindparam("limit"))
    .execution_options(populate_existing=True)
)
_TENANTS = prepared.TENANTS
_paused = _TENANTS.c.polls_paused_until
_DUE: Statement[Any] = Statement(
    select(_TENANTS.c.id, _TENANTS.c.sealed_key, _TENANTS.c.queue_tries)
    .where(
        _TENANTS.c.queue_due_at <= bindparam("now"),
        unlisted(_TENANTS.c.id, "busy"),
        # A key that was told to wait (429) is not used, for whatever.
        or_(_paused.is_(None), _paused <= bindparam("now")),
    )
    .order_by(_TENANTS.c.queue_due_at)
    .limit(bindparam("limit"))
    .with_for_update(skip_locked=True, key_share=True)
)
_LOOK: Statement[Any] = Statement(
    select(_TENANTS.c.queue_due_at, _TENANTS.c.queue_tried_at).where(_TENANTS.c.id == bindparam("tenant"))
)
_HOLD: Any = (
    select(Tenant.queue_due_at, Tenant.queue_tried_at, Tenant.queue_tries)
    .where(col(Tenant.id) == bindparam("tenant"))
    .with_for_update(key_share=True)
)
