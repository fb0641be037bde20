"""What the core works with, made from settings: database, PhotoGPT, receivers, time, chance, and what is counted.

A simulation plays these, and has the same core put into them by `bootstrap`.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from datetime import timedelta
from ssl import SSLContext
from typing import Any

from service.call_counter import CallCounter
from service.clock import Clock, SharedClock
from service.crashpoints import CrashPoint
from service.domain.calls import OnCall, uncounted
from service.domain.destinations import Destinations, parse_allow_list
from service.outbound.connector import tls_context
from service.outbound.exchange import Outbound
from service.outbound.guard import Guard, Names
from service.outbound.lookup import Lookup
from service.outbound.streams import Streams
from service.photogpt.client import PhotoGPT
from service.photogpt.proxy import Proxy, ProxyLimits
from service.settings import Settings
from service.storage.database import Database
from service.telemetry.metrics import Metrics
from service.telemetry.tracing import Tracer, make_tracer
from service.webhooks.sender import Sender

_UPSTREAM_BODY_LIMIT = 256 * 1024
_RECEIVER_BODY_LIMIT = 16 * 1024  # DESIGN 7


@dataclass(frozen=True, slots=True)
class Surroundings:
    """One of each."""

    clock: Clock
    rng: random.Random
    database: Database
    photogpt: PhotoGPT
    proxy: Proxy
    sender: Sender
    guard: Guard
    metrics: Metrics
    calls: CallCounter
    tracer: Tracer = field(default_factory=Tracer)


def surroundings_of(
    settings: Settings, clock: Clock, rng: random.Random, *, own_ports: frozenset[int] | None, names: Names
) -> Surroundings:
    """The real ones, as the settings say. Several replicas go by their database's clock, and not by their own."""
    if settings.sqlite_path is None:
        clock = SharedClock(clock)
    guard = guard_of(settings, names, own_ports)
    metrics, tracer = Metrics(), make_tracer(on=settings.traces)
    database = Database(settings.database_url, metrics=metrics, clock=clock)
    calls = counter_of(settings, database, metrics, clock)
    tls = tls_context()
    # PhotoGPT has lookups of its own: no name that a caller made up can keep it waiting.
    upstream = Lookup()
    return Surroundings(
        clock=clock,
        rng=rng,
        database=database,
        photogpt=_photogpt(settings, clock, tls, upstream, calls.count, tracer),
        proxy=proxy_of(settings, tls, upstream, calls.count),
        sender=_sender(settings, clock, tls, guard, names, tracer),
        guard=guard,
        metrics=metrics,
        calls=calls,
        tracer=tracer,
    )


def counter_of(settings: Settings, database: Database, metrics: Metrics, clock: Clock) -> CallCounter:
    interval = timedelta(seconds=settings.poll_interval)
    return CallCounter(database=database, metrics=metrics, poll_interval=interval, clock=clock)


def guard_of(settings: Settings, names: Names, own_ports: frozenset[int] | None = None) -> Guard:
    """What stands before every callback: the settings' policy."""
    destinations = Destinations(
        parse_allow_list(settings.callback_allow),
        # Behind a proxy this machine's loopback would be the proxy's.
        loopback=settings.callbacks_to_loopback and settings.egress_proxy is None,
        metadata=settings.callback_allow_metadata,
        own_ports=frozenset({settings.port, settings.health_port}) if own_ports is None else own_ports,
    )
    return Guard(destinations, names, by_proxy=settings.egress_proxy is not None)


def _photogpt(
    settings: Settings, clock: Clock, tls: SSLContext, lookup: Names, on_call: OnCall, tracer: Tracer
) -> PhotoGPT:
    upstream: dict[str, Any] = {
        "timeout": settings.upstream_timeout,
        "body_limit": _UPSTREAM_BODY_LIMIT,
        "clock": clock,
        "tls": tls,
        "lookup": lookup,
    }
    return PhotoGPT(
        settings.photogpt_base_url,
        reads=Outbound(**upstream, keep_alive=True),
        triggers=Outbound(**upstream, keep_alive=False, crash_when_sent=CrashPoint.TRIGGER_SENT),
        clock=clock,
        on_call=on_call,
        tracer=tracer,
    )


def proxy_of(settings: Settings, tls: SSLContext, lookup: Names, on_call: OnCall = uncounted) -> Proxy:
    """For what passes through to PhotoGPT."""

    def streams(*, keep_alive: bool) -> Streams:
        return Streams(quiet=settings.upstream_timeout, keep_alive=keep_alive, tls=tls, lookup=lookup)

    return Proxy(
        settings.photogpt_base_url,
        reads=streams(keep_alive=True),
        writes=streams(keep_alive=False),
        limits=ProxyLimits(settings.proxy_most_bytes, settings.proxy_timeout, settings.proxy_all),
        on_call=on_call,
    )


def _sender(settings: Settings, clock: Clock, tls: SSLContext, guard: Guard, names: Names, tracer: Tracer) -> Sender:
    receivers = Outbound(
        timeout=settings.attempt_timeout,
        body_limit=_RECEIVER_BODY_LIMIT,
        keep_alive=False,
        clock=clock,
        tls=tls,
        crash_when_sent=CrashPoint.ATTEMPT_UNRECORDED,
        guard=guard,
        lookup=names,
        proxy=settings.egress_proxy,
    )
    return Sender(outbound=receivers, clock=clock, excerpts=settings.keeps_excerpts, tracer=tracer)
