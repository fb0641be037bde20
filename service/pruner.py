"""Keeps the tables bounded: what has ended longer ago than the retention is deleted, in small batches.

Responses of receivers go first, then deliveries, events, callbacks and the training itself. What is active, or still to
be delivered, is never touched. And, far more often: the keys of tenants that have no active training are erased, should
any have outlived the transaction that ended it, and with them what the files still hold of those erased before.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from functools import partial

from service.claimloop import Claimed
from service.clock import Clock
from service.domain.turns import Turns
from service.storage.database import Database, UnitOfWork
from service.telemetry.logging import get_logger

_log = get_logger("pruner")

_EVERY_SECONDS = 300.0
# An erased key is out of the files within a minute (failure model C14).
_ERASE_EVERY_SECONDS = 30.0
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
        self._turns = Turns(_EVERY_SECONDS)

    async def claim(self, limit: int) -> Claimed[datetime]:
        """Before when is to be deleted, once in a while."""
        del limit
        if not self._turns.comes(self._clock.monotonic()):
            return Claimed([], more=False)
        return Claimed([self._clock.now() - self._retention], more=False)

    async def prune(self, before: datetime) -> None:
        """Delete all that ended before then; not what another replica is deleting at this moment."""
        keys_before = self._clock.now() - _IDEMPOTENCY_KEPT
        deleted = 0
        while batch := await self._database.transaction(
            lambda unit: (
                unit.history.prune(before, keys_before=keys_before, limit=_BATCH) if unit.alone_at("pruning") else 0
            )
        ):
            deleted += batch
        if deleted:
            _log.info("pruned", rows=deleted)
        for chore in self._chores:
            while await chore():
                pass


class KeySweep:
    """Idempotent; any number of replicas may do it at once."""

    def __init__(self, *, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        self._turns = Turns(_ERASE_EVERY_SECONDS)

    async def claim(self, limit: int) -> Claimed[float]:
        """The time, once in a while."""
        del limit
        now = self._clock.monotonic()
        return Claimed([now] if self._turns.comes(now) else [], more=False)

    async def erase(self, _now: float) -> None:
        erased = 0
        while tenants := await self._database.read(lambda unit: unit.tenants.with_idle_key(_BATCH)):
            await self._database.transaction(partial(_erase, tenants))
            erased += len(tenants)
        if erased:
            _log.info("keys_erased", tenants=erased)
        if not await self._database.scrub():
            _log.debug("not_scrubbed", reason="the write-ahead log is being read")


def _erase(tenants: Sequence[str], unit: UnitOfWork) -> None:
    for tenant in tenants:
        unit.tenants.erase_key_if_idle(tenant)
