"""When and how a watched model is polled: claim due trainings, read each model, record what that means.

How often is bounded three ways: a rate over all polls, polls under way per key, and a breaker that leaves only probes
while nobody at PhotoGPT answers. What is not read meanwhile is still looked at: it grows overdue, and expires.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from service.claimloop import Claimed, refill_at
from service.clock import Clock
from service.crashpoints import CrashPoint, reached
from service.domain.breaker import Breaker
from service.domain.schedule import least_gap, longest_delay, longest_gap, next_poll
from service.domain.token_bucket import TokenBucket
from service.domain.training import (
    KeyRefused,
    Observation,
    Rules,
    Seen,
    Status,
    Throttled,
    Unreadable,
    Watch,
    is_known,
    observe,
)
from service.photogpt.client import PhotoGPT
from service.storage.database import Database, UnitOfWork
from service.storage.trainings import DueTraining, PollLimits
from service.telemetry.logging import get_logger
from service.tenancy import Tenancy
from service.trainings.record import Held, Recorder
from service.vault import SealBroken

_log = get_logger("poller")

# The bucket's burst: a tenth of a second's worth (DESIGN 9).
_BURST_SECONDS = 0.1
# While nobody answers, one poll in this time; at short intervals (tests) never less often than a model is due anyway.
_PROBE_EVERY = timedelta(seconds=30)
_MOST_STRANGE = 100
_NOT_ASKED = Unreadable("upstream_down", outage=True)


@dataclass(frozen=True, slots=True)
class Manners:
    """What PhotoGPT is spared: polls started in a second, and polls under way for one key."""

    polls_per_second: float
    polls_per_key: int


class Poller:
    def __init__(
        self,
        *,
        database: Database,
        photogpt: PhotoGPT,
        tenancy: Tenancy,
        recorder: Recorder,
        rules: Rules,
        manners: Manners,
        clock: Clock,
        rng: random.Random,
    ) -> None:
        self._database = database
        self._photogpt = photogpt
        self._tenancy = tenancy
        self._recorder = recorder
        self._rules = rules
        self._per_key = manners.polls_per_key
        rate = manners.polls_per_second
        self._bucket = TokenBucket(rate, burst=max(1.0, rate * _BURST_SECONDS))
        self._breaker = Breaker(probe_every=min(_PROBE_EVERY, rules.poll_interval))
        self._clock = clock
        self._rng = rng
        self._busy: dict[str, str] = {}
        self._strange: set[str] = set()

    async def claim(self, limit: int) -> Claimed[DueTraining]:
        granted = await self._tokens(limit)
        now = self._clock.now()
        limits = self._limits()
        try:
            due = await self._database.transaction(
                lambda unit: unit.trainings.claim_due(
                    now=now, lease_for=self._rules.lease, limit=granted, limits=limits
                )
            )
        except BaseException:
            self._bucket.give_back(granted)
            raise
        self._bucket.give_back(granted - len(due))
        claimed = {training.id: training.tenant_id for training in due}
        self._busy |= claimed
        # A key that has no room left may have more that is due. By the limits that the claim went by: a poll that has
        # ended meanwhile freed room too late for it, and wakes the loop only if it is told that there is more.
        return Claimed(due, more=len(due) == granted or limits.leaves_out(claimed))

    async def poll(self, due: DueTraining) -> None:
        """Read one claimed model and record what it means."""
        try:
            await self._poll(due)
        finally:
            self._busy.pop(due.id, None)

    async def pull_in(self) -> int:
        """After a restart with a shorter interval, a crash that left leases, or a wall clock that was put back:
        nothing waits longer than one poll. Returns how many trainings that brought forward.
        """
        now = self._clock.now()
        # Leases of other replicas stay as they are.
        latest = now + max(self._rules.lease, longest_gap(self._rules))

        def pull(unit: UnitOfWork) -> int:
            unit.tenants.shorten_pauses(latest=now + longest_delay(self._rules))
            unit.trainings.rebase(now)
            return unit.trainings.pull_in(latest=latest)

        return await self._database.transaction(pull)

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
        seen = await self._read(due)
        reached(CrashPoint.POLL_ANSWERED)
        now = self._clock.now()
        after = observe(due.watch, seen, now, self._rules)
        delay = next_poll(after, seen, now, self._rules, self._rng.random())
        changes = {} if seen is _NOT_ASKED else {"last_polled_at": now}
        adopted = due.watch.status is Status.SUBMITTING and after.status is not Status.SUBMITTING
        if adopted and isinstance(seen, Observation):
            changes["triggered_at"] = due.created_at

        def record(unit: UnitOfWork) -> bool:
            saved = self._save(unit, due, after, now, delay, changes)
            if isinstance(seen, Throttled):
                unit.tenants.pause_polls(due.tenant_id, until=now + delay)
                unit.trainings.postpone(due.tenant_id, until=now + delay)
            reached(CrashPoint.STATUS_UNCOMMITTED)
            return saved

        saved = await self._database.settle(record, clock=self._clock, until=lease_ends)
        reached(CrashPoint.STATUS_COMMITTED)
        self._log(due, seen, after, saved=saved)

    def _save(
        self,
        unit: UnitOfWork,
        due: DueTraining,
        after: Watch,
        now: datetime,
        delay: timedelta,
        changes: Mapping[str, datetime],
    ) -> bool:
        held = Held(due.id, due.fence, due.watch)
        due_at = None if after.suspended else now + delay
        return self._recorder.save(unit, held, after, now=now, due_at=due_at, changes=changes) is not None

    async def _read(self, due: DueTraining) -> Seen:
        try:
            key = self._tenancy.key_for_polls(due.tenant_id, due.sealed_key)
        except SealBroken as broken:
            _log.error("key_unreadable", training_id=due.id, reason=str(broken))
            return Unreadable("key_unreadable")
        if key is None:
            return KeyRefused()
        if not self._breaker.lets_pass(self._clock.monotonic()):
            return _NOT_ASKED
        seen = await self._photogpt.poll(key, due.model_id)
        self._judge_upstream(seen)
        return seen

    def _judge_upstream(self, seen: Seen) -> None:
        """Whether PhotoGPT as a whole is up, by one answer or by none."""
        if not (isinstance(seen, Unreadable) and seen.outage):
            if self._breaker.succeeded():
                _log.info("upstream_recovered")
        elif self._breaker.failed(self._clock.monotonic()):
            _log.warning("upstream_down", reason=seen.reason, probe_every=self._breaker.probe_every.total_seconds())

    def _log(self, due: DueTraining, seen: Seen, after: Watch, *, saved: bool) -> None:
        log = _log.bind(training_id=due.id, model_id=due.model_id)
        if not saved:
            log.info("poll_outdated")
        elif after.status is not due.watch.status:
            log.info("status_changed", status=after.status, before=due.watch.status)
        elif after.suspended:
            log.warning("suspended", reason="PhotoGPT refuses the key")
        elif isinstance(seen, Throttled):
            log.warning("key_throttled", tenant_id=due.tenant_id)
        elif seen is _NOT_ASKED:
            log.debug("not_polled", reason=seen.reason)
        elif isinstance(seen, Unreadable):
            log.warning("poll_unreadable", reason=seen.reason)
        elif isinstance(seen, Observation) and self._is_news(seen.raw_status):
            log.warning("unknown_upstream_status", upstream_status=seen.raw_status)
        else:
            log.debug("polled", seen=type(seen).__name__)

    def _is_news(self, raw_status: str) -> bool:
        """Whether this is a word of PhotoGPT's that nobody has told us of; once for each, and not without end."""
        if is_known(raw_status) or raw_status in self._strange or len(self._strange) >= _MOST_STRANGE:
            return False
        self._strange.add(raw_status)
        return True
