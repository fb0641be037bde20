"""Starts what waits in the queues: the first of each tenant, when PhotoGPT may have room for it.

A turn is an intake without a caller: the model is read again, the intent is stored before the trigger, and what came of
it after. What was not started keeps its place. A lost answer is settled by reading, as ever: never by another trigger.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from service.claimloop import Claimed
from service.clock import Clock
from service.crashpoints import CrashPoint, reached
from service.domain.backoff import poll_delay
from service.domain.errors import UpstreamRefused, UpstreamUnreachable
from service.domain.queue import longest_pause, waited
from service.domain.schedule import first_poll
from service.domain.secret import Secret
from service.domain.training import KEY_REFUSED_LIMIT, TERMINAL, Observation, Rules, Signal, Status, Watch
from service.photogpt.answers import Confirmed, NotReached, Refused, TriggerResult, Unclear
from service.photogpt.client import PhotoGPT
from service.storage.database import Database, UnitOfWork
from service.storage.queues import DueQueue, Waiting
from service.telemetry.logging import get_logger
from service.telemetry.tracing import Tracer
from service.tenancy import Tenancy
from service.trainings.outcome import failure_of, told
from service.trainings.queueing import Queueing
from service.trainings.record import Held, Recorder
from service.vault import SealBroken

_log = get_logger("starter")

# PhotoGPT says no for now: too many trainings or requests, or it is down for a while. Nothing runs.
_PASSING = frozenset({429, 503})
_KEY_REFUSED = frozenset({401, 403})


@dataclass(frozen=True, slots=True)
class _Turn:
    """The first of a tenant's queue, as it stands now; `refusals`: how often its key was refused, in a row, before."""

    tenant_id: str
    training_id: str
    model_id: str
    held: Held
    refusals: int


