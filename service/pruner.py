"""Keeps the tables bounded: what has ended longer ago than the retention is deleted, in small batches.

Responses of receivers go first, then deliveries, events, callbacks and the training itself. What is active, or still to
be delivered, is never touched.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta

from service.claimloop import Claimed
from service.clock import Clock
from service.storage.database import Database
from service.telemetry.logging import get_logger

_log = get_logger("pruner")

_EVERY_SECONDS = 300.0
# Rows of one kind deleted in one transaction: so few that nobody else waits long for the database.
_BATCH = 200
_IDEMPOTENCY_KEPT = timedelta(hours=24)


class Pruner:
    """`chores` are done beside, as often: each does a batch and says how much that was, until nothing is left."""

    def __init__(
        self,
        *,
        database: Database,
        retention: timedelta,
        chores: Sequence[Callable[[], Awaitable[int]]],
        clock: Clock,
    ) -> None:
        self._database = database
        self._chores = chores
        self._retention = retention
        self._clock = clock
        self._last: float | None = None

    async def claim(self, limit: int) -> Claimed[datetime]:
        """Before when is to be deleted, once in a while."""
        del limit
        now = self._clock.monotonic()
        if self._last is not None and now - self._last < _EVERY_SECONDS:
            return Claimed([], more=False)
        self._last = now
        return Claimed([self._clock.now() - self._retention], more=False)

    async def prune(self, before: datetime) -> None:
        """Delete all that ended before then."""
        keys_before = self._clock.now() - _IDEMPOTENCY_KEPT
        deleted = 0
        while batch := await self._database.transaction(
            lambda unit: unit.history.prune(before, keys_before=keys_before, limit=_BATCH)
        ):
            deleted += batch
        if deleted:
            _log.info("pruned", rows=deleted)
        for chore in self._chores:
            while await chore():
                pass
