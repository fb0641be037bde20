"""The composition root: settings in, wired components out; for the server, the command line and the tests alike."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from service.claimloop import ClaimLoop
from service.clock import Clock
from service.crashpoints import CrashPoint
from service.domain.errors import ConfigurationError
from service.domain.training import Rules
from service.heartbeat import Heartbeat
from service.lifecycle import Lifecycle
from service.outbound import Outbound, tls_context
from service.photogpt.client import PhotoGPT
from service.settings import Settings
from service.storage.database import Database
from service.storage.migrations import migrate
from service.storage.outbox import DueDelivery
from service.storage.trainings import DueTraining
from service.telemetry.logging import get_logger
from service.tenancy import Tenancy
from service.trainings.cancellation import Cancellation
from service.trainings.intake import Intake
from service.trainings.poller import Manners, Poller
from service.trainings.record import Recorder
from service.vault import Vault, new_master_key
from service.webhooks.dispatcher import Dispatcher
from service.webhooks.sender import Sender

_log = get_logger("bootstrap")

_UPSTREAM_BODY_LIMIT = 256 * 1024
_RECEIVER_BODY_LIMIT = 16 * 1024  # DESIGN 7
# Below the 30 s that Kubernetes grants a Pod (failure model 2.4, SIGTERM).
DRAIN_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Components:
    settings: Settings
    clock: Clock
    database: Database
    photogpt: PhotoGPT
    sender: Sender
    tenancy: Tenancy
    intake: Intake
    cancellation: Cancellation
    poller: Poller
    polls: ClaimLoop[DueTraining]
    dispatcher: Dispatcher
    deliveries: ClaimLoop[DueDelivery]
    heartbeat: Heartbeat
    lifecycle: Lifecycle

    @property
    def loops(self) -> tuple[ClaimLoop[Any], ...]:
        return (self.polls, self.deliveries)

    async def start(self) -> None:
        """Mend due times that an earlier process left, and start the loops. The database is migrated already."""
        moved = await self.poller.pull_in()
        if moved:
            _log.info("polls_pulled_in", trainings=moved)
        await self.heartbeat.start()
        for loop in self.loops:
            loop.start()
            loop.wake()

    async def drain(self) -> None:
        """Take and claim nothing new; let triggers, polls and attempts under way finish. Safe to call twice."""
        self.lifecycle.drain()
        await asyncio.gather(self.intake.drain(DRAIN_SECONDS), *(loop.stop(DRAIN_SECONDS) for loop in self.loops))
        await self.heartbeat.stop()

    async def close(self) -> None:
        await self.photogpt.close()
        await self.sender.close()
        await self.database.close()


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the core works with, and a simulation replaces: time, chance, the database and the network."""

    clock: Clock
    rng: random.Random
    database: Database
    photogpt: PhotoGPT
    sender: Sender


def build(settings: Settings, clock: Clock, rng: random.Random) -> Components:
    """Everything, wired; nothing started. `rng` must be cryptographically strong outside of tests."""
    photogpt, sender = _clients(settings, clock)
    return assemble(settings, Surroundings(clock, rng, Database(settings.database_url), photogpt, sender))