class Starter:
    def __init__(
        self,
        *,
        database: Database,
        photogpt: PhotoGPT,
        tenancy: Tenancy,
        recorder: Recorder,
        rules: Rules,
        clock: Clock,
        rng: random.Random,
        tracer: Tracer,
    ) -> None:
        self._database = database
        self._photogpt = photogpt
        self._tenancy = tenancy
        self._recorder = recorder
        self._rules = rules
        self._queueing = Queueing(rules.queue)
        self._clock = clock
        self._rng = rng
        self._tracer = tracer
        self._busy: set[str] = set()

    async def claim(self, limit: int) -> Claimed[DueQueue]:
        now, busy = self._clock.now(), frozenset(self._busy)
        due = await self._database.transaction(
            lambda unit: unit.queues.claim_due(
                now=now, lease_for=self._rules.lease, limit=limit, busy=busy, rules=self._rules.queue
            )
        )
        self._busy |= {queue.tenant_id for queue in due}
        return Claimed(due, more=len(due) == limit)

    async def start(self, due: DueQueue) -> None:
        """Try the first that waits in one claimed queue."""
        try:
            first = await self._first(due)
            if first is not None:
                with self._tracer.span("turn", parent=first.traceparent, training_id=first.id, model_id=first.model_id):
                    await self._try(_turn(due.tenant_id, first), due.sealed_key)
        finally:
            self._busy.discard(due.tenant_id)

    async def pull_in(self) -> int:
        """As the poller's: no queue rests longer than it would by now. Returns how many were brought forward."""
        now = self._clock.now()
        latest = now + max(longest_pause(self._rules.queue), self._rules.lease)
        return await self._database.transaction(lambda unit: unit.queues.pull_in(now, latest=latest))

    async def _first(self, due: DueQueue) -> Waiting | None:
        """The first, once those that have waited too long are rejected; None: another turn has to look."""
        now = self._clock.now()
        looked_at = [(one, waited(one.watch, one.created_at, now, self._rules.queue)) for one in due.waiting]
        changed = [(one, after) for one, after in looked_at if after != one.watch]
        if not changed:
            return due.waiting[0]

        def record(unit: UnitOfWork) -> None:
            for one, after in changed:
                held = Held(one.id, one.fence, one.watch)
                self._recorder.save(unit, held, after, now=now, due_at=None)
            unit.queues.put(due.tenant_id, due_at=now if ended else now + self._rules.lease)

        ended = [one for one, after in changed if after.status in TERMINAL]
        await self._database.transaction(record)
        for one in ended:
            _log.info("queue_expired", training_id=one.id, model_id=one.model_id)
        if ended:
            return None
        first, after = looked_at[0]
        fence = first.fence + 1 if after != first.watch else first.fence
        return replace(first, fence=fence, watch=after)

    async def _try(self, turn: _Turn, sealed_key: bytes | None) -> None:
        lease_ends = self._lease_ends()
        try:
            key = self._tenancy.key_for_polls(turn.tenant_id, sealed_key)
        except SealBroken as broken:
            _log.error("key_unreadable", training_id=turn.training_id, reason=str(broken))
            await self._record(turn, NotReached("key_unreadable"), lease_ends)
            return
        if key is None:
            await self._record(turn, Refused(401, "No key is kept for this training."), lease_ends)
            return
        baseline = await self._baseline(key, turn.model_id)
        if not isinstance(baseline, Observation):
            await self._record(turn, baseline, lease_ends)
            return
        lease_ends = self._lease_ends()
        intent = await self._database.transaction(
            lambda unit: self._store_intent(unit, turn, baseline), of=turn.tenant_id
        )
        if intent is None:
            return  # cancelled just now
        reached(CrashPoint.INTENT_COMMITTED)
        result = await self._photogpt.trigger(key, turn.model_id)
        await self._record(intent, result, lease_ends)
        reached(CrashPoint.OUTCOME_COMMITTED)

    def _lease_ends(self) -> float:
        return self._clock.monotonic() + self._rules.lease.total_seconds()

    async def _baseline(self, key: Secret, model_id: str) -> Observation | Refused | NotReached:
        """The model before its trigger; or why there was none."""
        try:
            return await self._photogpt.baseline(key, model_id)
        except UpstreamRefused as refused:
            wait = None if refused.retry_after is None else timedelta(seconds=refused.retry_after)
            return Refused(refused.status, refused.message, wait)
        except UpstreamUnreachable:
            return NotReached("the model could not be read")

    def _store_intent(self, unit: UnitOfWork, turn: _Turn, baseline: Observation) -> _Turn | None:
        now = self._clock.now()
        before = turn.held.before
        watch = replace(
            before.move(Signal.TURN),
            since=now,
            baseline=baseline,
            raw_status=baseline.raw_status,
            key_refused_count=0,
        )
        changes = {
            "submitted_at": now,
            "baseline_status": baseline.raw_status,
            "baseline_updated_at": baseline.updated_at,
        }
        row = self._recorder.save(unit, turn.held, watch, now=now, due_at=now + self._rules.lease, changes=changes)
        if row is None:
            return None
        self._queueing.tried(unit, turn.tenant_id, now, self._rules.lease)
        reached(CrashPoint.INTENT_UNCOMMITTED)
        return replace(turn, held=Held(row.id, row.fence, watch))

    async def _record(self, turn: _Turn, result: TriggerResult, until: float) -> None:
        """What came of it, whether it was triggered or not even read."""
        status = await self._database.settle(
            lambda unit: self._store_outcome(unit, turn, result), of=turn.tenant_id, clock=self._clock, until=until
        )
        _log.info(
            "turn",
            training_id=turn.training_id,
            model_id=turn.model_id,
            tenant_id=turn.tenant_id,
            status=status,
            **told(result),
        )

    def _store_outcome(self, unit: UnitOfWork, turn: _Turn, result: TriggerResult) -> str | None:
        """The training's status after it; None if somebody was first, and then the queue is theirs, too."""
        now = self._clock.now()
        watch, due_at, changes = self._outcome(turn, result, now)
        row = self._recorder.save(unit, turn.held, watch, now=now, due_at=due_at, changes=changes)
        if row is None:
            return None
        if watch.status is Status.QUEUED:
            retry_after = result.retry_after if isinstance(result, Refused) else None
            self._queueing.in_vain(unit, turn.tenant_id, now, retry_after)
        else:
            self._queueing.next(unit, turn.tenant_id, now, started=isinstance(result, Confirmed))
        return row.status

    def _outcome(
        self, turn: _Turn, result: TriggerResult, now: datetime
    ) -> tuple[Watch, datetime | None, dict[str, datetime | None]]:
        """The watch, when it is due, and what else changes."""
        before = turn.held.before
        jitter = self._rng.random()
        match result:
            case Confirmed():
                next_poll = now + first_poll(self._rules, jitter)
                return replace(before.move(Signal.CONFIRMED), expiring=False), next_poll, {"triggered_at": now}
            case Unclear():
                an_interval = poll_delay(self._rules.poll_interval, timedelta(0), jitter, None)
                return replace(before, expiring=False), now + min(an_interval, self._rules.lease), {}
            case Refused() | NotReached():
                return _not_started(turn, result), None, {"submitted_at": None}


def _turn(tenant_id: str, first: Waiting) -> _Turn:
    held = Held(first.id, first.fence, first.watch)
    return _Turn(tenant_id, first.id, first.model_id, held, first.watch.key_refused_count)


def _not_started(turn: _Turn, result: Refused | NotReached) -> Watch:
    """Waits on, or is rejected: for good reasons at once, for a refused key when that is no passing trouble."""
    refusals = turn.refusals + 1 if isinstance(result, Refused) and result.status in _KEY_REFUSED else 0
    passing = isinstance(result, NotReached) or result.status in _PASSING
    if not passing and not 0 < refusals < KEY_REFUSED_LIMIT:
        return turn.held.before.move(Signal.REFUSED, failure_of(result))
    watch = turn.held.before
    waiting = watch if watch.status is Status.QUEUED else watch.move(Signal.NO_ROOM)
    return replace(waiting, key_refused_count=refusals)
