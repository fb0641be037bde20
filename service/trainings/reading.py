"""What one reading of a training means for its row, whoever made it: poller, sweep, or a caller of the proxy."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from service.domain.facts import Fact
from service.domain.schedule import next_poll
from service.domain.training import Observation, Rules, Seen, Status, Watch, observe
from service.storage.database import UnitOfWork
from service.storage.due_training import DueTraining
from service.trainings.reader import NOT_ASKED
from service.trainings.record import Held, Recorder


@dataclass(frozen=True, slots=True)
class Reading:
    """What was `seen` of `due` at a time, and what that makes of it."""

    due: DueTraining
    seen: Seen
    at: datetime
    after: Watch
    delay: timedelta
    changes: Mapping[str, datetime]


class Readings:
    def __init__(self, *, recorder: Recorder, rules: Rules, rng: random.Random) -> None:
        self._recorder = recorder
        self._rules = rules
        self._rng = rng

    def judge(self, due: DueTraining, seen: Seen, now: datetime) -> Reading:
        after = observe(due.watch, seen, now, self._rules)
        changes = {} if seen is NOT_ASKED else {"last_polled_at": now}
        adopted = due.watch.status is Status.SUBMITTING and after.status is not Status.SUBMITTING
        if adopted and isinstance(seen, Observation):
            changes["triggered_at"] = due.watch.since
        return Reading(due, seen, now, after, self.delay(after, seen, now), changes)

    def save(self, unit: UnitOfWork, reading: Reading) -> bool:
        """Store it, if nobody was first."""
        due, after, now = reading.due, reading.after, reading.at
        due_at = None if after.suspended else now + reading.delay
        held = Held(due.id, due.fence, due.watch)
        return self._recorder.save_reading(unit, held, after, now=now, due_at=due_at, changes=reading.changes)

    def delay(self, watch: Watch, seen: Seen, now: datetime, jitter: float | None = None) -> timedelta:
        """Time to the next poll after this reading; `jitter` is drawn unless it is given."""
        drawn = self._rng.random() if jitter is None else jitter
        return next_poll(watch, seen, now, self._rules, drawn)


def pause_key(unit: UnitOfWork, tenant_id: str, *, until: datetime) -> None:
    """PhotoGPT asks this key to wait."""
    unit.tenants.pause_polls(tenant_id, until=until)
    unit.trainings.postpone(tenant_id, until=until)
    unit.facts.note(Fact.KEY_PAUSED)