def assemble(settings: Settings, around: Surroundings) -> Components:
    """The core, in the given surroundings."""
    clock, rng, database = around.clock, around.rng, around.database
    photogpt, sender = around.photogpt, around.sender
    rules = _rules(settings)
    recorder = Recorder(rng)
    tenancy = _tenancy(settings, database, photogpt, clock, rng)
    intake = Intake(
        database=database,
        photogpt=photogpt,
        tenancy=tenancy,
        recorder=recorder,
        rules=rules,
        http_to_loopback=settings.on_loopback,
        clock=clock,
        rng=rng,
    )
    poller = Poller(
        database=database,
        photogpt=photogpt,
        tenancy=tenancy,
        recorder=recorder,
        rules=rules,
        manners=Manners(settings.polls_per_second, settings.polls_per_key),
        clock=clock,
        rng=rng,
    )
    dispatcher = Dispatcher(
        database=database,
        sender=sender,
        tenancy=tenancy,
        schedule=settings.schedule,
        lease=rules.lease,
        clock=clock,
        rng=rng,
    )
    polls: ClaimLoop[DueTraining] = ClaimLoop(
        "poller", claim=poller.claim, work=poller.poll, slots=settings.polls_in_flight, clock=clock
    )
    deliveries: ClaimLoop[DueDelivery] = ClaimLoop(
        "dispatcher", claim=dispatcher.claim, work=dispatcher.deliver, slots=settings.deliveries_in_flight, clock=clock
    )
    database.on_outbox(deliveries.wake)
    heartbeat = Heartbeat(database=database, clock=clock, on_clock_back=[poller.pull_in, dispatcher.pull_in])
    return Components(
        settings=settings,
        clock=clock,
        database=database,
        photogpt=photogpt,
        sender=sender,
        tenancy=tenancy,
        intake=intake,
        cancellation=Cancellation(database=database, recorder=recorder, clock=clock),
        poller=poller,
        polls=polls,
        dispatcher=dispatcher,
        deliveries=deliveries,
        heartbeat=heartbeat,
        lifecycle=Lifecycle(heartbeat=heartbeat, loops=[polls, deliveries], clock=clock),
    )


@asynccontextmanager
async def running(components: Components) -> AsyncIterator[None]:
    """Migrate, start the loops; at the end stop claiming, let what is under way finish, and close everything."""
    before, now = await migrate(components.database)
    if before != now:
        _log.info("migrated", before=before, now=now)
    await components.start()
    try:
        yield
    finally:
        await components.drain()
        await components.close()


def _clients(settings: Settings, clock: Clock) -> tuple[PhotoGPT, Sender]:
    tls = tls_context()
    upstream: dict[str, Any] = {"timeout": settings.upstream_timeout, "body_limit": _UPSTREAM_BODY_LIMIT}
    photogpt = PhotoGPT(
        settings.photogpt_base_url,
        reads=Outbound(**upstream, keep_alive=True, clock=clock, tls=tls),
        triggers=Outbound(**upstream, keep_alive=False, clock=clock, tls=tls, crash_when_sent=CrashPoint.TRIGGER_SENT),
        clock=clock,
    )
    receivers = Outbound(
        timeout=settings.attempt_timeout,
        body_limit=_RECEIVER_BODY_LIMIT,
        keep_alive=False,
        clock=clock,
        tls=tls,
        crash_when_sent=CrashPoint.ATTEMPT_UNRECORDED,
    )
    return photogpt, Sender(outbound=receivers, clock=clock)


def _tenancy(settings: Settings, database: Database, photogpt: PhotoGPT, clock: Clock, rng: random.Random) -> Tenancy:
    return Tenancy(
        database=database,
        photogpt=photogpt,
        vault=Vault(_master_key(settings, rng), rng),
        clock=clock,
        rng=rng,
        own_key=settings.photogpt_api_key.get_secret_value() if settings.photogpt_api_key else None,
        token=settings.token.get_secret_value() if settings.token else None,
    )


def _rules(settings: Settings) -> Rules:
    return Rules(
        poll_interval=timedelta(seconds=settings.poll_interval),
        lease=timedelta(seconds=settings.lease),
        overdue_after=timedelta(seconds=settings.overdue_after),
        expire_after=timedelta(seconds=settings.expire_after),
    )


def _master_key(settings: Settings, rng: random.Random) -> str:
    """The key that seals keys and secrets; on SQLite made at the first start, beside the database."""
    if settings.master_key is not None:
        return settings.master_key.get_secret_value()
    database = settings.sqlite_path
    if database is None:
        raise ConfigurationError(
            "GATEWAY_MASTER_KEY is needed on PostgreSQL: make one with `photogpt-webhooks keygen`."
        )
    path = database.with_name(database.name + ".master-key")
    try:
        with suppress(FileExistsError):
            # Exclusive and private from its first byte on.
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w", encoding="ascii") as file:
                file.write(new_master_key(rng) + "\n")
            _log.info("master_key_made", path=str(path))
        return path.read_text(encoding="ascii")
    except OSError as error:
        raise ConfigurationError(
            f"The master key {path} can't be made or read ({error.strerror}): make its folder writable, or set "
            "GATEWAY_MASTER_KEY."
        ) from error
