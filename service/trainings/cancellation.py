"""Stops watching a training at its caller's wish. PhotoGPT offers no cancel, so the training itself goes on there."""

from __future__ import annotations

from typing import Any

from service.clock import Clock
from service.domain.errors import Conflict, NotFound
from service.domain.training import TERMINAL, Failure, Signal, Status
from service.storage.database import Database, UnitOfWork
from service.storage.due_training import watch_of
from service.telemetry.logging import get_logger
from service.tenancy import Caller
from service.trainings.record import Held, Recorder
from service.trainings.resource import current_resource

_log = get_logger("cancellation")

_NEVER_BEGAN = Failure("cancelled", "The training was taken out of the queue by the caller; nothing was triggered.")
_NOTE = Failure("cancelled", "The watch was stopped by the caller. The training at PhotoGPT goes on: it has no cancel.")


class Cancellation:
    def __init__(self, *, database: Database, recorder: Recorder, clock: Clock) -> None:
        self._database = database
        self._recorder = recorder
        self._clock = clock

    async def cancel(self, caller: Caller, training_id: str) -> dict[str, Any]:
        """The cancelled training; twice is the same as once. Raises NotFound, or Conflict after another end."""
        training = await self._database.transaction(lambda unit: self._cancel(unit, caller, training_id))
        _log.info("watch_stopped", training_id=training_id, model_id=training["model_id"], tenant_id=caller.tenant_id)
        return training

    def _cancel(self, unit: UnitOfWork, caller: Caller, training_id: str) -> dict[str, Any]:
        training = unit.trainings.get(caller.tenant_id, training_id)
        if training is None:
            raise NotFound("There is no such training.")
        if training.status in TERMINAL and training.status != Status.CANCELLED:
            raise Conflict(f"The training has ended: it is {training.status}.", code="training_finished")
        if training.status != Status.CANCELLED:
            before = watch_of(training)
            note = _NEVER_BEGAN if before.status is Status.QUEUED else _NOTE
            watch = before.move(Signal.STOPPED, note)
            held = Held(training.id, training.fence, before)
            saved = self._recorder.save(unit, held, watch, now=self._clock.now(), due_at=None)
            if saved is None:
                raise Conflict("The training changed at this moment; try again.", code="in_flight", retry_after=1)
            training = saved
        return current_resource(unit, training)
