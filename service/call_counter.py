"""Counts the calls to PhotoGPT, and those that polling loops would have made: what watching costs, and what it saves.

For Prometheus at once; for the database, which adds up all replicas and restarts, twice a minute and at the end. What
was not written yet is lost with a process that is killed: it is statistics.
"""

from __future__ import annotations

from collections import Counter
from datetime import timedelta

from service.claimloop import Claimed
from service.clock import Clock
from service.domain.calls import CallKind, loop_calls
from service.domain.facts import Facts
from service.domain.turns import Turns
from service.storage.database import Database
from service.telemetry.metrics import Metrics

LOOPS = "loops"
"""In place of a CallKind: what loops would have called."""
_EVERY_SECONDS = 30.0


class CallCounter:
    def __init__(self, *, database: Database, metrics: Metrics, poll_interval: timedelta, clock: Clock) -> None:
        self._database = database
        self._metrics = metrics
        self._poll_interval = poll_interval
        self._clock = clock
        self._unsaved: Counter[str] = Counter()
        self._turns = Turns(_EVERY_SECONDS)

    def count(self, kind: CallKind) -> None:
        """A call is being made."""
        self._unsaved[kind] += 1
        self._metrics.called(kind)

    def hear(self, facts: Facts) -> None:
        """Of trainings that ended here: what their loops would have called by now."""
        spared = sum(loop_calls(trained_for, self._poll_interval) for trained_for in facts.trained_for)
        if spared:
            self._unsaved[LOOPS] += spared
            self._metrics.spared(spared)

    async def claim(self, limit: int) -> Claimed[None]:
        """Whether it is time to save, once in a while."""
        del limit
        return Claimed([None] if self._turns.comes(self._clock.monotonic()) else [], more=False)

    async def save(self, _item: None = None) -> None:
        """Add what was counted since the last time to the database's counts."""
        counts, self._unsaved = self._unsaved, Counter()
        if not counts:
            return
        day = self._clock.now().date()
        try:
            await self._database.transaction(lambda unit: unit.call_counts.add(day, counts))
        except BaseException:
            self._unsaved += counts
            raise
