"""The composition root: settings in, wired components out; for the server, the command line and the tests alike."""

from __future__ import annotations

import os
import random
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from service.claimloop import ClaimLoop
from service.clock import Clock
from service.components import Components, FirstHalf, Loops, SecondHalf
from service.crashpoints import CrashPoint
from service.domain.errors import ConfigurationError
from service.domain.hosts import Hosts
from service.domain.training import Rules
from service.heartbeat import Heartbeat
from service.keyring import Keyring
from service.lifecycle import Lifecycle
from service.outbound import Outbound, tls_context
from service.photogpt.client import PhotoGPT
from service.pruner import Pruner
from service.settings import Settings
from service.storage.database import Database
from service.telemetry.logging import get_logger
from service.tenancy import Tenancy
from service.trainings.callbacks import Callbacks
from service.trainings.cancellation import Cancellation
from service.trainings.intake import Intake
from service.trainings.poller import Manners, Poller
from service.trainings.record import Recorder
from service.vault import Vault, new_master_key
from service.waiters import Waiters
from service.webhooks.dispatcher import Dispatcher, Pace
from service.webhooks.endpoints import Endpoints
from service.webhooks.once import Once
from service.webhooks.record import OutcomeRecorder
from service.webhooks.recovery import Recoveries
from service.webhooks.sender import Sender
from service.webhooks.trial import Trial

_log = get_logger("bootstrap")

_UPSTREAM_BODY_LIMIT = 256 * 1024
# A half of the slots is kept for first attempts, whatever waits to be tried again.
_RETRIES_FRACTION = 2
_RECEIVER_BODY_LIMIT = 16 * 1024  # DESIGN 7


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
    vault = Vault(_master_key(settings, rng), rng)
    keyring = Keyring(vault, rng)
    tenancy = Tenancy(
        database=database,
        photogpt=around.photogpt,
        vault=vault,
        keyring=keyring,
        clock=clock,
        own_key=settings.photogpt_api_key.get_secret_value() if settings.photogpt_api_key else None,
        token=settings.token.get_secret_value() if settings.token else None,
    )
    trainings = _first_half(settings, around, tenancy, keyring)
    webhooks = _second_half(settings, around, tenancy, keyring)
    loops = _loops(settings, around, trainings, webhooks)
    waiters = Waiters()
    database.on_news(lambda news: loops.deliveries.wake() if news.to_send else None)
    database.on_news(lambda news: waiters.wake(news.tenants))
    put_back = [trainings.poller.pull_in, webhooks.dispatcher.pull_in]
    heartbeat = Heartbeat(database=database, clock=clock, on_clock_back=put_back)
    return Components(
        settings=settings,
        clock=clock,
        database=database,
        photogpt=around.photogpt,
        sender=around.sender,
        keyring=keyring,
        tenancy=tenancy,
        trainings=trainings,
        webhooks=webhooks,
        loops=loops,
        waiters=waiters,
        heartbeat=heartbeat,
        lifecycle=Lifecycle(heartbeat=heartbeat, loops=tuple(loops), clock=clock),
    )


def _first_half(settings: Settings, around: Surroundings, tenancy: Tenancy, keyring: Keyring) -> FirstHalf:
    clock, rng, database = around.clock, around.rng, around.database
    rules, recorder = _rules(settings), Recorder(rng)
    callbacks = Callbacks(keyring=keyring, http_to_loopback=settings.on_loopback, clock=clock, rng=rng)
    intake = Intake(
        database=database,
        photogpt=around.photogpt,
        tenancy=tenancy,
        recorder=recorder,
        rules=rules,
        callbacks=callbacks,
        clock=clock,
        rng=rng,
    )
    poller = Poller(
        database=database,
        photogpt=around.photogpt,
        tenancy=tenancy,
        recorder=recorder,
        rules=rules,
        manners=Manners(settings.polls_per_second, settings.polls_per_key),
        clock=clock,
        rng=rng,
    )
    return FirstHalf(intake, Cancellation(database=database, recorder=recorder, clock=clock), poller)


def _second_half(settings: Settings, around: Surroundings, tenancy: Tenancy, keyring: Keyring) -> SecondHalf:
    clock, rng, database = around.clock, around.rng, around.database
    once = Once(clock)
    endpoints = Endpoints(
        database=database,
        tenancy=tenancy,
        keyring=keyring,
        once=once,
        http_to_loopback=settings.on_loopback,
        clock=clock,
        rng=rng,
    )
    dispatcher = Dispatcher(
        database=database,
        sender=around.sender,
        keyring=keyring,
        recorder=OutcomeRecorder(rng),
        hosts=Hosts(settings.deliveries_per_host),
        pace=Pace(
            settings.schedule,
            max(1, settings.deliveries_in_flight // _RETRIES_FRACTION),
            timedelta(seconds=settings.lease),
        ),
        clock=clock,
        rng=rng,
    )
    recoveries = Recoveries(database=database, once=once, lease=timedelta(seconds=settings.lease), clock=clock, rng=rng)
    trial = Trial(database=database, sender=around.sender, keyring=keyring, clock=clock, rng=rng)
    return SecondHalf(endpoints, recoveries, trial, dispatcher)


def _loops(settings: Settings, around: Surroundings, trainings: FirstHalf, webhooks: SecondHalf) -> Loops:
    clock = around.clock
    poller, dispatcher, recoveries = trainings.poller, webhooks.dispatcher, webhooks.recoveries
    pruner = Pruner(
        database=around.database,
        retention=timedelta(days=settings.retention_days),
        chores=[dispatcher.give_up_waiting],
        clock=clock,
    )
    return Loops(
        ClaimLoop("poller", claim=poller.claim, work=poller.poll, slots=settings.polls_in_flight, clock=clock),
        ClaimLoop(
            "dispatcher",
            claim=dispatcher.claim,
            work=dispatcher.deliver,
            slots=settings.deliveries_in_flight,
            clock=clock,
        ),
        ClaimLoop("recoveries", claim=recoveries.claim, work=recoveries.work, slots=2, clock=clock),
        ClaimLoop("pruner", claim=pruner.claim, work=pruner.prune, slots=1, clock=clock),
    )


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
