"""What a gateway is made of, and how it starts and ends. Who makes the parts and joins them: `bootstrap`."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from service.call_counter import CallCounter
from service.claimloop import ClaimLoop
from service.clock import Clock
from service.domain.errors import StorageUnavailable
from service.heartbeat import Heartbeat
from service.keyring import Keyring
from service.lifecycle import Lifecycle
from service.outbound.guard import Guard
from service.photogpt.client import PhotoGPT
from service.photogpt.proxy import Proxy
from service.settings import Settings
from service.storage.database import Database
from service.storage.due_delivery import DueDelivery
from service.storage.due_training import DueTraining
from service.storage.migrations import migrate
from service.storage.moves import refuse_if_moved
from service.storage.queues import DueQueue
from service.storage.sweeps import DueSweep
from service.telemetry.logging import get_logger
from service.telemetry.metrics import Metrics
from service.telemetry.tracing import Tracer
from service.tenancy import Tenancy
from service.trainings.cancellation import Cancellation
from service.trainings.intake import Intake
from service.trainings.poller import Poller
from service.trainings.sightings import Sightings
from service.trainings.starter import Starter
from service.waiters import Waiters
from service.webhooks.dispatcher import Dispatcher
from service.webhooks.endpoints import Endpoints
from service.webhooks.recovery import Recoveries
from service.webhooks.sender import Sender
from service.webhooks.trial import Trial

_log = get_logger("bootstrap")

# Below the 30 s that Kubernetes grants a Pod (failure model 2.4, SIGTERM).
DRAIN_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class FirstHalf:
    """From a train request to a status in the outbox."""

    intake: Intake
    cancellation: Cancellation
    poller: Poller
    sightings: Sightings
    starter: Starter


@dataclass(frozen=True, slots=True)
class SecondHalf:
    """From the outbox to the receivers."""

    endpoints: Endpoints
    recoveries: Recoveries
    trial: Trial
    dispatcher: Dispatcher


@dataclass(frozen=True, slots=True)
class Loops:
    polls: ClaimLoop[DueTraining | DueSweep]
    starts: ClaimLoop[DueQueue]
    deliveries: ClaimLoop[DueDelivery]
    recoveries: ClaimLoop[str]
    pruning: ClaimLoop[datetime]
    erasure: ClaimLoop[float]
    calls: ClaimLoop[None]
    census: ClaimLoop[None]

    def __iter__(self) -> Iterator[ClaimLoop[Any]]:
        return (getattr(self, field.name) for field in fields(self))

    def of(self, role: str) -> tuple[ClaimLoop[Any], ...]:
        """Those that run in a process of this role: each counts its own calls, and workers do all else."""
        return (self.calls,) if role == "api" else tuple(self)


@dataclass(frozen=True, slots=True)
class Components:
    settings: Settings
    clock: Clock
    rng: random.Random
    database: Database
    photogpt: PhotoGPT
    proxy: Proxy
    sender: Sender
    guard: Guard
    metrics: Metrics
    calls: CallCounter
    tracer: Tracer
    keyring: Keyring
    tenancy: Tenancy
    trainings: FirstHalf
    webhooks: SecondHalf
    loops: Loops
    waiters: Waiters
    heartbeat: Heartbeat
    lifecycle: Lifecycle

    async def start(self) -> None:
        """Learn the time, unlock the vault, mend due times that an earlier process left, and start the loops.

        The database is migrated already. Raises ConfigurationError if the master key is not the database's, or if the
        database is part of a move.
        """
        await self.heartbeat.start()
        # Once more: a move that began since the migration sees the beat, or is seen here.
        await self.database.run(refuse_if_moved)
        await self.keyring.unlock(self.database, self.clock)
        moved = await self.trainings.poller.pull_in()
        if moved:
            _log.info("polls_pulled_in", trainings=moved)
        await self.trainings.starter.pull_in()
        self.database.share_news()
        for loop in self.loops.of(self.settings.role):
            loop.start()
            loop.wake()

    async def drain(self) -> None:
        """Take and claim nothing new; let triggers, polls and attempts under way finish. Safe to call twice."""
        self.lifecycle.drain()
        self.waiters.close()
        await asyncio.gather(
            self.trainings.intake.drain(DRAIN_SECONDS),
            self.trainings.sightings.drain(DRAIN_SECONDS),
            *(loop.stop(DRAIN_SECONDS) for loop in self.loops.of(self.settings.role)),
        )
        await self.heartbeat.stop()
        with suppress(StorageUnavailable):
            await self.calls.save()

    async def close(self) -> None:
        await self.photogpt.close()
        await self.proxy.close()
        await self.sender.close()
        await self.tracer.close()
        await self.database.close()


@asynccontextmanager
async def running(components: Components) -> AsyncIterator[None]:
    """Migrate, start the loops; at the end stop claiming, let what is under way finish, and close everything."""
    try:
        before, now = await migrate(components.database)
        if before != now:
            _log.info("migrated", before=before, now=now)
        await components.start()
        try:
            yield
        finally:
            await components.drain()
    finally:
        await components.close()
