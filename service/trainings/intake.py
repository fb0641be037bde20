"""From a train request to a watched training: store the intent, trigger PhotoGPT once, store the outcome.

The order is the promise. The intent is committed before the trigger, so a crash leaves a row that says what may have
happened; the poller then reads the model, and nothing is ever triggered twice. A second request for a model that is
being trained joins the first. A request that may wait does so behind those that wait already, or when PhotoGPT has no
room; the rest is the starter's.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Awaitable
from dataclasses import dataclass
from datetime import timedelta

from service.clock import Clock
from service.crashpoints import CrashPoint, reached
from service.domain import ids
from service.domain.backoff import poll_delay
from service.domain.errors import Conflict, RateLimited, UpstreamRefused
from service.domain.facts import Fact
from service.domain.schedule import first_poll
from service.domain.training import Observation, Rules, Signal, Status, Watch
from service.photogpt.answers import Confirmed, NotReached, Refused, TriggerResult, Unclear
from service.photogpt.client import PhotoGPT
from service.storage.database import Database, UnitOfWork
from service.storage.due_training import watch_of
from service.storage.rows import TrainingRow
from service.telemetry.logging import get_logger
from service.telemetry.tracing import current_traceparent
from service.tenancy import Caller, Tenancy
from service.trainings.callbacks import Callbacks
from service.trainings.outcome import failure_of, outcome_of, told
from service.trainings.queueing import Queueing
from service.trainings.record import Held, Recorder
from service.trainings.replay import Replay
from service.trainings.request import Outcome, OutcomeKind, TrainRequest, checked
from service.trainings.resource import current_resource

_log = get_logger("intake")

# Refusals of a reading that say more than that the key is not good.
_KEY_WORKS = frozenset({402, 404, 409, 422})


@dataclass(frozen=True, slots=True)
class _Intent:
    """A stored intent: the training that may now be triggered, once."""

    training_id: str
    watch: Watch


class Intake:
    def __init__(
        self,
        *,
        database: Database,
        photogpt: PhotoGPT,
        tenancy: Tenancy,
        recorder: Recorder,
        rules: Rules,
        callbacks: Callbacks,
        clock: Clock,
        rng: random.Random,
    ) -> None:
        self._database = database
        self._photogpt = photogpt
        self._tenancy = tenancy
        self._recorder = recorder
        self._rules = rules
        self._replay = Replay(lease=rules.lease, clock=clock)
        self._queueing = Queueing(rules.queue)
        self._callbacks = callbacks
        self._clock = clock
        self._rng = rng
        self._under_way: set[asyncio.Task[Outcome]] = set()

    async def start(self, caller: Caller, request: TrainRequest) -> Outcome:
        """Train, join, replay or refuse.

        Raises InvalidRequest, Conflict (the Idempotency-Key is in use just now), IdempotencyMismatch, and, with
        nothing stored or triggered, UpstreamRefused, UpstreamUnreachable or RateLimited.
        """
        request = checked(request, canonical=self._callbacks.canonical)
        settled = await self._settle_without_trigger(caller, request)
        if settled is not None:
            _tell(settled)
            return settled
        baseline = await self._baseline(caller, request.model_id)
        await self._callbacks.check_destination(request.callback)
        traceparent = current_traceparent()  # not in a transaction, which may be in another thread
        begun = await self._database.transaction(
            lambda unit: self._store_intent(unit, caller, request, baseline, traceparent), of=caller.tenant_id
        )
        if isinstance(begun, Outcome):
            _tell(begun)
            return begun
        reached(CrashPoint.INTENT_COMMITTED)
        # A task of its own: a caller who hangs up must not leave a trigger without its outcome.
        task = asyncio.create_task(self._trigger(caller, request, begun))
        self._under_way.add(task)
        task.add_done_callback(self._ended)
        return await asyncio.shield(task)

    async def drain(self, timeout: float) -> None:
        """Wait up to `timeout` seconds for triggers under way; what is left is settled by reading after the lease."""
        if self._under_way:
            await asyncio.wait(self._under_way, timeout=timeout)

    def _ended(self, task: asyncio.Task[Outcome]) -> None:
        """Its caller may have hung up, and then nobody else hears that the outcome could not be stored."""
        self._under_way.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.warning("trigger_unrecorded", reason=str(error))

    async def _baseline(self, caller: Caller, model_id: str) -> Observation:
        def read() -> Awaitable[Observation]:
            return self._photogpt.baseline(caller.key, model_id)

        try:
            return await self._tenancy.admit_by(caller, read) or await read()
        except UpstreamRefused as refused:
            if refused.status in _KEY_WORKS:
                # It may be this very model that is gone: only its own polls can say so, and they must go on for that.
                now = self._clock.now()
                await self._database.transaction(
                    lambda unit: unit.trainings.resume_suspended(caller.tenant_id, now=now)
                )
            raise

    async def _settle_without_trigger(self, caller: Caller, request: TrainRequest) -> Outcome | None:
        """A replay or a join, which cost PhotoGPT nothing; None when there is something to trigger."""
        known = await self._database.read(
            lambda unit: (
                self._replay.earlier(unit, caller, request) or unit.trainings.active(caller.tenant_id, request.model_id)
            )
        )
        if known is None or isinstance(known, Outcome):
            return known
        if known.suspended:
            return None  # PhotoGPT is asked first whether the key works again; then it is resumed, and joined
        await self._callbacks.check_destination(request.callback)
        return await self._database.transaction(
            lambda unit: self._replay_or_join(unit, caller, request), of=caller.tenant_id
        )

    def _store_intent(
        self,
        unit: UnitOfWork,
        caller: Caller,
        request: TrainRequest,
        baseline: Observation,
        traceparent: str | None,
    ) -> _Intent | Outcome:
        now = self._clock.now()
        self._tenancy.ensure(unit, caller)
        unit.trainings.resume_suspended(caller.tenant_id, now=now)
        settled = self._replay_or_join(unit, caller, request)
        if settled is not None:
            return settled
        self._refuse_too_many(unit, caller)
        waits = request.queues and self._queueing.goes_behind(unit, caller.tenant_id, now)
        training = TrainingRow(
            id=ids.new_id(ids.TRAINING, now, self._rng),
            tenant_id=caller.tenant_id,
            model_id=request.model_id,
            status=Status.QUEUED if waits else Status.SUBMITTING,
            baseline_status=baseline.raw_status,
            baseline_updated_at=baseline.updated_at,
            upstream_status=baseline.raw_status,
            caller_metadata=dict(request.metadata),
            queues=request.queues,
            created_at=now,
            submitted_at=None if waits else now,
            due_at=None if waits else now + self._rules.lease,
            traceparent=traceparent,
        )
        if not unit.trainings.add(training):
            joined = self._replay_or_join(unit, caller, request)
            if joined is None:
                raise Conflict("The model is being submitted by another request.", code="in_flight", retry_after=1)
            return joined
        unit.facts.note(Fact.TRAINING_ACCEPTED)
        self._tenancy.keep_key(unit, caller)
        self._callbacks.put(unit, caller, request.callback, training.id)
        self._replay.begin(unit, caller, request, training.id)
        if waits:
            outcome = Outcome(OutcomeKind.ACCEPTED, current_resource(unit, training))
            self._replay.end(unit, caller, request, outcome)
            return outcome
        reached(CrashPoint.INTENT_UNCOMMITTED)
        return _Intent(training.id, watch_of(training))

    def _refuse_too_many(self, unit: UnitOfWork, caller: Caller) -> None:
        most = self._tenancy.limits.trainings
        if most is None:
            return
        unit.tenants.hold(caller.tenant_id)
        if unit.trainings.count_active(caller.tenant_id) >= most:
            raise RateLimited(
                f"{most} of your trainings are active, which is the most; nothing was triggered. Try again when one "
                "has ended, or stop watching one (DELETE /v1/trainings/{id}).",
                code="too_many_trainings",
                retry_after=math.ceil(self._rules.poll_interval.total_seconds()),
            )

    def _replay_or_join(self, unit: UnitOfWork, caller: Caller, request: TrainRequest) -> Outcome | None:
        earlier = self._replay.earlier(unit, caller, request)
        if earlier is not None:
            return earlier
        active = unit.trainings.active(caller.tenant_id, request.model_id, hold=True)
        if active is None:
            return None
        self._callbacks.put(unit, caller, request.callback, active.id)
        self._replay.begin(unit, caller, request, active.id)
        outcome = Outcome(OutcomeKind.JOINED, current_resource(unit, active))
        self._replay.end(unit, caller, request, outcome)
        return outcome

    async def _trigger(self, caller: Caller, request: TrainRequest, intent: _Intent) -> Outcome:
        lease_ends = self._clock.monotonic() + self._rules.lease.total_seconds()
        result = await self._photogpt.trigger(caller.key, request.model_id)
        _log.info(
            "triggered",
            training_id=intent.training_id,
            model_id=request.model_id,
            tenant_id=caller.tenant_id,
            **told(result),
        )
        outcome = await self._database.settle(
            lambda unit: self._store_outcome(unit, caller, request, intent, result),
            of=caller.tenant_id,
            clock=self._clock,
            until=lease_ends,
        )
        reached(CrashPoint.OUTCOME_COMMITTED)
        return outcome

    def _store_outcome(
        self, unit: UnitOfWork, caller: Caller, request: TrainRequest, intent: _Intent, result: TriggerResult
    ) -> Outcome:
        now = self._clock.now()
        held = Held(intent.training_id, 0, intent.watch)
        jitter = self._rng.random()
        saved = None
        match result:
            case Confirmed():
                watch = intent.watch.move(Signal.CONFIRMED)
                next_poll = now + first_poll(self._rules, jitter)
                changes = {"triggered_at": now}
                saved = self._recorder.save(unit, held, watch, now=now, due_at=next_poll, changes=changes)
                if request.queues:
                    unit.queues.put(caller.tenant_id, tries=0)
            case Refused(status=429) if request.queues:
                watch = intent.watch.move(Signal.NO_ROOM)
                saved = self._recorder.save(unit, held, watch, now=now, due_at=None, changes={"submitted_at": None})
                if saved:
                    self._queueing.in_vain(unit, caller.tenant_id, now, result.retry_after)
            case Unclear():
                an_interval = poll_delay(self._rules.poll_interval, timedelta(0), jitter, None)
                first_reading = now + min(an_interval, self._rules.lease)
                saved = self._recorder.save(unit, held, intent.watch, now=now, due_at=first_reading)
            case Refused() | NotReached():
                watch = intent.watch.move(Signal.REFUSED, failure_of(result))
                saved = self._recorder.save(unit, held, watch, now=now, due_at=None, announce=False)
        # If somebody was first (a cancellation, or a poll after our lease), what they stored is the answer.
        training = saved or unit.trainings.get(caller.tenant_id, intent.training_id)
        if training is not None and training.status == Status.QUEUED:
            outcome = Outcome(OutcomeKind.ACCEPTED, current_resource(unit, training))
        else:
            outcome = outcome_of(result, current_resource(unit, training) if training else None)
        self._replay.end(unit, caller, request, outcome)
        return outcome


def _tell(settled: Outcome) -> None:
    """Of a request that was answered without a trigger: joined, queued, or replayed."""
    training = settled.training
    if training is None or settled.replayed:
        return
    _log.info(
        "joined" if settled.kind is OutcomeKind.JOINED else "queued",
        training_id=training["id"],
        model_id=training["model_id"],
    )
