"""Counts the rows that an operator watches, for `/metrics`: what is trained, what waits to be sent, which endpoints.

Often while they are few, seldom when they are very many: it takes a hundredth of one reader's time at most.
"""

from __future__ import annotations

from service.claimloop import Claimed
from service.clock import Clock
from service.domain.turns import Turns
from service.storage.database import Database
from service.telemetry.metrics import Metrics

_EVERY_SECONDS = 15.0
_SHARE = 100


class Census:
    def __init__(self, *, database: Database, metrics: Metrics, clock: Clock) -> None:
        self._database = database
        self._metrics = metrics
        self._clock = clock
        self._turns = Turns(_EVERY_SECONDS)

    async def claim(self, limit: int) -> Claimed[None]:
        """Whether it is time to count, once in a while."""
        del limit
        return Claimed([None] if self._turns.comes(self._clock.monotonic()) else [], more=False)

    async def count(self, _item: None = None) -> None:
        began, now = self._clock.monotonic(), self._clock.now()
        found = await self._database.read(lambda unit: unit.census.count(now))
        took = self._clock.monotonic() - began
        self._turns.seconds = max(_EVERY_SECONDS, took * _SHARE)
        self._metrics.count_trainings(found.trainings, overdue=found.overdue, suspended=found.suspended)
        self._metrics.count_deliveries({"now": found.due, "later": found.later})
        self._metrics.count_endpoints(found.endpoints)
        self._metrics.counted_in(took)
