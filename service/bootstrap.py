"""The composition root: settings in, wired components out; for the server, the command line and the tests alike."""

from __future__ import annotations

import random
from datetime import timedelta

from service.census import Census
from service.claimloop import ClaimLoop
from service.clock import Clock
from service.components import Components, FirstHalf, Loops, SecondHalf
from service.domain.hosts import Hosts
from service.domain.shares import Shares
from service.domain.training import QueueRules, Rules
from service.heartbeat import Heartbeat
from service.instruments import connect
from service.keyring import Keyring
from service.lifecycle import Lifecycle
from service.master_key import vault_of
from service.outbound.guard import Names
from service.outbound.lookup import Lookup
from service.pruner import KeySweep, Pruner
from service.settings import Settings
from service.surroundings import Surroundings, surroundings_of
from service.tenancy import Limits, Tenancy
from service.trainings.callbacks import Callbacks
from service.trainings.cancellation import Cancellation
from service.trainings.intake import Intake
from service.trainings.poller import Manners, Poller
from service.trainings.reader import Reader
from service.trainings.reading import Readings
from service.trainings.record import Recorder
from service.trainings.sightings import Sightings
from service.trainings.starter import Starter
from service.waiters import Waiters
from service.webhooks.dispatcher import Bulkheads, Dispatcher, Pace
from service.webhooks.endpoints import Endpoints
from service.webhooks.once import Once
from service.webhooks.record import OutcomeRecorder
from service.webhooks.recovery import Recoveries
from service.webhooks.trial import Trial

# A half of the slots is kept for first attempts, whatever waits to be tried again.
_RETRIES_FRACTION = 2
# Queues of different tenants that are tried at once.
_STARTS_IN_FLIGHT = 16
# Long polls and streams: each is an open connection.
_WAITING_OF_ONE_TENANT = 100


def build(
    settings: Settings,
    clock: Clock,
    rng: random.Random,
    *,
    own_ports: frozenset[int] | None = None,
    names: Names | None = None,
) -> Components:
    """Everything, wired; nothing started. `rng` must be cryptographically strong outside of tests.

    `own_ports`: where this process listens, if not at the ports that are set. `names`: what looks receivers up.
    """
    return assemble(settings, surroundings_of(settings, clock, rng, own_ports=own_ports, names=names or Lookup()))


def assemble(settings: Settings, around: Surroundings) -> Components:
    """The core, in the given surroundings."""
    clock, rng, database = around.clock, around.rng, around.database
    vault = vault_of(settings, rng)
    keyring = Keyring(vault, rng)
    tenancy = Tenancy(
        database=database,
        photogpt=around.photogpt,
        vault=vault,
        keyring=keyring,
        clock=clock,
        own_key=settings.photogpt_api_key.get_secret_value() if settings.photogpt_api_key else None,
        token=settings.token.get_secret_value() if settings.token else None,
        limits=_limits(settings),
    )
    trainings = _first_half(settings, around, tenancy, keyring)
    webhooks = _second_half(settings, around, tenancy, keyring)
    loops = _loops(settings, around, trainings, webhooks)
    waiters = Waiters(_WAITING_OF_ONE_TENANT if settings.mode == "gateway" else None)
    database.on_news(lambda news: loops.deliveries.wake() if news.to_send else None)
    database.on_news(lambda news: waiters.wake(None if news.all_tenants else news.tenants))
    database.on_facts(around.calls.hear)
    database.on_facts(around.metrics.hear)
    put_back = [trainings.poller.pull_in, trainings.starter.pull_in, webhooks.dispatcher.pull_in]
    heartbeat = Heartbeat(database=database, clock=clock, on_clock_back=put_back)
    components = Components(
        settings=settings,
        clock=clock,
        rng=rng,
        database=database,
        photogpt=around.photogpt,
        proxy=around.proxy,
        sender=around.sender,
        guard=around.guard,
        metrics=around.metrics,
        calls=around.calls,
        tracer=around.tracer,
        keyring=keyring,
        tenancy=tenancy,
        trainings=trainings,
        webhooks=webhooks,
        loops=loops,
        waiters=waiters,
        heartbeat=heartbeat,
        lifecycle=Lifecycle(heartbeat=heartbeat, loops=loops.of(settings.role), clock=clock),
    )
    connect(components)
    return components


