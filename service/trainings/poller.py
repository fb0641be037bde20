"""When and how a watched model is polled: claim due trainings, read each model, record what that means.
Several of one key are read by one call (`sweeper`).

How often is bounded three ways: a rate over all polls, polls under way per key, and a breaker that leaves only probes
while nobody at PhotoGPT answers. What is not read meanwhile is still looked at: it grows overdue, and expires.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from service.claimloop import Claimed, refill_at
from service.clock import Clock
from service.crashpoints import CrashPoint, reached
from service.domain.backoff import SOONEST_POLL
from service.domain.facts import Polled
from service.domain.schedule import least_gap, longest_delay, longest_gap
from service.domain.sweep import UNUSABLE_FOR, may_be_listed
from service.domain.token_bucket import TokenBucket
from service.domain.traceparent import trace_of
from service.domain.training import (
    KeyRefused,
    ModelNotFound,
    Observation,
    Rules,
    Seen,
    Throttled,
    Unreadable,
    Watch,
    is_known,
)
from service.storage.database import Database, UnitOfWork
from service.storage.due_training import DueTraining, PollLimits
from service.storage.sweeps import DueSweep, SweepLimits
from service.telemetry.logging import get_logger
from service.telemetry.metrics import Metrics
from service.trainings.reader import NOT_ASKED, Reader
from service.trainings.reading import Readings
from service.trainings.recording import Recording
from service.trainings.sweeper import Sweeper

_log = get_logger("poller")

# The bucket's burst: a tenth of a second's worth (DESIGN 9).
_BURST_SECONDS = 0.1
_MOST_STRANGE = 100


@dataclass(frozen=True, slots=True)
class Manners:
    """What PhotoGPT is spared: polls started in a second, polls under way for one key, and, with `sweeps`, polls of
    several models whose list tells as much.
    """

    polls_per_second: float
    polls_per_key: int
    sweeps: bool


class Poller:
    def __init__(
        self,
        *,
        database: Database,
        reader: Reader,
        readings: Readings,
        rules: Rules,
        manners: Manners,
        clock: Clock,
        rng: random.Random,
        metrics: Metrics,
    ) -> None:
        self._database = database
        self._reader = reader
        self._readings = readings
        self._recording = Recording(database=database, readings=readings, clock=clock)
        self._rules = rules
        self._per_key = manners.polls_per_key
        rate = manners.polls_per_second
        self._bucket = TokenBucket(rate, burst=max(1.0, rate * _BURST_SECONDS))
        self._clock = clock
        self._rng = rng
        self._metrics = metrics
        self._sweeps = manners.sweeps
        self._sweeper = Sweeper(
            database=database, reader=reader, readings=readings, rules=rules, clock=clock, rng=rng, metrics=metrics
        )
        self._busy: dict[str, str] = {}
        self._strange: set[str] = set()

    async def claim(self, limit: int) -> Claimed[DueTraining | DueSweep]:
        granted = await self._tokens(limit)
        now = self._clock.now()
        limits = self._limits()
        try:
            due, items = await self._database.transaction(lambda unit: self._claim(unit, now, granted, limits))
        except BaseException:
            self._bucket.give_back(granted)
            raise
        self._bucket.give_back(granted - len(items))
        claimed = {training.id: training.tenant_id for training in due}
        self._busy |= claimed
        # A key that has no room left may have more that is due. By the limits that the claim went by: a poll that has
        # ended meanwhile freed room too late for it, and wakes the loop only if it is told that there is more.
        return Claimed(items, more=len(due) == granted or limits.leaves_out(claimed))

    async def poll(self, due: DueTraining | DueSweep) -> None:
        """Read one claimed model, or the list of one key's models, and record what it means."""
        claimed = due.claimed if isinstance(due, DueSweep) else (due,)
        try:
            await (self._sweeper.sweep(due) if isinstance(due, DueSweep) else self._poll(due))
        finally:
            for training in claimed:
                self._busy.pop(training.id, None)

    @property
    def upstream_down(self) -> bool:
        return self._reader.upstream_down

    async def pull_in(self) -> int:
        """After a restart with a shorter interval, a crash that left leases, or a wall clock that was put back:
        nothing waits longer than one poll. Returns how many trainings that brought forward.
        """
        now = self._clock.now()
        # Leases of other replicas stay as they are.
        latest = now + max(self._rules.lease, longest_gap(self._rules))

        def pull(unit: UnitOfWork) -> int:
            unit.tenants.shorten_pauses(latest=now + longest_delay(self._rules))
            unit.sweeps.pull_in(latest=now + UNUSABLE_FOR * self._rules.poll_interval)
            unit.trainings.rebase(now)
            return unit.trainings.pull_in(latest=latest)

        return await self._database.transaction(pull)

    def _claim(
        self, unit: UnitOfWork, now: datetime, limit: int, limits: PollLimits
    ) -> tuple[Sequence[DueTraining], Sequence[DueTraining | DueSweep]]:
        due = unit.trainings.claim_due(now=now, lease_for=self._rules.lease, limit=limit, limits=limits)
        if not self._sweeps:
            return due, due
        sweeps = SweepLimits(
            may_list=lambda watch: may_be_listed(watch, now, self._rules),
            again=now + SOONEST_POLL * least_gap(self._rules),
            longest=longest_gap(self._rules),
            busy=limits.busy,
        )
        return due, unit.sweeps.begin(due, now=now, until=now + self._rules.lease, limits=sweeps)

    def _limits(self) -> PollLimits:
        return PollLimits(least_gap(self._rules), dict(self._busy), self._per_key, refill_at(self._per_key))

    async def _tokens(self, wanted: int) -> int:
        """How many of `wanted` polls may start now; at least one, after a wait if need be."""
        while True:
            now = self._clock.monotonic()
            granted = self._bucket.take(wanted, now)
            if granted:
                return granted
            await self._clock.sleep(self._bucket.seconds_until(wanted, now))

    async def _poll(self, due: DueTraining) -> None:
        lease_ends = self._clock.monotonic() + self._rules.lease.total_seconds()
        reached(CrashPoint.POLL_CLAIMED)
        seen = await self._reader.model(due)
        reached(CrashPoint.POLL_ANSWERED)
        reading = self._readings.judge(due, seen, self._clock.now())
        saved = await self._recording.save(reading, until=lease_ends)
        changed = reading.after.status is not due.watch.status
        self._metrics.polled(_outcome(seen, changed=changed) if saved else Polled.OUTDATED)
        self._log(due, seen, reading.after, saved=saved)

    def _log(self, due: DueTraining, seen: Seen, after: Watch, *, saved: bool) -> None:
        about = {"training_id": due.id, "model_id": due.model_id, **trace_of(due.traceparent)}
        if not saved:
            _log.info("poll_outdated", **about)
        elif after.status is not due.watch.status:
            _log.info("status_changed", **about, status=after.status, before=due.watch.status)
        elif after.suspended:
            _log.warning("suspended", **about, reason="PhotoGPT refuses the key")
        elif isinstance(seen, Throttled):
            _log.warning("key_throttled", **about, tenant_id=due.tenant_id)
        elif seen is NOT_ASKED:
            _log.debug("not_polled", **about, reason=seen.reason)
        elif isinstance(seen, Unreadable):
            _log.warning("poll_unreadable", **about, reason=seen.reason)
        elif isinstance(seen, Observation) and self._is_news(seen.raw_status):
            _log.warning("unknown_upstream_status", **about, upstream_status=seen.raw_status)
        else:
            _log.debug("polled", **about, seen=type(seen).__name__)

    def _is_news(self, raw_status: str) -> bool:
        """Whether this is a word of PhotoGPT's that nobody has told us of; once for each, and not without end."""
        if is_known(raw_status) or raw_status in self._strange or len(self._strange) >= _MOST_STRANGE:
            return False
        self._strange.add(raw_status)
        return True


def _outcome(seen: Seen, *, changed: bool) -> Polled:
    match seen:
        case Observation():
            return Polled.CHANGED if changed else Polled.UNCHANGED
        case ModelNotFound():
            return Polled.NOT_FOUND
        case KeyRefused():
            return Polled.KEY_REFUSED
        case Throttled():
            return Polled.THROTTLED
        case Unreadable():
            return Polled.NOT_ASKED if seen is NOT_ASKED else Polled.UNREADABLE
