"""Idempotency-Keys of train requests: the same request with the same key is answered once and replayed for 24 h."""

from __future__ import annotations

from datetime import timedelta

from service.clock import Clock
from service.domain.errors import Conflict, IdempotencyMismatch
from service.domain.training import Status
from service.storage.database import UnitOfWork
from service.storage.tables import IdempotencyKey
from service.tenancy import Caller
from service.trainings.request import Outcome, OutcomeKind, TrainRequest
from service.trainings.resource import current_resource

_KEPT = timedelta(hours=24)


class Replay:
    """`lease`: how long a first request may be under way before its training is taken as the answer."""

    def __init__(self, *, lease: timedelta, clock: Clock) -> None:
        self._lease = lease
        self._clock = clock

    def earlier(self, unit: UnitOfWork, caller: Caller, request: TrainRequest) -> Outcome | None:
        """What the request's key was answered before, or None if it is new.

        Raises IdempotencyMismatch for another request's key, Conflict while the first request is under way.
        """
        if request.idempotency_key is None:
            return None
        kept_since = self._clock.now() - _KEPT
        record = unit.idempotency.get(caller.tenant_id, request.idempotency_key, not_before=kept_since)
        if record is None:
            return None
        if record.fingerprint != request.fingerprint():
            raise IdempotencyMismatch("This Idempotency-Key was used with another request; use a new one.")
        if record.outcome is not None:
            return Outcome.replay(record.outcome)
        training = unit.trainings.get(caller.tenant_id, record.training_id) if record.training_id else None
        if training is None:
            return None
        if training.status == Status.SUBMITTING and self._clock.now() - training.created_at < self._lease:
            raise Conflict("The first request with this Idempotency-Key is under way.", code="in_flight", retry_after=2)
        # The first answer was lost in a crash: the training itself is the answer (DESIGN 5).
        return Outcome(OutcomeKind.ACCEPTED, current_resource(unit, training), replayed=True)

    def begin(self, unit: UnitOfWork, caller: Caller, request: TrainRequest, training_id: str) -> None:
        """Take the key for this request; Conflict, which undoes the transaction, if another took it just now."""
        if request.idempotency_key is None:
            return
        now = self._clock.now()
        record = IdempotencyKey(
            tenant_id=caller.tenant_id,
            key=request.idempotency_key,
            fingerprint=request.fingerprint(),
            training_id=training_id,
            created_at=now,
        )
        if unit.idempotency.claim(record, not_before=now - _KEPT) is not None:
            raise Conflict("Another request with this Idempotency-Key is under way.", code="in_flight", retry_after=2)

    def end(self, unit: UnitOfWork, caller: Caller, request: TrainRequest, outcome: Outcome) -> None:
        """Keep the answer; or give the key back, if nothing came of the request and the reason may pass."""
        if request.idempotency_key is None:
            return
        if outcome.may_succeed_later:
            unit.idempotency.release(caller.tenant_id, request.idempotency_key)
        else:
            unit.idempotency.answer(caller.tenant_id, request.idempotency_key, outcome.stored())