def _first_half(settings: Settings, around: Surroundings, tenancy: Tenancy, keyring: Keyring) -> FirstHalf:
    clock, rng, database = around.clock, around.rng, around.database
    rules = _rules(settings)
    recorder = Recorder(rng, rules.queue)
    callbacks = Callbacks(keyring=keyring, guard=around.guard, clock=clock, rng=rng)
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
    readings = Readings(recorder=recorder, rules=rules, rng=rng)
    poller = Poller(
        database=database,
        reader=Reader(photogpt=around.photogpt, tenancy=tenancy, rules=rules, clock=clock, tracer=around.tracer),
        readings=readings,
        rules=rules,
        manners=Manners(settings.polls_per_second, settings.polls_per_key, settings.sweep),
        clock=clock,
        rng=rng,
        metrics=around.metrics,
    )
    sightings = Sightings(database=database, readings=readings, rules=rules, clock=clock)
    starter = Starter(
        database=database,
        photogpt=around.photogpt,
        tenancy=tenancy,
        recorder=recorder,
        rules=rules,
        clock=clock,
        rng=rng,
        tracer=around.tracer,
    )
    cancellation = Cancellation(database=database, recorder=recorder, clock=clock)
    return FirstHalf(intake, cancellation, poller, sightings, starter)


def _second_half(settings: Settings, around: Surroundings, tenancy: Tenancy, keyring: Keyring) -> SecondHalf:
    clock, rng, database = around.clock, around.rng, around.database
    once = Once(clock)
    endpoints = Endpoints(
        database=database,
        tenancy=tenancy,
        keyring=keyring,
        once=once,
        guard=around.guard,
        clock=clock,
        rng=rng,
    )
    shares = Shares(tenancy.limits.deliveries)
    dispatcher = Dispatcher(
        database=database,
        sender=around.sender,
        keyring=keyring,
        recorder=OutcomeRecorder(rng),
        bulkheads=Bulkheads(Hosts(settings.deliveries_per_host), shares),
        pace=Pace(
            settings.schedule,
            max(1, settings.deliveries_in_flight // _RETRIES_FRACTION),
            timedelta(seconds=settings.lease),
        ),
        clock=clock,
        rng=rng,
    )
    recoveries = Recoveries(database=database, once=once, lease=timedelta(seconds=settings.lease), clock=clock, rng=rng)
    trial = Trial(database=database, sender=around.sender, keyring=keyring, shares=shares, clock=clock, rng=rng)
    return SecondHalf(endpoints, recoveries, trial, dispatcher)


def _loops(settings: Settings, around: Surroundings, trainings: FirstHalf, webhooks: SecondHalf) -> Loops:
    clock = around.clock
    poller, starter = trainings.poller, trainings.starter
    dispatcher, recoveries = webhooks.dispatcher, webhooks.recoveries
    pruner = Pruner(
        database=around.database,
        retention=timedelta(days=settings.retention_days),
        chores=[dispatcher.give_up_waiting],
        clock=clock,
    )
    sweep = KeySweep(database=around.database, clock=clock)
    census = Census(database=around.database, metrics=around.metrics, clock=clock)
    return Loops(
        ClaimLoop("poller", claim=poller.claim, work=poller.poll, slots=settings.polls_in_flight, clock=clock),
        ClaimLoop("starter", claim=starter.claim, work=starter.start, slots=_STARTS_IN_FLIGHT, clock=clock),
        ClaimLoop(
            "dispatcher",
            claim=dispatcher.claim,
            work=dispatcher.deliver,
            slots=settings.deliveries_in_flight,
            clock=clock,
        ),
        ClaimLoop("recoveries", claim=recoveries.claim, work=recoveries.work, slots=2, clock=clock),
        ClaimLoop("pruner", claim=pruner.claim, work=pruner.prune, slots=1, clock=clock),
        ClaimLoop("erasure", claim=sweep.claim, work=sweep.erase, slots=1, clock=clock),
        ClaimLoop("calls", claim=around.calls.claim, work=around.calls.save, slots=1, clock=clock),
        ClaimLoop("census", claim=census.claim, work=census.count, slots=1, clock=clock),
    )


def _limits(settings: Settings) -> Limits:
    return Limits(
        trainings=settings.tenant_trainings,
        endpoints=settings.tenant_endpoints,
        requests_per_second=settings.tenant_requests_per_second,
        deliveries=settings.tenant_deliveries,
    )


def _rules(settings: Settings) -> Rules:
    return Rules(
        poll_interval=timedelta(seconds=settings.poll_interval),
        lease=timedelta(seconds=settings.lease),
        overdue_after=timedelta(seconds=settings.overdue_after),
        expire_after=timedelta(seconds=settings.expire_after),
        queue=QueueRules(
            pause=timedelta(seconds=settings.queue_pause), expire_after=timedelta(seconds=settings.queue_expire_after)
        ),
        poll_times=settings.poll_times,
    )
