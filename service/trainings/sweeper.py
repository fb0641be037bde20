"""Holds the trainings of a key against the list of its models: one call in place of one for each.

A list ends nothing. What it has nothing new of is recorded as read; what seems to have ended, is missing or odd is
polled by itself at once. A list that can't be used, or does not come, leaves its models to single polls for a while.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta

from service.clock import Clock
from service.crashpoints import CrashPoint, reached
from service.domain.facts import Polled, Swept
from service.domain.sweep import (
    CONFIRMED_LATELY,
    UNANSWERED_FOR,
    UNUSABLE_FOR,
    Meaning,
    meaning,
    names_enough,
)
from service.domain.training import KeyRefused, Observation, Rules, Throttled, Unreadable
from service.photogpt.listing import Listing, Unusable
from service.storage.database import Database, UnitOfWork
from service.storage.due_training import DueTraining
from service.storage.sweeps import DueSweep
from service.telemetry.logging import get_logger
from service.telemetry.metrics import Metrics
from service.trainings.reader import NOT_ASKED, Reader
from service.trainings.reading import Readings, pause_key

_log = get_logger("poller")

_ROWS_PER_TRANSACTION = 100


class Sweeper:
    def __init__(
        self,
        *,
        database: Database,
        reader: Reader,
        readings: Readings,
        rules: Rules,
        clock: Clock,
        rng: random.Random,
        metrics: Metrics,
    ) -> None:
        self._database = database
        self._reader = reader
        self._readings = readings
        self._rules = rules
        self._clock = clock
        self._rng = rng
        self._metrics = metrics

    async def sweep(self, sweep: DueSweep) -> None:
        """Read one claimed key's list and record what that means for each of its trainings."""
        lease_ends = self._clock.monotonic() + self._rules.lease.total_seconds()
        record = _Record(self._database, sweep.tenant_id, self._clock, lease_ends)
        reached(CrashPoint.POLL_CLAIMED)
        # Not from the claim on: that may have waited for the database longer than the next one will.
        again = self._clock.now() + sweep.gap
        listed = await self._reader.models(sweep.tenant_id, sweep.sealed_key)
        reached(CrashPoint.POLL_ANSWERED)
        if isinstance(listed, Listing):
            listed = self._whole(sweep, listed)
        match listed:
            case Listing():
                await self._compare(sweep, listed.models, record, again)
            case Unusable():
                await self._leave_to_polls(sweep, listed, record)
            case KeyRefused() | Throttled() | Unreadable():
                await self._fail(sweep, listed, record, again)

    @staticmethod
    def _whole(sweep: DueSweep, listing: Listing) -> Listing | Unusable:
        named = sum(training.model_id in listing.models for training in sweep.watched)
        return listing if names_enough(len(sweep.watched), named) else Unusable("names_too_few")

    async def _compare(
        self, sweep: DueSweep, models: Mapping[str, Observation], record: _Record, again: datetime
    ) -> None:
        now, jitter = self._clock.now(), self._rng.random()
        kept: dict[str, list[DueTraining]] = defaultdict(list)
        changed: list[DueTraining] = []
        soonest: timedelta | None = None
        for training in sweep.watched:
            listed = models.get(training.model_id)
            if listed is None or meaning(training.watch, listed, now, self._rules) is Meaning.CONFIRM:
                changed.append(training)
                continue
            kept[listed.raw_status].append(training)
            delay = self._readings.delay(training.watch, listed, now, jitter)
            soonest = delay if soonest is None else min(soonest, delay)
        _log.debug("swept", tenant_id=sweep.tenant_id, watched=len(sweep.watched), to_confirm=len(changed))
        lately = now - CONFIRMED_LATELY * self._rules.poll_interval
        to_confirm = [one for one in changed if one.last_polled_at is None or one.last_polled_at <= lately]
        await record(lambda unit: unit.sweeps.confirm(to_confirm, now=now))
        # All at one moment, so that they stay together.
        due_at = now + (soonest or self._rules.poll_interval)
        for raw_status, trainings in kept.items():
            for part in _parts(trainings):
                await record(_keeping(part, raw_status, now, due_at))
        await record(lambda unit: unit.sweeps.end(sweep, again=again))
        self._metrics.swept(Swept.USED)
        self._metrics.polled(Polled.LISTED, sum(len(trainings) for trainings in kept.values()))

    async def _leave_to_polls(self, sweep: DueSweep, unusable: Unusable, record: _Record) -> None:
        now = self._clock.now()
        again = now + UNUSABLE_FOR * self._rules.poll_interval
        _log.warning("list_unusable", tenant_id=sweep.tenant_id, reason=unusable.reason)

        def leave(unit: UnitOfWork) -> None:
            unit.sweeps.hand_back(sweep.claimed, now=now)
            unit.sweeps.end(sweep, again=again)

        await record(leave)
        self._metrics.swept(Swept.UNUSABLE)

    async def _fail(
        self, sweep: DueSweep, seen: KeyRefused | Throttled | Unreadable, record: _Record, again: datetime
    ) -> None:
        """As if each that was due had been told so: none is asked after by itself because of this."""
        now = self._clock.now()
        _log.warning("sweep_failed", tenant_id=sweep.tenant_id, seen=str(seen))
        for part in _parts(sweep.due):
            await record(self._saving(part, seen, now))
        if isinstance(seen, Unreadable) and seen is not NOT_ASKED:
            again = now + UNANSWERED_FOR * self._rules.poll_interval

        def end(unit: UnitOfWork) -> None:
            unit.sweeps.end(sweep, again=again)
            if isinstance(seen, Throttled):
                until = now + self._readings.delay(sweep.due[0].watch, seen, now)
                pause_key(unit, sweep.tenant_id, until=until)

        await record(end)
        self._metrics.swept(Swept.FAILED)

    def _saving(
        self, trainings: Sequence[DueTraining], seen: KeyRefused | Throttled | Unreadable, now: datetime
    ) -> Callable[[UnitOfWork], None]:
        judged = [self._readings.judge(training, seen, now) for training in trainings]

        def save(unit: UnitOfWork) -> None:
            for reading in judged:
                self._readings.save(unit, reading)

        return save


class _Record:
    """Writes what came of a sweep, while its lease lasts."""

    def __init__(self, database: Database, tenant_id: str, clock: Clock, lease_ends: float) -> None:
        self._database = database
        self._tenant_id = tenant_id
        self._clock = clock
        self._lease_ends = lease_ends

    async def __call__(self, work: Callable[[UnitOfWork], None]) -> None:
        def watched(unit: UnitOfWork) -> None:
            work(unit)
            reached(CrashPoint.STATUS_UNCOMMITTED)

        await self._database.settle(watched, of=self._tenant_id, clock=self._clock, until=self._lease_ends)
        reached(CrashPoint.STATUS_COMMITTED)


def _keeping(
    trainings: Sequence[DueTraining], raw_status: str, now: datetime, due_at: datetime
) -> Callable[[UnitOfWork], None]:
    return lambda unit: unit.sweeps.keep(trainings, raw_status=raw_status, now=now, due_at=due_at)


def _parts(trainings: Sequence[DueTraining]) -> Iterator[Sequence[DueTraining]]:
    for start in range(0, len(trainings), _ROWS_PER_TRANSACTION):
        yield trainings[start : start + _ROWS_PER_TRANSACTION]
