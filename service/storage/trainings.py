"""Repository of trainings and of the callbacks given with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, bindparam, exists, or_
from sqlmodel import col, func, select, update

from service.domain.backoff import SOONEST_POLL
from service.domain.facts import Facts
from service.domain.training import TERMINAL, Watch
from service.storage import prepared
from service.storage.claim import Claim, within_room
from service.storage.due_training import DueTraining, PollLimits, due_training
from service.storage.insert import insert_if_new
from service.storage.rows import PolledRow
from service.storage.statement import Statement, listed, unlisted, values
from service.storage.tables import Callback, Training
from service.storage.transaction import Repository, Transaction

_NO_LIMITS = PollLimits()


class Trainings(Repository):
    def __init__(self, transaction: Transaction, facts: Facts) -> None:
        super().__init__(transaction)
        self._facts = facts
        self._callbacks: dict[str, Sequence[Callback]] = {}

    def add(self, training: Training) -> bool:
        """False when the tenant already has an active training of that model."""
        if added := insert_if_new(self._transaction, training):
            self._callbacks[training.id] = []
        return added

    def get(self, tenant_id: str, training_id: str) -> Training | None:
        training = self._transaction.first(prepared.TRAINING, training_id=training_id)
        return training if training and training.tenant_id == tenant_id else None

    def active(self, tenant_id: str, model_id: str, *, hold: bool = False) -> Training | None:
        """The active training of a model. `hold` keeps it active until the end of this transaction: who adds a
        callback to it must not meet a replica that ends it at the same moment.
        """
        statement = prepared.HELD_ACTIVE_TRAINING if hold else prepared.ACTIVE_TRAINING
        return self._transaction.first(statement, tenant_id=tenant_id, model_id=model_id)

    def count_active(self, tenant_id: str) -> int:
        return self._session.exec(select(func.count()).where(*active_of(tenant_id))).one()

    def page(
        self, tenant_id: str, *, status: str | None, model_id: str | None, before: str | None, limit: int
    ) -> Sequence[Training]:
        """Newest first, ids below `before`."""
        query = select(Training).where(Training.tenant_id == tenant_id)
        if status:
            query = query.where(Training.status == status)
        if model_id:
            query = query.where(Training.model_id == model_id)
        if before:
            query = query.where(Training.id < before)
        return self._session.exec(query.order_by(col(Training.id).desc()).limit(limit)).all()

    def claim_due(
        self, *, now: datetime, lease_for: timedelta, limit: int, limits: PollLimits = _NO_LIMITS
    ) -> Sequence[DueTraining]:
        """Lease what is due and within `limits`."""
        room = limits.room()
        due = _CLAIM.due(
            self._transaction,
            now=now,
            limit=limit,
            busy=limits.busy,
            polled_before=now - SOONEST_POLL * limits.interval,
            polled_after=now + limits.interval,
            full=[tenant for tenant, free in room.items() if free == 0],
        )
        chosen = within_room([(row_id, tenant) for row_id, tenant, _ in due], room, limits.per_tenant)
        if not chosen:
            return []
        due_at = {row_id: at for row_id, _, at in due}
        self._facts.late_by += [now - due_at[row_id] for row_id in chosen]
        claimed = _CLAIM.lease(self._transaction, chosen, until=now + lease_for)
        keys = dict(self._transaction.all(_KEYS, tenants=sorted({row.tenant_id for row in claimed})))
        return [due_training(row, keys.get(row.tenant_id)) for row in claimed]

    def oldest_due(self) -> datetime | None:
        """When the row that waits longest became due, or the next one will."""
        return self._transaction.one(prepared.OLDEST_TRAINING)

    def postpone(self, tenant_id: str, *, until: datetime) -> None:
        """Poll nothing of this tenant before then. What another worker records at this moment has its own next poll;
        to wait for it, with the tenant's row and other trainings locked, would be a deadlock.
        """
        sooner = (
            select(Training.id)
            .where(col(Training.tenant_id) == tenant_id, col(Training.finished_at).is_(None))
            .where(col(Training.due_at) < until)
            .with_for_update(skip_locked=True)
        )
        self._session.exec(update(Training).where(col(Training.id).in_(sooner)).values(due_at=until))

    def save(
        self,
        training_id: str,
        *,
        fence: int,
        watch: Watch,
        due_at: datetime | None,
        new_events: int,
        now: datetime,
        changes: Mapping[str, Any],
    ) -> Training | None:
        """Store `watch` if nobody has claimed, ended or changed the training since `fence`; None if somebody has."""
        ended = watch.status in TERMINAL
        # An end is not named unless there is one: SQLite would write each index anew that has to do with it.
        others = {**changes, "finished_at": now} if ended else changes
        return self._transaction.first(
            prepared.save_training(tuple(others)),
            training_id=training_id,
            held=fence,
            new_events=new_events,
            new_status=watch.status,
            new_upstream_status=watch.raw_status,
            new_left_baseline=watch.left_baseline,
            new_overdue=watch.overdue,
            new_suspended=watch.suspended,
            new_not_found_count=watch.not_found_count,
            new_key_refused_count=watch.key_refused_count,
            new_readings=watch.readings,
            new_expiring=watch.expiring,
            new_failure_code=watch.failure.code if watch.failure else None,
            new_failure_message=watch.failure.message if watch.failure else None,
            new_due_at=None if ended else due_at,
            **values(**others),
        )

    def keep(self, training_id: str, *, fence: int, watch: Watch, due_at: datetime | None, polled_at: datetime) -> bool:
        """`save` of a reading at `polled_at` that has changed nothing that anybody is told of: status, flags, failure.
        False if somebody was first.
        """
        kept = self._transaction.run(
            prepared.KEEP_TRAINING,
            training_id=training_id,
            held=fence,
            new_upstream_status=watch.raw_status,
            new_left_baseline=watch.left_baseline,
            new_not_found_count=watch.not_found_count,
            new_key_refused_count=watch.key_refused_count,
            new_readings=watch.readings,
            new_expiring=watch.expiring,
            new_last_polled_at=polled_at,
            new_due_at=due_at,
        )
        return kept > 0

    def resume_suspended(self, tenant_id: str, *, now: datetime) -> None:
        """The tenant's key works again: poll what was suspended as soon as its interval allows."""
        self._transaction.run(prepared.RESUME_SUSPENDED, of_tenant=tenant_id, now=now)

    def pull_in(self, *, latest: datetime) -> int:
        """Let nothing be due later than `latest`: for a restart with a shorter interval, or a wall clock that was put
        back. Returns how many moved.
        """
        moved = self._session.exec(update(Training).where(col(Training.due_at) > latest).values(due_at=latest))
        return moved.rowcount

    def rebase(self, now: datetime) -> None:
        """For a wall clock that was put back: a poll that lies ahead by now counts as made now."""
        self._session.exec(
            update(Training)
            .where(col(Training.due_at).is_not(None), col(Training.last_polled_at) > now)
            .values(last_polled_at=now)
        )

    def put_callback(self, callback: Callback) -> None:
        """Add `callback`, or let it replace what its training's callback of the same URL hears and is signed with."""
        self._callbacks.pop(callback.training_id, None)
        if insert_if_new(self._transaction, callback):
            return
        self._session.exec(
            update(Callback)
            .where(col(Callback.training_id) == callback.training_id, col(Callback.url) == callback.url)
            .values(
                events=callback.events,
                sealed_secret=callback.sealed_secret,
                sealed_headers=callback.sealed_headers,
                ended_at=None,
            )
        )

    def callbacks(self, training_ids: Sequence[str]) -> dict[str, list[Callback]]:
        """The callbacks of each training, oldest first."""
        found: dict[str, list[Callback]] = {training_id: [] for training_id in training_ids}
        for callback in self._transaction.all(prepared.CALLBACKS_OF_TRAININGS, training_ids=training_ids):
            found[callback.training_id].append(callback)
        return found

    def callbacks_of(self, training_id: str) -> Sequence[Callback]:
        """The callbacks of one training, oldest first; read once in a transaction, since none but it can add any."""
        if (known := self._callbacks.get(training_id)) is None:
            known = self.callbacks([training_id])[training_id]
        return self._callbacks.setdefault(training_id, known)


_TRAININGS, _TENANTS = prepared.TRAININGS, prepared.TENANTS
_polled = _TRAININGS.c.last_polled_at
_CLAIM = Claim(
    PolledRow,
    # However a row came to be due, its model is not read too soon again, unless the wall clock was put back since, or
    # there is something to confirm.
    or_(
        _polled.is_(None),
        _polled <= bindparam("polled_before"),
        _polled > bindparam("polled_after"),
        _TRAININGS.c.to_confirm,
    ),
    ~exists().where(_TENANTS.c.id == _TRAININGS.c.tenant_id, _TENANTS.c.polls_paused_until > bindparam("now")),
    unlisted(_TRAININGS.c.tenant_id, "full"),
    chosen_by=["tenant_id", "due_at"],
)
_KEYS: Statement[Any] = Statement(select(_TENANTS.c.id, _TENANTS.c.sealed_key).where(listed(_TENANTS.c.id, "tenants")))


def active_of(tenant_id: str) -> tuple[ColumnElement[bool], ...]:
    """The conditions of a tenant's active trainings."""
    # Any model: only so does SQLite go through the index of active ones, and not through all there ever were.
    return (
        col(Training.tenant_id) == tenant_id,
        col(Training.finished_at).is_(None),
        col(Training.model_id) > "",
    )
